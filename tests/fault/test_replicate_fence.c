/* Two replicators and one replica: whoever is second stops, and damages nothing (F1 to F11). */
#include "lib/two_nodes.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/state.h"
#include "format/ltxset.h"
#include "replicate/fence.h"
#include "replicate/manifest.h"
#include "store/fault.h"
#include "store/mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = scene_begin();
	assert_int_equal(store_fault_register("f", NULL, &b->e), ERR_OK);
	node_init(b, &b->a, "a", "f");
	node_init(b, &b->b, "b", "f");
	*state = b;
	return 0;
}

static void start(struct node *n)
{
	assert_int_equal(ship_open(&n->s, &n->cfg), 0);
}

static void ship(struct node *n)
{
	assert_int_equal(ship_sync(&n->s, 0), ERR_OK);
}

static void check_same(struct bed *b, struct node *n)
{
	ship(n);
	assert_true(ship_same(n->db, URL, b->dir));
}

/* Its app's database has so many rows, and all of it is in the replica. */
static void a_ships(struct bed *b, int rows)
{
	app_create(b->a.db, rows);
	start(&b->a);
	check_same(b, &b->a);
}

static void restart(struct node *n)
{
	ship_close(&n->s);
	start(n);
}

/* What is committed next is in the replica, too. */
static void goes_on(struct bed *b, struct node *n)
{
	app_change(n->db);
	check_same(b, n);
}

/* Fenced, with a reason, and nothing was changed in the replica. */
static void check_fenced(struct node *n)
{
	uint64_t max = ship_max_txid(URL), digest = ship_digest(URL, max);
	assert_true(ship_until(&n->s, REPLICATOR_FENCED));
	struct replicator_status st = ship_status(&n->s);
	assert_int_equal(st.code, ERR_FENCED);
	assert_true(strlen(st.reason) > 40);
	assert_int_equal(ship_sync(&n->s, 1000), ERR_FENCED);
	ship_for(&n->s, 20);
	app_change(n->db);
	ship_for(&n->s, 30);
	assert_int_equal(ship_max_txid(URL), max);
	assert_true(ship_digest(URL, max) == digest);
	/* The app is not held up by who may not ship. */
	char wal[320];
	snprintf(wal, sizeof(wal), "%s-wal", n->db);
	assert_int_equal(access(wal, F_OK), -1);
}

static void fault(enum store_op op, const char *name, unsigned nth, unsigned times, int code)
{
	struct store_fault f = {.op = op,
		.name_contains = name,
		.nth = nth,
		.times = times,
		.action = STORE_FAULT_FAIL,
		.code = code};
	assert_int_equal(store_fault_add("f", &f), 0);
}

/* ---- two nodes ---- */

/* Both found the replica empty; one is first (F2, F3). */
static void test_race_for_an_empty_replica(void **state)
{
	struct bed *b = *state;
	app_create(b->a.db, 20);
	app_create(b->b.db, 20);
	fault(STORE_OP_PUT, "000001.ltx", 0, 0, ERR_UNREACHABLE);
	start(&b->b);
	assert_true(ship_until(&b->b.s, REPLICATOR_BEHIND));
	store_fault_heal("f");
	start(&b->a);
	check_same(b, &b->a);
	check_fenced(&b->b);
	goes_on(b, &b->a);
}

static void test_another_nodes_replica(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 20);
	a_ships(b, 20);
	start(&b->b);
	check_fenced(&b->b);
	restart(&b->b);
	check_fenced(&b->b);
	goes_on(b, &b->a);
}

/* F7, and what becomes of the loser: its next upload finds another file there. */
static void test_takeover(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 30);
	a_ships(b, 20);
	b->b.cfg.takeover = true;
	start(&b->b);
	check_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 2);
	assert_true(ship_has(URL, 0, 2, 2));
	assert_true(ship_has(URL, LTX_SNAPSHOT_LEVEL, 1, 2));
	app_change(b->a.db);
	check_fenced(&b->a);
	restart(&b->a);
	check_fenced(&b->a);
	/* The winner goes on; said again, the word changes nothing. */
	goes_on(b, &b->b);
	restart(&b->b);
	goes_on(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 4);
}

/* Its name was free again: only looking behind our last file tells (F4). */
static void test_tail_check_after_a_long_pause(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	assert_int_equal(store_open(&s, URL, NULL, &b->e), 0);
	fence_name(s, 0, 9, 9, name);
	struct store_body body = {.data = "x", .fd = -1, .size = 1};
	assert_int_equal(store_put(s, name, &body, &(struct store_put_opts){0}, &b->e), 0);
	store_close(s);
	ship_skip(91 * 60 * 1000);
	app_change(b->a.db);
	check_fenced(&b->a);
}

/* ---- the same database, another state ---- */

