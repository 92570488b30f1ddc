/* Retention: tables of known cases. Random histories are in test_retain_random.c. */
#include "lib/file_list.h"

#include "format/ltxset.h"
#include "replicate/retain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- policies ---- */

static void check_policy(const struct retain_policy *p, const char *complaint)
{
	struct err e = ERR_INIT;
	check_complaint(retain_policy_check(p, &e), &e, complaint);
}

static void test_policy(void **state)
{
	(void)state;
	struct retain_policy good, p;
	retain_policy_init(&good);
	check_policy(&good, NULL);
	p = good, p.n_steps = 0, check_policy(&p, NULL);
	p = good, p.n_steps = 5, check_policy(&p, "0 to 4 windows, not 5");
	p = good, p.steps[0].window_ms = 0, check_policy(&p, "longer than 0");
	p = good, p.steps[1].window_ms = 3 * HOUR, check_policy(&p, "windows must get longer");
	p = good, p.steps[2].step_ms = 31 * SECOND, check_policy(&p, "multiple of the one before");
	p = good, p.steps[2].step_ms = 30 * SECOND, check_policy(&p, "multiple of the one before");
	p = good, p.steps[1].step_ms = 0, check_policy(&p, "multiple of the one before");
	p = good, p.steps[3].step_ms = 8 * DAY, check_policy(&p, "longer than 0 and than its step");
	p = good, p.steps[3].step_ms = -1, check_policy(&p, "longer than 0 and than its step");
	p = good, p.l0_keep_ms = 2 * HOUR, check_policy(&p, "at least");
	p = good, p.grace_ms = SECOND, check_policy(&p, "a minute at least");
}

/* ---- tables ---- */

static void explain(
	const struct files *s, const struct retain_policy *p, int64_t now_ms, unsigned char *reasons)
{
	struct err e = ERR_INIT;
	assert_int_equal(retain_explain(s->f, s->n, p, now_ms, reasons, NULL, &e), ERR_OK);
}

/* What stays, as "0:7 1:2-5 9:1-5". */
static void check_kept(
	const struct files *s, const struct retain_policy *p, int64_t now_ms, const char *kept)
{
	unsigned char reasons[FILES_MAX];
	char text[2000] = "", *end = text;
	explain(s, p, now_ms, reasons);
	for (size_t i = 0; i < s->n; i++) {
		const struct replica_file *f = &s->f[i];
		if (!reasons[i])
			continue;
		end += sprintf(end, f->min_txid == f->max_txid ? "%s%d:%lu" : "%s%d:%lu-%lu",
			end > text ? " " : "", f->level, (unsigned long)f->min_txid,
			(unsigned long)f->max_txid);
	}
	assert_string_equal(text, kept);
}

static void test_present_only(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	struct files s = {0};
	add(&s, 0, 1, 1, START);
	add(&s, 0, 2, 2, START + MINUTE);
	add(&s, 0, 3, 3, START + 2 * MINUTE);
	add(&s, 1, 2, 3, START + 3 * MINUTE);
	add(&s, 9, 1, 3, START + DAY);
	/* All is inside the windows. */
	check_kept(&s, &p, START + HOUR, "0:1 0:2 0:3 1:2-3 9:1-3");
	/* Long after, the snapshot holds the present, and the last L0 says who wrote it. */
	check_kept(&s, &p, START + 30 * DAY, "0:3 9:1-3");
	/* Without the snapshot the rest has to, the shorter way. */
	s.n--;
	check_kept(&s, &p, START + 30 * DAY, "0:1 0:3 1:2-3");
	s.n--;
	check_kept(&s, &p, START + 30 * DAY, "0:1 0:2 0:3");
}

/* Idle for weeks, then one upload, which may be the mistake: what was before it must be there. */
static void test_state_before_the_window(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	struct files s = {0};
	add(&s, 0, 1, 1, START);
	add(&s, 0, 2, 2, START + MINUTE);
	add(&s, 0, 3, 3, START + 20 * DAY);
	add(&s, 9, 1, 2, START + DAY);
	add(&s, 9, 1, 3, START + 20 * DAY + MINUTE);
	check_kept(&s, &p, START + 22 * DAY, "0:3 9:1-2 9:1-3");
	/* A week, and a step of an hour, and the grace later nothing shows it any more. */
	check_kept(&s, &p, START + 27 * DAY + 2 * HOUR - 1, "0:3 9:1-2 9:1-3");
	check_kept(&s, &p, START + 27 * DAY + 2 * HOUR, "0:3 9:1-3");
}

