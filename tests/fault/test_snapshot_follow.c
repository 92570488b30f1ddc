/*
 * Snapshots taken one after the other of a database that another process writes all the time,
 * grows, shrinks and vacuums: each is whole, has the recorded checksum, and is what the L0 files up
 * to its TXID make.
 */
#include "lib/image.h"
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/snapshots.h"
#include "store/mem.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define URL "mem://follow"
#define SNAPSHOTS 6
#define ROUNDS 4000 /* of 5 ms at least */

/* ---- the app ---- */

static unsigned below(unsigned n)
{
	return (unsigned)random() % n;
}

static void run(sqlite3 *db, const char *sql)
{
	char *why = NULL;
	int rc = sqlite3_exec(db, sql, NULL, NULL, &why);
	if (rc && rc != SQLITE_BUSY)
		fprintf(stderr, "app: %s: %s\n", sql, why);
	sqlite3_free(why);
}

static void change(sqlite3 *db)
{
	char sql[512];
	switch (below(12)) {
	case 0: /* grows, and shrinks when it is vacuumed */
		run(db, "CREATE TABLE IF NOT EXISTS u(b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
				"SELECT i + 1 FROM n WHERE i < 500) INSERT INTO u SELECT randomblob(900) FROM n");
		break;
	case 1:
		run(db, "DROP TABLE IF EXISTS u; PRAGMA incremental_vacuum(40)");
		break;
	case 2:
		run(db, "VACUUM");
		break;
	case 3: /* spills, and takes it back */
		run(db, "BEGIN; INSERT INTO t(b) SELECT randomblob(3000) FROM t LIMIT 200; SAVEPOINT s; "
				"DELETE FROM t WHERE a % 3 = 0; ROLLBACK TO s; COMMIT; "
				"DELETE FROM t WHERE a > 1500");
		break;
	case 4:
		run(db, "BEGIN; UPDATE t SET b = zeroblob(2000); ROLLBACK");
		break;
	default:
		snprintf(sql, sizeof(sql),
			"UPDATE t SET b = randomblob(%u) WHERE a = %u; INSERT INTO t(b) VALUES (zeroblob(%u))",
			below(2000), below(900), below(9000));
		run(db, sql);
	}
}

static sqlite3 *open_app(const char *path, unsigned page_size)
{
	sqlite3 *db;
	char sql[512];
	if (sqlite3_open(path, &db))
		abort();
	sqlite3_busy_timeout(db, 10000);
	snprintf(sql, sizeof(sql),
		"PRAGMA page_size = %u; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL; "
		"PRAGMA synchronous = OFF; PRAGMA cache_size = 50; "
		"CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)",
		page_size);
	run(db, sql);
	return db;
}

/* A process that writes until it is killed. */
static pid_t start_app(const char *path, unsigned page_size)
{
	pid_t parent = getpid();
	fflush(NULL);
	pid_t pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	srandom(page_size);
	sqlite3 *db = open_app(path, page_size);
	for (unsigned n = 0;; n++) {
		change(db);
		if (n % 8 == 0)
			usleep(below(4000));
	}
}

