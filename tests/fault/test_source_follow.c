/*
 * Databases of all shapes, followed while an app in another process changes them, and compared byte
 * for byte: page sizes, shrinking and growing, large transactions, images in slices under writes.
 *
 *   page sizes 512 to 65536                     every_page_size
 *   VACUUM, incremental vacuum                  vacuum_shrinks, incremental_vacuum
 *   pages between old and new size that no      shrink_and_grow_between_cuts (min_n_page)
 *     frame holds
 *   pages that a transaction spills and cuts    spilled_and_cut_off
 *   a transaction larger than a turn            transaction_of_many_turns
 *   WITHOUT ROWID, FTS5, auto_vacuum            other_kinds_of_tables
 *   an image read while writers write           image_in_slices_under_writers
 *   a database beyond 1 GiB (the lock page)     lock_page (SOURCE_BIG=1)
 *   a sink that fails                           failing_sink_ends_the_turn
 *   idle: no turns, no checkpoints              idle_asks_for_nothing
 */
#include "base/clock.h"
#include "base/log.h"
#include "lib/agent.h"
#include "lib/follow.h"
#include "lib/tmpdir.h"

#include <poll.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

static char *dir;
static char db[4096];
static struct agent a;
static struct follow f;
static struct source_config cfg;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	dir = tmpdir_new();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	cfg = (struct source_config){.path = db};
	agent_start(&a);
	agent_do(&a, "open %s", db);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	agent_stop(&a);
	follow_free(&f);
	tmpdir_free(dir);
	return 0;
}

static void make(const char *pragmas)
{
	agent_sql(
		&a, "%s; PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)", pragmas);
}

