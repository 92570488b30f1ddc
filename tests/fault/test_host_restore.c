/*
 * Every file system call of a restore fails once, and from then on (lib/faulty.h): to a new path,
 * in place of a database, and of what Litestream 0.3 wrote. After each:
 *
 *   - in place: all of the old set is where it was, or all of it aside and the restored one in its
 *     place, at the latest when whoever comes next has looked at it
 *   - to a new path: nothing is there (or, where it could not be taken away again, all of it)
 *   - who failed said why; no descriptor is left, nothing is trusted whose fsync had failed
 *   - once the fault is gone the same restore works
 *
 * In an ordinary run some of the N (lib/sweep.h). Signals that interrupt every call change nothing.
 */
#include "lib/faulty.h"
#include "lib/restore_bed.h"
#include "lib/sweep.h"
#include "lib/v3_build.h"
#include "lib/witness.h"

#include "base/fs.h"
#include "base/log.h"

#include <glob.h>

struct job {
	struct bed bed;
	struct restore_options o;
	uint8_t *expected; /* of an old backup; NULL: the bed's replica knows */
	size_t n_expected;
	unsigned calls;
};

static bool is_restored(const struct job *j)
{
	if (!j->expected)
		return replica_is_state(&j->bed.r, j->bed.r.txid, j->bed.db);
	size_t n;
	uint8_t *got = v3_slurp(j->bed.db, &n);
	bool same = n == j->n_expected && memcmp(got, j->expected, n) == 0;
	free(got);
	return same;
}

/* Everything but the replica. */
static void clean(const struct job *j)
{
	char pattern[300];
	glob_t g;
	snprintf(pattern, sizeof(pattern), "%s/{,.}app.db*", j->bed.dir);
	if (!glob(pattern, GLOB_BRACE, NULL, &g))
		for (size_t i = 0; i < g.gl_pathc; i++)
			assert_int_equal(fs_remove_tree(g.gl_pathv[i]), 0);
	globfree(&g);
	assert_int_equal(left_behind(&j->bed), 0);
}

static bool is_old_set(const struct job *j)
{
	char wal[300];
	snprintf(wal, sizeof(wal), "%s-wal", j->bed.db);
	return text_is(j->bed.db, "old database") && text_is(wal, "old wal");
}

static bool old_set_is_aside(const struct job *j)
{
	char pattern[300];
	glob_t g;
	snprintf(pattern, sizeof(pattern), "%s.before-*", j->bed.db);
	bool aside = !glob(pattern, 0, NULL, &g) && g.gl_pathc == 2 &&
				 text_is(g.gl_pathv[0], "old database") && text_is(g.gl_pathv[1], "old wal");
	globfree(&g);
	return aside;
}

static int restore(struct job *j)
{
	err_clear(&j->bed.e);
	int rc = restore_run(j->bed.store, &j->o, &j->bed.result, &j->bed.e);
	restore_plan_free(&j->bed.result.plan);
	return rc;
}

static void check_in_place(struct job *j, int rc, bool undo)
{
	struct err e = ERR_INIT;
	assert_int_equal(inplace_recover(j->bed.db, false, &e), ERR_OK);
	bool old = is_old_set(j);
	if (rc ? !old && undo : old)
		fail_msg("%s: %d %s, and the old set is %s", faulty_struck(), rc, j->bed.e.text,
			old ? "there" : "not there");
	if (!old && !(is_restored(j) && old_set_is_aside(j)))
		fail_msg("%s: %d %s: neither the old set nor the restored one", faulty_struck(), rc,
			j->bed.e.text);
	if (old && undo && left_behind(&j->bed) != 2)
		fail_msg("%s: left behind", faulty_struck());
}

