/*
 * Allocations fail while a snapshot is made: it is tried again or made without, is right in the
 * end, and the uploads go on. (Not under a sanitizer, which has an allocator of its own.)
 */
#include "lib/image.h"
#include "lib/no_memory.h"
#include "lib/scene.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/snapshots.h"
#include "store/mem.h"

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

#define URL "mem://memory"
#define ROUNDS 3000

static int always(struct replicator *r, struct err *e)
{
	(void)r, (void)e;
	return ERR_OK;
}

/* Its TXID. */
static uint64_t make(struct ship *s)
{
	struct replica_file made = {0};
	struct err e = ERR_INIT;
	int64_t wait;
	for (int i = 0; i < ROUNDS; i++) {
		int rc = snapshot_step(s->r, true, always, &made, &wait, &e);
		if (rc && rc != ERR_NOMEM && rc != ERR_IO) /* of opendir */
			fail_msg("allocation %u: %d %s", fail_at, rc, e.text);
		if (made.max_txid)
			return made.max_txid;
		s->turn_due = 0;
		ship_for(s, 1);
		if (!rc && s->r->shared.spool == SPOOL_NONE && wait > 1000000 && wait != INT64_MAX)
			ship_skip(wait / 1000 + 1);
	}
	fail_msg("allocation %u: no snapshot: %s", fail_at, s->r->making.fault);
	return 0;
}

static void test_allocations_fail(void **state)
{
	(void)state;
	char db[256], *dir = scene_begin();
	struct ship s;
	snprintf(db, sizeof(db), "%s/app.db", dir);
	app_create(db, 50);
	struct replicator_config cfg = ship_config(db, URL);
	unsigned struck = 0;
	for (unsigned at = 1;; at += 1 + at / 40) {
		assert_int_equal(ship_open(&s, &cfg), 0);
		s.no_upkeep = true;
		assert_int_equal(ship_sync(&s, 0), 0);
		app_change(db);
		assert_int_equal(ship_sync(&s, 0), 0);
		calls = 0;
		fail_at = at;
		armed = true;
		uint64_t txid = make(&s);
		armed = false;
		assert_true(image_snapshot_is_right(URL, txid));
		assert_int_equal(s.r->making.mismatches, 0);
		ship_close(&s);
		if (calls < at)
			break;
		struck++;
	}
	assert_true(ship_same(db, URL, dir));
	print_message("%u allocations failed\n", struck);
	assert_true(struck > 20);
	scene_end(dir, NULL);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allocations_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
