/*
 * Stores that overwrite what is there: weak fencing (F11), how it is found out and what it still
 * does; and the manifest.
 */
#include "lib/fence_bed.h"

#include "base/buf.h"
#include "replicate/manifest.h"
#include "restore/restore.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

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

/* ---- two nodes at such a store ---- */

/* From now on whatever is put is put, as in a versioned bucket. */
static void overwrite(struct bed *b)
{
	struct store_fault f = {.op = STORE_OP_PUT, .action = STORE_FAULT_OVERWRITE};
	assert_int_equal(store_fault_register("overwrites", URL, &b->e), ERR_OK);
	assert_int_equal(store_fault_add("overwrites", &f), 0);
	assert_int_equal(store_fault_register("f", "fault://overwrites", &b->e), ERR_OK);
}

/* The second one looks before it puts, whether it starts or goes on. */
static void test_second_of_two(void **state)
{
	struct bed *b = *state;
	overwrite(b);
	a_is_first(b);
	assert_true(ship_status(&b->a.s).weak_fencing);
	check_stopped(&b->b);
	assert_true(ship_status(&b->b.s).weak_fencing);
	check_second(b, &b->b, &b->a);
}

/* Idle for two minutes, and the names behind its last upload are free, however that came: strong
 * fencing looks after 90 minutes, weak after one. */
static void test_idle_for_two_minutes(void **state)
{
	struct bed *b = *state;
	overwrite(b);
	b->line.handovers = 1;
	a_ships(b, 20);
	restore_to(b, &b->b, 0);
	start(&b->b);
	goes_on_for_long(b, &b->b);
	ship_skip(120000);
	app_change(b->a.db);
	check_stopped(&b->a);
	goes_on(b, &b->b);
}

/* Nothing was there when B looked, and A was quicker: B's put goes over A's. That is the gap that
 * is told of. What comes out of it is no mix: the restore refuses, B is fenced at its next upload,
 * and A's merges and snapshots bring its line back. */
static void test_overwritten_between_look_and_put(void **state)
{
	struct bed *b = *state;
	char to[300];
	snprintf(to, sizeof(to), "%s/restored.db", b->dir);
	overwrite(b);
	a_ships(b, 20);
	restore_to(b, &b->b, 0);
	app_sql(b->b.db, "INSERT INTO t(b) VALUES ('of b')");
	let_a_come_between(b);
	start(&b->b);
	ship(&b->b);
	app_change(b->a.db);
	ship(&b->a);
	assert_int_equal(ship_max_txid(URL), 3);
	assert_int_equal(ship_restore(URL, to), ERR_DAMAGED);
	app_change(b->b.db);
	check_stopped(&b->b);
	/* As many as it takes: in a few ms a busy machine merges nothing. */
	for (int i = 0; i < 8 || (i < 400 && ship_restore(URL, to) != ERR_OK); i++) {
		ship_skip(10000);
		app_change(b->a.db);
		ship(&b->a);
		ship_for(&b->a.s, 5);
		ship_upkeep(&b->a.s);
	}
	assert_int_equal(ship_status(&b->a.s).state, REPLICATOR_REPLICATING);
	assert_true(ship_same(b->a.db, URL, b->dir));
	timeline_free(&b->line); /* its TXID 2 was overwritten */
}

/* ---- how it is found out ---- */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_weak_fencing),
		TEST(test_no_conditions),
		TEST(test_second_of_two),
		TEST(test_idle_for_two_minutes),
		TEST(test_overwritten_between_look_and_put),
		TEST(test_probe),
		TEST(test_manifest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
