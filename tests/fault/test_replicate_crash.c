/*
 * The table of docs/DESIGN.md, "Crashes": the process ends at the Nth change that it makes to any
 * file, for every N, and the next start must bring the replica to what the app has committed, by
 * files that are never rewritten.
 *
 * This process only watches: each life of the replicator is a child of its own.
 */
#include "lib/crash.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/state.h"
#include "format/ltxset.h"

#include <errno.h>
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

#define CRASHED CRASH_EXIT

struct bed {
	char *dir;
	char db[256], url[256];
};

static void bed_open(struct bed *b)
{
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "file://%s/replica", b->dir);
}

static void bed_close(struct bed *b)
{
	tmpdir_free(b->dir);
}

static int live(struct ship *s, void *unused)
{
	(void)unused;
	return ship_sync(s, 0);
}

/* One life: all that is committed is shipped, then a clean stop. The exit code. */
static int life(const struct replicator_config *cfg, long crash_at)
{
	return crash_life(cfg, crash_at, live, NULL);
}

/* Crashes at each change in turn, always beginning with what the last crash left. Between two lives
 * the app goes on. Ends when a life comes through. */
static unsigned sweep(struct bed *b, struct replicator_config *cfg)
{
	unsigned crashes = 0;
	for (long n = 1;; n++) {
		int code = life(cfg, n);
		if (code == 0)
			break;
		assert_int_equal(code, CRASHED);
		crashes++;
		cfg->takeover = cfg->takeover && ship_max_txid(b->url) < 3;
		uint64_t max = ship_max_txid(b->url), digest = ship_digest(b->url, max);
		app_change(b->db);
		/* Every fourth time the next life ships all, so that later crashes begin with another
		 * state. */
		if (n % 4 == 0) {
			assert_int_equal(life(cfg, -1), 0);
			assert_true(ship_same(b->db, b->url, b->dir));
			app_change(b->db);
		}
		assert_true(ship_digest(b->url, max) == digest);
	}
	assert_true(ship_same(b->db, b->url, b->dir));
	return crashes;
}

static void test_first_upload(void **state)
{
	(void)state;
	unsigned crashes = 0;
	for (long n = 1;; n++) {
		struct bed b;
		bed_open(&b);
		app_create(b.db, 30);
		struct replicator_config cfg = ship_config(b.db, b.url);
		int code = life(&cfg, n);
		if (code) {
			assert_int_equal(code, CRASHED);
			crashes++;
			app_change(b.db);
			uint64_t max = ship_max_txid(b.url), digest = ship_digest(b.url, max);
			assert_int_equal(life(&cfg, -1), 0);
			assert_true(ship_digest(b.url, max) == digest);
		}
		assert_true(ship_same(b.db, b.url, b.dir));
		bed_close(&b);
		if (code == 0)
			break;
	}
	assert_true(crashes > 20);
}

static void test_later_uploads(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b);
	app_create(b.db, 60);
	struct replicator_config cfg = ship_config(b.db, b.url);
	assert_int_equal(life(&cfg, -1), 0);
	app_change(b.db);
	assert_true(sweep(&b, &cfg) > 15);
	bed_close(&b);
}

/* A second node takes a replica over: an L0 with every page, then the snapshot that ends there. */
static void test_takeover(void **state)
{
	(void)state;
	unsigned crashes = 0;
	for (long n = 1;; n++) {
		struct bed a, b;
		bed_open(&a);
		bed_open(&b);
		app_create(a.db, 20);
		app_create(b.db, 25);
		memcpy(b.url, a.url, sizeof(b.url));
		struct replicator_config first = ship_config(a.db, a.url);
		struct replicator_config second = ship_config(b.db, b.url);
		second.takeover = true;
		assert_int_equal(life(&first, -1), 0);
		int code = life(&second, n);
		if (code) {
			assert_int_equal(code, CRASHED);
			crashes++;
			app_change(b.db);
			assert_int_equal(life(&second, -1), 0);
		}
		assert_true(ship_same(b.db, b.url, b.dir));
		assert_true(ship_has(b.url, LTX_SNAPSHOT_LEVEL, 1, 2));
		bed_close(&a);
		bed_close(&b);
		if (code == 0)
			break;
	}
	assert_true(crashes > 20);
}

/* The state is lost, the database is not: proof, claim, on. */
static void test_claim(void **state)
{
	(void)state;
	unsigned crashes = 0;
	for (long n = 1;; n++) {
		struct bed b;
		bed_open(&b);
		app_create(b.db, 30);
		struct replicator_config cfg = ship_config(b.db, b.url);
		assert_int_equal(life(&cfg, -1), 0);
		char *dir = state_default_dir(b.db);
		assert_int_equal(fs_remove_tree(dir), 0);
		free(dir);
		int code = life(&cfg, n);
		if (code) {
			assert_int_equal(code, CRASHED);
			crashes++;
			/* Before the claim is begun only the same database is proof enough. */
			if (ship_max_txid(b.url) > 1)
				app_change(b.db);
			assert_int_equal(life(&cfg, -1), 0);
		}
		assert_true(ship_same(b.db, b.url, b.dir));
		assert_true(ship_max_txid(b.url) > 1);
		bed_close(&b);
		if (code == 0)
			break;
	}
	assert_true(crashes > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_upload),
		cmocka_unit_test(test_later_uploads),
		cmocka_unit_test(test_takeover),
		cmocka_unit_test(test_claim),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
