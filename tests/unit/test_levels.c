/*
 * Which merges and snapshots are due: tables of known cases, then the merges of constant and of
 * random rhythms.
 */
#include "lib/file_list.h"
#include "lib/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- policies ---- */

static void check_policy(const struct levels_policy *p, const char *complaint)
{
	struct err e = ERR_INIT;
	check_complaint(levels_policy_check(p, &e), &e, complaint);
}

static void test_policy(void **state)
{
	(void)state;
	struct levels_policy good, p;
	levels_policy_init(&good);
	check_policy(&good, NULL);
	p = good, p.n_levels = 0, check_policy(&p, "1 to 8, not 0");
	p = good, p.n_levels = 9, check_policy(&p, "1 to 8, not 9");
	p = good, p.step_ms[0] = 10, check_policy(&p, "step of level 1 is 10 ms");
	p = good, p.step_ms[1] = 31 * SECOND, check_policy(&p, "level 2 (31000 ms) must be a multiple");
	p = good, p.step_ms[2] = 5 * MINUTE, check_policy(&p, "level 3 (300000 ms) must be a multiple");
	p = good, p.min_inputs = 1, check_policy(&p, "at least 2 files");
	p = good, p.max_inputs = 15, check_policy(&p, "(8 to 15 were asked for)");
	p = good, p.settle_ms = -1, check_policy(&p, "settles");
	p = good, p.snapshot_max_ms = MINUTE, check_policy(&p, "the longest time between two");
	p = good, p.snapshot_fraction = 0, check_policy(&p, "fraction");
	p = good, p.renew_ms = -1, check_policy(&p, "renewed every -1 ms");
}

/* ---- merges, from tables ---- */

/* L0 files min to max, `pace` ms apart, the first at `at`. */
static void add_uploads(struct files *s, uint64_t min, uint64_t max, int64_t at, int64_t pace)
{
	for (uint64_t t = min; t <= max; t++)
		add(s, 0, t, t, at + (int64_t)(t - min) * pace);
}

static struct levels_merge due(const struct files *s, int64_t now_ms)
{
	struct levels_policy p;
	struct levels_merge m;
	struct err e = ERR_INIT;
	levels_policy_init(&p);
	assert_int_equal(levels_due(s->f, s->n, &p, now_ms, &m, &e), ERR_OK);
	return m;
}

static void check_merge(
	const struct files *s, int64_t now_ms, int level, uint64_t min, uint64_t max)
{
	struct levels_merge m = due(s, now_ms);
	assert_int_not_equal(m.count, 0);
	assert_int_equal(m.level, level);
	assert_int_equal(s->f[m.first].min_txid, min);
	assert_int_equal(s->f[m.first + m.count - 1].max_txid, max);
}

static void test_nothing_is_due(void **state)
{
	(void)state;
	struct files s = {0};
	assert_int_equal(due(&s, START).count, 0);
	assert_int_equal(due(&s, START).at_ms, 0);
	add_uploads(&s, 1, 8, START, SECOND); /* seven behind the full one */
	struct levels_merge m = due(&s, START + DAY);
	assert_int_equal(m.count, 0);
	assert_int_equal(m.at_ms, 0);
}

static void test_constant_writes_fill_a_step(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 1, 30, START, SECOND);
	/* The half minute may still bring something. */
	struct levels_merge m = due(&s, START + 30 * SECOND);
	assert_int_equal(m.count, 0);
	assert_int_equal(m.at_ms, START + 35 * SECOND);
	check_merge(&s, START + 35 * SECOND, 1, 2, 30);
	/* With the next half minute begun it can't. */
	add_uploads(&s, 31, 32, START + 30 * SECOND, SECOND);
	check_merge(&s, START + 31 * SECOND, 1, 2, 30);
	/* That made, nothing more. */
	add(&s, 1, 2, 30, START + 29 * SECOND);
	assert_int_equal(due(&s, START + 31 * SECOND).count, 0);
}

static void test_few_wait_for_a_coarser_step(void **state)
{
	(void)state;
	struct files s = {0};
	/* One in 20 s: a half minute holds one or two. */
	add_uploads(&s, 1, 14, START + 40 * SECOND, 20 * SECOND);
	/* 2 to 14 wait; the five minutes end after TXID 13. */
	check_merge(&s, START + 5 * MINUTE + SECOND, 1, 2, 13);
	s.n = 13;
	struct levels_merge m = due(&s, START + 5 * MINUTE);
	assert_int_equal(m.count, 0);
	assert_int_equal(m.at_ms, START + 5 * MINUTE + 5 * SECOND);
	check_merge(&s, m.at_ms, 1, 2, 13);
}

