/*
 * Two nodes that do to one replica whatever comes to their minds: commit, ship, stop, start, lose
 * the network or an answer, sleep for days in the middle of an upload, restore, clone each other,
 * take over. Whatever came of it: all that is offered is of one timeline, and a person's word at
 * the end makes one of them its owner and the other one fenced.
 *
 * SEED=n runs one again; FULL=1 runs as many as there is patience for.
 */
#include "lib/fence_bed.h"
#include "lib/rounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define STEPS 40
#define FIRST_SEED \
	5 /* lives in which both put the same TXID: who overwrites is found out in three */
#define SEEDS 4
#define SEEDS_FULL 150
#define MINUTE_MS (INT64_C(60) * 1000)

static uint64_t seed;

static unsigned below(unsigned bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(seed >> 33) % bound;
}

static bool is_up(const struct node *n)
{
	return n->s.r != NULL;
}

static bool has_database(const struct node *n)
{
	return access(n->db, F_OK) == 0;
}

/* What is committed may be shipped later, by an upload that nobody waits for here. */
static void commit(struct bed *b, struct node *n)
{
	app_change(n->db);
	timeline_note(&b->line, n->name, n->db, 0, b->dir);
}

/* An upload that nobody waits for is of what is committed now, or when it was frozen. */
static void let_run(struct bed *b, struct node *n)
{
	timeline_note(&b->line, n->name, n->db, 0, b->dir);
	ship_for(&n->s, 5);
}

static void sync_now(struct bed *b, struct node *n)
{
	timeline_note(&b->line, n->name, n->db, 0, b->dir);
	if (ship_sync(&n->s, 5000) == ERR_OK)
		note(b, n);
}

static void stop(struct node *n)
{
	if (is_up(n))
		ship_close(&n->s);
}

static void run(struct node *n, bool takeover)
{
	stop(n);
	n->cfg.takeover = takeover;
	start(n);
	n->cfg.takeover = false;
}

static void wipe(struct node *n)
{
	char command[700];
	stop(n);
	snprintf(command, sizeof(command), "rm -rf '%s' && mkdir '%s'", n->dir, n->dir);
	assert_int_equal(system(command), 0);
}

/* The present, or what was two uploads before. */
static void restore_anew(struct bed *b, struct node *n, bool older)
{
	uint64_t last = ship_max_txid(URL);
	if (!last)
		return;
	wipe(n);
	store_fault_heal(n->name);
	uint64_t txid = older && last > 2 && ship_has(URL, 0, last - 2, last - 2) ? last - 2 : 0;
	restore_to(b, n, txid);
	timeline_note(&b->line, n->name, n->db, 0, b->dir);
}

/* The folder, or the whole host: then both know the last upload for theirs, and both go on. */
static void clone_node(struct bed *b, struct node *from, struct node *to)
{
	bool was_up = is_up(from), whole = below(3) != 0;
	stop(from);
	wipe(to);
	copy_node(from, to);
	if (whole && access(to->meta, F_OK) == 0) {
		as_on_a_cloned_disk(to);
		run(to, false);
	}
	if (was_up)
		run(from, false);
	timeline_note(&b->line, to->name, to->db, 0, b->dir);
}

static void cut_off(const struct node *n, bool answers_alone)
{
	struct store_fault f = {.op = answers_alone ? STORE_OP_PUT : STORE_OP_ANY,
		.times = answers_alone ? 1 : 0,
		.action = answers_alone ? STORE_FAULT_LOSE_ANSWER : STORE_FAULT_FAIL};
	assert_int_equal(store_fault_add(n->name, &f), 0);
}

/* ---- what one does while the other one sleeps ---- */

struct sleeper {
	struct bed *b;
	struct node *other;
};

