/*
 * The freed name. Node A stops to look at TXID R; node B takes the replica over, goes on, merges
 * its uploads and deletes them, so that the name of TXID R + 1 is free again. Then A comes back.
 * The condition of its put would hold; it must stop all the same (F4), and whatever is restored in
 * between is a state of one of the two, never of both.
 */
#include "lib/two_nodes.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "store/fault.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MINUTE_MS (INT64_C(60) * 1000)
#define HOUR_MS (60 * MINUTE_MS)

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	assert_int_equal(store_fault_register("a", URL, &b->e), ERR_OK);
	assert_int_equal(store_fault_register("b", URL, &b->e), ERR_OK);
	node_init(b, &b->a, "a", "a");
	node_init(b, &b->b, "b", "b");
	/* An upload just before an hour ends is a point for a week: each test begins when one did. */
	scene_new_hour();
	*state = b;
	return 0;
}

static void change(struct node *n)
{
	app_change(n->db);
	assert_int_equal(ship_sync(&n->s, 0), ERR_OK);
	ship_for(&n->s, 5);
}

/* A ships a few, and stops to look. B takes over what is there with a copy of A's database. */
static void begin(struct bed *b)
{
	app_create(b->a.db, 40);
	assert_int_equal(ship_open(&b->a.s, &b->a.cfg), 0);
	assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
	for (int i = 0; i < 3; i++)
		change(&b->a);
	b->r = ship_max_txid(URL);
	assert_int_equal(ship_restore(URL, b->b.db), ERR_OK);
	app_sql(b->b.db, "PRAGMA journal_mode = WAL; INSERT INTO t(b) VALUES ('of b')");
	b->b.cfg.takeover = true;
	ship_skip(10 * MINUTE_MS);
	assert_int_equal(ship_open(&b->b.s, &b->b.cfg), 0);
	assert_int_equal(ship_sync(&b->b.s, 0), ERR_OK);
}

/* B writes for some days, until an audit, and what is deleted behind it. The first uploads go.
 * Whatever can be restored is B's. */
static void go_on(struct bed *b)
{
	for (int day = 0; day < 4; day++) {
		for (int i = 0; i < 30; i++) {
			ship_skip(MINUTE_MS);
			change(&b->b);
			if (i % 10 == 0)
				assert_true(ship_same(b->b.db, URL, b->dir));
		}
		ship_skip(24 * HOUR_MS);
	}
	change(&b->b);
	for (uint64_t txid = b->r + 1; txid <= b->r + 3; txid++)
		assert_false(ship_has(URL, 0, txid, txid));
	assert_true(ship_same(b->b.db, URL, b->dir));
}

/* Fenced, and nothing was changed in the replica. */
static void check_stopped(struct bed *b)
{
	uint64_t max = ship_max_txid(URL), digest = ship_digest(URL, max);
	assert_true(ship_until(&b->a.s, REPLICATOR_FENCED));
	assert_int_equal(ship_sync(&b->a.s, 1000), ERR_FENCED);
	app_change(b->a.db);
	ship_for(&b->a.s, 30);
	assert_false(ship_has(URL, 0, b->r + 1, b->r + 1));
	assert_int_equal(ship_max_txid(URL), max);
	assert_true(ship_digest(URL, max) == digest);
	assert_true(ship_same(b->b.db, URL, b->dir));
	change(&b->b);
	assert_true(ship_same(b->b.db, URL, b->dir));
}

/* A was idle, as an app at night. */
static void test_idle(void **state)
{
	struct bed *b = *state;
	begin(b);
	go_on(b);
	app_change(b->a.db);
	ship_for(&b->a.s, 5);
	check_stopped(b);
}

/* A's line was cut: it has frozen TXID R + 1 and tries it again and again. */
static void test_cut_off(void **state)
{
	struct bed *b = *state;
	begin(b);
	store_fault_add("a", &(struct store_fault){.op = STORE_OP_ANY});
	app_change(b->a.db);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	go_on(b);
	store_fault_heal("a");
	check_stopped(b);
}

/* A was switched off, with TXID R + 1 frozen. */
static void test_switched_off(void **state)
{
	struct bed *b = *state;
	begin(b);
	store_fault_add("a", &(struct store_fault){.op = STORE_OP_ANY});
	app_change(b->a.db);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	ship_close(&b->a.s);
	store_fault_heal("a");
	go_on(b);
	assert_int_equal(ship_open(&b->a.s, &b->a.cfg), 0);
	check_stopped(b);
}

/* Only A's upkeep is awake: it must neither put nor delete. */
static void test_upkeep_of_who_was_left_behind(void **state)
{
	struct bed *b = *state;
	begin(b);
	go_on(b);
	uint64_t puts = store_fault_calls("a", STORE_OP_PUT),
			 dels = store_fault_calls("a", STORE_OP_DELETE);
	ship_upkeep(&b->a.s);
	assert_int_equal(store_fault_calls("a", STORE_OP_PUT), puts);
	assert_int_equal(store_fault_calls("a", STORE_OP_DELETE), dels);
	app_change(b->a.db);
	ship_for(&b->a.s, 5);
	check_stopped(b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_idle),
		TEST(test_cut_off),
		TEST(test_switched_off),
		TEST(test_upkeep_of_who_was_left_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