/* One in 20 min: they wait until as many are there as can be merged, and no time makes them due. */
static void test_sparse_ones_wait(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 1, 256, START, 20 * MINUTE);
	struct levels_merge m = due(&s, START + 30 * DAY);
	assert_int_equal(m.count, 0);
	assert_int_equal(m.at_ms, 0);
	add_uploads(&s, 257, 257, START + 256 * 20 * MINUTE, 0);
	check_merge(&s, START + 30 * DAY, 1, 2, 257);
	/* A busy moment takes the old ones along. */
	s.n = 20;
	add_uploads(&s, 21, 40, START + DAY, SECOND);
	check_merge(&s, START + DAY + MINUTE, 1, 2, 9);
}

static void test_many_take_the_first_step(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 1, 17, START, 10 * SECOND); /* 16 wait, steps end after 3, 6, 9, 12, 15 */
	check_merge(&s, START + 165 * SECOND, 1, 2, 9);
}

static void test_a_step_too_large_is_split(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 1, 300, START, 10); /* 300 in 3 s */
	check_merge(&s, START + 4 * SECOND, 1, 2, 257);
}

static void test_levels_go_on_where_they_end(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 31, 62, START + 30 * SECOND, SECOND);
	add(&s, 1, 2, 30, START + 29 * SECOND);
	check_merge(&s, START + 62 * SECOND, 1, 31, 60);

	/* L1 is gone whole, L2 is not: L1 begins behind it. */
	s.n = 0;
	add_uploads(&s, 11, 62, START + 10 * SECOND, SECOND);
	add(&s, 2, 2, 30, START + 29 * SECOND);
	check_merge(&s, START + 62 * SECOND, 1, 31, 60);

	/* Nothing above: the old bits that retention left are not merged, only what hangs together. */
	s.n = 0;
	add_uploads(&s, 5, 5, START + 5 * SECOND, SECOND);
	add_uploads(&s, 11, 62, START + 10 * SECOND, SECOND);
	check_merge(&s, START + 62 * SECOND, 1, 11, 30);
}

static void test_gaps(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 33, 62, START + 32 * SECOND, SECOND);
	add(&s, 1, 2, 30, START + 29 * SECOND);
	assert_int_equal(due(&s, START + DAY).count, 0);
	/* A snapshot bridges the gap. */
	add(&s, 9, 1, 31, START + 30 * SECOND);
	assert_int_equal(due(&s, START + DAY).count, 0);
	s.f[s.n - 1].max_txid = 32;
	check_merge(&s, START + DAY, 1, 33, 60);
}

static void test_upper_levels(void **state)
{
	(void)state;
	struct files s = {0};
	for (uint64_t k = 0; k < 15; k++) /* L1: the half minutes 0 to 14 */
		add(&s, 1, k * 30 + 2, k * 30 + 31, START + (int64_t)(k * 30 + 29) * SECOND);
	/* The hour might end with one of the next: so many wait for that. */
	assert_int_equal(due(&s, START + 8 * MINUTE).count, 0);
	add(&s, 1, 452, 481, START + 479 * SECOND);
	check_merge(&s, START + 8 * MINUTE, 2, 2, 301);
	/* An upload of these five minutes that is not in an L1 yet shows that they are not over. */
	struct files t = {0};
	add(&t, 0, 302, 302, START + 299500);
	memcpy(&t.f[1], s.f, 10 * sizeof(*s.f));
	t.n = 11;
	assert_int_equal(due(&t, START + 2 * HOUR).count, 0);
	t.f[0].timestamp_ms = START + HOUR;
	check_merge(&t, START + 2 * HOUR, 2, 2, 301);
}

/* Sparse is what was never merged: L1 files are far apart by themselves. */
static void test_upper_levels_are_not_sparse(void **state)
{
	(void)state;
	struct files s = {0};
	for (uint64_t k = 0; k < 9; k++) /* every 20 minutes; the hour ends with each third */
		add(&s, 1, k * 10 + 2, k * 10 + 11, START + (int64_t)(k * 20 + 19) * MINUTE);
	check_merge(&s, START + 4 * HOUR, 2, 2, 91);
}

static void test_out_of_order(void **state)
{
	(void)state;
	struct files s = {0};
	struct levels_policy p;
	struct levels_merge m;
	struct levels_snapshot snap;
	struct err e = ERR_INIT;
	levels_policy_init(&p);
	add_uploads(&s, 1, 3, START, SECOND);
	add(&s, 0, 2, 2, START);
	assert_int_equal(levels_due(s.f, s.n, &p, START, &m, &e), ERR_FAIL);
	assert_non_null(strstr(e.text, "L0 0000000000000002"));
	assert_int_equal(levels_snapshot_due(s.f, s.n, &p, 0, START, &snap, &e), ERR_FAIL);
	s.n = 3;
	add(&s, 10, 4, 4, START);
	assert_int_equal(levels_due(s.f, s.n, &p, START, &m, &e), ERR_FAIL);
}

