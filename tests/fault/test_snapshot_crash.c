/*
 * The process ends at the Nth change that it makes to any file while a snapshot is made, for every
 * N: the next life uploads what was finished, makes what was not, and leaves nothing behind.
 */
#include "lib/crash.h"
#include "lib/image.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/snapshots.h"

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

struct bed {
	char *dir;
	char db[256], url[256];
};

static int live(struct ship *s, void *crash_at)
{
	s->no_upkeep = true;
	if (ship_sync(s, 0))
		return 1;
	crash_arm(*(long *)crash_at);
	return ship_snapshot(s) ? 0 : 1;
}

/* One life, which makes a snapshot, and may crash from then on. */
static int life(struct bed *b, long crash_at)
{
	struct replicator_config cfg = ship_config(b->db, b->url);
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
	return crash_life(&cfg, -1, live, &crash_at);
}

static bool is_empty(const struct bed *b)
{
	char command[400];
	snprintf(command, sizeof(command),
		"! find '%s/.app.db-litestream' -path '*/9/*' -o -name 'staging-*' | grep -q .", b->dir);
	return system(command) == 0;
}

static void test_at_every_change(void **state)
{
	(void)state;
	struct bed b = {.dir = tmpdir_new()};
	unsigned crashes = 0;
	uint64_t txid = 0;
	int code;
	snprintf(b.db, sizeof(b.db), "%s/app.db", b.dir);
	snprintf(b.url, sizeof(b.url), "file://%s/replica", b.dir);
	app_create(b.db, 120);
	for (long n = 1; (code = life(&b, n)) != 0; n++) {
		assert_int_equal(code, CRASH_EXIT);
		crashes++;
		assert_int_equal(life(&b, -1), 0);
		assert_true(is_empty(&b));
		txid = ship_max_txid(b.url);
		assert_true(ship_has(b.url, LTX_SNAPSHOT_LEVEL, 1, txid));
		assert_true(image_snapshot_is_right(b.url, txid));
		app_change(b.db); /* so that the next one is another */
	}
	assert_true(crashes > 20);
	assert_true(is_empty(&b));
	tmpdir_free(b.dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_at_every_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
