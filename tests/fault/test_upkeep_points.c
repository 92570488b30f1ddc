/*
 * What is promised can be restored, at every moment: while days pass, whatever call to the store
 * fails, at whatever change of a file the process ends, and whichever of two nodes goes on.
 */
#include "lib/crash.h"
#include "lib/past.h"
#include "lib/scene.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define HOUR_MS (INT64_C(3600) * 1000)

struct bed {
	char *dir;
	char db[300], inner[300];
	struct past past;
	struct replicator_config cfg;
	struct ship s;
	struct err e;
};

static void bed_open(struct bed *b, bool file)
{
	memset(b, 0, sizeof(*b));
	b->dir = scene_begin();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->inner, sizeof(b->inner), file ? "file://%s/replica" : "mem://p", b->dir);
	past_start(&b->past, b->dir, b->inner);
	past_open(&b->past, b->db);
	assert_int_equal(store_fault_register("p", b->inner, &b->e), ERR_OK);
	b->cfg = ship_config(b->db, "fault://p");
	scene_new_hour();
	assert_int_equal(ship_open(&b->s, &b->cfg), ERR_OK);
	past_upload(&b->past, &b->s);
}

static void bed_close(struct bed *b)
{
	if (b->s.r)
		ship_close(&b->s);
	past_close(&b->past);
	scene_end(b->dir, NULL);
}

/* Runs the upkeep, and the turns that it asks for, until it has nothing more to do. */
static void upkeep(struct bed *b)
{
	for (int i = 0; i < 3; i++) {
		ship_upkeep(&b->s);
		ship_for(&b->s, 5);
	}
}

static size_t files_in(struct bed *b)
{
	struct store *s = NULL;
	struct ltx_set set;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, b->inner, NULL, &b->e), ERR_OK);
	assert_int_equal(restore_list(s, &set, &b->e), ERR_OK);
	size_t n = set.count;
	ltxset_free(&set);
	store_close(s);
	return n;
}

/* ---- days ---- */

/* Bursts in the morning and at noon. */
static void day(struct bed *b, int n)
{
	past_uploads(&b->past, &b->s, n, 2000);
	upkeep(b);
	ship_skip(5 * HOUR_MS);
	past_uploads(&b->past, &b->s, n, 7000);
	upkeep(b);
	ship_skip(19 * HOUR_MS);
	past_upload(&b->past, &b->s);
	upkeep(b);
}

static void test_days(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, false);
	for (int i = 0; i < 12; i++) {
		day(&b, 40);
		assert_true(past_check(&b.past, 20));
		struct replicator_status st = ship_status(&b.s);
		assert_string_equal(st.upkeep_error, "");
		assert_int_equal(st.replica_files, files_in(&b));
	}
	/* 12 days of 81 uploads; of the old ones there is little. */
	assert_true(b.past.count > 900);
	assert_true(files_in(&b) < 300);
	bed_close(&b);
}

/* ---- each call to the store ---- */

static enum store_fault_action action;

/* An upkeep in which the nth call goes wrong. False when it made fewer. */
static bool broken_upkeep(struct bed *b, unsigned nth)
{
	static const enum store_op ops[] = {
		STORE_OP_PUT, STORE_OP_GET, STORE_OP_HEAD, STORE_OP_LIST, STORE_OP_DELETE};
	uint64_t before = 0, after = 0;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		before += store_fault_calls("p", ops[i]);
	struct store_fault f = {.nth = nth, .times = 1, .action = action};
	assert_int_equal(store_fault_add("p", &f), 0);
	ship_upkeep(&b->s);
	store_fault_heal("p");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		after += store_fault_calls("p", ops[i]);
	ship_for(&b->s, 5);
	return after - before >= nth;
}

static void one_life_with_faults(unsigned nth, bool *any)
{
	struct bed b;
	bed_open(&b, false);
	for (int i = 0; i < 3; i++) {
		past_uploads(&b.past, &b.s, 35, 2000);
		*any = broken_upkeep(&b, nth) || *any;
		assert_true(past_check(&b.past, 5));
		ship_skip(25 * HOUR_MS);
		past_upload(&b.past, &b.s);
		for (int k = 0; k < 3; k++) {
			*any = broken_upkeep(&b, nth) || *any;
			assert_true(past_check(&b.past, 5));
			ship_skip(2 * HOUR_MS);
			past_upload(&b.past, &b.s);
		}
	}
	/* When all is well again, it all gets done, by the next audit at the latest. */
	ship_skip(73 * HOUR_MS);
	past_upload(&b.past, &b.s);
	upkeep(&b);
	assert_true(past_check(&b.past, 30));
	struct replicator_status st = ship_status(&b.s);
	assert_string_equal(st.upkeep_error, "");
	assert_int_equal(st.replica_files, files_in(&b));
	assert_true(files_in(&b) < b.past.count);
	bed_close(&b);
}

