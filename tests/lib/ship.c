#include "lib/ship.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "format/ltxset.h"
#include "lib/moved_clock.h"
#include "replicate/snapshots.h"
#include "restore/restore.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REAL_LIMIT_US (INT64_C(20) * 1000000)
#define SNAPSHOT_TURNS 20000
#define SKIP_US 30000 /* shorter waits are waited for */

/* ---- the clock ---- */

static int64_t ahead_ms;

static int64_t set_wall_ms(void)
{
	return wall_ms() + ahead_ms;
}

static void sleep_us(int64_t us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	nanosleep(&t, NULL);
}

static const struct clock_ops moved_clock = {set_wall_ms, mono_us, boot_ms, sleep_us};

const struct clock_ops *ship_clock(void)
{
	return &moved_clock;
}

void ship_skip(int64_t ms)
{
	clock_set_ops(&moved_clock);
	skipped_us += ms * 1000;
}

void ship_set_clock(int64_t by_ms)
{
	ahead_ms = by_ms;
}

void ship_begin_hour(void)
{
	const int64_t hour = INT64_C(3600) * 1000, into = INT64_C(300) * 1000;
	ship_set_clock(0);
	ship_set_clock((hour + into - set_wall_ms() % hour) % hour);
}

/* ---- driving ---- */

struct replicator_config ship_config(const char *db, const char *url)
{
	return (struct replicator_config){.database = db, .replica = url};
}

int ship_open(struct ship *s, const struct replicator_config *cfg)
{
	struct err e = ERR_INIT;
	memset(s, 0, sizeof(*s));
	clock_set_ops(&moved_clock);
	s->cfg = *cfg;
	int rc = source_watch_new(&s->watch, &e);
	s->cfg.watch = s->watch;
	s->cfg.user = s;
	s->work_due = s->upkeep_due = INT64_MAX;
	if (!rc)
		rc = replicator_open(&s->r, &s->cfg, &e);
	if (rc)
		fprintf(stderr, "replicator_open: %s\n", e.text);
	return rc;
}

void ship_close(struct ship *s)
{
	replicator_close(s->r);
	source_watch_free(s->watch);
	memset(s, 0, sizeof(*s));
}

static void note_event(void *ctx, void *user)
{
	(void)ctx;
	((struct ship *)user)->turn_due = 0;
}

static int64_t after(int64_t wait)
{
	int64_t now = clock_mono_us(), due;
	return __builtin_add_overflow(now, wait, &due) ? INT64_MAX : due;
}

static void one_turn(struct ship *s)
{
	int64_t wait;
	bool work;
	s->turn_due = INT64_MAX;
	replicator_turn(s->r, &wait, &work);
	s->turns++;
	s->turn_due = after(wait);
	if (work)
		s->work_due = 0;
	if (replicator_upkeep_wanted(s->r))
		s->upkeep_due = 0;
}

static void one_work(struct ship *s)
{
	int64_t wait;
	s->work_due = INT64_MAX;
	replicator_work(s->r, &wait);
	s->works++;
	s->work_due = after(wait);
	s->turn_due = 0;
	if (replicator_upkeep_wanted(s->r))
		s->upkeep_due = 0;
}

void ship_upkeep(struct ship *s)
{
	int64_t wait;
	s->upkeep_due = INT64_MAX;
	replicator_upkeep(s->r, &wait);
	s->upkeeps++;
	s->upkeep_due = after(wait);
	s->turn_due = 0;
}