static void copy_node(const struct node *from, const struct node *to)
{
	char command[900];
	snprintf(command, sizeof(command), "cp -a '%s/.' '%s/'", from->dir, to->dir);
	assert_int_equal(system(command), 0);
}

/* F10: a copy of folder and database that went another way must not go on. */
static void test_copy_that_went_its_own_way(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	ship_close(&b->a.s);
	copy_node(&b->a, &b->b);
	app_change(b->b.db);
	start(&b->b);
	check_fenced(&b->b);
	start(&b->a);
	goes_on(b, &b->a);
	/* Being refused has not made the copy an original. */
	restart(&b->b);
	check_fenced(&b->b);
}

/* A copy that shows the recorded checksum may claim; the original then is second. */
static void test_copy_that_is_the_same(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	ship_close(&b->a.s);
	copy_node(&b->a, &b->b);
	start(&b->b);
	check_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 2);
	goes_on(b, &b->b);
	start(&b->a);
	check_fenced(&b->a);
}

/* A folder that was only renamed is no copy. */
static void test_renamed_folder(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	ship_close(&b->a.s);
	assert_int_equal(rmdir(b->b.dir), 0);
	assert_int_equal(rename(b->a.dir, b->b.dir), 0);
	app_change(b->b.db);
	start(&b->b);
	check_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 2);
}

/* F6: without a state the checksum is proof, and page 1 the claim. */
static void test_lost_state(void **state)
{
	struct bed *b = *state;
	a_ships(b, 200);
	ship_close(&b->a.s);
	assert_int_equal(fs_remove_tree(b->a.meta), 0);
	start(&b->a);
	check_same(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 2);
	struct replicator_status st = ship_status(&b->a.s);
	assert_int_equal(st.state, REPLICATOR_REPLICATING);
	assert_int_equal(st.uploads, 1);
	ship_close(&b->a.s);
	assert_int_equal(fs_remove_tree(b->a.meta), 0);
	app_change(b->a.db);
	start(&b->a);
	check_fenced(&b->a);
}

/* ---- restored ---- */

static uint64_t bytes_put(struct node *n)
{
	return ship_status(&n->s).requests.bytes_out;
}

/* A restored database goes on without a snapshot, even when its app is quicker than we. */
static void test_restored(void **state)
{
	struct bed *b = *state;
	a_ships(b, 2000);
	goes_on(b, &b->a);
	ship_close(&b->a.s);
	restore_to(b, &b->b, 0);
	app_sql(b->b.db, "INSERT INTO t(b) VALUES ('quick')");
	start(&b->b);
	check_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 3);
	assert_true(bytes_put(&b->b) < 100000);
	goes_on(b, &b->b);
	app_change(b->a.db);
	start(&b->a);
	check_fenced(&b->a);
}

/* Restored and never written: it claims all the same, so the first node hears of it at once. */
static void test_restored_and_idle(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	ship_close(&b->a.s);
	restore_to(b, &b->b, 0);
	start(&b->b);
	check_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 2);
	app_change(b->a.db);
	start(&b->a);
	check_fenced(&b->a);
}

/* The timeline stays one: what comes after turns the last state into the restored one. */
static void test_restored_to_an_older_point(void **state)
{
	struct bed *b = *state;
	app_create(b->a.db, 300);
	start(&b->a);
	for (int i = 0; i < 3; i++) {
		check_same(b, &b->a);
		app_change(b->a.db);
	}
	check_same(b, &b->a);
	ship_close(&b->a.s);
	restore_to(b, &b->b, 2);
	start(&b->b);
	check_same(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 5);
	goes_on(b, &b->b);
}

/* Restored, and meanwhile the first node went on: too late. */
static void test_restored_too_early(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	restore_to(b, &b->b, 0);
	goes_on(b, &b->a);
	start(&b->b);
	check_fenced(&b->b);
}

/* ---- the replica loses something ---- */

static void forget_replica(struct bed *b)
{
	ship_close(&b->a.s);
	store_fault_forget();
	store_mem_forget("f");
	assert_int_equal(store_fault_register("f", NULL, &b->e), 0);
}

static void test_emptied_replica(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	goes_on(b, &b->a);
	forget_replica(b);
	start(&b->a);
	check_same(b, &b->a);
	assert_int_equal(ship_max_txid(URL), 1);
}

static void test_replica_lost_its_last_file(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	goes_on(b, &b->a);
	ship_close(&b->a.s);
	struct store *s = NULL;
	char name[FENCE_NAME_SIZE];
	assert_int_equal(store_open(&s, URL, NULL, &b->e), 0);
	fence_name(s, 0, 2, 2, name);
	const char *names[] = {name};
	struct store_delete_result gone;
	assert_int_equal(store_delete(s, names, 1, &gone, &b->e), 0);
	store_close(s);
	start(&b->a);
	check_fenced(&b->a);
	ship_close(&b->a.s);
	b->a.cfg.takeover = true;
	start(&b->a);
	check_same(b, &b->a);
}