static void insert_rows(int n, int bytes)
{
	agent_sql(&a,
		"WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM i WHERE x<%d) "
		"INSERT INTO t(v) SELECT randomblob(%d) FROM i",
		n, bytes);
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

static void every_page_size(void **state)
{
	(void)state;
	for (int size = 512; size <= 65536; size *= 2) {
		char pragma[64];
		snprintf(pragma, sizeof(pragma), "PRAGMA page_size=%d", size);
		snprintf(db, sizeof(db), "%s/%d.db", dir, size);
		agent_do(&a, "open %s", db);
		make(pragma);
		insert_rows(20, 2000);
		follow_start(&f, &cfg, NULL);
		assert_int_equal(source_page_size(f.source), size);
		for (int i = 0; i < 5; i++) {
			insert_rows(40, 2000);
			follow_turn(&f, 2 * MS);
			agent_sql(&a, "UPDATE t SET v=randomblob(1500) WHERE id%%7=%d", i);
			follow_turn(&f, 2 * MS);
		}
		agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(truncate)");
		insert_rows(3, 100);
		follow_catch_up(&f);
		assert_int_equal(follow_compare_scan(&f), 0);
		follow_stop(&f);
		agent_do(&a, "close");
		assert_int_equal(follow_compare_file(&f, db), 0);
		follow_free(&f);
	}
}

static void vacuum_shrinks(void **state)
{
	(void)state;
	make("PRAGMA page_size=1024");
	insert_rows(2000, 900);
	follow_start(&f, &cfg, NULL);
	uint32_t large = source_n_page(f.source);
	agent_sql(&a, "DELETE FROM t WHERE id>100");
	follow_turn(&f, 0);
	agent_sql(&a, "VACUUM");
	follow_catch_up(&f);
	assert_true(f.n_page < large / 4);
	insert_rows(300, 900);
	agent_sql(&a, "VACUUM");
	insert_rows(3000, 900);
	assert_same_at_the_end();
}

static void incremental_vacuum(void **state)
{
	(void)state;
	make("PRAGMA page_size=2048; PRAGMA auto_vacuum=INCREMENTAL");
	insert_rows(1000, 1500);
	follow_start(&f, &cfg, NULL);
	for (int i = 0; i < 10; i++) {
		agent_sql(&a, "DELETE FROM t WHERE id%%10=%d", i);
		agent_sql(&a, "PRAGMA incremental_vacuum(%d)", 30 + i);
		follow_turn(&f, 1 * MS);
		insert_rows(i * 5, 1200);
		if (i % 3 == 0)
			agent_sql_beside(&a, &f, "PRAGMA wal_checkpoint(passive)");
	}
	assert_same_at_the_end();
}

/* The smallest size since the last cut is told, and what is above it can be read. */
static void shrink_and_grow_between_cuts(void **state)
{
	(void)state;
	make("PRAGMA page_size=1024; PRAGMA auto_vacuum=FULL");
	insert_rows(400, 900);
	follow_start(&f, &cfg, NULL);
	follow_catch_up(&f);
	struct source_point p;
	source_point_taken(f.source);
	source_get_point(f.source, &p);
	uint32_t large = p.n_page;
	assert_int_equal(p.min_n_page, large);
	agent_sql(&a, "DELETE FROM t WHERE id>20");
	insert_rows(600, 900);
	follow_catch_up(&f);
	source_get_point(f.source, &p);
	assert_true(p.n_page > large);
	assert_in_range(p.min_n_page, 1, large / 4);
	source_point_taken(f.source);
	source_get_point(f.source, &p);
	assert_int_equal(p.min_n_page, p.n_page);
	/* The same with a checkpoint of the small state in between: pages behind it are skipped. */
	for (int i = 0; i < 5; i++) {
		agent_sql(&a, "DELETE FROM t WHERE id>20");
		follow_turn(&f, 0);
		agent_sql(&a, "PRAGMA wal_checkpoint(passive)");
		insert_rows(400, 900);
		follow_turn(&f, 0);
		agent_sql(&a, "PRAGMA wal_checkpoint(passive)");
		agent_sql(&a, "DELETE FROM t WHERE id>300");
		insert_rows(i * 100, 900);
	}
	assert_same_at_the_end();
}

/* A transaction that grows over its cache writes pages to the WAL that it cuts off again. */
static void spilled_and_cut_off(void **state)
{
	(void)state;
	make("PRAGMA page_size=1024; PRAGMA auto_vacuum=FULL");
	insert_rows(50, 900);
	follow_start(&f, &cfg, NULL);
	agent_sql(&a, "PRAGMA cache_size=5");
	agent_sql(&a, "BEGIN");
	insert_rows(500, 900);
	agent_sql(&a, "DELETE FROM t WHERE id>60; COMMIT");
	follow_catch_up(&f);
	assert_in_range(f.n_page, 40, 200);
	assert_same_at_the_end();
}

static void transaction_of_many_turns(void **state)
{
	(void)state;
	make("PRAGMA page_size=4096");
	insert_rows(10, 3000);
	follow_start(&f, &cfg, NULL);
	follow_catch_up(&f);
	unsigned commits = f.commits;
	agent_sql(&a, "PRAGMA cache_size=100; BEGIN");
	insert_rows(15000, 3500);
	agent_sql(&a, "COMMIT");
	int turns = 0;
	while (f.commits == commits) {
		follow_turn(&f, 0);
		assert_in_range(++turns, 1, 1000);
	}
	assert_in_range(turns, 4, 8); /* 60 MB in turns of 16 MiB */
	assert_int_equal(f.commits, commits + 1);
	assert_same_at_the_end();
}

static void other_kinds_of_tables(void **state)
{
	(void)state;
	make("PRAGMA auto_vacuum=FULL");
	follow_start(&f, &cfg, NULL);
	agent_sql(&a, "CREATE TABLE w(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID");
	agent_sql(&a, "CREATE VIRTUAL TABLE s USING fts5(body)");
	for (int i = 0; i < 30; i++) {
		agent_sql(&a, "INSERT INTO w VALUES('key %d', randomblob(5000))", i);
		agent_sql(&a, "INSERT INTO s VALUES('word%d and other words %d')", i, i * i);
		agent_sql(&a, "DELETE FROM w WHERE k='key %d'", i - 7);
		follow_turn(&f, 1 * MS);
	}
	agent_sql(&a, "INSERT INTO s(s) VALUES('optimize')");
	assert_same_at_the_end();
}

/* Writers and checkpoints at full speed while slices are read, pins change in between. */
static void image_in_slices_under_writers(void **state)
{
	(void)state;
	make("PRAGMA page_size=1024");
	insert_rows(5000, 900);
	int go_on[2];
	assert_int_equal(pipe(go_on), 0);
	pid_t pid = fork();
	if (pid == 0) {
		sqlite3 *q;
		struct pollfd end = {.fd = go_on[0], .events = POLLIN};
		close(go_on[1]);
		sqlite3_open(db, &q);
		sqlite3_busy_timeout(q, 5000);
		sqlite3_exec(q, "PRAGMA wal_autocheckpoint=50; PRAGMA synchronous=OFF", NULL, NULL, NULL);
		while (poll(&end, 1, 0) == 0)
			sqlite3_exec(q,
				"UPDATE t SET v=randomblob(880) WHERE id IN "
				"(SELECT abs(random())%5000 FROM t LIMIT 20)",
				NULL, NULL, NULL);
		sqlite3_close(q);
		_exit(0);
	}
	close(go_on[0]);
	follow_start(&f, &cfg, NULL);
	f.keep_up = false;
	int64_t least = clock_mono_us() + 2 * S;
	for (int rounds = 0; rounds < 4 || clock_mono_us() < least; rounds++) {
		/* All pages are forgotten and read again, a few at a time, with turns in between. */
		follow_forget(&f);
		for (uint32_t p = 1; p <= f.n_page; p += 200) {
			follow_fill(&f, p, 200);
			follow_turn(&f, 0);
		}
		follow_catch_up(&f);
	}
	close(go_on[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_same_at_the_end();
}

/* 1 GiB and a few pages: the page with byte 2^30 is never handed out. */
static void lock_page(void **state)
{
	(void)state;
	if (!getenv("SOURCE_BIG")) {
		print_message("skipped: SOURCE_BIG=1 writes a database of 1 GiB\n");
		skip();
	}
	make("PRAGMA page_size=65536; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=1000000");
	follow_start(&f, &cfg, NULL);
	for (int i = 0; i < 18; i++) {
		agent_sql(&a, "INSERT INTO t(v) VALUES(zeroblob(%d))", 64000000);
		follow_catch_up(&f);
	}
	assert_true(f.n_page > (1u << 30) / 65536);
	assert_same_at_the_end();
}

static int pages_left;

static int failing_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)ctx;
	(void)pgno;
	(void)page;
	return pages_left-- > 0 ? ERR_OK : err_set(e, ERR_FULL, "the sink is full");
}

static int any_commit(void *ctx, const struct source_point *point, struct err *e)
{
	(void)point;
	(void)e;
	++*(int *)ctx;
	return ERR_OK;
}

static void failing_sink_ends_the_turn(void **state)
{
	(void)state;
	make("PRAGMA page_size=1024");
	int commits = 0;
	struct source_sink sink = {failing_page, any_commit, &commits};
	struct source *s;
	struct err e = ERR_INIT;
	struct source_result r;
	bool resumed;
	assert_int_equal(source_open(&s, &cfg, &sink, NULL, &e), ERR_OK);
	assert_int_equal(source_attach(s, NULL, &resumed, &e), ERR_OK);
	struct source_point before;
	source_get_point(s, &before);
	insert_rows(20, 900);
	pages_left = 5;
	assert_int_equal(source_turn(s, &r, &e), ERR_FULL);
	assert_int_equal(commits, 0);
	source_detach(s);
	/* From where it was, all of it comes. */
	pages_left = 1000;
	assert_int_equal(source_attach(s, &before.pos, &resumed, &e), ERR_OK);
	assert_true(resumed);
	assert_int_equal(source_turn(s, &r, &e), ERR_OK);
	assert_int_equal(commits, 1);
	source_close(s);
}

/* After a second of quiet only the slow timer is left. */
static void idle_asks_for_nothing(void **state)
{
	(void)state;
	make("PRAGMA page_size=4096");
	insert_rows(600, 3000);
	follow_start(&f, &cfg, NULL);
	insert_rows(600, 3000);
	follow_for(&f, 1500 * MS);
	follow_turn(&f, 0);
	assert_true(f.last.wait_us >= 10 * S);
	struct source_counts before, after;
	source_get_counts(f.source, &before);
	unsigned turns = 0;
	for (int64_t end = clock_mono_us() + 1 * S; clock_mono_us() < end; turns++)
		follow_turn(&f, end - clock_mono_us());
	source_get_counts(f.source, &after);
	assert_in_range(turns, 1, 3);
	assert_memory_equal(&before, &after, sizeof(before));
	/* And the next commit is seen at once. */
	unsigned commits = f.commits;
	insert_rows(1, 100);
	int64_t began = clock_mono_us();
	while (f.commits == commits && clock_mono_us() - began < 2 * S)
		follow_turn(&f, 2 * S);
	assert_in_range(clock_mono_us() - began, 0, 500 * MS);
	assert_same_at_the_end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* With an argument: only tests whose name fits that pattern. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(every_page_size),
		TEST(vacuum_shrinks),
		TEST(incremental_vacuum),
		TEST(shrink_and_grow_between_cuts),
		TEST(spilled_and_cut_off),
		TEST(transaction_of_many_turns),
		TEST(other_kinds_of_tables),
		TEST(image_in_slices_under_writers),
		TEST(lock_page),
		TEST(failing_sink_ends_the_turn),
		TEST(idle_asks_for_nothing),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
