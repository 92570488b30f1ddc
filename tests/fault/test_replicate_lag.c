/* Since when a replica is behind: commits that wait, that were dropped, that nobody could see. */
#include "lib/one_node.h"

#include "base/clock.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static int setup(void **state)
{
	*state = bed_with_faults();
	return *state ? 0 : -1;
}

static void break_store(int code)
{
	struct store_fault f = {.op = STORE_OP_ANY, .action = STORE_FAULT_FAIL, .code = code};
	assert_int_equal(store_fault_add("f", &f), 0);
}

static struct replicator_measures measure(struct bed *b)
{
	struct replicator_measures m;
	replicator_measure(b->s.r, &m);
	return m;
}

/* ms; -1 = all is there. */
static int64_t lag(struct bed *b)
{
	int64_t since = ship_status(&b->s).lag_since_ms;
	return since ? clock_wall_ms() - since : -1;
}

static void begin(struct bed *b)
{
	app_create(b->db, 100);
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_int_equal(lag(b), -1);
}

static void all_is_there(struct bed *b)
{
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_int_equal(lag(b), -1);
	assert_true(ship_same(b->db, b->inner, b->dir));
}

static void heal(struct bed *b)
{
	store_fault_heal("f");
	assert_true(ship_until(&b->s, REPLICATOR_REPLICATING));
	all_is_there(b);
}

static void test_waiting(void **state)
{
	struct bed *b = *state;
	begin(b);
	ship_skip(3600000);
	ship_for(&b->s, 20);
	assert_int_equal(lag(b), -1); /* nothing is written: nothing is late */
	break_store(ERR_UNREACHABLE);
	int64_t before = clock_wall_ms();
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	assert_true(ship_status(&b->s).lag_since_ms >= before);
	ship_skip(60000);
	assert_true(lag(b) >= 60000);
	/* A later commit is not the oldest. */
	app_change(b->db);
	ship_for(&b->s, 50);
	assert_true(lag(b) >= 60000);
	heal(b);
}

static void test_dropped(void **state)
{
	struct bed *b = *state;
	b->cfg.staging_max = 200000;
	begin(b);
	break_store(ERR_UNREACHABLE);
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	int64_t since = ship_status(&b->s).lag_since_ms;
	assert_true(since > 0);
	ship_skip(60000);
	/* In the open staging beside the flight, and more than its bound. */
	app_sql(b->db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
				   "INSERT INTO t(b) SELECT randomblob(900) FROM n");
	ship_for(&b->s, 100);
	assert_int_equal(ship_status(&b->s).lag_since_ms, since);
	assert_false(measure(b).disk_full); /* that bound is ours */
	heal(b);
}

/* What was captured is dropped, and what is committed then nobody sees. */
static void test_denied(void **state)
{
	struct bed *b = *state;
	begin(b);
	break_store(ERR_DENIED);
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_DENIED));
	int64_t since = ship_status(&b->s).lag_since_ms;
	ship_skip(31000);
	ship_for(&b->s, 30);
	app_change(b->db);
	ship_skip(3600000);
	ship_for(&b->s, 30);
	assert_int_equal(ship_status(&b->s).lag_since_ms, since);
	assert_true(lag(b) >= 3600000);
	heal(b);
}

static void test_before_the_first_look(void **state)
{
	struct bed *b = *state;
	app_create(b->db, 100);
	break_store(ERR_UNREACHABLE);
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	ship_skip(60000);
	assert_true(lag(b) >= 60000);
	heal(b);
	/* A new life knows at once. */
	ship_close(&b->s);
	ship_skip(3600000);
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	assert_true(lag(b) >= 0 && lag(b) < 3600000);
	all_is_there(b);
}

static void test_no_database(void **state)
{
	struct bed *b = *state;
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	assert_true(ship_until(&b->s, REPLICATOR_WAITING));
	assert_int_equal(lag(b), -1);
	ship_skip(3600000);
	ship_for(&b->s, 20);
	assert_int_equal(lag(b), -1);
	/* Once there is one, it is late since then, not since we wait. */
	break_store(ERR_UNREACHABLE);
	app_create(b->db, 100);
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	assert_true(lag(b) >= 0 && lag(b) < 1800000);
	heal(b);
}

/* What waited is dropped, and it is late all the same. */
static void test_replaced(void **state)
{
	struct bed *b = *state;
	char other[300];
	b->cfg.sync_interval_ms = 3600000;
	begin(b);
	app_change(b->db);
	ship_for(&b->s, 50);
	int64_t since = ship_status(&b->s).lag_since_ms;
	assert_true(since > 0 && ship_status(&b->s).pending_bytes > 0);
	ship_skip(60000);
	snprintf(other, sizeof(other), "%s/other.db", b->dir);
	app_create(other, 100);
	assert_int_equal(rename(other, b->db), 0);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_status(&b->s).pending_bytes, 0);
	assert_int_equal(ship_status(&b->s).lag_since_ms, since);
	ship_skip(60000);
	ship_for(&b->s, 20);
	assert_int_equal(ship_status(&b->s).lag_since_ms, since);
}

/* What else is counted only grows, and tells of what was done. */
static void test_counted(void **state)
{
	struct bed *b = *state;
	begin(b);
	struct replicator_measures before = measure(b), after;
	assert_string_equal(before.kind, "fault");
	assert_int_equal(before.l0.too_recent, ship_status(&b->s).txid);
	char *sql = "PRAGMA wal_autocheckpoint = 0;"
				"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
				"INSERT INTO t(b) SELECT randomblob(900) FROM n";
	app_sql(b->db, sql);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	ship_for(&b->s, 100);
	after = measure(b);
	assert_int_equal(after.turns.failed, before.turns.failed);
	assert_true(after.confirmed_ms >= before.confirmed_ms && before.confirmed_ms > 0);
	assert_true(after.source.passives >= before.source.passives);
	assert_int_equal(after.source.passives_lost, 0);
	assert_int_equal(after.l0.too_recent, ship_status(&b->s).txid);
	ship_skip(4 * INT64_C(3600000));
	after = measure(b);
	assert_int_equal(after.l0.too_recent, 0);
	assert_int_equal(after.l0.not_compacted + after.l0.eligible, ship_status(&b->s).txid);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waiting),
		TEST(test_dropped),
		TEST(test_denied),
		TEST(test_before_the_first_look),
		TEST(test_no_database),
		TEST(test_replaced),
		TEST(test_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