/* ---- snapshots, from tables ---- */

static struct levels_snapshot snapshot(
	const struct files *s, uint64_t db_bytes, int64_t renew_ms, int64_t now_ms)
{
	struct levels_policy p;
	struct levels_snapshot snap;
	struct err e = ERR_INIT;
	levels_policy_init(&p);
	p.renew_ms = renew_ms;
	assert_int_equal(levels_snapshot_due(s->f, s->n, &p, db_bytes, now_ms, &snap, &e), ERR_OK);
	return snap;
}

static void test_snapshots_by_age(void **state)
{
	(void)state;
	struct files s = {0};
	assert_int_equal(snapshot(&s, 0, 0, START).due, LEVELS_NOT_DUE);
	add_uploads(&s, 1, 1, START, SECOND);
	struct levels_snapshot snap = snapshot(&s, 0, 0, START + 99 * DAY);
	assert_int_equal(snap.due, LEVELS_NOT_DUE); /* no changes */
	assert_int_equal(snap.at_ms, 0);
	add_uploads(&s, 2, 2, START + SECOND, SECOND);
	snap = snapshot(&s, 0, 0, START + 2 * SECOND);
	assert_int_equal(snap.due, LEVELS_NOT_DUE);
	assert_int_equal(snap.increments, 1000);
	assert_int_equal(snap.at_ms, START + DAY);
	assert_int_equal(snapshot(&s, 0, 0, START + DAY).due, LEVELS_AGE);
	add(&s, 9, 1, 2, START + DAY);
	assert_int_equal(snapshot(&s, 0, 0, START + 9 * DAY).due, LEVELS_NOT_DUE);
}

static void test_snapshots_by_growth(void **state)
{
	(void)state;
	struct files s = {0};
	add(&s, 0, 1, 1, START)->size = 40 * MIB;
	add(&s, 0, 2, 2, START + SECOND)->size = 10 * MIB;
	assert_int_equal(snapshot(&s, 0, 0, START + 2 * HOUR).due, LEVELS_NOT_DUE);
	add(&s, 0, 3, 3, START + 2 * SECOND)->size = 1;
	assert_int_equal(snapshot(&s, 0, 0, START + 2 * HOUR).due, LEVELS_GROWTH);
	assert_int_equal(snapshot(&s, 0, 0, START + 2 * HOUR).increments, 10 * MIB + 1);
	assert_int_equal(snapshot(&s, 41 * MIB, 0, START + 2 * HOUR).due, LEVELS_NOT_DUE);
	struct levels_snapshot snap = snapshot(&s, 0, 0, START + 3 * SECOND);
	assert_int_equal(snap.due, LEVELS_NOT_DUE); /* not within an hour */
	assert_int_equal(snap.at_ms, START + HOUR);
	/* What counts is what a restore reads. */
	add(&s, 1, 2, 3, START + 2 * SECOND)->size = 9 * MIB;
	assert_int_equal(snapshot(&s, 0, 0, START + 2 * HOUR).due, LEVELS_NOT_DUE);
	/* Little is never much: a quarter of 100 KiB is not worth a request. */
	s.n = 0;
	add(&s, 0, 1, 1, START)->size = 100 << 10;
	add(&s, 0, 2, 2, START + SECOND)->size = 1 << 20;
	assert_int_equal(snapshot(&s, 0, 0, START + 2 * HOUR).due, LEVELS_NOT_DUE);
	s.f[1].size++;
	assert_int_equal(snapshot(&s, 0, 0, START + 2 * HOUR).due, LEVELS_GROWTH);
}

static void test_snapshots_by_need(void **state)
{
	(void)state;
	struct files s = {0};
	add_uploads(&s, 5, 6, START, SECOND); /* nothing to begin with */
	assert_int_equal(snapshot(&s, 0, 0, START + SECOND).due, LEVELS_BROKEN);
	s.n = 0;
	add_uploads(&s, 5, 6, START, SECOND);
	add(&s, 9, 1, 3, START); /* 4 is missing */
	assert_int_equal(snapshot(&s, 0, 0, START + SECOND).due, LEVELS_BROKEN);
	s.f[2].max_txid = 4;
	assert_int_equal(snapshot(&s, 0, 0, START + SECOND).due, LEVELS_NOT_DUE);
	/* Renewal, without any change. */
	s.f[2].max_txid = 6;
	assert_int_equal(snapshot(&s, 0, 5 * DAY, START + 5 * DAY - 1).at_ms, START + 5 * DAY);
	assert_int_equal(snapshot(&s, 0, 5 * DAY, START + 5 * DAY).due, LEVELS_RENEWAL);
}

