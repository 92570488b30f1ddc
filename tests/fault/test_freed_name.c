/*
 * The freed name. Node A stops to look at TXID R; node B takes the replica over, goes on, merges
 * its uploads and deletes them, so that the name of TXID R + 1 is free again. Then A comes back.
 * The condition of its put would hold; it must stop all the same (F4), and whatever is restored in
 * between is a state of one of the two, never of both.
 *
 * A is idle, cut off, switched off; or stopped (SIGSTOP, a suspended machine) between any two of
 * its lines: then days pass inside of one of its calls, and it goes on as if nothing had been.
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

static void change(struct bed *b, struct node *n)
{
	app_change(n->db);
	assert_int_equal(ship_sync(&n->s, 0), ERR_OK);
	note(b, n);
	ship_for(&n->s, 5);
}

/* A ships a few. */
static void a_ships(struct bed *b, int n)
{
	app_create(b->a.db, 40);
	assert_int_equal(ship_open(&b->a.s, &b->a.cfg), 0);
	assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
	note(b, &b->a);
	for (int i = 0; i < n; i++)
		change(b, &b->a);
}

/* A stops to look. B takes over what is there with a copy of A's database. */
static void b_takes_over(struct bed *b)
{
	b->r = ship_max_txid(URL);
	b->line.handovers = 1;
	assert_int_equal(ship_restore(URL, b->b.db), ERR_OK);
	app_sql(b->b.db, "PRAGMA journal_mode = WAL; INSERT INTO t(b) VALUES ('of b')");
	b->b.cfg.takeover = true;
	ship_skip(10 * MINUTE_MS);
	assert_int_equal(ship_open(&b->b.s, &b->b.cfg), 0);
	assert_int_equal(ship_sync(&b->b.s, 0), ERR_OK);
	note(b, &b->b);
}

static void begin(struct bed *b)
{
	a_ships(b, 3);
	b_takes_over(b);
}

/* B writes for some days, until an audit, and what is deleted behind it. The first uploads go.
 * Whatever can be restored is B's. */
