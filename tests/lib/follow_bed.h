/*
 * What the tests of restore -f share: a replica whose states are known (lib/replica.h), a database
 * that follows it, and a script that goes on each time the follower has looked and waits.
 */
#ifndef TESTS_LIB_FOLLOW_BED_H
#define TESTS_LIB_FOLLOW_BED_H

#include "lib/restore_bed.h"

#include "base/endian.h"
#include "base/fs.h"
#include "base/log.h"
#include "restore/follow.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define FOLLOW_BED_MS 1000

struct follow_bed {
	struct bed b;
	int turns; /* so many times the follower may wait for its interval */
	/* Called each time; `turn` counts from 1. May be NULL. */
	void (*script)(struct follow_bed *f, int turn);
	int turn;
	int64_t waited_ms, longest_ms;
	void (*busy)(struct follow_bed *f); /* called while it waits for a lock */
	sqlite3 *reader;
	sqlite3_stmt *reading;
};

static inline int follow_bed_fsync(int fd)
{
	(void)fd;
	return 0;
}

/* ---- without fsync, ours and SQLite's ---- */

static const sqlite3_vfs *follow_bed_real;

static inline int follow_bed_sync(sqlite3_file *f, int flags)
{
	(void)f, (void)flags;
	return SQLITE_OK;
}

static inline int follow_bed_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)sync;
	return follow_bed_real->xDelete(vfs, name, 0);
}

static inline int follow_bed_vfs_open(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	static sqlite3_io_methods methods[2]; /* the database's has locks, the journal's none */
	int rc = follow_bed_real->xOpen(vfs, name, f, flags, out);
	sqlite3_io_methods *m = &methods[(flags & SQLITE_OPEN_MAIN_DB) != 0];
	if (!f->pMethods)
		return rc;
	*m = *f->pMethods;
	m->xSync = follow_bed_sync;
	f->pMethods = m;
	return rc;
}

/* For tests that are not about what survives a loss of power. */
static inline void follow_bed_no_fsync(void)
{
	static struct fs_ops ops;
	static sqlite3_vfs vfs;
	if (!follow_bed_real) {
		follow_bed_real = sqlite3_vfs_find(NULL);
		vfs = *follow_bed_real;
		vfs.pNext = NULL;
		vfs.zName = "without-fsync";
		vfs.xOpen = follow_bed_vfs_open;
		vfs.xDelete = follow_bed_delete;
		assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
	}
	ops = fs_system_ops;
	ops.fsync = ops.fdatasync = follow_bed_fsync;
	fs_set_ops(&ops);
}

static inline bool follow_bed_wait(void *ctx, int64_t ms)
{
	struct follow_bed *f = ctx;
	if (ms < FOLLOW_BED_MS) {
		if (f->busy)
			f->busy(f);
		return false;
	}
	f->waited_ms += ms;
	f->longest_ms = ms > f->longest_ms ? ms : f->longest_ms;
	if (++f->turn >= f->turns)
		return true;
	if (f->script)
		f->script(f, f->turn);
	return false;
}

static inline void follow_bed_open(
	struct follow_bed *f, const char *url, uint32_t page_size, bool ours)
{
	memset(f, 0, sizeof(*f));
	log_set_level(LOG_ERROR + 1);
	bed_open(&f->b, url, page_size, ours);
}

static inline void follow_bed_close(struct follow_bed *f)
{
	bed_close(&f->b);
}

/* A database that is to be followed, at this TXID. */
static inline void follow_bed_restore(struct follow_bed *f, uint64_t txid)
{
	struct bed *b = &f->b;
	struct follow_begin begin = {b->db, store_url(b->store)};
	struct restore_options o = {.target = {.txid = txid, .only_ltx = true},
		.output = b->db,
		.state_dir = "",
		.ready = follow_ready,
		.ready_ctx = &begin};
	err_clear(&b->e);
	if (restore_run(b->store, &o, &b->result, &b->e))
		fail_msg("%s", b->e.text);
	restore_plan_free(&b->result.plan);
}

/* Follows for so many turns. */
static inline int follow_bed_run(struct follow_bed *f, int turns)
{
	const struct follow_options o = {
		.output = f->b.db, .interval_ms = FOLLOW_BED_MS, .wait = follow_bed_wait, .wait_ctx = f};
	f->turns = turns;
	f->turn = 0;
	f->waited_ms = f->longest_ms = 0;
	err_clear(&f->b.e);
	return follow_run(f->b.store, &o, &f->b.e);
}

/* Is the file the database at `txid`, but for what a follower changes in page 1? */
static inline bool follow_bed_is(const struct follow_bed *f, uint64_t txid)
{
	const struct replica_state *s = &f->b.r.states[txid];
	size_t size = (size_t)s->n_page * f->b.r.page_size;
	uint8_t *found = malloc(size);
	int fd = open(f->b.db, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && found);
	bool same = pread(fd, found, size, 0) == (ssize_t)size && found[18] == 1 && found[19] == 1 &&
				get_be32(found + 28) == s->n_page && memcmp(found + 24, found + 92, 4) == 0;
	memcpy(found + 18, s->image + 18, 2);
	memcpy(found + 24, s->image + 24, 8);
	memcpy(found + 92, s->image + 92, 4);
	same = same && memcmp(found, s->image, size) == 0;
	close(fd);
	free(found);
	return same;
}

static inline void follow_bed_expect(const struct follow_bed *f, uint64_t txid)
{
	char name[300], text[20];
	struct stat st;
	if (!follow_bed_is(f, txid))
		fail_msg("it is not at TXID %" PRIu64, txid);
	assert_int_equal(stat(f->b.db, &st), 0);
	assert_int_equal(st.st_size, (off_t)f->b.r.states[txid].n_page * f->b.r.page_size);
	snprintf(name, sizeof(name), "%s-txid", f->b.db);
	snprintf(text, sizeof(text), "%016" PRIx64 "\n", txid);
	assert_true(text_is(name, text));
	snprintf(name, sizeof(name), "%s-journal", f->b.db);
	assert_int_not_equal(access(name, F_OK), 0);
}

/* Somebody begins to read, and has not ended. */
static inline void follow_bed_read(struct follow_bed *f)
{
	assert_int_equal(sqlite3_open_v2(f->b.db, &f->reader, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(f->reader, "PRAGMA user_version", -1, &f->reading, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(f->reading), SQLITE_ROW);
}

static inline void follow_bed_end_read(struct follow_bed *f)
{
	sqlite3_finalize(f->reading);
	assert_int_equal(sqlite3_close(f->reader), SQLITE_OK);
	f->reader = NULL;
}

#endif
