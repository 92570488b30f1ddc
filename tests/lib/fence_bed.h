/*
 * What the tests of fencing share, beside two nodes with one store "f": what each of them does, and
 * what a fenced one must not do. A header alone, because it uses cmocka.
 */
#ifndef TESTS_LIB_FENCE_BED_H
#define TESTS_LIB_FENCE_BED_H

#include "lib/two_nodes.h"

#include "base/fs.h"
#include "conf/state.h"
#include "replicate/fence.h"
#include "store/fault.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static inline int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	ship_set_clock(0);
	assert_int_equal(store_fault_register("f", URL, &b->e), ERR_OK);
	node_init(b, &b->a, "a", "f");
	node_init(b, &b->b, "b", "f");
	*state = b;
	return 0;
}

static inline void start(struct node *n)
{
	assert_int_equal(ship_open(&n->s, &n->cfg), 0);
}

static inline void ship(struct node *n)
{
	if (ship_sync(&n->s, 0) != ERR_OK)
		fail_msg("%s: %s", n->name, ship_status(&n->s).reason);
}

static inline void check_same(struct bed *b, struct node *n)
{
	ship(n);
	note(b, n);
	assert_true(ship_same(n->db, URL, b->dir));
}

static inline void add_fault(enum store_op op, const char *name, unsigned nth, unsigned times,
	enum store_fault_action action, int code)
{
	struct store_fault f = {.op = op,
		.name_contains = name,
		.nth = nth,
		.times = times,
		.action = action,
		.code = code};
	assert_int_equal(store_fault_add("f", &f), 0);
}

static inline void fault(enum store_op op, const char *name, unsigned nth, unsigned times, int code)
{
	add_fault(op, name, nth, times, STORE_FAULT_FAIL, code);
}

/* B finds the replica empty, and hears no more of it until the faults are healed. */
static inline void b_is_cut_off(struct bed *b)
{
	fault(STORE_OP_PUT, "000001.ltx", 0, 0, ERR_UNREACHABLE);
	start(&b->b);
	assert_true(ship_until(&b->b.s, REPLICATOR_BEHIND));
	store_fault_heal("f");
}

/* Its app's database has so many rows, and all of it is in the replica. */
static inline void a_ships(struct bed *b, int rows)
{
	app_create(b->a.db, rows);
	start(&b->a);
	check_same(b, &b->a);
}

/* The same, and then its replicator ends. */
static inline void a_shipped(struct bed *b, int rows)
{
	a_ships(b, rows);
	ship_close(&b->a.s);
}

/* Both find the replica empty, and A is first. */
static inline void a_is_first(struct bed *b)
{
	app_create(b->b.db, 20);
	app_create(b->a.db, 20);
	b_is_cut_off(b);
	start(&b->a);
	check_same(b, &b->a);
}

static inline void restart(struct node *n)
{
	ship_close(&n->s);
	start(n);
}

/* It may go on with the replica, which then ends at `txid`. */
static inline void start_as(struct bed *b, struct node *n, uint64_t txid)
{
	start(n);
	check_same(b, n);
	assert_int_equal(ship_max_txid(URL), txid);
}

/* The replica ends at TXID 1: B is restored from that, and claims it. */
static inline void b_claims(struct bed *b)
{
	b->line.handovers++;
	restore_to(b, &b->b, 0);
	start_as(b, &b->b, 2);
}

/* What is committed next is in the replica, too. */
static inline void goes_on(struct bed *b, struct node *n)
{
	app_change(n->db);
	check_same(b, n);
}