/* ---- rhythms ---- */

/* Levels have neither gaps nor overlaps, and no merge had fewer inputs than it must have. */
static void check_levels(const struct history *h)
{
	for (size_t i = 1; i < h->n_files; i++) {
		const struct replica_file *f = &h->files[i];
		if (f->level > 0 && f->level < LTX_SNAPSHOT_LEVEL && f[-1].level == f->level)
			assert_int_equal(f->min_txid, f[-1].max_txid + 1);
	}
	for (int k = 1; k <= h->levels.n_levels; k++)
		assert_true(h->puts[k] <= h->puts[k - 1] / h->levels.min_inputs);
}

static void test_a_day_at_one_a_second(void **state)
{
	(void)state;
	struct history h;
	history_init(&h, 1, 100 * MIB);
	for (int64_t t = START; t < START + DAY; t += SECOND) {
		history_upload(&h, &t, 1, 4000);
		if (t % (10 * SECOND) == 0)
			history_merge(&h, t);
	}
	check_levels(&h);
	assert_int_equal(h.puts[1], 24 * 120 - 1); /* the last half minute is not over */
	assert_int_equal(h.puts[2], 24 * 12 - 1);
	assert_int_equal(h.puts[3], 23);
	history_free(&h);
}

/* What waits for a merge is bounded when the merges are made. */
static void check_waiting(struct history *h, int64_t now_ms)
{
	size_t start[LTX_LEVELS + 1];
	struct err e = ERR_INIT;
	history_merge(h, now_ms);
	assert_int_equal(levels_index(h->files, h->n_files, start, &e), ERR_OK);
	for (int k = 1; k <= h->levels.n_levels && start[k] < start[k + 1]; k++) {
		size_t waits = 0;
		for (size_t i = start[k - 1]; i < start[k]; i++)
			waits += h->files[i].min_txid > h->files[start[k + 1] - 1].max_txid;
		assert_true(waits < h->levels.max_inputs);
	}
}

/* However often or seldom the merges are looked for: at most a seventh more requests. */
static void test_requests_of_any_rhythm(void **state)
{
	(void)state;
	static const int64_t paces[] = {250, 1000, 3000, 4100, 7000, 20000, 60000, 600000, 2600000};
	for (size_t k = 0; k < sizeof(paces) / sizeof(paces[0]); k++) {
		struct history h;
		history_init(&h, k, 100 * MIB);
		int64_t t = START;
		for (int i = 0; i < 20000; i++) {
			t += paces[k] / 2 + (int64_t)history_random(&h, (uint64_t)paces[k]);
			history_upload(&h, &t, 1, 4000);
			if (history_random(&h, 20) == 0)
				history_merge(&h, t);
		}
		check_levels(&h);
		uint64_t merges = h.puts[1] + h.puts[2] + h.puts[3];
		assert_true(merges * 7 <= h.puts[0]);
		assert_true(merges * 300 >= h.puts[0]); /* it does go on */
		check_waiting(&h, t);
		history_free(&h);
	}
}

/* A snapshot is followed by none within the hour, whatever is written: no storms. */
static void test_no_storm_of_snapshots(void **state)
{
	(void)state;
	struct history h;
	history_init(&h, 3, 20 * MIB);
	int64_t last = START;
	for (int64_t t = START; t < START + 2 * DAY; t += 10 * SECOND) {
		history_upload(&h, &t, 1, MIB); /* a quarter of the database within two minutes */
		history_merge(&h, t);
		if (history_snapshot(&h, t) == LEVELS_NOT_DUE)
			continue;
		assert_true(t - last >= HOUR);
		last = t;
	}
	assert_in_range(h.puts[LTX_SNAPSHOT_LEVEL], 40, 48);
	history_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_nothing_is_due),
		cmocka_unit_test(test_constant_writes_fill_a_step),
		cmocka_unit_test(test_few_wait_for_a_coarser_step),
		cmocka_unit_test(test_sparse_ones_wait),
		cmocka_unit_test(test_many_take_the_first_step),
		cmocka_unit_test(test_a_step_too_large_is_split),
		cmocka_unit_test(test_levels_go_on_where_they_end),
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_upper_levels),
		cmocka_unit_test(test_upper_levels_are_not_sparse),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_snapshots_by_age),
		cmocka_unit_test(test_snapshots_by_growth),
		cmocka_unit_test(test_snapshots_by_need),
		cmocka_unit_test(test_a_day_at_one_a_second),
		cmocka_unit_test(test_requests_of_any_rhythm),
		cmocka_unit_test(test_no_storm_of_snapshots),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
