/*
 * The wall clock is set while a replicator runs. Forward by hours (a machine without a battery for
 * its clock, once it has reached a time server): what was uploaded minutes ago is not old by that,
 * its name must not become free (F4), and a restore that is running must find it. Or back by years,
 * because it was wrong: what was uploaded then is not kept for so long. Or between two lives.
 */
#include "lib/one_node.h"
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

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	ship_set_clock(0);
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	app_create(b->db, 30);
	*state = b;
	return 0;
}

/* Forty uploads in little more than a minute. The last one's TXID. */
static uint64_t start(struct bed *b)
{
	struct replicator_config cfg = ship_config(b->db, URL);
	ship_skip(1000);
	assert_int_equal(ship_open(&b->s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	for (int i = 0; i < 40; i++) {
		ship_skip(2000);
		change(&b->s, b->db);
	}
	return ship_max_txid(URL);
}

/* Twelve changes, and whatever the upkeep wants to do about them. */
static void pass(struct bed *b, int64_t step_ms)
{
	for (int i = 0; i < 12; i++) {
		ship_skip(step_ms);
		change(&b->s, b->db);
	}
	ship_upkeep(&b->s);
	ship_upkeep(&b->s);
}

static void test_clock_is_set_forward(void **state)
{
	struct bed *b = *state;
	uint64_t last = start(b);
	ship_set_clock(30 * HOUR_MS);
	pass(b, 60000);
	assert_int_equal(count_l0(2, last), last - 1);
	/* Once they are old by any clock, most of them go. */
	pass(b, HOUR_MS);
	ship_skip(80 * HOUR_MS);
	pass(b, 1000);
	assert_true(count_l0(2, last) < last / 2);
	assert_true(ship_same(b->db, URL, b->dir));
}

/* It was years ahead, and is right now: nothing is kept until then. */
static void test_clock_is_set_back(void **state)
{
	struct bed *b = *state;
	ship_set_clock(3 * 365 * 24 * HOUR_MS);
	uint64_t last = start(b);
	ship_set_clock(0);
	pass(b, 60000);
	assert_int_equal(count_l0(2, last), last - 1);
	for (int day = 0; day < 9; day++) {
		pass(b, HOUR_MS);
		ship_skip(20 * HOUR_MS);
	}
	pass(b, 1000);
	assert_true(count_l0(2, last) < last / 2);
	assert_true(ship_same(b->db, URL, b->dir));
}

/* It is set while nobody runs. */
static void test_clock_is_set_between_lives(void **state)
{
	struct bed *b = *state;
	uint64_t last = start(b);
	for (int i = 0; i < 2; i++) {
		ship_close(&b->s);
		ship_set_clock((i + 1) * 30 * HOUR_MS);
		struct replicator_config cfg = ship_config(b->db, URL);
		ship_skip(60000);
		assert_int_equal(ship_open(&b->s, &cfg), ERR_OK);
		assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
		pass(b, 60000);
		assert_int_equal(count_l0(2, last), last - 1);
	}
	ship_skip(80 * HOUR_MS);
	pass(b, HOUR_MS);
	pass(b, HOUR_MS);
	assert_true(count_l0(2, last) < last / 2);
	assert_true(ship_same(b->db, URL, b->dir));
}

/* It was days ahead, and is right again when the next life begins: what it uploads follows, and
 * nothing is deleted before its time by either clock. Back again and forth, as by a battery that
 * fails. */
static void test_clock_is_set_back_between_lives(void **state)
{
	struct bed *b = *state;
	ship_set_clock(3 * 24 * HOUR_MS);
	uint64_t last = start(b);
	for (int i = 0; i < 4; i++) {
		uint64_t digest = ship_digest(URL, last);
		ship_close(&b->s);
		ship_set_clock(i % 2 ? 2 * HOUR_MS : -(i * HOUR_MS));
		struct replicator_config cfg = ship_config(b->db, URL);
		ship_skip(60000);
		app_change(b->db);
		assert_int_equal(ship_open(&b->s, &cfg), ERR_OK);
		assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
		assert_int_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
		pass(b, 60000);
		assert_int_equal(count_l0(2, last), last - 1);
		assert_true(ship_digest(URL, last) == digest);
		assert_true(ship_same(b->db, URL, b->dir));
	}
	ship_set_clock(0);
	ship_skip(80 * HOUR_MS);
	pass(b, HOUR_MS);
	pass(b, HOUR_MS);
	assert_true(count_l0(2, last) < last / 2);
	assert_true(ship_same(b->db, URL, b->dir));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_clock_is_set_forward),
		TEST(test_clock_is_set_back),
		TEST(test_clock_is_set_between_lives),
		TEST(test_clock_is_set_back_between_lives),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