/* What came less than the grace ago stays, and what it stands in for stays as long. */
static void test_grace(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	p.n_steps = 0;
	p.l0_keep_ms = 0;
	struct files s = {0};
	add(&s, 0, 1, 1, START);
	add(&s, 0, 2, 2, START + MINUTE);
	add(&s, 0, 3, 3, START + 2 * MINUTE);
	add(&s, 9, 1, 3, START + DAY)->timestamp_ms = START + 2 * MINUTE;
	check_kept(&s, &p, START + DAY + HOUR - 1, "0:1 0:2 0:3 9:1-3");
	check_kept(&s, &p, START + DAY + HOUR, "0:3 9:1-3");
	/* The present goes on from old files with young ones. */
	add(&s, 9, 1, 4, START + DAY + HOUR)->timestamp_ms = START + DAY + HOUR;
	memmove(&s.f[4], &s.f[3], 2 * sizeof(*s.f));
	s.f[3] = (struct replica_file){0, 4, 4, 1000, START + DAY + HOUR, START + DAY + HOUR};
	s.n++;
	check_kept(&s, &p, START + DAY + 2 * HOUR - 1, "0:4 9:1-3 9:1-4");
	check_kept(&s, &p, START + DAY + 2 * HOUR, "0:4 9:1-4");
}

static void test_l0_names_stay(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	p.n_steps = 0;
	struct files s = {0};
	add(&s, 0, 1, 1, START);
	add(&s, 0, 2, 2, START + MINUTE);
	add(&s, 0, 3, 3, START + 2 * MINUTE);
	add(&s, 9, 1, 3, START + 3 * MINUTE);
	check_kept(&s, &p, START + 3 * HOUR, "0:2 0:3 9:1-3");
	check_kept(&s, &p, START + 3 * HOUR + MINUTE, "0:3 9:1-3");
}

static void test_levels_stay_whole(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	struct files s = {0};
	/* One upload an hour. TXID 4 is what was shown when the last week (and the grace) began. */
	for (uint64_t t = 1; t <= 12; t++)
		add(&s, 0, t, t, START + (int64_t)t * HOUR);
	add(&s, 1, 2, 3, START + 4 * HOUR);
	add(&s, 1, 4, 7, START + 8 * HOUR);
	add(&s, 1, 8, 9, START + 10 * HOUR);
	add(&s, 9, 1, 3, START + 4 * HOUR);
	add(&s, 9, 1, 9, START + 10 * HOUR);
	add(&s, 9, 1, 12, START + 13 * HOUR);
	unsigned char why[FILES_MAX];
	int64_t now = START + 7 * DAY + HOUR + 5 * HOUR + MINUTE;
	explain(&s, &p, now, why);
	assert_int_equal(why[2], 0);                           /* 0:3: before the oldest point */
	assert_int_equal(why[3], RETAIN_WAY);                  /* 0:4, the oldest point */
	assert_int_equal(why[12], 0);                          /* 1:2-3 */
	assert_int_equal(why[13], RETAIN_WAY);                 /* 1:4-7 leads to point 7 */
	assert_true(why[14] & RETAIN_CONTIGUOUS);              /* 1:8-9 */
	assert_int_equal(why[9], RETAIN_WAITING | RETAIN_WAY); /* 0:10 */
	/* When only the present is promised, nothing of L1 is used and all of it goes. */
	p.n_steps = 0;
	check_kept(&s, &p, now, "0:12 9:1-12");
}

/* A file whose time nobody knows must not make those before it look old. */
static void test_unknown_times(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	struct files s = {0};
	for (uint64_t t = 1; t <= 4; t++)
		add(&s, 0, t, t, START + (int64_t)t * DAY);
	add(&s, 9, 1, 4, START + 4 * DAY + HOUR);
	s.f[2].timestamp_ms = 1;
	s.f[3].timestamp_ms = s.f[4].timestamp_ms = 0;
	check_kept(&s, &p, START + 6 * DAY, "0:1 0:2 0:3 0:4 9:1-4");
}