/* Fenced, with a reason, and nothing is changed in the replica any more. */
static inline void check_stopped(struct node *n)
{
	uint64_t max = ship_max_txid(URL), digest = ship_digest(URL, max);
	assert_true(ship_until(&n->s, REPLICATOR_FENCED));
	struct replicator_status st = ship_status(&n->s);
	assert_int_equal(st.code, ERR_FENCED);
	/* What happened, and what a person can do. */
	assert_non_null(strstr(st.reason, "TXID"));
	assert_non_null(strstr(st.reason, "-takeover"));
	assert_int_equal(ship_sync(&n->s, 1000), ERR_FENCED);
	uint64_t puts = store_fault_calls("f", STORE_OP_PUT),
			 deletes = store_fault_calls("f", STORE_OP_DELETE);
	ship_for(&n->s, 20);
	app_change(n->db);
	ship_for(&n->s, 30);
	ship_upkeep(&n->s);
	assert_int_equal(store_fault_calls("f", STORE_OP_PUT), puts);
	assert_int_equal(store_fault_calls("f", STORE_OP_DELETE), deletes);
	assert_int_equal(ship_max_txid(URL), max);
	assert_true(ship_digest(URL, max) == digest);
	/* The app is not held up by who may not ship: its -wal goes with its last connection, and that
	 * of the replicator ends once it has looked that far, which takes a busy machine a while. */
	char wal[320];
	snprintf(wal, sizeof(wal), "%s-wal", n->db);
	for (int i = 0; i < 3000 && access(wal, F_OK) == 0; i++)
		ship_for(&n->s, 10);
	assert_int_equal(access(wal, F_OK), -1);
}

/* Stopped in this life and the next, while the owner goes on. */
static inline void check_second(struct bed *b, struct node *second, struct node *owner)
{
	check_stopped(second);
	goes_on(b, owner);
	restart(second);
	check_stopped(second);
	goes_on(b, owner);
}

static inline void copy_node(const struct node *from, const struct node *to)
{
	char command[900];
	snprintf(command, sizeof(command), "cp -a '%s/.' '%s/'", from->dir, to->dir);
	assert_int_equal(system(command), 0);
}

/* After copy_node: what identifies folder and file is what it is on a disk that was copied block by
 * block. The node may know the replica by another name here. */
static inline void as_on_a_cloned_disk(struct node *n)
{
	struct state_dir *dir = NULL;
	struct state st;
	struct stat db;
	struct err e = ERR_INIT;
	bool copied;
	assert_int_equal(state_dir_open(&dir, n->meta, &e), 0);
	assert_int_equal(state_load(dir, &st, &copied, &e), 0);
	assert_true(copied);
	assert_int_equal(stat(n->db, &db), 0);
	snprintf(st.replica, sizeof(st.replica), "%s", n->url);
	st.dev = db.st_dev;
	st.ino = db.st_ino;
	assert_int_equal(state_save(dir, &st, &e), 0);
	state_dir_close(dir);
}

/* The store that nothing goes wrong in. */
static inline struct store *plain_store(struct bed *b)
{
	struct store *s = NULL;
	assert_int_equal(store_open(&s, URL, NULL, &b->e), 0);
	return s;
}

/* Deletes the L0 files of these TXIDs, as their owner's retention does with what is old. */
static inline void free_names(struct bed *b, uint64_t from, uint64_t to)
{
	struct store *s = plain_store(b);
	for (uint64_t txid = from; txid <= to; txid++) {
		char name[FENCE_NAME_SIZE];
		const char *names[] = {name};
		struct store_delete_result gone;
		fence_name(s, 0, txid, txid, name);
		assert_int_equal(store_delete(s, names, 1, &gone, &b->e), ERR_OK);
	}
	store_close(s);
}

/* It goes on for so long that only its last file is left of what came after TXID 1. */
static inline void goes_on_for_long(struct bed *b, struct node *n)
{
	for (int i = 0; i < 3; i++)
		goes_on(b, n);
	assert_true(ship_snapshot(&n->s));
	free_names(b, 2, ship_max_txid(URL) - 1);
}

static inline void a_goes_on(void *ctx, const char *name)
{
	struct bed *b = ctx;
	(void)name;
	goes_on(b, &b->a);
}

/* At the next put of TXID 2, by B, A is quicker by a moment. */
static inline void let_a_come_between(struct bed *b)
{
	struct store_fault between = {.op = STORE_OP_PUT,
		.name_contains = "2.ltx",
		.times = 1,
		.action = STORE_FAULT_HOOK,
		.hook = a_goes_on,
		.ctx = b};
	assert_int_equal(store_fault_add("f", &between), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