static void others_day(void *ctx, const char *name)
{
	struct sleeper *s = ctx;
	(void)name;
	if (!has_database(s->other))
		return;
	run(s->other, below(2) == 0);
	for (unsigned i = below(12); i > 0; i--) {
		ship_skip(MINUTE_MS);
		commit(s->b, s->other);
		sync_now(s->b, s->other);
	}
	ship_skip(below(2) ? 100 * MINUTE_MS : 4 * 24 * 60 * MINUTE_MS);
	commit(s->b, s->other);
	sync_now(s->b, s->other);
	let_run(s->b, s->other);
}

/* It falls asleep when its next upload was accepted. */
static void upload_and_sleep(struct bed *b, struct node *n, struct node *other)
{
	struct sleeper s = {b, other};
	struct store_fault f = {.op = STORE_OP_PUT,
		.name_contains = "ltx/0/",
		.times = 1,
		.action = STORE_FAULT_HOOK_AFTER,
		.hook = others_day,
		.ctx = &s};
	store_fault_heal(n->name);
	assert_int_equal(store_fault_add(n->name, &f), 0);
	commit(b, n);
	sync_now(b, n);
	store_fault_heal(n->name);
}

/* ---- a life ---- */

static void step(struct bed *b)
{
	bool first = below(2) == 0;
	struct node *n = first ? &b->a : &b->b, *other = first ? &b->b : &b->a;
	unsigned what = below(20);
	if (getenv("SHOW"))
		fprintf(stderr, "-- %s: %u\n", n->name, what);
	if (!has_database(n)) {
		restore_anew(b, n, false);
		return;
	}
	if (!is_up(n) && what < 12) {
		run(n, below(6) == 0);
		return;
	}
	if (what < 6) {
		commit(b, n);
		sync_now(b, n);
	} else if (what < 8) {
		commit(b, n);
	} else if (what < 10 && is_up(n)) {
		let_run(b, n);
	} else if (what == 10) {
		cut_off(n, false);
	} else if (what == 11) {
		cut_off(n, true);
	} else if (what < 14) {
		store_fault_heal(n->name);
	} else if (what == 14) {
		stop(n);
	} else if (what == 15) {
		ship_skip(below(3) ? 10 * MINUTE_MS : 200 * MINUTE_MS);
	} else if (what == 16) {
		restore_anew(b, n, below(3) == 0);
	} else if (what == 17) {
		clone_node(b, n, other);
	} else if (is_up(n)) {
		upload_and_sleep(b, n, other);
	}
}

/* At the end one of them is right. */
static void settle(struct bed *b)
{
	store_fault_heal("a");
	store_fault_heal("b");
	run(&b->b, false);
	sync_now(b, &b->b);
	run(&b->a, true);
	check_same(b, &b->a);
	goes_on(b, &b->a);
	if (!has_database(&b->b))
		return;
	commit(b, &b->b);
	assert_true(ship_until(&b->b.s, REPLICATOR_FENCED));
	goes_on(b, &b->a);
}

static void live(uint64_t from)
{
	struct bed *b = calloc(1, sizeof(*b));
	void *state = b;
	seed = from;
	b->dir = scene_begin();
	b->line.handovers = UINT32_MAX;
	assert_int_equal(store_fault_register("a", URL, &b->e), ERR_OK);
	assert_int_equal(store_fault_register("b", URL, &b->e), ERR_OK);
	node_init(b, &b->a, "a", "a");
	node_init(b, &b->b, "b", "b");
	app_create(b->a.db, 30);
	timeline_note(&b->line, "a", b->a.db, 0, b->dir);
	run(&b->a, false);
	sync_now(b, &b->a);
	for (int i = 0; i < STEPS; i++)
		step(b);
	settle(b);
	teardown(&state);
}

static void test_two_lives(void **state)
{
	(void)state;
	const char *one = getenv("SEED");
	uint64_t from = one ? strtoull(one, NULL, 10) : FIRST_SEED;
	uint64_t n = one ? 1 : ROUNDS(getenv("FULL") ? SEEDS_FULL : SEEDS);
	for (uint64_t i = from; i < from + n; i++) {
		print_message("SEED=%llu\n", (unsigned long long)i);
		live(i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_lives)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
