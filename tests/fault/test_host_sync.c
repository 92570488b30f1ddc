/*
 * Every file system call of a replicator's life fails once, and from then on: disk full, quota,
 * read-only, no descriptors, a failing disk, fsync alone. Lives are opened, ship two commits into a
 * folder, compact, make a snapshot, delete, and are closed. After each:
 *
 *   - the app's database is what the app made of it, byte for byte, and free at once (the twin)
 *   - a restore brings every acknowledged commit back, before the fault is gone
 *   - once it is gone the next sync ships the rest; what is restored then is the twin
 *   - no temporary file and no descriptor is left, and who failed said why
 *   - nothing is trusted whose fsync had failed (lib/faulty.h)
 *
 * In an ordinary run some of the N (lib/sweep.h). Signals that interrupt every call change nothing.
 */
#include "lib/faulty.h"
#include "lib/host_bed.h"
#include "lib/sweep.h"
#include "lib/tmpdir.h"

static const char *in(const struct bed *b, const char *name)
{
	return tmpdir_path(b->dir, name);
}

static void one_life(
	struct bed *b, const struct faulty_kind *kind, unsigned at, bool for_ever, bool upkeep)
{
	if (upkeep)
		ship_skip(DAY_MS + DAY_MS / 10);
	witness_commit(&b->w);
	bed_begin(b);
	faulty_arm(kind, at, for_ever);
	bool opened = open_if_possible(b);
	if (opened)
		live(b, upkeep);
	faulty_heal();
	snprintf(b->what, sizeof(b->what), "%s: %s", kind->name, faulty_struck());
	bed_settle(b, opened, upkeep, kind->undo);
	assert_int_equal(b->w.refused, 0);
	/* Else a new slot whose folder was not durable could not be taken back either. What a folder of
	 * merged copies loses (deeper) is made again. */
	if ((kind->undo || !for_ever) &&
		(*faulty_trusted(in(b, "replica"), 9) || *faulty_trusted(in(b, ".app.db-litestream"), 1)))
		fail_msg("%s: %s", b->what, faulty_trusted(b->dir, 0));
}

static void open_anew(struct bed *b)
{
	faulty_end();
	bed_open(b);
}

/* Lives of one database, one after the other; or (`first`) each of a new one, with a replica that
 * is empty. */
static void sweep(
	const struct faulty_kind *kind, bool for_ever, bool first, bool upkeep, unsigned rounds)
{
	struct sweep s;
	struct bed b;
	open_anew(&b);
	for (sweep_begin(&s, rounds); sweep_next(&s);) {
		one_life(&b, kind, s.at, for_ever, upkeep);
		sweep_saw(&s, faulty_calls());
		if (first) {
			bed_close(&b);
			open_anew(&b);
		}
	}
	assert_true(s.length > 5);
	bed_close(&b);
}

static void sweep_all(bool first, bool upkeep, unsigned rounds)
{
	for (const struct faulty_kind *k = faulty_kinds; k->name; k++)
		for (int for_ever = 0; for_ever < 2; for_ever++)
			sweep(k, for_ever, first, upkeep, rounds);
	faulty_end();
}

static void test_each_call_of_a_first_upload_fails(void **state)
{
	(void)state;
	sweep_all(true, false, 4);
}

static void test_each_call_of_a_sync_fails(void **state)
{
	(void)state;
	sweep_all(false, false, 6);
}

static void test_each_call_of_an_upkeep_fails(void **state)
{
	(void)state;
	sweep_all(false, true, 4);
}

static void test_each_call_is_interrupted(void **state)
{
	(void)state;
	struct bed b;
	open_anew(&b);
	snprintf(b.what, sizeof(b.what), "interrupted");
	for (int day = 0; day < 3; day++) {
		ship_skip(DAY_MS + DAY_MS / 10);
		witness_commit(&b.w);
		bed_begin(&b);
		faulty_nag();
		assert_true(open_if_possible(&b));
		live(&b, true);
		assert_int_equal(b.w.acked, b.w.number);
		assert_string_equal(ship_status(&b.s).last_error, "");
		assert_string_equal(ship_status(&b.s).upkeep_error, "");
		faulty_heal();
		assert_true(faulty_nagged() > 100);
		bed_settle(&b, true, true, true);
	}
	bed_close(&b);
	faulty_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_call_of_a_first_upload_fails),
		cmocka_unit_test(test_each_call_of_a_sync_fails),
		cmocka_unit_test(test_each_call_of_an_upkeep_fails),
		cmocka_unit_test(test_each_call_is_interrupted),
	};
	return cmocka_run_group_tests_name("faults of the host, sync", tests, NULL, NULL);
}
