/* Every allocation of an upkeep fails in turn: nothing that is promised is lost, and the next one
 * does what was left. */
#include "lib/no_memory.h"
#include "lib/past.h"
#include "lib/scene.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "restore/restore.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define URL "mem://upkeep-memory"
#define HOUR_MS (INT64_C(3600) * 1000)

#if !NO_MEMORY_POSSIBLE
static void test_allocations_fail(void **state)
{
	(void)state;
	skip();
}
#else

/* Work for an upkeep: merges, a snapshot, deletions, an audit. */
static void prepare(struct past *p, struct ship *s)
{
	past_uploads(p, s, 18, 4000);
	ship_skip(73 * HOUR_MS);
	past_upload(p, s);
}

/* Runs in which the allocation number `at` fails. */
static void failing_upkeep(struct ship *s, unsigned at)
{
	calls = 0;
	fail_at = at;
	armed = true;
	ship_upkeep(s);
	armed = false;
	ship_for(s, 5); /* the copy of the database */
	armed = true;
	ship_upkeep(s);
	armed = false;
}

static size_t files(void)
{
	struct store *s = NULL;
	struct ltx_set set;
	struct err e = ERR_INIT;
	ltxset_init(&set);
	assert_int_equal(store_open(&s, URL, NULL, &e), ERR_OK);
	assert_int_equal(restore_list(s, &set, &e), ERR_OK);
	size_t n = set.count;
	ltxset_free(&set);
	store_close(s);
	return n;
}

static void test_allocations_fail(void **state)
{
	(void)state;
	static struct past p;
	struct ship s;
	char db[300], *dir = scene_begin();
	past_start(&p, dir, URL);
	snprintf(db, sizeof(db), "%s/app.db", dir);
	past_open(&p, db);
	struct replicator_config cfg = ship_config(db, URL);
	assert_int_equal(ship_open(&s, &cfg), 0);
	s.no_upkeep = true;
	unsigned at = 1, rounds = 0, wrong = 0;
	for (;; at += 1 + at / 20, rounds++) {
		prepare(&p, &s);
		failing_upkeep(&s, at);
		if (calls < at)
			break;
		wrong += ship_status(&s).upkeep_error[0] != '\0';
		assert_int_equal(ship_status(&s).state, REPLICATOR_REPLICATING);
		assert_true(past_check(&p, 3));
	}
	assert_true(rounds > 30 && wrong > 10);
	for (int i = 0; i < 3; i++) {
		ship_skip(73 * HOUR_MS);
		past_upload(&p, &s);
		ship_upkeep(&s);
		ship_for(&s, 5);
		ship_upkeep(&s);
	}
	struct replicator_status st = ship_status(&s);
	assert_string_equal(st.upkeep_error, "");
	assert_int_equal(st.replica_files, files());
	assert_true(past_check(&p, 30));
	assert_true(files() < p.count / 4);
	ship_close(&s);
	past_close(&p);
	scene_end(dir, NULL);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_allocations_fail)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
