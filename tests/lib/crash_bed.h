/*
 * A database whose every state is known (lib/ledger.h), its replica in a folder, and lives of a
 * replicator in children that crash; and what must be true whenever one did. A header alone,
 * because it uses cmocka.
 */
#ifndef TESTS_LIB_CRASH_BED_H
#define TESTS_LIB_CRASH_BED_H

#include "lib/agent.h"
#include "lib/crash.h"
#include "lib/ledger.h"
#include "lib/scene.h"

#include "format/ltxset.h"
#include "restore/restore.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define ROWS 1200
#define COMMIT_BYTES 8192 /* of an operation's L0, at most: 6 pages of 1 KiB, header, index */

/* What lives tell their parent, whatever ends them. */
struct told {
	uint64_t begun, acked; /* operations of the app: the last one it began, the last one synced */
	bool open;             /* it has its database open */
};

struct crash_bed {
	char *dir;
	char db[256], url[256];
	struct replicator_config cfg;
	struct agent app;
	struct told *told;
};

static inline int sync_all(struct ship *s, const struct crash_bed *b)
{
	uint64_t begun = b->told->begun;
	int rc = ship_sync(s, 0);
	if (!rc)
		b->told->acked = begun;
	return rc;
}

static inline void commit(struct crash_bed *b)
{
	ledger_do(&b->app, ROWS, ++b->told->begun);
}

/* ---- what must be true ---- */

/* At this moment. The highest TXID. */
static inline uint64_t check_restorable(struct crash_bed *b)
{
	char to[300];
	uint64_t n = 0;
	snprintf(to, sizeof(to), "%s/restored.db", b->dir);
	assert_int_equal(ship_restore(b->url, to), ERR_OK);
	assert_true(ledger_check(to, ROWS, &n));
	if (n < b->told->acked || n > b->told->begun)
		fail_msg("operation %" PRIu64 ", but %" PRIu64 " was acknowledged", n, b->told->acked);
	unlink(to);
	return ship_max_txid(b->url);
}

/* Bytes of the L0 files behind this TXID. */
static inline uint64_t shipped_after(const struct crash_bed *b, uint64_t txid)
{
	struct store *s = NULL;
	struct ltx_set set;
	struct err e = ERR_INIT;
	uint64_t bytes = 0;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, b->url, NULL, &e), ERR_OK);
	assert_int_equal(restore_list(s, &set, &e), ERR_OK);
	for (size_t i = 0; i < set.count; i++)
		if (set.files[i].level == 0 && set.files[i].min_txid > txid)
			bytes += set.files[i].size;
	ltxset_free(&set);
	store_close(s);
	return bytes;
}

static inline void check_no_temporary_files(const struct crash_bed *b, const char *where)
{
	char command[900];
	snprintf(command, sizeof(command),
		"cd '%s' && ! find %s '(' -name '*.tmp*' -o -name 'staging-*' -o -name '*~*' -o "
		"-path './.app.db-litestream/uploads/*' ')' | grep . >&2 && "
		"! ls -A | grep -vxE 'app.db|app.db-wal|app.db-shm|[.]app.db-litestream|replica' >&2",
		b->dir, where);
	if (system(command) != 0)
		fail_msg("left behind after %s", crash_where());
}

static inline int only_sync(struct ship *s, void *bed)
{
	s->no_upkeep = true;
	return sync_all(s, bed);
}

static inline int only_upkeep(struct ship *s, void *bed)
{
	int rc = only_sync(s, bed);
	ship_upkeep(s);
	return rc;
}

/* After a crash, and some commits of the app behind it: the next lives. `max` is what was in the
 * replica at the crash, `unshipped` the commits that no sync had acknowledged. */
static inline void check_goes_on(struct crash_bed *b, uint64_t max, uint64_t unshipped)
{
	uint64_t digest = ship_digest(b->url, max);
	assert_int_equal(crash_life(&b->cfg, -1, only_sync, b), 0);
	assert_true(ship_digest(b->url, max) == digest);
	uint64_t bytes = shipped_after(b, max);
	if (bytes > (unshipped + 1) * COMMIT_BYTES)
		fail_msg("%s: %" PRIu64 " bytes for %" PRIu64 " commits", crash_where(), bytes, unshipped);
	assert_int_equal(crash_life(&b->cfg, -1, only_upkeep, b), 0);
	check_restorable(b);
	check_no_temporary_files(b, ".app.db-litestream");
}

static inline void crash_bed_open(struct crash_bed *b)
{
	memset(b, 0, sizeof(*b));
	b->dir = scene_begin();
	agent_start(&b->app);
	crash_watch();
	b->told =
		mmap(NULL, sizeof(*b->told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(b->told != MAP_FAILED);
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "file://%s/replica", b->dir);
	b->cfg = ship_config(b->db, b->url);
	agent_do(&b->app, "open %s", b->db);
	b->told->open = true;
	ledger_create(&b->app, ROWS);
	agent_sql(&b->app, "PRAGMA synchronous = OFF");
}

static inline void crash_bed_close(struct crash_bed *b)
{
	agent_stop(&b->app);
	munmap(b->told, sizeof(*b->told));
	scene_end(b->dir, NULL);
}

#endif