static void sweep_faults(enum store_fault_action how)
{
	bool any = true;
	unsigned nth = 0;
	action = how;
	while (any) {
		any = false;
		nth += nth < 12 ? 1 : 7; /* what follows is one deletion after the other */
		one_life_with_faults(nth, &any);
	}
	assert_true(nth > 4);
}

static void test_failing_calls(void **state)
{
	(void)state;
	sweep_faults(STORE_FAULT_FAIL);
}

static void test_lost_answers(void **state)
{
	(void)state;
	sweep_faults(STORE_FAULT_LOSE_ANSWER);
}

/* ---- each change of a file ---- */

static int live(struct ship *s, void *unused)
{
	(void)unused;
	int rc = ship_sync(s, 0);
	for (int i = 0; !rc && i < 3; i++) {
		ship_upkeep(s);
		ship_for(s, 5);
	}
	return rc;
}

/* One life of a node that only does what is due. */
static int life(struct bed *b, long crash_at)
{
	return crash_life(&b->cfg, crash_at, live, NULL);
}

/* Work for an upkeep, and time. */
static void prepare(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), ERR_OK);
	b->s.no_upkeep = true;
	past_uploads(&b->past, &b->s, 18, 4000);
	ship_skip(25 * HOUR_MS);
	past_upload(&b->past, &b->s);
	ship_close(&b->s);
}

/* What a life begins with differs each time, and grows while lives are short. */
static void sweep_crashes(long n)
{
	struct bed b;
	bed_open(&b, true);
	ship_close(&b.s);
	int code = CRASH_EXIT;
	for (; code == CRASH_EXIT; n += 3) {
		prepare(&b);
		code = life(&b, n);
		assert_true(past_check(&b.past, 4));
	}
	assert_int_equal(code, 0);
	assert_true(n > 60);
	assert_true(past_check(&b.past, 60));
	assert_true(files_in(&b) < b.past.count / 2);
	bed_close(&b);
}

static void test_crashes(void **state)
{
	(void)state;
	/* Every third change of a file; with FULL=1 each of them. */
	for (long first = 1; first <= (getenv("FULL") ? 3 : 1); first++)
		sweep_crashes(first);
}

/* ---- two nodes ---- */

struct node {
	char dir[300], db[340];
	struct past past;
	struct replicator_config cfg;
	struct ship s;
};

struct pair {
	char *dir;
	char inner[300];
	struct node a, b;
	struct err e;
};

static void node_start(struct pair *p, struct node *n, const char *name)
{
	snprintf(n->dir, sizeof(n->dir), "%s/%s", p->dir, name);
	snprintf(n->db, sizeof(n->db), "%s/app.db", n->dir);
	assert_int_equal(fs_mkdirs(n->dir, 0700), 0);
	past_start(&n->past, n->dir, p->inner);
	n->cfg = ship_config(n->db, "fault://p");
}

static void restore_to(struct pair *p, const char *db)
{
	struct store *s = NULL;
	struct restore_options o = {.output = db};
	struct restore_result result = {0};
	assert_int_equal(store_open(&s, "fault://p", NULL, &p->e), 0);
	if (restore_run(s, &o, &result, &p->e))
		fail_msg("%s", p->e.text);
	restore_plan_free(&result.plan);
	store_close(s);
}

/* Node one has shipped, has merges and deletions to do, and falls asleep. Node two restores and
 * goes on, until the names behind node one's last one are free. */
