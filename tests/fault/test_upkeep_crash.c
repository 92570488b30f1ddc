/*
 * The process ends at the Nth change that it makes to any file while uploads, merges, a snapshot
 * and deletions go on, day after day: after each crash the replica in the folder can be restored
 * and proven, and the next life goes on from there. What crashes left half done does not pile up.
 *
 * This process only watches: each life of the replicator is a child of its own.
 */
#include "lib/crash.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "restore/restore.h"

#include <ftw.h>
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

#define DAY_MS (INT64_C(24) * 3600 * 1000)

struct bed {
	char *dir;
	char db[256], url[256], meta[256];
	struct replicator_config cfg;
};

/* A day: some uploads, and all that the upkeep finds to do. */
static int live(struct ship *s, void *bed)
{
	const struct bed *b = bed;
	int rc = ship_sync(s, 0);
	for (int i = 0; i < 9 && !rc; i++) {
		ship_skip(3000);
		app_change(b->db);
		rc = ship_sync(s, 0);
	}
	for (int i = 0; i < 3 && !rc; i++) {
		ship_skip(40000);
		ship_upkeep(s);
		ship_for(s, 60);
	}
	return rc;
}

/* One life, which may end early. The exit code. */
static int life(struct bed *b, long crash_at)
{
	return crash_life(&b->cfg, crash_at, live, b);
}

struct counted {
	size_t files, l9, merged;
};

static struct counted count(const struct bed *b)
{
	struct counted c = {0};
	struct store *s = NULL;
	struct ltx_set set;
	struct err e = ERR_INIT;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, b->url, NULL, &e), ERR_OK);
	assert_int_equal(restore_list(s, &set, &e), ERR_OK);
	for (size_t i = 0; i < set.count; i++) {
		c.files++;
		c.l9 += set.files[i].level == LTX_SNAPSHOT_LEVEL;
		c.merged += set.files[i].level > 0 && set.files[i].level < LTX_SNAPSHOT_LEVEL;
	}
	ltxset_free(&set);
	store_close(s);
	return c;
}

static int unfinished; /* files in the state folder that no rename finished */

static int look_at(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	unfinished += type == FTW_F && strstr(path, ".tmp") != NULL;
	return 0;
}

static void test_crashes_of_an_upkeep(void **state)
{
	(void)state;
	struct bed b;
	char restored[300];
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
	b.dir = tmpdir_new();
	snprintf(b.db, sizeof(b.db), "%s/app.db", b.dir);
	snprintf(b.meta, sizeof(b.meta), "%s/.app.db-litestream", b.dir);
	snprintf(b.url, sizeof(b.url), "file://%s/replica", b.dir);
	snprintf(restored, sizeof(restored), "%s/restored.db", b.dir);
	b.cfg = ship_config(b.db, b.url);
	app_create(b.db, 60);
	assert_int_equal(life(&b, -1), 0);
	unsigned crashes = 0;
	for (long n = 3;; n += 1 + n / 25) {
		ship_skip(DAY_MS + DAY_MS / 10);
		int code = life(&b, n);
		if (code == 0)
			break;
		assert_int_equal(code, CRASH_EXIT);
		crashes++;
		assert_int_equal(ship_restore(b.url, restored), ERR_OK);
		unlink(restored);
		if (crashes % 5 == 0) {
			ship_skip(DAY_MS / 10);
			assert_int_equal(life(&b, -1), 0);
			assert_true(ship_same(b.db, b.url, b.dir));
		}
	}
	assert_true(crashes > 20);
	assert_true(ship_same(b.db, b.url, b.dir));
	unfinished = 0;
	assert_int_equal(nftw(b.meta, look_at, 8, FTW_PHYS), 0);
	assert_int_equal(unfinished, 0);
	struct counted c = count(&b);
	assert_true(c.l9 > 1 && c.merged > 1);
	assert_true(c.files < ship_max_txid(b.url));
	tmpdir_free(b.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_crashes_of_an_upkeep)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
