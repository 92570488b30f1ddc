/*
 * What the app feels of the source: locks, waits and the size of its WAL. The bounds are wide, so
 * that a busy machine passes; the figures themselves are measured by the bench.
 *
 *   a long reader beside an app without busy timeout     long_reader_and_no_busy_timeout
 *   the barrier switched off                             no_barrier_means_no_lock
 *   slow fsync                                           slow_fsync
 *   a writer at full speed                               full_speed_keeps_the_wal_small
 *   the pin in a WAL beyond the automatic checkpoint     pin_stays_in_a_large_wal
 *   a checkpoint of the app's that does not get on       held_checkpoint_holds_the_writers
 *   the app's own TRUNCATE                               truncate_is_not_busy
 *   a checkpoint of the app's that waits for a reader    pin_is_not_in_a_waiting_checkpoints_way
 *   an app that empties its WAL itself                   app_that_truncates_is_left_to_it
 *   a replicator that was stopped and goes on            stopped_replicator_goes_on
 *   no inotify instances left                            without_inotify
 */
#include "base/clock.h"
#include "base/log.h"
#include "lib/agent.h"
#include "lib/follow.h"
#include "lib/pausevfs.h"
#include "lib/tmpdir.h"

#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

/* With FULL=1, for a quiet machine, 64 MB; where others keep the processors, four times that. */
#define WAL_MOST ((uint64_t)(getenv("FULL") ? 64 : 256) << 20)

static char *dir;
static char db[4096];
static struct agent a;
static struct follow f;
static struct source_config cfg;

/* What a writer did, shared with its process. */
struct report {
	int commits, locked;
	int64_t slowest_us;
};
static struct report *report;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	dir = tmpdir_new();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	cfg = (struct source_config){.path = db};
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	agent_start(&a);
	agent_do(&a, "open %s", db);
	agent_sql(&a, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	agent_stop(&a);
	follow_free(&f);
	munmap(report, sizeof(*report));
	tmpdir_free(dir);
	return 0;
}

struct load {
	int timeout_ms, per_second, bytes;
	int64_t us, fsync_us;
	const char *pragma;
};

static void write_one(sqlite3 *q, int bytes)
{
	char sql[100];
	snprintf(sql, sizeof(sql), "INSERT INTO t(v) VALUES(randomblob(%d))", bytes);
	int64_t began = clock_mono_us();
	if (sqlite3_exec(q, sql, NULL, NULL, NULL) == SQLITE_OK)
		report->commits++;
	else
		report->locked++;
	if (clock_mono_us() - began > report->slowest_us)
		report->slowest_us = clock_mono_us() - began;
}

static void never(enum pause_point at)
{
	(void)at;
}

static pid_t start_writer(const struct load *l)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	pausevfs_install(never);
	pausevfs_slow_sync(l->fsync_us);
	sqlite3 *q;
	sqlite3_open(db, &q);
	sqlite3_busy_timeout(q, l->timeout_ms);
	sqlite3_exec(q, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
	if (l->pragma)
		sqlite3_exec(q, l->pragma, NULL, NULL, NULL);
	int64_t began = clock_mono_us(), n = 0;
	while (clock_mono_us() - began < l->us) {
		write_one(q, l->bytes);
		n++;
		int64_t due = l->per_second ? began + n * S / l->per_second - clock_mono_us() : 0;
		if (due > 0)
			usleep((useconds_t)due);
	}
	sqlite3_close(q);
	_exit(0);
}

static bool has_ended(void *pid)
{
	return waitpid(*(pid_t *)pid, NULL, WNOHANG) != 0;
}

static void follow_writer(pid_t pid)
{
	assert_true(follow_until(&f, has_ended, &pid, 60 * S));
}