/* A snapshot a day while little changes: two in a window will do. */
static void test_snapshots_thin_out(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	struct files s = {0};
	for (uint64_t t = 1; t <= 20; t++)
		add(&s, 0, t, t, START + (int64_t)t * DAY);
	for (uint64_t t = 1; t <= 20; t++)
		add(&s, 9, 1, t, START + (int64_t)t * DAY + HOUR)->size = 100 * MIB;
	int64_t now = START + 20 * DAY + 12 * HOUR;
	check_kept(&s, &p, now, "0:14 0:15 0:16 0:18 0:19 0:20 9:1-13 9:1-17 9:1-20");
	/* The changes weigh more than a snapshot: then it stays. */
	s.f[14 - 1].size = 101 * MIB;
	check_kept(&s, &p, now, "0:15 0:16 0:17 0:19 0:20 9:1-13 9:1-14 9:1-18 9:1-20");
}

static void test_nothing_goes_without_a_way(void **state)
{
	(void)state;
	struct retain_policy p;
	retain_policy_init(&p);
	struct files s = {0};
	add(&s, 0, 1, 1, START);
	add(&s, 0, 2, 2, START + MINUTE);
	add(&s, 0, 4, 4, START + 2 * MINUTE); /* 3 is missing */
	add(&s, 9, 1, 1, START);
	check_kept(&s, &p, START + 30 * DAY, "0:1 0:2 0:4 9:1");
	add(&s, 9, 1, 4, START + 29 * DAY);
	check_kept(&s, &p, START + 30 * DAY, "0:4 9:1-4");
}

static void test_failures(void **state)
{
	(void)state;
	struct retain_policy p;
	struct err e = ERR_INIT;
	bool keep[3] = {false, false, false};
	retain_policy_init(&p);
	assert_int_equal(retain_decide(NULL, 0, &p, START, keep, &e), ERR_OK);
	struct files s = {0};
	add(&s, 0, 2, 2, START);
	add(&s, 0, 1, 1, START);
	add(&s, 9, 1, 2, START);
	assert_int_equal(retain_decide(s.f, s.n, &p, START + 30 * DAY, keep, &e), ERR_FAIL);
	assert_true(keep[0] && keep[1] && keep[2]);
	struct replica_file f = s.f[0];
	s.f[0] = s.f[1];
	s.f[1] = f;
	assert_int_equal(retain_decide(s.f, s.n, &p, START + 30 * DAY, keep, &e), ERR_OK);
	assert_true(!keep[0] && keep[1] && keep[2]);
}

static void test_range(void **state)
{
	(void)state;
	struct retain_policy p;
	struct retain_range range;
	struct err e = ERR_INIT;
	unsigned char why[FILES_MAX];
	retain_policy_init(&p);
	struct files s = {0};
	assert_int_equal(retain_explain(s.f, 0, &p, START, why, &range, &e), ERR_OK);
	assert_int_equal(range.points, 0);
	add(&s, 0, 2, 2, START); /* no way leads here */
	for (uint64_t t = 3; t <= 20; t++)
		add(&s, 0, t, t, START + (int64_t)t * DAY);
	add(&s, 9, 1, 3, START + 3 * DAY);
	assert_int_equal(
		retain_explain(s.f, s.n, &p, START + 20 * DAY + 2 * HOUR, why, &range, &e), ERR_OK);
	assert_int_equal(range.points, 8);
	assert_int_equal(range.earliest_txid, 13);
	assert_int_equal(range.earliest_ms, START + 13 * DAY);
	assert_int_equal(range.latest_txid, 20);
	assert_int_equal(range.latest_ms, START + 20 * DAY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_present_only),
		cmocka_unit_test(test_state_before_the_window),
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_l0_names_stay),
		cmocka_unit_test(test_levels_stay_whole),
		cmocka_unit_test(test_unknown_times),
		cmocka_unit_test(test_snapshots_thin_out),
		cmocka_unit_test(test_nothing_goes_without_a_way),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
