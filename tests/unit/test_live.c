/*
 * A restored file and the live database, page by page (restore/live.h).
 *
 *   same                              same_while_an_app_has_it_open
 *   committed since, place known      commits_are_told_apart_from_damage
 *   pages differ, place known         a_page_that_differs_is_named
 *   pages differ, place unknown       unknown_places_prove_nothing
 *   larger, smaller, no database      sizes_differ, no_database
 */
#include "restore/live.h"

#include "base/fs.h"
#include "lib/agent.h"
#include "lib/tmpdir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096

struct bed {
	char *dir, path[256], copy[256];
	struct agent app;
	int fd; /* what was "restored" */
	uint32_t n_page;
	struct state_position at;
	struct live_result live;
	struct err e;
};

/* The app's database with all of it in its file, and a copy of that. The app stays connected. */
static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->path, sizeof(b->path), "%s/app.db", b->dir);
	snprintf(b->copy, sizeof(b->copy), "%s/copy.db", b->dir);
	agent_start(&b->app);
	agent_do(&b->app, "open %s", b->path);
	agent_sql(&b->app, "PRAGMA page_size=%d", PAGE);
	agent_sql(&b->app, "PRAGMA journal_mode=WAL");
	agent_sql(&b->app, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)");
	for (int i = 0; i < 50; i++)
		agent_sql(&b->app, "INSERT INTO t(v) VALUES (randomblob(3000))");
	agent_sql(&b->app, "PRAGMA wal_checkpoint(TRUNCATE)");
	char command[600];
	snprintf(command, sizeof(command), "cp %s %s", b->path, b->copy);
	assert_int_equal(system(command), 0);
	b->fd = open(b->copy, O_RDWR);
	assert_true(b->fd >= 0);
	struct stat st;
	fstat(b->fd, &st);
	b->n_page = (uint32_t)(st.st_size / PAGE);
	assert_true(b->n_page > 40);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	agent_stop(&b->app);
	close(b->fd);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

/* Where the live database is now, as a replicator that followed it would have noted. */
static void note_place(struct bed *b)
{
	struct follow f;
	struct source_point point;
	const struct source_config cfg = {.path = b->path, .no_barrier = true};
	follow_start(&f, &cfg, NULL);
	follow_catch_up(&f);
	source_get_point(f.source, &point);
	b->at = point.pos;
	follow_stop(&f);
	follow_free(&f);
	assert_true(b->at.resumable);
}

static int compare(struct bed *b, bool known)
{
	err_clear(&b->e);
	return live_compare(
		b->path, b->fd, PAGE, b->n_page, known ? &b->at : NULL, NULL, &b->live, &b->e);
}

static void flip(struct bed *b, uint32_t pgno)
{
	uint8_t byte;
	off_t at = (off_t)(pgno - 1) * PAGE + 2000;
	assert_int_equal(pread(b->fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(b->fd, &byte, 1, at), 1);
}

static void test_same_while_an_app_has_it_open(void **state)
{
	struct bed *b = *state;
	assert_int_equal(compare(b, false), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_SAME);
	note_place(b);
	assert_int_equal(compare(b, true), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_SAME);
	assert_int_equal(b->live.differ, 0);
	/* The app goes on as if nobody had looked. */
	agent_sql(&b->app, "INSERT INTO t(v) VALUES (1)");
	assert_string_equal(agent_sql(&b->app, "PRAGMA integrity_check"), "ok");
}

static void test_commits_are_told_apart_from_damage(void **state)
{
	struct bed *b = *state;
	note_place(b);
	agent_sql(&b->app, "UPDATE t SET v = randomblob(3000) WHERE id = 20");
	assert_int_equal(compare(b, true), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_MOVED_ON);
	assert_int_equal(compare(b, false), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_MOVED_ON);
}

static void test_a_page_that_differs_is_named(void **state)
{
	struct bed *b = *state;
	note_place(b);
	flip(b, 7);
	flip(b, 9);
	assert_int_equal(compare(b, true), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_DIFFERS);
	assert_int_equal(b->live.differ, 2);
	assert_int_equal(b->live.first, 7);
}

static void test_unknown_places_prove_nothing(void **state)
{
	struct bed *b = *state;
	flip(b, 7);
	assert_int_equal(compare(b, false), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_MOVED_ON);
	note_place(b);
	b->at.resumable = false;
	assert_int_equal(compare(b, true), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_MOVED_ON);
}

static void test_sizes_differ(void **state)
{
	struct bed *b = *state;
	note_place(b);
	b->n_page -= 3;
	assert_int_equal(compare(b, true), ERR_OK);
	assert_int_equal(b->live.verdict, LIVE_DIFFERS);
	assert_int_equal(b->live.first, b->n_page + 1);
}

static void test_no_database(void **state)
{
	struct bed *b = *state;
	agent_do(&b->app, "close");
	assert_int_equal(unlink(b->path), 0);
	assert_int_equal(compare(b, false), ERR_NOT_FOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_same_while_an_app_has_it_open),
		TEST(test_commits_are_told_apart_from_damage),
		TEST(test_a_page_that_differs_is_named),
		TEST(test_unknown_places_prove_nothing),
		TEST(test_sizes_differ),
		TEST(test_no_database),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
