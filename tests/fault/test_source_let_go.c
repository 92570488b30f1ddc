/* What happens in the moment in which the source lets go of a database. */
#include "base/clock.h"
#include "base/log.h"
#include "lib/agent.h"
#include "lib/follow.h"
#include "lib/tmpdir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

static char *dir;
static char db[4096], wal[4200];
static struct agent a;
static struct follow f;
static struct source_config cfg;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	dir = tmpdir_new();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(wal, sizeof(wal), "%s-wal", db);
	cfg = (struct source_config){.path = db, .release_after_us = 200 * MS};
	agent_start(&a);
	agent_do(&a, "open %s", db);
	agent_sql(&a, "PRAGMA journal_mode = wal");
	agent_sql(&a, "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)");
	agent_sql(&a, "INSERT INTO t VALUES (1, randomblob(100000))");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	clock_set_ops(NULL);
	agent_stop(&a);
	follow_free(&f);
	tmpdir_free(dir);
	return 0;
}

static void wait_for(const unsigned *count)
{
	int64_t end = clock_mono_us() + 10 * S;
	while (*count == 0 && clock_mono_us() < end)
		follow_turn(&f, 10 * MS);
	assert_int_not_equal(*count, 0);
}

static void assert_same_at_the_end(void)
{
	follow_catch_up(&f);
	follow_stop(&f);
	agent_stop(&a);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

/* ---- somebody comes and goes while we are deaf ---- */

static int64_t real_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t mono_us(void)
{
	return real_us(CLOCK_MONOTONIC);
}

static int64_t boot_ms(void)
{
	return real_us(CLOCK_BOOTTIME) / 1000;
}

static void sleep_us(int64_t us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&t, NULL);
}

static int visits;

/* The time is asked for when the connections are closed and the -wal is gone: a short process of
 * the app's does all of its work just then. */
static int64_t visited_wall_ms(void)
{
	if (visits == 0 && access(wal, F_OK) != 0) {
		visits++;
		agent_do(&a, "open %s", db);
		agent_sql(&a, "INSERT INTO t VALUES (2, randomblob(5000))");
		agent_do(&a, "close");
	}
	return real_us(CLOCK_REALTIME) / 1000;
}

static void commit_while_letting_go(void **state)
{
	static const struct clock_ops ops = {visited_wall_ms, mono_us, boot_ms, sleep_us};
	(void)state;
	follow_start(&f, &cfg, NULL);
	follow_for(&f, 50 * MS);
	agent_do(&a, "close");
	visits = 0;
	clock_set_ops(&ops);
	wait_for(&f.released);
	assert_int_equal(visits, 1);
	/* No event will come. */
	f.attached = 0;
	follow_for(&f, 300 * MS);
	assert_int_not_equal(f.attached, 0);
	follow_stop(&f);
	assert_int_equal(follow_compare_file(&f, db), 0);
}

/* ---- somebody writes without the -wal ---- */

static void write_over(off_t at)
{
	int fd = open(db, O_RDWR);
	assert_int_equal(pwrite(fd, "written by cp", 13, at), 13);
	close(fd);
}

/* The second write comes too soon after the first to be compared again: it must not be taken for
 * the state that we left. */
static void written_over_twice(void **state)
{
	(void)state;
	follow_start(&f, &cfg, NULL);
	follow_for(&f, 50 * MS);
	agent_do(&a, "close");
	write_over(50000);
	wait_for(&f.lost);
	f.released = 0;
	write_over(60000);
	wait_for(&f.released);
	unsigned resumed = f.resumed;
	agent_do(&a, "open %s", db);
	agent_sql(&a, "INSERT INTO t VALUES (2, randomblob(5000))");
	follow_for(&f, 100 * MS);
	assert_int_equal(f.resumed, resumed);
	assert_same_at_the_end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commit_while_letting_go),
		TEST(written_over_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
