/* Two replicators and one replica: whoever is second stops, and damages nothing (F1 to F11). */
#include "lib/fence_bed.h"

#include "base/buf.h"
#include "format/ltxset.h"
#include "replicate/freeze.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- two nodes ---- */

/* Both found the replica empty; one is first (F2, F3). */
static void test_race_for_an_empty_replica(void **state)
{
	struct bed *b = *state;
	a_is_first(b);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

static void test_another_nodes_replica(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 20);
	a_ships(b, 20);
	start(&b->b);
	check_stopped(&b->b);
	restart(&b->b);
	check_stopped(&b->b);
	goes_on(b, &b->a);
}

/* F7, and what becomes of the loser: its next upload finds another file there. */
static void test_takeover(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 30);
	a_ships(b, 20);
	b->line.handovers = 1;
	b->b.cfg.takeover = true;
	start_as(b, &b->b, 2);
	assert_true(ship_has(URL, 0, 2, 2));
	assert_true(ship_has(URL, LTX_SNAPSHOT_LEVEL, 1, 2));
	app_change(b->a.db);
	check_stopped(&b->a);
	restart(&b->a);
	check_stopped(&b->a);
	/* The winner goes on; said again, the word changes nothing. */
	goes_on(b, &b->b);
	restart(&b->b);
	goes_on(b, &b->b);
	assert_int_equal(ship_max_txid(URL), 4);
}

/* Who is told of: whom the replica's manifest names. Not oneself. */
static void test_the_other_node_is_named(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 20);
	b->a.cfg.app = "shop";
	b->b.cfg.app = "blog";
	a_ships(b, 20);
	ship_for(&b->a.s, 20);
	start(&b->b);
	check_stopped(&b->b);
	assert_non_null(strstr(ship_status(&b->b.s).reason, "app shop, database app.db"));
	ship_close(&b->b.s);
	b->b.cfg.app = "shop";
	start(&b->b);
	check_stopped(&b->b);
	assert_null(strstr(ship_status(&b->b.s).reason, "app shop"));
}

/* Found out in the middle, by an upload that was refused. */
static void test_the_other_node_is_named_later(void **state)
{
	struct bed *b = *state;
	app_create(b->b.db, 20);
	b->line.handovers = 1;
	b->a.cfg.app = "shop";
	b->b.cfg.app = "blog";
	b->b.cfg.takeover = true;
	a_ships(b, 20);
	start(&b->b);
	check_same(b, &b->b);
	ship_for(&b->b.s, 20);
	app_change(b->a.db);
	check_stopped(&b->a);
	assert_non_null(strstr(ship_status(&b->a.s).reason, "app blog, database app.db"));
}

/* ---- F3: what is compared ---- */

static void put_bytes(struct store *s, const struct buf *bytes)
{
	char name[FENCE_NAME_SIZE];
	struct err e = ERR_INIT;
	struct store_body body = {.data = bytes->data, .fd = -1, .size = bytes->len};
	fence_name(s, 0, 1, 1, name);
	assert_int_equal(store_put(s, name, &body, &(struct store_put_opts){0}, &e), ERR_OK);
}

static bool is_same(struct store *s, const struct frozen *f)
{
	bool same = false;
	struct err e = ERR_INIT;
	assert_int_equal(fence_same(s, f, &same, &e), ERR_OK);
	return same;
}

/* Size, the first 100 bytes and the last 16. */
static void test_what_tells_ours_from_anothers(void **state)
{
	struct bed *b = *state;
	struct frozen f;
	struct buf bytes;
	char folder[340];
	a_ships(b, 20);
	snprintf(folder, sizeof(folder), "%s/ltx/0", b->a.meta);
	assert_int_equal(frozen_load(folder, 1, &f, &b->e), ERR_OK);
	char *path = frozen_path(folder, 1);
	buf_init(&bytes, 1 << 20);
	assert_int_equal(fs_read_file(path, &bytes, &b->e), ERR_OK);
	free(path);
	struct store *s = plain_store(b);
	assert_true(is_same(s, &f));
	const size_t at[] = {0, 60, 99, bytes.len - 16, bytes.len - 1};
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		bytes.data[at[i]] ^= 1;
		put_bytes(s, &bytes);
		assert_false(is_same(s, &f));
		bytes.data[at[i]] ^= 1;
	}
	bytes.len--;
	put_bytes(s, &bytes);
	assert_false(is_same(s, &f));
	bytes.len++;
	put_bytes(s, &bytes);
	assert_true(is_same(s, &f));
	store_close(s);
	buf_free(&bytes);
}

/* ---- an empty database and a full replica ---- */

/* An app on a new host has just made its database, or is about to. */
static void fresh_database(struct bed *b, const char *make)
{
	char command[700];
	a_ships(b, 20);
	goes_on(b, &b->a);
	snprintf(command, sizeof(command), make, b->b.db);
	assert_int_equal(system(command), 0);
	start(&b->b);
	ship_for(&b->b.s, 50);
	if (access(b->b.db, F_OK))
		assert_int_equal(ship_status(&b->b.s).state, REPLICATOR_WAITING);
	assert_int_equal(ship_max_txid(URL), 2);
	app_sql(b->b.db, "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)");
	check_second(b, &b->b, &b->a);
}

static void test_fresh_database(void **state)
{
	fresh_database(*state, "sqlite3 '%s' 'PRAGMA journal_mode = WAL' >/dev/null");
}

static void test_fresh_database_of_no_bytes(void **state)
{
	fresh_database(*state, ": >'%s'");
}

static void test_fresh_database_to_come(void **state)
{
	fresh_database(*state, "test ! -e '%s'");
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
	timeline_free(&b->line);
	start_as(b, &b->a, 1);
}

static void test_replica_lost_its_last_file(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	goes_on(b, &b->a);
	ship_close(&b->a.s);
	free_names(b, 2, 2);
	b->line.count = 1;
	start(&b->a);
	check_stopped(&b->a);
	ship_close(&b->a.s);
	b->a.cfg.takeover = true;
	start(&b->a);
	check_same(b, &b->a);
}

/* Another program's compaction, or a bucket's own rules, left the snapshot alone: the next TXID is
 * one more than that of any level, and only who can show that state may write it (F6). */
static void test_only_a_snapshot_is_left(void **state)
{
	struct bed *b = *state;
	a_ships(b, 20);
	goes_on(b, &b->a);
	goes_on(b, &b->a);
	assert_true(ship_snapshot(&b->a.s));
	uint64_t last = ship_max_txid(URL);
	ship_close(&b->a.s);
	free_names(b, 1, last);
	app_create(b->b.db, 20);
	start(&b->b);
	check_stopped(&b->b);
	assert_int_equal(fs_remove_tree(b->a.meta), 0);
	start_as(b, &b->a, last + 1);
	goes_on(b, &b->a);
	check_stopped(&b->b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_race_for_an_empty_replica),
		TEST(test_another_nodes_replica),
		TEST(test_takeover),
		TEST(test_the_other_node_is_named),
		TEST(test_the_other_node_is_named_later),
		TEST(test_what_tells_ours_from_anothers),
		TEST(test_fresh_database),
		TEST(test_fresh_database_of_no_bytes),
		TEST(test_fresh_database_to_come),
		TEST(test_emptied_replica),
		TEST(test_replica_lost_its_last_file),
		TEST(test_only_a_snapshot_is_left),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