static void prepare(const char *path, unsigned page_size)
{
	pid_t pid = fork(); /* its connection must not stay open here: locks are a process's */
	if (pid == 0) {
		sqlite3 *db = open_app(path, page_size);
		run(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
				"INSERT INTO t SELECT i, randomblob(900) FROM n");
		sqlite3_close(db);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- snapshots ---- */

static int always(struct replicator *r, struct err *e)
{
	(void)r, (void)e;
	return ERR_OK;
}

/* Goes on until there is a snapshot behind `last`; its TXID. */
static uint64_t snapshot(struct ship *s, uint64_t last)
{
	struct replica_file made;
	struct err e = ERR_INIT;
	int64_t wait;
	for (int i = 0; i < ROUNDS && ship_status(s).txid <= last; i++)
		ship_for(s, 5);
	assert_true(ship_status(s).txid > last); /* it is written all the time */
	for (int i = 0; i < ROUNDS; i++) {
		int rc = snapshot_step(s->r, true, always, &made, &wait, &e);
		if (rc)
			fail_msg("snapshot: %s", e.text);
		if (made.max_txid)
			return made.max_txid;
		s->turn_due = 0;
		ship_for(s, 5);
		/* What was dropped is asked for again after a pause. */
		if (wait > 1000000 && s->r->shared.spool == SPOOL_NONE)
			ship_skip(wait / 1000);
	}
	fail_msg("no snapshot: %s, phase %d", s->r->making.fault, s->r->shared.spool);
	return 0;
}

static void follow(unsigned page_size)
{
	char db[300], *dir = tmpdir_new();
	struct ship s;
	uint64_t txids[SNAPSHOTS];
	snprintf(db, sizeof(db), "%s/app.db", dir);
	prepare(db, page_size);
	struct replicator_config cfg = ship_config(db, URL);
	cfg.sync_interval_ms = 20;
	assert_int_equal(ship_open(&s, &cfg), 0);
	s.no_upkeep = true;
	assert_int_equal(ship_sync(&s, 0), 0);
	pid_t app = start_app(db, page_size);
	for (int i = 0; i < SNAPSHOTS; i++)
		txids[i] = snapshot(&s, i ? txids[i - 1] : 1);
	kill(app, SIGKILL);
	assert_int_equal(waitpid(app, NULL, 0), app);
	assert_int_equal(ship_sync(&s, 0), 0);
	assert_true(ship_same(db, URL, dir));
	for (int i = 0; i < SNAPSHOTS; i++)
		if (!image_snapshot_is_right(URL, txids[i]))
			fail_msg("page size %u: snapshot %d of TXID %u", page_size, i, (unsigned)txids[i]);
	assert_int_equal(s.r->making.uploaded, SNAPSHOTS);
	assert_int_equal(s.r->making.mismatches, 0);
	print_message("page size %u: TXID %u, %u copies dropped\n", page_size,
		(unsigned)txids[SNAPSHOTS - 1], s.r->making.failures);
	ship_close(&s);
	store_mem_forget(NULL);
	tmpdir_free(dir);
}

/* The upkeep finds out by itself that one is due, and goes through all its steps. */
static void test_by_itself(void **state)
{
	(void)state;
	char db[300], *dir = tmpdir_new();
	struct ship s;
	snprintf(db, sizeof(db), "%s/app.db", dir);
	app_create(db, 5000);
	struct replicator_config cfg = ship_config(db, URL);
	assert_int_equal(ship_open(&s, &cfg), 0);
	assert_int_equal(ship_sync(&s, 0), 0);
	ship_for(&s, 20); /* the upkeep of the first upload */
	for (int hour = 1; hour <= 3; hour++) {
		ship_skip(INT64_C(61) * 60 * 1000);
		app_sql(db, "UPDATE t SET b = randomblob(400) WHERE a % 2");
		assert_int_equal(ship_sync(&s, 0), 0);
		uint64_t txid = ship_status(&s).txid;
		for (int i = 0; i < 1000 && !ship_has(URL, 9, 1, txid); i++)
			ship_for(&s, 5);
		assert_true(image_snapshot_is_right(URL, txid));
		assert_string_equal(ship_status(&s).upkeep_error, "");
	}
	assert_true(ship_same(db, URL, dir));
	ship_close(&s);
	store_mem_forget(NULL);
	tmpdir_free(dir);
}

/* ---- in threads of their own ---- */

struct threads {
	struct replicator *r;
	struct source_watch *watch;
	atomic_bool stop;
};

static void ignore_event(void *ctx, void *user)
{
	(void)ctx, (void)user;
}

static void *turn_thread(void *arg)
{
	struct threads *t = arg;
	while (!atomic_load(&t->stop)) {
		int64_t wait;
		bool work;
		replicator_turn(t->r, &wait, &work);
		struct pollfd p = {.fd = source_watch_fd(t->watch), .events = POLLIN};
		if (poll(&p, 1, wait < 3000 ? (int)(wait / 1000) : 3) > 0)
			source_watch_read(t->watch, ignore_event, NULL);
	}
	return NULL;
}

static void *work_thread(void *arg)
{
	struct threads *t = arg;
	while (!atomic_load(&t->stop)) {
		int64_t wait;
		replicator_work(t->r, &wait);
		usleep(1000);
	}
	return NULL;
}

/* What the upkeep does, as fast as it can. */
static unsigned snapshots_beside(struct threads *t, uint64_t txids[SNAPSHOTS])
{
	unsigned n = 0;
	for (int i = 0; i < ROUNDS && n < SNAPSHOTS; i++) {
		struct replica_file made;
		struct err e = ERR_INIT;
		int64_t wait;
		if (replicator_phase(t->r) == PHASE_RUN) {
			if (snapshot_step(t->r, true, always, &made, &wait, &e))
				fail_msg("snapshot: %s", e.text);
			if (made.max_txid)
				txids[n++] = made.max_txid;
			t->r->making.next_us = 0; /* no pauses */
		}
		usleep(5000);
	}
	return n;
}

static void test_threads(void **state)
{
	(void)state;
	char db[300], *dir = tmpdir_new();
	struct threads t = {.r = NULL};
	struct err e = ERR_INIT;
	pthread_t turn, work;
	uint64_t txids[SNAPSHOTS];
	snprintf(db, sizeof(db), "%s/app.db", dir);
	prepare(db, 1024);
	pid_t app = start_app(db, 1024);
	clock_set_ops(NULL);
	assert_int_equal(source_watch_new(&t.watch, &e), 0);
	struct replicator_config cfg = ship_config(db, URL);
	cfg.sync_interval_ms = 20;
	cfg.watch = t.watch;
	cfg.user = &t;
	assert_int_equal(replicator_open(&t.r, &cfg, &e), 0);
	assert_int_equal(pthread_create(&turn, NULL, turn_thread, &t), 0);
	assert_int_equal(pthread_create(&work, NULL, work_thread, &t), 0);
	unsigned n = snapshots_beside(&t, txids);
	kill(app, SIGKILL);
	assert_int_equal(waitpid(app, NULL, 0), app);
	atomic_store(&t.stop, true);
	pthread_join(turn, NULL);
	pthread_join(work, NULL);
	assert_int_equal(t.r->making.mismatches, 0);
	replicator_close(t.r);
	source_watch_free(t.watch);
	assert_int_equal(n, SNAPSHOTS);
	for (unsigned i = 0; i < n; i++)
		assert_true(image_snapshot_is_right(URL, txids[i]));
	store_mem_forget(NULL);
	tmpdir_free(dir);
}

static void test_small_pages(void **state)
{
	(void)state;
	follow(512);
}

static void test_usual_pages(void **state)
{
	(void)state;
	follow(4096);
}

static void test_large_pages(void **state)
{
	(void)state;
	follow(65536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_pages),
		cmocka_unit_test(test_usual_pages),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_by_itself),
		cmocka_unit_test(test_threads),
	};
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
	scene_no_fsync();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
