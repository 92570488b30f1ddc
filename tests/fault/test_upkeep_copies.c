/*
 * The local copies while files are merged: nothing is fetched that was here a moment ago, and what
 * was merged and lies behind the page table is not kept until the bound is reached.
 */
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "store/fault.h"
#include "store/mem.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static unsigned count(const char *state_dir, int level)
{
	char path[400];
	unsigned n = 0;
	uint64_t min, max;
	snprintf(path, sizeof(path), "%s/ltx/%d", state_dir, level);
	DIR *d = opendir(path);
	for (struct dirent *ent = d ? readdir(d) : NULL; ent; ent = readdir(d))
		n += ltx_parse_name(ent->d_name, &min, &max);
	if (d)
		closedir(d);
	return n;
}

static void change(struct ship *s, const char *db, int64_t ms)
{
	ship_skip(ms);
	app_change(db);
	assert_int_equal(ship_sync(s, 0), ERR_OK);
	ship_for(s, 5);
}

static void test_copies(void **state)
{
	(void)state;
	char db[300], meta[300], *dir = scene_begin();
	struct ship s;
	struct err e;
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(meta, sizeof(meta), "%s/.app.db-litestream", dir);
	assert_int_equal(store_fault_register("c", "mem://c", &e), ERR_OK);
	app_create(db, 40);
	struct replicator_config cfg = ship_config(db, "fault://c");
	assert_int_equal(ship_open(&s, &cfg), ERR_OK);
	assert_int_equal(ship_sync(&s, 0), ERR_OK);
	uint64_t gets = store_fault_calls("c", STORE_OP_GET);
	int merged = 0; /* at any moment: those of L1 go into L2 when they are due */
	for (int i = 0; i < 200; i++) {
		change(&s, db, 3000);
		merged += count(meta, 1) > 0;
	}
	assert_true(merged > 0);
	change(&s, db, 700000); /* the page table is saved */
	change(&s, db, 3000);
	assert_int_equal(store_fault_calls("c", STORE_OP_GET), gets);
	assert_true(count(meta, 0) < 40);
	assert_true(count(meta, 1) < 40);
	assert_true(ship_same(db, "mem://c", dir));
	scene_end(dir, &s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_copies)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
