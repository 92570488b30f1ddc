/*
 * The wall clock is set forward by hours while a replicator runs (a machine without a battery for
 * its clock, once it has reached a time server). What was uploaded minutes ago is not old by that:
 * its name must not become free (F4), and a restore that is running must find it.
 */
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define URL "mem://clock"
#define HOUR_MS (INT64_C(3600) * 1000)

static int64_t ahead_ms; /* what the wall clock was set forward */

static int64_t wall_ms(void)
{
	return ship_clock()->wall_ms() + ahead_ms;
}

static struct fs_ops quick;

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

/* Moves time on without taking our wall clock away. */
static void move_on(int64_t ms)
{
	static struct clock_ops ops;
	ship_skip(ms);
	ops = *ship_clock();
	ops.wall_ms = wall_ms;
	clock_set_ops(&ops);
}

static void change(struct ship *s, const char *db)
{
	app_change(db);
	assert_int_equal(ship_sync(s, 0), ERR_OK);
	ship_for(s, 5);
}

static uint64_t count_l0(uint64_t from, uint64_t to)
{
	uint64_t n = 0;
	for (uint64_t txid = from; txid <= to; txid++)
		n += ship_has(URL, 0, txid, txid);
	return n;
}

static void test_clock_is_set_forward(void **state)
{
	(void)state;
	char db[300], *dir = tmpdir_new();
	struct ship s;
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	quick = fs_system_ops;
	quick.fsync = no_fsync;
	fs_set_ops(&quick);
	snprintf(db, sizeof(db), "%s/app.db", dir);
	app_create(db, 30);
	struct replicator_config cfg = ship_config(db, URL);
	assert_int_equal(ship_open(&s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&s, 0), ERR_OK);
	for (int i = 0; i < 40; i++) {
		move_on(2000);
		change(&s, db);
	}
	uint64_t last = ship_max_txid(URL);
	ahead_ms = 30 * HOUR_MS;
	for (int i = 0; i < 12; i++) {
		move_on(60000);
		change(&s, db);
	}
	ship_upkeep(&s);
	ship_upkeep(&s);
	assert_int_equal(count_l0(2, last), last - 1);
	/* Once they are old by any clock, most of them go. */
	for (int i = 0; i < 12; i++) {
		move_on(HOUR_MS);
		change(&s, db);
	}
	move_on(80 * HOUR_MS);
	change(&s, db);
	ship_upkeep(&s);
	ship_upkeep(&s);
	assert_true(count_l0(2, last) < last / 2);
	assert_true(ship_same(db, URL, dir));
	ship_close(&s);
	fs_set_ops(NULL);
	store_mem_forget(NULL);
	tmpdir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_clock_is_set_forward)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
