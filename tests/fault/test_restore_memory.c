/*
 * Every allocation of a restore fails, once and from then on: it ends with an error that says so,
 * or does without, and never leaves half of something behind. (Not under a sanitizer, which has an
 * allocator of its own.)
 */
#include "lib/no_memory.h"
#include "lib/restore_bed.h"

#include "lib/v3_build.h"
#include "restore/apply.h"
#include "restore/v3apply.h"

#include "base/fs.h"
#include "conf/state.h"

#include <errno.h>
#include <stdlib.h>

#if !NO_MEMORY_POSSIBLE
static void test_every_allocation_fails(void **state)
{
	(void)state;
	skip();
}
#else

/* For ever, each hits what the later ones do as well. */
static unsigned step(unsigned at)
{
	return fail_for_ever ? 1 + at / 8 : 1;
}

/* Then a state folder that was made stays: reading what is in it, to remove it, takes memory. */
static void begin_for_ever(struct bed *b, bool begin)
{
	fail_for_ever = begin;
	b->may_stay = begin;
}

static int restore_once(struct bed *b, struct restore_options *o)
{
	calls = 0;
	err_clear(&b->e);
	__atomic_store_n(&armed, 1, __ATOMIC_RELEASE);
	int rc = restore_run(b->store, o, &b->result, &b->e);
	__atomic_store_n(&armed, 0, __ATOMIC_RELEASE);
	restore_plan_free(&b->result.plan);
	return rc;
}

static void clean_up(struct bed *b)
{
	char *dir = state_default_dir(b->db);
	fs_remove_tree(dir);
	free(dir);
	unlink(b->db);
}

static void sweep(struct bed *b, struct restore_options *o)
{
	unsigned failures = 0;
	for (fail_at = 1;; fail_at += step(fail_at)) {
		int rc = restore_once(b, o);
		failures += rc != ERR_OK;
		if (rc && (left_behind(b) > b->may_stay || !b->e.text[0]))
			fail_msg("allocation %u: %s, %zu names left", fail_at, b->e.text, left_behind(b));
		if (!rc)
			assert_true(replica_is_state(&b->r, b->r.txid, b->db));
		bool over = calls < fail_at;
		clean_up(b);
		if (over)
			break;
	}
	assert_true(failures > 10);
}

static void sweep_both(struct bed *b, struct restore_options *o)
{
	sweep(b, o);
	begin_for_ever(b, true);
	sweep(b, o);
	begin_for_ever(b, false);
}

static void sweep_in_place(struct bed *b)
{
	struct restore_options o = {.output = b->db, .in_place = true};
	for (fail_at = 1;; fail_at += step(fail_at)) {
		put_old_set(b);
		int rc = restore_once(b, &o);
		bool over = calls < fail_at;
		expect_exchanged(b, rc);
		if (over)
			break;
	}
}

static void test_every_allocation_fails(void **state)
{
	(void)state;
	struct bed b;
	fail_for_ever = false;
	bed_open(&b, NULL, 1024, true);
	ship_history(&b);
	replica_put(&b.r, 9, 1, 7);
	struct restore_options o = {.output = b.db};
	sweep_both(&b, &o);
	o.target.timestamp_ms = REPLICA_START_MS + 8500;
	b.r.txid = 8; /* what that time means */
	sweep_both(&b, &o);
	b.r.txid = 9;
	if (apply_raw_bytes) /* once is enough */
		sweep_in_place(&b);
	begin_for_ever(&b, true);
	if (apply_raw_bytes)
		sweep_in_place(&b);
	bed_close(&b);
}

static void sweep_old(struct bed *b, const uint8_t *expected, size_t n)
{
	struct restore_options o = {.output = b->db};
	unsigned failures = 0;
	bool over = false;
	for (fail_at = 1; !over; fail_at += step(fail_at)) {
		size_t m;
		int rc = restore_once(b, &o);
		over = calls < fail_at;
		failures += rc != ERR_OK;
		if (rc && (left_behind(b) > b->may_stay || !b->e.text[0]))
			fail_msg("allocation %u: %s, %zu names left", fail_at, b->e.text, left_behind(b));
		if (rc) {
			clean_up(b);
			continue;
		}
		uint8_t *got = v3_slurp(b->db, &m);
		assert_true(n == m && memcmp(expected, got, n) == 0);
		free(got);
		clean_up(b);
	}
	assert_true(failures > 10);
}

static void test_with_old_backups(void **state)
{
	(void)state;
	struct bed b;
	size_t n, room = v3_apply_bytes;
	bed_open(&b, NULL, 1024, true);
	char *dir = tmpdir_new();
	uint8_t *expected = v3_build_two_wals(b.store, dir, &n);
	v3_apply_bytes = 3000; /* less than the larger transaction */
	sweep_old(&b, expected, n);
	begin_for_ever(&b, true);
	sweep_old(&b, expected, n);
	fail_for_ever = false;
	v3_apply_bytes = room;
	free(expected);
	tmpdir_free(dir);
	bed_close(&b);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation_fails),
	};
	int failed = 0;
#if NO_MEMORY_POSSIBLE
	const struct CMUnitTest old_backups[] = {cmocka_unit_test(test_with_old_backups)};
	failed += cmocka_run_group_tests(old_backups, NULL, NULL);
#endif
	/* Small files decoded as they are read, then as large ones are: by several threads. */
	failed += cmocka_run_group_tests(tests, NULL, NULL);
	apply_raw_bytes = 0;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
