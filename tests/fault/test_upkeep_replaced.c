/*
 * A database is rewritten with another page size, accepted, and goes on: files of the two page
 * sizes can't be merged, and no way leads from the one to the other but through a file with every
 * page. What was before and what comes after stays restorable while files are merged and deleted.
 */
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "restore/restore.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define URL "mem://sizes"
#define HOUR_MS (INT64_C(3600) * 1000)

static void change(struct ship *s, const char *db)
{
	ship_skip(3000);
	app_change(db);
	assert_int_equal(ship_sync(s, 0), ERR_OK);
	ship_for(s, 5);
}

static void shell(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* Restores the state of a TXID and compares it with `copy`. */
static void check_state(uint64_t txid, const char *copy, const char *dir)
{
	char to[400], command[1000];
	struct store *st = NULL;
	struct err e = ERR_INIT;
	struct restore_result result = {0};
	snprintf(to, sizeof(to), "%s/state.db", dir);
	unlink(to);
	struct restore_options o = {.output = to, .state_dir = "", .parallelism = 1};
	o.target.txid = txid;
	assert_int_equal(store_open(&st, URL, NULL, &e), ERR_OK);
	int rc = restore_run(st, &o, &result, &e);
	if (rc)
		fail_msg("TXID %llu: %d %s", (unsigned long long)txid, rc, e.text);
	assert_int_equal(result.proof, RESTORE_PROVEN);
	restore_plan_free(&result.plan);
	store_close(st);
	snprintf(command, sizeof(command), "cmp '%s' '%s'", to, copy);
	shell(command);
}

static void test_another_page_size(void **state)
{
	(void)state;
	char db[300], before[300], after[300], *dir = scene_begin();
	struct ship s;
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(before, sizeof(before), "%s/before.db", dir);
	snprintf(after, sizeof(after), "%s/after.db", dir);
	app_create(db, 40);
	ship_begin_hour(); /* none of the states that are to go is an hour's last one */
	struct replicator_config cfg = ship_config(db, URL);
	assert_int_equal(ship_open(&s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&s, 0), ERR_OK);
	for (int i = 0; i < 13; i++)
		change(&s, db);
	uint64_t last = ship_max_txid(URL);
	app_fold(db, before);
	ship_skip(2 * HOUR_MS); /* so that it is the last state of its hour, which is promised */
	ship_close(&s);
	app_sql(db, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM;"
				"PRAGMA journal_mode = WAL");
	cfg.accept = true;
	assert_int_equal(ship_open(&s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&s, 0), ERR_OK);
	uint64_t first = ship_max_txid(URL);
	assert_true(ship_has(URL, LTX_SNAPSHOT_LEVEL, 1, first));
	for (int i = 0; i < 13; i++)
		change(&s, db);
	uint64_t then = ship_max_txid(URL);
	app_fold(db, after);
	ship_skip(2 * HOUR_MS);
	for (int day = 0; day < 6; day++) {
		for (int i = 0; i < 10; i++)
			change(&s, db);
		ship_skip(HOUR_MS);
		change(&s, db);
		assert_true(ship_same(db, URL, dir));
		check_state(last, before, dir);
		check_state(then, after, dir);
		ship_skip(22 * HOUR_MS);
	}
	assert_false(ship_has(URL, 0, 3, 3));
	assert_false(ship_has(URL, 0, first + 2, first + 2));
	scene_end(dir, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_another_page_size)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
