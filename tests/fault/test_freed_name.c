/*
 * The freed name. Node A stops to look at TXID R; node B takes the replica over, goes on, merges
 * its uploads and deletes them, so that the name of TXID R + 1 is free again. Then A comes back.
 * The condition of its put would hold; it must stop all the same (F4), and whatever is restored in
 * between is a state of one of the two, never of both.
 */
#include "lib/ship.h"
#include "lib/tmpdir.h"

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

#define URL "mem://f"
#define MINUTE_MS (INT64_C(60) * 1000)
#define HOUR_MS (60 * MINUTE_MS)

struct node {
	char dir[256], db[300];
	struct replicator_config cfg;
	struct ship s;
};

struct bed {
	char *dir;
	struct node a, b;
	struct err e;
	uint64_t r; /* where A stopped to look */
};

static struct fs_ops quick;

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

static void node_init(struct bed *bed, struct node *n, const char *name)
{
	static char urls[2][32];
	char *url = urls[name[0] == 'b'];
	snprintf(n->dir, sizeof(n->dir), "%s/%s", bed->dir, name);
	fs_mkdirs(n->dir, 0700);
	snprintf(n->db, sizeof(n->db), "%s/app.db", n->dir);
	snprintf(url, 32, "fault://%s", name);
	assert_int_equal(store_fault_register(name, URL, &bed->e), ERR_OK);
	n->cfg = ship_config(n->db, url);
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	quick = fs_system_ops;
	quick.fsync = no_fsync;
	fs_set_ops(&quick);
	b->dir = tmpdir_new();
	node_init(b, &b->a, "a");
	node_init(b, &b->b, "b");
	/* An upload just before an hour ends is a point for a week: each test begins when one did. */
	ship_skip(0);
	ship_skip(HOUR_MS - clock_wall_ms() % HOUR_MS + 1000);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	if (b->a.s.r)
		ship_close(&b->a.s);
	if (b->b.s.r)
		ship_close(&b->b.s);
	fs_set_ops(NULL);
	store_fault_forget();
	store_mem_forget(NULL);
	tmpdir_free(b->dir);
	free(b);
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