/* ---- weak fencing (F11) ---- */

static void test_weak_fencing(void **state)
{
	struct bed *b = *state;
	app_create(b->a.db, 20);
	/* The probe's second put shows it. */
	fault(STORE_OP_PUT, "probe", 2, 0, ERR_UNSUPPORTED);
	start(&b->a);
	ship(&b->a);
	assert_true(ship_status(&b->a.s).weak_fencing);
	uint64_t heads = store_fault_calls("f", STORE_OP_HEAD);
	uint64_t lists = store_fault_calls("f", STORE_OP_LIST);
	app_change(b->a.db);
	ship(&b->a);
	assert_int_equal(store_fault_calls("f", STORE_OP_HEAD), heads + 1);
	assert_int_equal(store_fault_calls("f", STORE_OP_LIST), lists);
	ship_skip(61000);
	app_change(b->a.db);
	ship(&b->a);
	assert_int_equal(store_fault_calls("f", STORE_OP_LIST), lists + 1);
	assert_true(ship_same(b->a.db, URL, b->dir));
	/* It is remembered, not asked again. */
	ship_close(&b->a.s);
	uint64_t puts = store_fault_calls("f", STORE_OP_PUT);
	start(&b->a);
	ship(&b->a);
	assert_int_equal(store_fault_calls("f", STORE_OP_PUT), puts);
	assert_true(ship_status(&b->a.s).weak_fencing);
}

/* The server can't do conditions at all. */
static void test_no_conditions(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	fault(STORE_OP_PUT, "2.ltx", 1, 1, ERR_UNSUPPORTED);
	goes_on(b, &b->a);
	goes_on(b, &b->a);
}

static void test_probe(void **state)
{
	struct bed *b = *state;
	struct store *s = NULL;
	bool weak = true;
	struct ltx_set set;
	assert_int_equal(store_open(&s, "fault://f", NULL, &b->e), 0);
	assert_int_equal(fence_probe(s, &weak, &b->e), ERR_OK);
	assert_false(weak);
	/* Nothing is left behind. */
	ltxset_init(&set);
	assert_int_equal(restore_list(s, &set, &b->e), 0);
	assert_int_equal(set.count, 0);
	fault(STORE_OP_PUT, NULL, 0, 0, ERR_DENIED);
	assert_int_equal(fence_probe(s, &weak, &b->e), ERR_DENIED);
	store_close(s);
}

/* ---- manifest ---- */

static int take(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	return buf_append(ctx, p, n);
}

static void test_manifest(void **state)
{
	struct bed *b = *state;
	app_create(b->a.db, 20);
	b->a.cfg.app = "my-app";
	b->a.cfg.storage_name = "not/a name";
	start(&b->a);
	ship(&b->a);
	ship_for(&b->a.s, 20);
	struct store *s = NULL;
	struct buf text;
	buf_init(&text, MANIFEST_MAX);
	assert_int_equal(store_open(&s, URL, NULL, &b->e), 0);
	assert_int_equal(store_get(s, MANIFEST_NAME, 0, 0, take, &text, &b->e), 0);
	json_t *root = json_loads(buf_str(&text), 0, NULL);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "app")), "my-app");
	assert_string_equal(json_string_value(json_object_get(root, "database")), "app.db");
	assert_string_equal(json_string_value(json_object_get(root, "fencing")), "strong");
	assert_null(json_object_get(root, "storage"));
	json_decref(root);
	/* Known well enough: only a change is written. */
	uint64_t puts = store_fault_calls("f", STORE_OP_PUT);
	app_change(b->a.db);
	ship(&b->a);
	ship_for(&b->a.s, 20);
	assert_int_equal(store_fault_calls("f", STORE_OP_PUT), puts + 1);
	/* The probe of a replica with a manifest uses it, and leaves it as it is. */
	bool weak = true;
	assert_int_equal(fence_probe(s, &weak, &b->e), ERR_OK);
	assert_false(weak);
	store_close(s);
	buf_free(&text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_race_for_an_empty_replica),
		TEST(test_another_nodes_replica),
		TEST(test_takeover),
		TEST(test_tail_check_after_a_long_pause),
		TEST(test_copy_that_went_its_own_way),
		TEST(test_copy_that_is_the_same),
		TEST(test_renamed_folder),
		TEST(test_lost_state),
		TEST(test_restored),
		TEST(test_restored_and_idle),
		TEST(test_restored_to_an_older_point),
		TEST(test_restored_too_early),
		TEST(test_emptied_replica),
		TEST(test_replica_lost_its_last_file),
		TEST(test_weak_fencing),
		TEST(test_no_conditions),
		TEST(test_probe),
		TEST(test_manifest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