static void go_on_elsewhere(struct pair *p, int days)
{
	past_open(&p->a.past, p->a.db);
	assert_int_equal(ship_open(&p->a.s, &p->a.cfg), ERR_OK);
	p->a.s.no_upkeep = true;
	past_uploads(&p->a.past, &p->a.s, 30, 2000);
	uint64_t last = ship_status(&p->a.s).txid;

	restore_to(p, p->b.db);
	memcpy(p->b.past.uploads, p->a.past.uploads, sizeof(p->a.past.uploads));
	p->b.past.count = p->a.past.count;
	p->b.past.number = 1000000;
	past_open(&p->b.past, p->b.db);
	assert_int_equal(ship_open(&p->b.s, &p->b.cfg), ERR_OK);
	for (int i = 0; i < (days ? days : 1); i++) {
		past_uploads(&p->b.past, &p->b.s, 40, 2000);
		ship_upkeep(&p->b.s);
		assert_true(past_check(&p->b.past, 10));
		ship_skip(days ? 25 * HOUR_MS : 5 * HOUR_MS);
		past_upload(&p->b.past, &p->b.s);
		ship_for(&p->b.s, 10);
		ship_upkeep(&p->b.s);
		assert_true(past_check(&p->b.past, 10));
	}
	/* Hours are not enough for that, and too much for the gate. */
	assert_int_equal(ship_has(p->inner, 0, last + 1, last + 1), days == 0);
	assert_int_equal(ship_has(p->inner, 0, last + 2, last + 2), days == 0);
}

enum back { BACK_UPLOAD, BACK_RESTART, BACK_UPKEEP };

static void come_back(struct pair *p, enum back how)
{
	struct node *a = &p->a;
	uint64_t max = ship_max_txid(p->inner), digest = ship_digest(p->inner, max);
	size_t puts = store_fault_calls("p", STORE_OP_PUT);
	size_t deletes = store_fault_calls("p", STORE_OP_DELETE);
	if (how == BACK_UPLOAD)
		agent_sql(&a->past.app, "UPDATE n SET number = -1");
	if (how == BACK_RESTART) {
		ship_close(&a->s);
		assert_int_equal(ship_open(&a->s, &a->cfg), ERR_OK);
	}
	if (how == BACK_UPKEEP)
		ship_upkeep(&a->s);
	assert_true(ship_until(&a->s, REPLICATOR_FENCED));
	ship_upkeep(&a->s);
	ship_for(&a->s, 20);
	/* Nothing of it went into the replica, nothing is gone. */
	assert_int_equal(store_fault_calls("p", STORE_OP_PUT), puts);
	assert_int_equal(store_fault_calls("p", STORE_OP_DELETE), deletes);
	assert_int_equal(ship_max_txid(p->inner), max);
	assert_true(ship_digest(p->inner, max) == digest);
	assert_true(past_check(&p->b.past, 30));
	/* And node two goes on. */
	past_uploads(&p->b.past, &p->b.s, 10, 2000);
	ship_upkeep(&p->b.s);
	assert_true(past_check(&p->b.past, 10));
}

static void freed_name(bool file, int days, enum back how)
{
	struct pair p;
	memset(&p, 0, sizeof(p));
	p.dir = scene_begin();
	snprintf(p.inner, sizeof(p.inner), file ? "file://%s/replica" : "mem://p", p.dir);
	node_start(&p, &p.a, "a");
	node_start(&p, &p.b, "b");
	assert_int_equal(store_fault_register("p", p.inner, &p.e), ERR_OK);
	scene_new_hour();
	go_on_elsewhere(&p, days);
	come_back(&p, how);
	ship_close(&p.a.s);
	ship_close(&p.b.s);
	past_close(&p.a.past);
	past_close(&p.b.past);
	scene_end(p.dir, NULL);
}

static void test_freed_name_and_an_upload(void **state)
{
	(void)state;
	freed_name(false, 9, BACK_UPLOAD);
	freed_name(true, 2, BACK_UPLOAD);
}

static void test_freed_name_and_a_restart(void **state)
{
	(void)state;
	freed_name(false, 2, BACK_RESTART);
	freed_name(true, 2, BACK_RESTART);
}

/* The upkeep alone finds it out: by its audit after days, by its gate after hours. */
static void test_freed_name_and_an_upkeep(void **state)
{
	(void)state;
	freed_name(false, 9, BACK_UPKEEP);
	freed_name(false, 0, BACK_UPKEEP);
	freed_name(true, 0, BACK_UPKEEP);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_failing_calls),
		cmocka_unit_test(test_lost_answers),
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_freed_name_and_an_upload),
		cmocka_unit_test(test_freed_name_and_a_restart),
		cmocka_unit_test(test_freed_name_and_an_upkeep),
	};
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
