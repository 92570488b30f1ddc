/*
 * Allocations of a replicator fail: it says so or does without, tries again, and ships everything
 * in the end. (Not under a sanitizer, which has an allocator of its own.)
 */
#include "lib/no_memory.h"
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "store/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#if !NO_MEMORY_POSSIBLE
static void test_allocations_fail(void **state)
{
	(void)state;
	skip();
}
#else

/* SQLite may call a database unusable for want of memory; the next attempt finds it usable. */
static void ship(struct ship *s)
{
	int rc = ship_sync(s, 0);
	if (rc == ERR_DATABASE) {
		fprintf(stderr, "%u: %s\n", fail_at, ship_status(s).reason);
		assert_true(ship_until(s, REPLICATOR_REPLICATING));
		rc = ship_sync(s, 0);
	}
	if (rc)
		fail_msg("allocation %u: %s", fail_at, ship_status(s).reason);
}

/* A life in which the allocation number `at` fails: opened, two uploads, closed. False when it
 * could not even be opened. */
static bool life(const struct replicator_config *cfg, const char *db, unsigned at)
{
	struct ship s;
	calls = 0;
	fail_at = at;
	armed = true;
	int rc = ship_open(&s, cfg);
	if (rc) {
		armed = false;
		source_watch_free(s.watch);
		assert_true(rc == ERR_NOMEM || rc == ERR_IO); /* of mkdirs: no memory for a path */
		return false;
	}
	ship(&s);
	armed = false;
	app_change(db);
	armed = true;
	ship(&s);
	ship_close(&s);
	armed = false;
	return true;
}

static void test_allocations_fail(void **state)
{
	(void)state;
	char db[256], *dir = scene_begin();
	snprintf(db, sizeof(db), "%s/app.db", dir);
	app_create(db, 50);
	struct replicator_config cfg = ship_config(db, "mem://memory");
	unsigned refused = 0, struck = 0;
	for (unsigned at = 1;; at += 1 + at / 12) {
		app_change(db);
		bool opened = life(&cfg, db, at);
		refused += !opened;
		if (calls < at)
			break;
		if (opened && ++struck % 5 == 0)
			assert_true(ship_same(db, "mem://memory", dir));
	}
	assert_true(refused > 3 && struck > 30);
	assert_true(ship_same(db, "mem://memory", dir));
	scene_end(dir, NULL);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_allocations_fail)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