static void go_on(struct bed *b)
{
	static const int64_t hours[] = {24, 80, 0};
	for (size_t pause = 0; pause < sizeof(hours) / sizeof(hours[0]); pause++) {
		for (int i = 0; i < 9; i++) {
			ship_skip(MINUTE_MS);
			change(b, &b->b);
		}
		assert_true(ship_same(b->b.db, URL, b->dir));
		ship_skip(hours[pause] * HOUR_MS);
	}
	assert_false(ship_has(URL, 0, b->r + 1, b->r + 1));
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
	change(b, &b->b);
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

/* ---- stopped in the middle ---- */

/* A sleeps through all that. */
static void sleep_for_days(void *ctx, const char *name)
{
	struct bed *b = ctx;
	(void)name;
	b_takes_over(b);
	go_on(b);
}

static void sleep_at(struct bed *b, enum store_op op, const char *name,
	enum store_fault_action when, void (*sleep)(void *ctx, const char *name))
{
	struct store_fault f = {
		.op = op, .name_contains = name, .times = 1, .action = when, .hook = sleep, .ctx = b};
	assert_int_equal(store_fault_add("a", &f), 0);
}

/*
 * The request was on its way and nothing held it up any more: what it found was a free name. A
 * finds out before it believes in it, and is fenced; its file lies there alone, and leads nowhere.
 */
static void check_too_late(struct bed *b)
{
	assert_true(ship_until(&b->a.s, REPLICATOR_FENCED));
	assert_true(ship_has(URL, 0, b->r + 1, b->r + 1));
	b->line.stray = b->r + 1;
	assert_true(ship_same(b->b.db, URL, b->dir));
	uint64_t calls = store_fault_calls("a", STORE_OP_ANY);
	assert_int_equal(ship_sync(&b->a.s, 1000), ERR_FENCED);
	app_change(b->a.db);
	ship_for(&b->a.s, 30);
	ship_upkeep(&b->a.s);
	assert_int_equal(store_fault_calls("a", STORE_OP_ANY), calls);
	/* B's audit finds the stranger, and no harm in it. */
	ship_skip(4 * 24 * HOUR_MS);
	for (int i = 0; i < 9; i++)
		change(b, &b->b);
	assert_int_equal(ship_status(&b->b.s).state, REPLICATOR_REPLICATING);
	assert_true(ship_same(b->b.db, URL, b->dir));
}

static void test_asleep_before_its_put(void **state)
{
	struct bed *b = *state;
	a_ships(b, 3);
	sleep_at(b, STORE_OP_PUT, "5.ltx", STORE_FAULT_HOOK, sleep_for_days);
	app_change(b->a.db);
	check_too_late(b);
}

/* The tail check had just shown that there was nothing. */
static void test_asleep_after_its_tail_check(void **state)
{
	struct bed *b = *state;
	a_ships(b, 3);
	ship_skip(100 * MINUTE_MS);
	sleep_at(b, STORE_OP_LIST, NULL, STORE_FAULT_HOOK_AFTER, sleep_for_days);
	app_change(b->a.db);
	check_too_late(b);
}

/* Its app does not. */
static void sleep_while_the_app_writes(void *ctx, const char *name)
{
	struct bed *b = ctx;
	sleep_for_days(b, name);
	app_change(b->a.db);
}

/* Accepted; the answer was read days later. It must not count as a proof of that day: there is a
 * next upload at once, and its name is free. */
static void test_asleep_before_the_answer(void **state)
{
	struct bed *b = *state;
	a_ships(b, 3);
	b->a.s.no_upkeep = true;
	sleep_at(b, STORE_OP_PUT, "5.ltx", STORE_FAULT_HOOK_AFTER, sleep_while_the_app_writes);
	app_change(b->a.db);
	timeline_note(&b->line, "a", b->a.db, 5, b->dir);
	assert_true(ship_until(&b->a.s, REPLICATOR_FENCED));
	check_stopped(b);
}

/* Its upkeep had asked, and was about to merge and to delete. */
static void test_asleep_in_its_upkeep(void **state)
{
	struct bed *b = *state;
	a_ships(b, 0);
	b->a.s.no_upkeep = true;
	for (int i = 0; i < 12; i++)
		change(b, &b->a);
	ship_skip(6 * MINUTE_MS);
	sleep_at(b, STORE_OP_LIST, NULL, STORE_FAULT_HOOK_AFTER, sleep_for_days);
	uint64_t puts = store_fault_calls("a", STORE_OP_PUT),
			 dels = store_fault_calls("a", STORE_OP_DELETE);
	ship_upkeep(&b->a.s);
	assert_true(b->r > 0);
	assert_int_equal(store_fault_calls("a", STORE_OP_PUT), puts);
	assert_int_equal(store_fault_calls("a", STORE_OP_DELETE), dels);
	app_change(b->a.db);
	ship_for(&b->a.s, 5);
	check_stopped(b);
}

/* A takeover's snapshot that was not sent at once waits for a proof of its own (F5), and so does
 * what is said in the manifest. */
static void test_snapshot_of_a_lost_takeover(void **state)
{
	struct bed *b = *state;
	a_ships(b, 1);
	ship_close(&b->a.s);
	assert_int_equal(fs_remove_tree(b->a.meta), 0);
	app_change(b->a.db);
	b->a.cfg.takeover = true;
	store_fault_add("a", &(struct store_fault){.op = STORE_OP_PUT, .name_contains = "ltx/9/"});
	assert_int_equal(ship_open(&b->a.s, &b->a.cfg), 0);
	assert_int_equal(ship_sync(&b->a.s, 0), ERR_OK);
	note(b, &b->a);
	b_takes_over(b);
	ship_skip(HOUR_MS);
	store_fault_heal("a");
	uint64_t puts = store_fault_calls("a", STORE_OP_PUT);
	assert_true(ship_until(&b->a.s, REPLICATOR_FENCED));
	assert_int_equal(store_fault_calls("a", STORE_OP_PUT), puts);
	change(b, &b->b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_idle),
		TEST(test_cut_off),
		TEST(test_switched_off),
		TEST(test_upkeep_of_who_was_left_behind),
		TEST(test_asleep_before_its_put),
		TEST(test_asleep_after_its_tail_check),
		TEST(test_asleep_before_the_answer),
		TEST(test_asleep_in_its_upkeep),
		TEST(test_snapshot_of_a_lost_takeover),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