static void check_new(struct job *j, int rc, bool undo)
{
	bool there = access(j->bed.db, F_OK) == 0;
	if (there && !is_restored(j))
		fail_msg("%s: what is there is not what was to be restored", faulty_struck());
	if (rc ? undo && left_behind(&j->bed) : !there)
		fail_msg("%s: %d %s, %zu names are there", faulty_struck(), rc, j->bed.e.text,
			left_behind(&j->bed));
}

static void one_restore(struct job *j, const struct faulty_kind *kind, unsigned at, bool for_ever)
{
	struct witness w = {0};
	/* A folder with something in it must be opened to be removed. */
	bool undo = kind->undo && !(for_ever && kind->calls & FAULTY_OPEN);
	if (j->o.in_place)
		put_old_set(&j->bed);
	witness_begin(&w);
	faulty_arm(kind, at, for_ever);
	int rc = restore(j);
	faulty_heal();
	j->calls = faulty_calls();
	if (rc && !j->bed.e.text[0])
		fail_msg("%s: %d without a word", faulty_struck(), rc);
	if (j->o.in_place)
		check_in_place(j, rc, kind->undo && !for_ever);
	else
		check_new(j, rc, undo);
	if (!witness_no_leak(&w))
		fail_msg("%s: descriptors", faulty_struck());
	/* A folder in which a restore failed holds what it held. (The state folder is settled again at
	 * the next start, whatever of it a crash brings back.) */
	int depth = rc ? -1 : 0;
	if ((kind->undo || !for_ever) && *faulty_trusted(j->bed.dir, depth))
		fail_msg("%s: %s", faulty_struck(), faulty_trusted(j->bed.dir, depth));
	clean(j);
	if (rc && (restore(j) || !is_restored(j)))
		fail_msg("%s: not restored when all was well again: %s", faulty_struck(), j->bed.e.text);
	clean(j);
	faulty_end();
}

static void sweep_all(struct job *j, unsigned rounds)
{
	for (const struct faulty_kind *k = faulty_kinds; k->name; k++)
		for (int for_ever = 0; for_ever < 2; for_ever++) {
			struct sweep s;
			for (sweep_begin(&s, rounds); sweep_next(&s);) {
				one_restore(j, k, s.at, for_ever);
				sweep_saw(&s, j->calls);
			}
			assert_true(s.length > 1);
		}
}

static void interrupted(struct job *j)
{
	if (j->o.in_place)
		put_old_set(&j->bed);
	faulty_nag();
	int rc = restore(j);
	unsigned nagged = faulty_nagged();
	faulty_end();
	if (rc || !is_restored(j))
		fail_msg("interrupted: %d %s", rc, j->bed.e.text);
	assert_true(nagged > 15);
	clean(j);
}

static void open_job(struct job *j, bool in_place)
{
	memset(j, 0, sizeof(*j));
	log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR + 1);
	faulty_end(); /* of a test that failed */
	bed_open(&j->bed, NULL, 1024, true);
	j->o = (struct restore_options){.output = j->bed.db, .in_place = in_place, .parallelism = 1};
}

static void test_to_a_new_path(void **state)
{
	(void)state;
	struct job j;
	open_job(&j, false);
	ship_history(&j.bed);
	sweep_all(&j, 12);
	interrupted(&j);
	bed_close(&j.bed);
}

static void test_in_place(void **state)
{
	(void)state;
	struct job j;
	open_job(&j, true);
	ship_history(&j.bed);
	sweep_all(&j, 16);
	interrupted(&j);
	bed_close(&j.bed);
}

static void test_an_old_backup(void **state)
{
	(void)state;
	struct job j;
	open_job(&j, false);
	char *dir = tmpdir_new();
	j.expected = v3_build_two_wals(j.bed.store, dir, &j.n_expected);
	sweep_all(&j, 8);
	interrupted(&j);
	free(j.expected);
	tmpdir_free(dir);
	bed_close(&j.bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_a_new_path),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_an_old_backup),
	};
	return cmocka_run_group_tests_name("faults of the host, restore", tests, NULL, NULL);
}