/* One step of the loop, until `until` (moved clock) at most. */
static void step(struct ship *s, int64_t until, bool skip)
{
	int64_t now = clock_mono_us();
	if (s->upkeep_due <= now &&
		!s->no_upkeep) { /* first: it is seldom due, a turn may be for a long time */
		ship_upkeep(s);
		return;
	}
	if (s->turn_due <= now) {
		one_turn(s);
		return;
	}
	if (s->work_due <= now) {
		one_work(s);
		return;
	}
	int64_t next = s->turn_due < s->work_due ? s->turn_due : s->work_due;
	if (s->upkeep_due < next && !s->no_upkeep)
		next = s->upkeep_due;
	if (next > until)
		next = until;
	int64_t wait = next - now;
	bool skipping = skip && wait > SKIP_US;
	struct pollfd p = {.fd = source_watch_fd(s->watch), .events = POLLIN};
	int n = poll(&p, 1, skipping ? 5 : (int)((wait + 999) / 1000));
	if (n > 0)
		source_watch_read(s->watch, note_event, s);
	else if (skipping)
		skipped_us += next - clock_mono_us() > 0 ? next - clock_mono_us() : 0;
}

void ship_for(struct ship *s, int ms)
{
	int64_t until = clock_mono_us() + (int64_t)ms * 1000;
	while (clock_mono_us() < until)
		step(s, until, false);
}

static int always(struct replicator *r, struct err *e)
{
	(void)r, (void)e;
	return ERR_OK;
}

bool ship_snapshot(struct ship *s)
{
	struct replica_file made = {0};
	struct err e = ERR_INIT;
	int64_t wait;
	bool without = s->no_upkeep;
	int rc = ERR_OK;
	s->no_upkeep = true; /* it would take what is copied for its own */
	for (int i = 0; !rc && i < SNAPSHOT_TURNS && !made.max_txid; i++) {
		rc = snapshot_step(s->r, true, always, &made, &wait, &e);
		s->turn_due = 0;
		if (!rc)
			ship_for(s, 1);
	}
	s->no_upkeep = without;
	if (rc)
		fprintf(stderr, "snapshot: %s\n", e.text);
	return !rc && made.max_txid != 0;
}

bool ship_until(struct ship *s, enum replicator_state state)
{
	int64_t limit = moved_real_us(CLOCK_MONOTONIC) + REAL_LIMIT_US;
	while (ship_status(s).state != state) {
		if (moved_real_us(CLOCK_MONOTONIC) > limit) {
			struct replicator_status st = ship_status(s);
			fprintf(stderr, "never %s, but %s: %s\n", replicator_state_name(state),
				replicator_state_name(st.state), st.reason);
			return false;
		}
		step(s, clock_mono_us() + 1000000, true);
	}
	return true;
}

int ship_sync(struct ship *s, int max_ms)
{
	int64_t limit = moved_real_us(CLOCK_MONOTONIC) + REAL_LIMIT_US;
	int64_t until = clock_mono_us() + (max_ms ? max_ms : 300000) * INT64_C(1000);
	uint64_t ticket = replicator_sync(s->r);
	struct err e = ERR_INIT;
	int rc;
	s->turn_due = 0;
	while ((rc = replicator_sync_done(s->r, ticket, &e)) == ERR_AGAIN) {
		if (clock_mono_us() >= until || moved_real_us(CLOCK_MONOTONIC) > limit)
			break;
		step(s, until, true);
	}
	return rc;
}

struct replicator_status ship_status(struct ship *s)
{
	struct replicator_status st;
	replicator_get_status(s->r, &st);
	return st;
}

/* ---- the app ---- */

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *fmt, ...)
{
	char command[8192];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(command) || system(command) != 0) {
		fprintf(stderr, "failed: %s\n", command);
		abort();
	}
}

void app_sql(const char *db, const char *sql)
{
	run("sqlite3 -cmd '.timeout 5000' -cmd 'PRAGMA synchronous = OFF' '%s' \"%s\" >/dev/null", db,
		sql);
}

void app_create(const char *db, int rows)
{
	char sql[512];
	snprintf(sql, sizeof(sql),
		"PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		"INSERT INTO t SELECT i, randomblob(400) FROM n",
		rows);
	app_sql(db, sql);
}

void app_change(const char *db)
{
	app_sql(db, "UPDATE t SET b = randomblob(400) WHERE a % 17 = abs(random()) % 17;"
				"INSERT INTO t(b) VALUES (randomblob(900))");
}

