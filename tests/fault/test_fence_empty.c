/*
 * An empty database takes the place of the one that is replicated, in every way in which apps,
 * people and lost volumes do that, while we run: nothing of it is shipped, "latest" stays what it
 * was, and what is put back goes on.
 */
#include "lib/fence_bed.h"

#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define EMPTY_SQL "PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)"

/* In the node's folder. */
static void shell(const struct node *n, const char *command)
{
	char text[900];
	snprintf(text, sizeof(text), "cd '%s' && { %s; }", n->dir, command);
	assert_int_equal(system(text), 0);
}

/* What may be said of it. */
static bool has_stopped(struct ship *s)
{
	enum replicator_state st = ship_status(s).state;
	return st == REPLICATOR_REPLACED || st == REPLICATOR_UNUSABLE || st == REPLICATOR_WAITING;
}

static void check_nothing_shipped(struct bed *b, uint64_t max, uint64_t digest)
{
	ship_for(&b->a.s, 20);
	assert_int_not_equal(ship_sync(&b->a.s, 1000), ERR_OK);
	assert_true(has_stopped(&b->a.s));
	assert_int_equal(ship_max_txid(URL), max);
	assert_true(ship_digest(URL, max) == digest);
}

/*
 * `how` puts an empty database in its place while its replicator runs: kept.db is a copy of the one
 * that was there, empty.db one with a table and no row. Then the app comes, and writes into what it
 * finds. At last the former one is put back.
 */
static void replace(struct bed *b, const char *how)
{
	char kept[400], empty[400];
	snprintf(kept, sizeof(kept), "%s/kept.db", b->a.dir);
	snprintf(empty, sizeof(empty), "%s/empty.db", b->a.dir);
	a_ships(b, 400);
	goes_on(b, &b->a);
	app_fold(b->a.db, kept);
	app_sql(empty, EMPTY_SQL);
	uint64_t max = ship_max_txid(URL), digest = ship_digest(URL, max);
	shell(&b->a, how);
	ship_for(&b->a.s, 30);
	app_sql(b->a.db, "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS mine(a);"
					 "INSERT INTO mine VALUES (1)");
	check_nothing_shipped(b, max, digest);
	restart(&b->a);
	check_nothing_shipped(b, max, digest);
	ship_close(&b->a.s);
	shell(&b->a, "rm -f app.db app.db-wal app.db-shm && cp kept.db app.db");
	b->a.cfg.accept = true; /* it is the same database in another file */
	start(&b->a);
	goes_on(b, &b->a);
	assert_int_equal(ship_max_txid(URL), max + 1);
}

static void test_renamed_over_it(void **state)
{
	replace(*state, "mv empty.db app.db");
}

static void test_renamed_over_it_with_its_log(void **state)
{
	replace(*state, "rm -f app.db-wal app.db-shm; mv empty.db app.db");
}

static void test_copied_over_it(void **state)
{
	replace(*state, "rm -f app.db-wal app.db-shm; cat empty.db >app.db");
}

static void test_cut_to_nothing(void **state)
{
	replace(*state, "rm -f app.db-wal app.db-shm; : >app.db");
}

/* A volume that vanished: the app makes its database anew. */
static void test_deleted_and_made_anew(void **state)
{
	replace(*state, "rm -f app.db app.db-wal app.db-shm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_renamed_over_it),
		TEST(test_renamed_over_it_with_its_log),
		TEST(test_copied_over_it),
		TEST(test_cut_to_nothing),
		TEST(test_deleted_and_made_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