static void assert_same_at_the_end(void)
{
	follow_catch_up(&f);
	assert_int_equal(f.lost, 0);
	assert_int_equal(follow_compare_scan(&f), 0);
	follow_stop(&f);
	agent_stop(&a);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

/* A barrier can't help against the reader, and each would cost this app transactions. */
static void long_reader_and_no_busy_timeout(void **state)
{
	(void)state;
	struct load l = {.timeout_ms = 0, .per_second = 300, .bytes = 40000, .us = 3 * S};
	agent_sql(&a, "INSERT INTO t(v) VALUES(1)");
	agent_sql(&a, "BEGIN; SELECT count(*) FROM t");
	pid_t pid = start_writer(&l);
	follow_start(&f, &cfg, NULL);
	follow_writer(pid);
	printf("%d commits, %d locked, WAL %.1f MiB\n", report->commits, report->locked,
		(double)f.wal_max / (1 << 20));
	assert_true(report->commits > 200);
	assert_true(f.wal_max > (8 << 20)); /* large enough for a barrier */
	assert_true(report->locked * 100 <= report->commits);
	agent_sql(&a, "ROLLBACK");
	/* The reader is gone: the WAL gets small again. */
	struct source_counts before, after;
	source_get_counts(f.source, &before);
	for (int i = 0; i < 700 && f.last.wal_bytes > (4 << 20); i++) {
		follow_for(&f, 10 * MS);
		agent_sql_beside(&a, &f, "INSERT INTO t(v) VALUES(2)");
	}
	source_get_counts(f.source, &after);
	assert_true(after.restarts > before.restarts);
	assert_same_at_the_end();
}

static void no_barrier_means_no_lock(void **state)
{
	(void)state;
	struct load l = {.timeout_ms = 0, .per_second = 500, .bytes = 20000, .us = 2 * S};
	cfg.no_barrier = true;
	pid_t pid = start_writer(&l);
	follow_start(&f, &cfg, NULL);
	follow_writer(pid);
	struct source_counts counts;
	source_get_counts(f.source, &counts);
	assert_int_equal(counts.barriers, 0);
	assert_true(counts.checkpoints > 0);
	assert_int_equal(report->locked, 0);
	assert_same_at_the_end();
}

/* The automatic checkpoints of an app beside a pin would fsync at every commit. */
static void slow_fsync(void **state)
{
	(void)state;
	struct load l = {
		.timeout_ms = 10000, .per_second = 400, .bytes = 3000, .us = 4 * S, .fsync_us = 15 * MS};
	pid_t pid = start_writer(&l);
	pausevfs_install(never);
	pausevfs_slow_sync(l.fsync_us);
	follow_start(&f, &cfg, NULL);
	follow_writer(pid);
	printf("%d commits of %d, slowest %.0f ms, WAL %.1f MiB\n", report->commits, 4 * 400,
		(double)report->slowest_us / 1000, (double)f.wal_max / (1 << 20));
	assert_true(report->commits > 4 * 400 / 2);
	assert_true(f.wal_max < (64 << 20));
	pausevfs_slow_sync(0);
	assert_same_at_the_end();
}

static void full_speed_keeps_the_wal_small(void **state)
{
	(void)state;
	struct load l = {.timeout_ms = 10000, .bytes = 3000, .us = 4 * S};
	pid_t pid = start_writer(&l);
	follow_start(&f, &cfg, NULL);
	follow_writer(pid);
	printf("%d commits, slowest %.0f ms, WAL %.1f MiB\n", report->commits,
		(double)report->slowest_us / 1000, (double)f.wal_max / (1 << 20));
	assert_true(report->commits > 400);
	struct source_counts counts;
	source_get_counts(f.source, &counts);
	assert_true(counts.barriers > 0 && counts.restarts > 0);
	assert_true(f.wal_max < WAL_MOST);
	assert_same_at_the_end();
}

static int commits_in(int64_t us)
{
	int before = report->commits;
	follow_for(&f, us);
	return report->commits - before;
}

/* A checkpoint that holds its lock and does not get on, as a TRUNCATE that never meets the write
 * lock free: nobody can checkpoint, so the writers are slowed down. */
static void held_checkpoint_holds_the_writers(void **state)
{
	(void)state;
	struct load l = {.timeout_ms = 10000, .bytes = 3000, .us = 6 * S};
	pid_t pid = start_writer(&l);
	follow_start(&f, &cfg, NULL);
	int freely = commits_in(1000 * MS);
	agent_do(&a, "pause ckpt-header");
	do { /* busy while one of ours runs */
		agent_send(&a, "sql PRAGMA wal_checkpoint");
		assert_true(follow_until(&f, agent_answered, &a, 3 * S));
	} while (strcmp(agent_answer(&a), "paused") != 0);
	struct source_counts before, after;
	source_get_counts(f.source, &before);
	int held = commits_in(3000 * MS);
	source_get_counts(f.source, &after);
	printf("%d commits in 1 s, %d in 3 s beside a held checkpoint, WAL %.1f MiB\n", freely, held,
		(double)f.wal_max / (1 << 20));
	/* TSan makes us ten times slower and the writers' SQLite not at all: what is left of a pace
	 * then tells nothing. That all of it arrives does. */
#ifndef __SANITIZE_THREAD__
	assert_true(held > 0);
	assert_true(after.barriers >= before.barriers + 10);
#endif
	agent_send(&a, "go");
	assert_true(follow_until(&f, agent_answered, &a, 10 * S));
	agent_answer(&a);
	follow_writer(pid);
	assert_same_at_the_end();
}

/* Each move of the pin would give the app's automatic checkpoint something to do, at every commit.
 */
static void pin_stays_in_a_large_wal(void **state)
{
	(void)state;
	cfg.no_barrier = true;
	cfg.checkpoint_frames = 1000000;
	agent_sql(&a, "PRAGMA wal_autocheckpoint=0");
	follow_start(&f, &cfg, NULL);
	agent_sql(&a, "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<900) "
				  "INSERT INTO t(v) SELECT randomblob(3500) FROM i");
	follow_catch_up(&f);
	struct source_counts before, after;
	source_get_counts(f.source, &before);
	for (int i = 0; i < 50; i++) {
		agent_sql(&a, "INSERT INTO t(v) VALUES(1)");
		f.last.wait_us = 0;
		follow_turn(&f, 0);
		assert_true(f.last.captured);
	}
	source_get_counts(f.source, &after);
	assert_int_equal(after.renewals, before.renewals);
	/* But whoever waits for it does not wait long. */
	int64_t took = agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
	assert_in_range(took, 0, 1000 * MS);
	assert_memory_equal(strrchr(a.line, ' '), " 0", 3);
	assert_same_at_the_end();
}

static void truncate_is_not_busy(void **state)
{
	(void)state;
	struct load l = {.timeout_ms = 10000, .per_second = 300, .bytes = 1000, .us = 4 * S};
	pid_t pid = start_writer(&l);
	follow_start(&f, &cfg, NULL);
	int quick = 0, busy = 0;
	for (int i = 0; i < 50; i++) {
		int64_t took = agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
		busy += strcmp(strrchr(a.line, ' '), " 0") != 0;
		quick += took >= 0 && took < 200 * MS;
		follow_for(&f, 20 * MS);
	}
	printf("50 calls, %d quick, %d busy\n", quick, busy);
	assert_int_equal(busy, 0);
	assert_in_range(quick, 40, 50);
	follow_writer(pid);
	assert_same_at_the_end();
}

/* Each of four readers on a read mark of its own, all older than the last commit; three leave. */
static void read_on_mark_four(struct agent *readers)
{
	agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
	follow_for(&f, 20 * MS); /* to mark 0, where the pin takes none of the four */
	for (int i = 0; i < 4; i++) {
		agent_sql(&a, "INSERT INTO t(v) VALUES(1)");
		agent_sql(&readers[i], "BEGIN; SELECT count(*) FROM t");
	}
	agent_sql(&a, "INSERT INTO t(v) VALUES(1)");
	for (int i = 0; i < 3; i++)
		agent_sql(&readers[i], "ROLLBACK");
	follow_catch_up(&f);
}

/* A FULL waits for mark 4, whose reader leaves while it sleeps: wherever the pin goes meanwhile, on
 * that mark it would hold up the checkpoint, and the writers, for all of its busy timeout. */
static void pin_is_not_in_a_waiting_checkpoints_way(void **state)
{
	static const int64_t leaves_ms[] = {36, 38, 40, 42, 44, 82, 84, 86, 88, 90, 92, 182, 186};
	struct agent readers[4], c;
	(void)state;
	for (int i = 0; i < 4; i++) {
		agent_start(&readers[i]);
		agent_do(&readers[i], "open %s", db);
	}
	agent_start(&c);
	agent_do(&c, "open %s", db);
	follow_start(&f, &cfg, NULL);
	for (size_t i = 0; i < sizeof(leaves_ms) / sizeof(leaves_ms[0]); i++) {
		read_on_mark_four(readers);
		agent_send(&c, "sql PRAGMA wal_checkpoint(full)");
		follow_for(&f, leaves_ms[i] * MS);
		assert_false(agent_answered(&c));
		agent_sql(&readers[3], "ROLLBACK");
		assert_true(follow_until(&f, agent_answered, &c, 30 * S));
		agent_answer(&c);
		assert_memory_equal(strrchr(c.line, ' '), " 0", 3);
		assert_in_range(atoll(c.line + strlen("ok ")), 0, 4 * S);
	}
	for (int i = 0; i < 4; i++)
		agent_stop(&readers[i]);
	agent_stop(&c);
	assert_same_at_the_end();
}

/* Own checkpoints in a WAL of 600 frames that began at most `after` ago; SIZE_MAX: it took longer.
 */
static uint64_t checkpoints_in_600_frames(int64_t after)
{
	int64_t began = clock_mono_us();
	struct source_counts was, is;
	source_get_counts(f.source, &was);
	agent_sql(&a, "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<600) "
				  "INSERT INTO t(v) SELECT randomblob(3500) FROM i");
	follow_catch_up(&f);
	follow_for(&f, 20 * MS);
	source_get_counts(f.source, &is);
	return clock_mono_us() - began < after ? is.checkpoints - was.checkpoints : SIZE_MAX;
}

/* While a checkpoint of ours runs, SQLite answers the app's own with "busy". */
static void app_that_truncates_is_left_to_it(void **state)
{
	(void)state;
	agent_sql(&a, "PRAGMA wal_autocheckpoint=0");
	follow_start(&f, &cfg, NULL);
	assert_in_range(checkpoints_in_600_frames(3600 * S), 1, 100);
	uint64_t ours = SIZE_MAX;
	for (int i = 0; i < 50 && ours == SIZE_MAX; i++) {
		agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
		assert_memory_equal(strrchr(a.line, ' '), " 0", 3);
		ours = checkpoints_in_600_frames(1 * S);
	}
	assert_int_equal(ours, 0);
	/* Once it has given that up, we begin again: the same 600 frames are due. */
	clock_sleep_us(2100 * MS);
	agent_sql(&a, "INSERT INTO t(v) VALUES(1)");
	struct source_counts was, is;
	source_get_counts(f.source, &was);
	follow_catch_up(&f);
	follow_for(&f, 50 * MS);
	source_get_counts(f.source, &is);
	assert_in_range(is.checkpoints - was.checkpoints, 1, 100);
	assert_same_at_the_end();
}

/* SIGSTOP for a while, with a pin held: everything must still be there. (Here: no turns.) */
static void stopped_replicator_goes_on(void **state)
{
	(void)state;
	struct load l = {.timeout_ms = 100, .per_second = 400, .bytes = 3000, .us = 3 * S};
	pid_t pid = start_writer(&l);
	follow_start(&f, &cfg, NULL);
	for (int i = 0; i < 6; i++) {
		follow_for(&f, (i * 37 % 100) * MS);
		usleep((useconds_t)((100 + i * 71 % 200) * MS));
	}
	follow_writer(pid);
	assert_true(report->commits > 300);
	assert_same_at_the_end();
}

static void without_inotify(void **state)
{
	(void)state;
	follow_open_with(&f, &cfg, NULL);
	assert_int_equal(follow_attach(&f, NULL), ERR_OK);
	agent_sql(&a, "INSERT INTO t(v) VALUES(1)");
	follow_for(&f, 1200 * MS);
	agent_sql(&a, "INSERT INTO t(v) VALUES(2)");
	unsigned commits = f.commits;
	follow_for(&f, 1500 * MS);
	assert_true(f.commits > commits);
	assert_same_at_the_end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* With an argument: only tests whose name fits that pattern. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(long_reader_and_no_busy_timeout), TEST(no_barrier_means_no_lock),
		TEST(full_speed_keeps_the_wal_small), TEST(held_checkpoint_holds_the_writers),
		TEST(pin_stays_in_a_large_wal), TEST(truncate_is_not_busy),
		TEST(pin_is_not_in_a_waiting_checkpoints_way), TEST(app_that_truncates_is_left_to_it),
		TEST(stopped_replicator_goes_on), TEST(without_inotify),
		TEST(slow_fsync), /* last: it gives this process a slow VFS too */
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