void app_fold(const char *db, const char *copy)
{
	run("cp '%s' '%s' && { [ ! -f '%s-wal' ] || cp '%s-wal' '%s-wal'; }", db, copy, db, db, copy);
	app_sql(copy, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/* ---- the store ---- */

static struct store *open_store(const char *url)
{
	struct store *s = NULL;
	struct err e = ERR_INIT;
	if (store_open(&s, url, NULL, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	return s;
}

static int restore(const char *url, const char *to, struct restore_result *result)
{
	struct store *s = open_store(url);
	struct restore_options o = {.output = to, .state_dir = "", .parallelism = 1};
	struct err e = ERR_INIT;
	unlink(to);
	int rc = restore_run(s, &o, result, &e);
	if (rc)
		fprintf(stderr, "restore: %s\n", e.text);
	restore_plan_free(&result->plan);
	store_close(s);
	return rc;
}

int ship_restore(const char *url, const char *to)
{
	struct restore_result result = {0};
	return restore(url, to, &result);
}

bool ship_same(const char *db, const char *url, const char *dir)
{
	char restored[512], copy[512];
	struct restore_result result = {0};
	snprintf(restored, sizeof(restored), "%s/same-restored.db", dir);
	snprintf(copy, sizeof(copy), "%s/same-copy.db", dir);
	if (restore(url, restored, &result))
		return false;
	app_fold(db, copy);
	char compare[1200];
	snprintf(compare, sizeof(compare), "cmp '%s' '%s' >&2", copy, restored);
	bool same = system(compare) == 0;
	if (result.proof != RESTORE_PROVEN)
		fprintf(stderr, "restored, but not proven\n");
	if (!same && getenv("KEEP"))
		run("rm -rf /tmp/keep; cp -a '%s' /tmp/keep", dir);
	run("rm -f '%s' '%s'*", restored, copy);
	return same && result.proof == RESTORE_PROVEN;
}

uint64_t ship_max_txid(const char *url)
{
	struct store *s = open_store(url);
	struct ltx_set set;
	struct err e = ERR_INIT;
	ltxset_init(&set);
	if (restore_list(s, &set, &e))
		abort();
	uint64_t max = ltxset_max_txid(&set);
	ltxset_free(&set);
	store_close(s);
	return max;
}

bool ship_has(const char *url, int level, uint64_t min_txid, uint64_t max_txid)
{
	struct store *s = open_store(url);
	struct ltx_set set;
	struct err e = ERR_INIT;
	bool has = false;
	ltxset_init(&set);
	if (restore_list(s, &set, &e))
		abort();
	for (size_t i = 0; i < set.count; i++)
		has = has || (set.files[i].level == level && set.files[i].min_txid == min_txid &&
						 set.files[i].max_txid == max_txid);
	ltxset_free(&set);
	store_close(s);
	return has;
}

static int add_bytes(void *ctx, const void *p, size_t n, struct err *e)
{
	uint64_t *digest = ctx;
	(void)e;
	*digest = crc64_iso(*digest, p, n);
	return ERR_OK;
}

uint64_t ship_digest(const char *url, uint64_t upto)
{
	struct store *s = open_store(url);
	struct ltx_set set;
	struct err e = ERR_INIT;
	uint64_t digest = 0;
	ltxset_init(&set);
	if (restore_list(s, &set, &e))
		abort();
	for (size_t i = 0; i < set.count; i++) {
		char folder[16], name[LTX_NAME_SIZE], full[64];
		const struct ltx_file *f = &set.files[i];
		if (f->level != 0 || f->max_txid > upto)
			continue;
		store_level_prefix(s, 0, folder);
		ltx_format_name(f->min_txid, f->max_txid, name);
		snprintf(full, sizeof(full), "%s%s", folder, name);
		digest = crc64_iso(digest, name, sizeof(name));
		if (store_get(s, full, 0, 0, add_bytes, &digest, &e))
			abort();
	}
	ltxset_free(&set);
	store_close(s);
	return digest;
}
