/*
 * Listings that lag behind the objects, as Swift's do: the newest names are missing for a while.
 * Nobody is fenced for that, nothing is written over or deleted that is needed, and a restore has
 * the newest state all the same.
 */
#include "lib/two_nodes.h"

#include "format/ltxset.h"
#include "store/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define HOUR_MS (3600 * 1000)

/* Listings lack all files that lead beyond this one. */
static uint64_t listed;

static bool is_late(void *ctx, const char *name)
{
	uint64_t min, max;
	const char *file = strrchr(name, '/');
	(void)ctx;
	return ltx_parse_name(file ? file + 1 : name, &min, &max) && max > listed;
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	assert_int_equal(store_fault_register("f", NULL, &b->e), ERR_OK);
	struct store_fault late = {.op = STORE_OP_LIST, .action = STORE_FAULT_HIDE, .hides = is_late};
	assert_int_equal(store_fault_add("f", &late), 0);
	node_init(b, &b->a, "a", "f");
	node_init(b, &b->b, "b", "f");
	listed = UINT64_MAX;
	*state = b;
	return 0;
}

static void start(struct node *n)
{
	assert_int_equal(ship_open(&n->s, &n->cfg), 0);
}

/* What is committed is in the replica, as the next TXID, and nothing before it has changed. */
static void goes_on(struct bed *b, struct node *n)
{
	uint64_t max = ship_max_txid(URL), digest = ship_digest(URL, max);
	app_change(n->db);
	assert_int_equal(ship_sync(&n->s, 0), ERR_OK);
	assert_int_equal(ship_status(&n->s).state, REPLICATOR_REPLICATING);
	assert_int_equal(ship_max_txid(URL), max + 1);
	assert_true(ship_digest(URL, max) == digest);
	assert_true(ship_same(n->db, URL, b->dir));
}

static void a_ships(struct bed *b)
{
	app_create(b->a.db, 200);
	start(&b->a);
	assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
	for (int i = 0; i < 4; i++)
		goes_on(b, &b->a);
}

/* However much is missing: we know what we wrote. */
static void test_start(void **state)
{
	struct bed *b = *state;
	a_ships(b);
	for (int late = 0; late <= 6; late++) {
		ship_close(&b->a.s);
		listed = ship_max_txid(URL) - (uint64_t)late;
		start(&b->a);
		goes_on(b, &b->a);
	}
	ship_close(&b->a.s);
	listed = 0;
	start(&b->a);
	goes_on(b, &b->a);
}

/* kill -9 behind an upload that no listing shows yet: the same bytes are there, that is all. */
static void test_start_behind_a_lost_answer(void **state)
{
	struct bed *b = *state;
	a_ships(b);
	struct store_fault lost = {.op = STORE_OP_PUT, .action = STORE_FAULT_LOSE_ANSWER};
	store_fault_heal("f");
	assert_int_equal(store_fault_add("f", &lost), 0);
	app_change(b->a.db);
	assert_true(ship_until(&b->a.s, REPLICATOR_BEHIND));
	ship_close(&b->a.s);
	assert_int_equal(ship_max_txid(URL), 6);
	struct store_fault late = {.op = STORE_OP_LIST, .action = STORE_FAULT_HIDE, .hides = is_late};
	store_fault_heal("f");
	assert_int_equal(store_fault_add("f", &late), 0);
	listed = 3;
	start(&b->a);
	goes_on(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 7);
}

/* The new host takes over what no listing shows, in its restore and in its start. */
static void test_restored(void **state)
{
	struct bed *b = *state;
	a_ships(b);
	ship_close(&b->a.s);
	listed = 2;
	restore_to(b, &b->b, 0);
	start(&b->b);
	goes_on(b, &b->b);
	/* And the old one hears of it, whether it is listed or not. */
	app_change(b->a.db);
	start(&b->a);
	assert_true(ship_until(&b->a.s, REPLICATOR_FENCED));
	goes_on(b, &b->b);
}

/* Two days of upkeep that never sees the three newest names of any level. */
static void test_upkeep(void **state)
{
	struct bed *b = *state;
	a_ships(b);
	for (int i = 0; i < 48; i++) {
		ship_skip(HOUR_MS);
		listed = ship_max_txid(URL) - 3;
		if (i % 12 == 7) {
			ship_close(&b->a.s);
			start(&b->a);
		}
		for (int k = 0; k < 4; k++) {
			app_change(b->a.db);
			assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
		}
		ship_upkeep(&b->a.s);
		assert_string_equal(ship_status(&b->a.s).upkeep_error, "");
		goes_on(b, &b->a);
	}
	assert_true(store_fault_calls("f", STORE_OP_DELETE) > 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_start),
		TEST(test_start_behind_a_lost_answer),
		TEST(test_restored),
		TEST(test_upkeep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
