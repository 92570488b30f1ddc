/* What a person asks the upkeep for: snapshots and deletions that are not due, by the same rules.
 */
#include "lib/upkeep_bed.h"

#include "replicate/fence.h"
#include "restore/restore.h"
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

#define PATIENCE 500 /* rounds */

static void change(struct bed *b)
{
	app_change(b->db);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
}

/* Asks, and drives until there is an answer. */
static int ask(struct bed *b, unsigned what)
{
	int rc = ERR_AGAIN;
	replicator_ask(b->s.r, what);
	b->s.turn_due = 0;
	for (int i = 0; rc == ERR_AGAIN && i < PATIENCE; i++) {
		ship_for(&b->s, 20);
		rc = replicator_asked(b->s.r, &b->e);
	}
	return rc;
}

static uint64_t n_deletes(void)
{
	return store_fault_calls("u", STORE_OP_DELETE);
}

static uint64_t n_puts(void)
{
	return store_fault_calls("u", STORE_OP_PUT);
}

static void test_snapshot(void **state)
{
	struct bed *b = *state;
	start(b);
	change(b);
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT), ERR_OK);
	assert_true(ship_has(URL, 9, 1, 2));
	/* There is one of this state. */
	uint64_t before = n_puts();
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT), ERR_OK);
	assert_int_equal(n_puts(), before);
	change(b);
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT | REPLICATOR_TIDY), ERR_OK);
	assert_true(ship_has(URL, 9, 1, 3));
	assert_true(ship_same(b->db, URL, b->dir));
}

/* Few files that no promise needs wait for a day's audit; a person doesn't. */
static void test_retain(void **state)
{
	struct bed *b = *state;
	start(b);
	for (int i = 0; i < 5; i++)
		change(b);
	ship_skip(200 * HOUR_MS); /* of it the last state is promised still: that of a week ago */
	b->s.no_upkeep = true;
	change(b);
	b->s.no_upkeep = false;
	assert_true(ship_has(URL, 0, 3, 3));
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT | REPLICATOR_RETAIN), ERR_OK);
	assert_true(ship_has(URL, 9, 1, 7));
	assert_true(ship_has(URL, 0, 3, 3));
	ship_skip(200 * HOUR_MS);
	uint64_t before = n_deletes();
	assert_int_equal(ask(b, REPLICATOR_RETAIN), ERR_OK);
	assert_true(n_deletes() > before);
	assert_false(ship_has(URL, 0, 3, 3));
	assert_true(ship_has(URL, 9, 1, 7));
	assert_true(ship_same(b->db, URL, b->dir));
}

static void test_no_retention(void **state)
{
	struct bed *b = *state;
	b->cfg.no_retention = true;
	start(b);
	change(b);
	ship_skip(200 * HOUR_MS);
	change(b);
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT), ERR_OK);
	ship_skip(200 * HOUR_MS);
	uint64_t before = n_deletes();
	assert_int_equal(ask(b, REPLICATOR_RETAIN), ERR_OK);
	assert_int_equal(n_deletes(), before);
}

static void break_it(enum store_op op, enum err_code code)
{
	struct store_fault f = {.op = op, .action = STORE_FAULT_FAIL, .code = code};
	assert_int_equal(store_fault_add("u", &f), 0);
}

/* Who asks hears what the store says. */
static void test_store_refuses(void **state)
{
	struct bed *b = *state;
	start(b);
	for (int i = 0; i < 5; i++)
		change(b);
	ship_skip(200 * HOUR_MS);
	change(b);
	break_it(STORE_OP_PUT, ERR_UNREACHABLE);
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT), ERR_UNREACHABLE);
	store_fault_heal("u");
	assert_int_equal(ask(b, REPLICATOR_SNAPSHOT), ERR_OK);
	ship_skip(200 * HOUR_MS);
	break_it(STORE_OP_DELETE, ERR_DENIED);
	assert_int_equal(ask(b, REPLICATOR_RETAIN), ERR_DENIED);
	assert_non_null(strstr(b->e.text, "does not let us delete"));
	assert_true(ship_same(b->db, URL, b->dir));
}

/* F4, F5: minutes after the last upload it is looked first whether the replica is ours, and when it
 * isn't nothing is put and nothing deleted. */
static void test_fenced(void **state)
{
	struct bed *b = *state;
	start(b);
	for (int i = 0; i < 5; i++)
		change(b);
	ship_skip(200 * HOUR_MS);
	put_file(b, 0, 999, 999);
	uint64_t put = n_puts(), deleted = n_deletes();
	replicator_ask(b->s.r, REPLICATOR_SNAPSHOT | REPLICATOR_RETAIN);
	b->s.turn_due = 0;
	assert_true(ship_until(&b->s, REPLICATOR_FENCED));
	ship_for(&b->s, 100);
	assert_int_equal(n_puts(), put);
	assert_int_equal(n_deletes(), deleted);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_upkeep, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_snapshot),
		TEST(test_retain),
		TEST(test_no_retention),
		TEST(test_store_refuses),
		TEST(test_fenced),
	};
	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
