/*
 * The restore plan: tables of known cases, then random histories compared with a planner that tries
 * everything.
 */
#include "restore/restore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NOW_MS INT64_C(1000000)

/* TXID n was committed at 1000 n ms, unless a test says otherwise. */
static int rounds_asked;
static int stamp_by_txid(
	void *ctx, const struct ltx_file *const *files, size_t n, int64_t *ms, struct err *e)
{
	(void)ctx;
	(void)e;
	assert_in_range(n, 1, RESTORE_STAMPS);
	rounds_asked++;
	for (size_t i = 0; i < n; i++)
		ms[i] = (int64_t)files[i]->max_txid * 1000;
	return ERR_OK;
}

static int stamp_fails(
	void *ctx, const struct ltx_file *const *files, size_t n, int64_t *ms, struct err *e)
{
	(void)ctx;
	(void)files;
	(void)n;
	(void)ms;
	return err_set(e, ERR_NOT_FOUND, "gone");
}

static void add(struct ltx_set *set, int level, uint64_t min, uint64_t max)
{
	struct ltx_file f = {level, min, max, 1000, (int64_t)max * 1000 + 50};
	assert_int_equal(ltxset_add(set, &f), ERR_OK);
}

/* "0:1 0:2 1:1-2 9:1-5" */
static void parse_set(struct ltx_set *set, const char *text)
{
	ltxset_init(set);
	int used;
	for (const char *p = text; *p; p += used) {
		int level;
		unsigned long min, max;
		used = 0;
		if (sscanf(p, " %d:%lu-%lu%n", &level, &min, &max, &used) == 3 && used > 0) {
			add(set, level, min, max);
		} else {
			assert_int_equal(sscanf(p, " %d:%lu%n", &level, &min, &used), 2);
			add(set, level, min, min);
		}
	}
	ltxset_sort(set);
}

static void print_plan(const struct restore_plan *plan, char *out, size_t size)
{
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < plan->count; i++) {
		const struct ltx_file *f = &plan->files[i];
		n += (size_t)snprintf(out + n, size - n,
			f->min_txid == f->max_txid ? "%s%d:%lu" : "%s%d:%lu-%lu", i ? " " : "", f->level,
			(unsigned long)f->min_txid, (unsigned long)f->max_txid);
	}
}

struct plan_case {
	const char *set;
	uint64_t txid;
	int64_t ms;
	int code;
	const char *out;  /* the plan, or a part of the error */
	const char *out2; /* another part */
};

static const struct plan_case cases[] = {
	{"0:1", 0, 0, ERR_OK, "0:1", NULL},
	{"0:1 0:2 0:3", 0, 0, ERR_OK, "0:1 0:2 0:3", NULL},
	{"0:1 0:2 0:3 1:1-3", 0, 0, ERR_OK, "1:1-3", NULL},
	{"0:1 0:2 0:3 0:4 1:1-3 9:1-2", 0, 0, ERR_OK, "1:1-3 0:4", NULL},
	/* equal reach: lowest min, then highest level */
	{"9:1-5 0:6 0:7 1:6-7 2:6-7", 0, 0, ERR_OK, "9:1-5 2:6-7", NULL},
	{"9:1-5 1:4-7 2:6-7", 0, 0, ERR_OK, "9:1-5 1:4-7", NULL},
	/* overlaps are fine */
	{"9:1-5 1:3-8 0:8 0:9", 0, 0, ERR_OK, "9:1-5 1:3-8 0:9", NULL},
	/* retention took the beginning away */
	{"9:1-100 0:98 0:99 0:100 0:101", 0, 0, ERR_OK, "9:1-100 0:101", NULL},
	/* by TXID */
	{"0:1 0:2 0:3 1:1-3", 2, 0, ERR_OK, "0:1 0:2", NULL},
	{"0:1 0:2 0:3 9:1-2", 3, 0, ERR_OK, "9:1-2 0:3", NULL},
	{"0:1 0:2 0:3", 4, 0, ERR_NO_BACKUP, "TXID 0000000000000004 does not exist",
		"ends at TXID 0000000000000003"},
	{"9:1-5 1:6-10", 7, 0, ERR_NO_BACKUP, "no file ends there",
		"TXID 0000000000000005, TXID 000000000000000a"},
	{"9:1-5 0:4 0:5", 4, 0, ERR_NO_BACKUP, "TXID 0000000000000001 is only kept inside L9",
		"TXID 0000000000000005"},
	{"9:1-3 1:4-10 0:6 0:7", 7, 0, ERR_NO_BACKUP, "TXID 0000000000000004 is only kept inside L1",
		"TXID 0000000000000003, TXID 000000000000000a"},
	/* gaps */
	{"0:1 0:2 0:4", 0, 0, ERR_DAMAGED, "L0 0000000000000002-0000000000000002.ltx",
		"L0 0000000000000004-0000000000000004.ltx"},
	{"0:1 0:2 0:4", 4, 0, ERR_DAMAGED, "L0 0000000000000002-0000000000000002.ltx",
		"L0 0000000000000004-0000000000000004.ltx"},
	{"0:1 0:2 0:4", 0, 4500, ERR_DAMAGED, "L0 0000000000000002-0000000000000002.ltx",
		"L0 0000000000000004-0000000000000004.ltx"},
	{"9:1-5 1:8-9 0:12", 0, 0, ERR_DAMAGED, "L9 0000000000000001-0000000000000005.ltx ends",
		"L1 0000000000000008-0000000000000009.ltx"},
	{"0:1 0:2 0:4", 2, 0, ERR_OK, "0:1 0:2", NULL},
	{"0:5 0:6", 0, 0, ERR_DAMAGED, "no snapshot to begin with",
		"L0 0000000000000005-0000000000000005.ltx"},
	{"0:5 0:6", 0, 6000, ERR_DAMAGED, "no snapshot to begin with", NULL},
	{"", 0, 0, ERR_NO_BACKUP, "replica is empty", NULL},
	{"", 3, 0, ERR_NO_BACKUP, "replica is empty", NULL},
	/* by time */
	{"0:1 0:2 0:3 0:4", 0, 2000, ERR_OK, "0:1 0:2", NULL},
	{"0:1 0:2 0:3 0:4", 0, 2999, ERR_OK, "0:1 0:2", NULL},
	{"0:1 0:2 0:3 0:4", 0, 999000, ERR_OK, "0:1 0:2 0:3 0:4", NULL},
	{"0:1 0:2 0:3 0:4", 0, NOW_MS + 1, ERR_USAGE, "is in the future", NULL},
	{"0:1 0:2", 0, 999, ERR_NO_BACKUP, "nothing is as old as", "1970-01-01T00:00:01.000Z"},
	{"9:1-5 0:4 0:5 0:6", 0, 4200, ERR_NO_BACKUP, "nothing is as old as",
		"1970-01-01T00:00:05.000Z"},
	{"9:1-5 1:6-9 1:10-15", 0, 14000, ERR_OK, "9:1-5 1:6-9", NULL},
	/* what lies before the L0 of that time is only left inside a larger file */
	{"9:1-3 1:4-10 0:6 0:7", 0, 7500, ERR_OK, "9:1-3", NULL},
	{"9:1-3 0:4 1:5-10 0:6 0:7", 0, 7500, ERR_OK, "9:1-3 0:4", NULL},
	{"9:1-3 1:4-10 0:10", 0, 9999, ERR_OK, "9:1-3", NULL},
	{"9:1-3 1:5-10 0:7", 0, 7500, ERR_DAMAGED, "L9 0000000000000001-0000000000000003.ltx",
		"L1 0000000000000005-000000000000000a.ltx"},
	{"0:1 0:2", 1, 1000, ERR_USAGE, "exclude each other", NULL},
};

static int make(const struct ltx_set *set, uint64_t txid, int64_t ms,
	const struct restore_ban *bans, size_t n_bans, struct restore_plan *plan, struct err *e)
{
	struct restore_plan_input in = {.set = set,
		.target = {txid, ms},
		.now_ms = NOW_MS,
		.stamps = stamp_by_txid,
		.bans = bans,
		.n_bans = n_bans};
	err_clear(e);
	return restore_plan_make(&in, plan, e);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct plan_case *c = &cases[i];
		struct ltx_set set;
		parse_set(&set, c->set);
		struct restore_plan plan;
		struct err e = ERR_INIT;
		int rc = make(&set, c->txid, c->ms, NULL, 0, &plan, &e);
		if (rc != c->code)
			fail_msg("case %zu (%s): code %d, %s", i, c->set, rc, e.text);
		char text[512];
		print_plan(&plan, text, sizeof(text));
		if (rc == ERR_OK)
			assert_string_equal(text, c->out);
		else if (!strstr(e.text, c->out) || (c->out2 && !strstr(e.text, c->out2)))
			fail_msg("case %zu (%s): %s", i, c->set, e.text);
		restore_plan_free(&plan);
		ltxset_free(&set);
	}
}

static void test_failing_stamp_is_reported(void **state)
{
	(void)state;
	struct ltx_set set;
	parse_set(&set, "0:1 0:2");
	struct restore_plan plan;
	struct err e = ERR_INIT;
	struct restore_plan_input in = {
		.set = &set, .target = {0, 1500}, .now_ms = NOW_MS, .stamps = stamp_fails};
	assert_int_equal(restore_plan_make(&in, &plan, &e), ERR_NOT_FOUND);
	assert_string_equal(e.text, "gone");
	restore_plan_free(&plan);
	ltxset_free(&set);
}

/* ---- bans (F8) ---- */

static struct restore_ban ban(
	int level1, uint64_t min1, uint64_t max1, int level2, uint64_t min2, uint64_t max2)
{
	return (struct restore_ban){{level1, min1, max1, 0, 0}, {level2, min2, max2, 0, 0}};
}

static void check_banned(
	const char *text, const struct restore_ban *bans, size_t n, int code, const char *out)
{
	struct ltx_set set;
	parse_set(&set, text);
	struct restore_plan plan;
	struct err e = ERR_INIT;
	assert_int_equal(make(&set, 0, 0, bans, n, &plan, &e), code);
	char got[512];
	print_plan(&plan, got, sizeof(got));
	if (code == ERR_OK)
		assert_string_equal(got, out);
	else if (!strstr(e.text, out))
		fail_msg("%s", e.text);
	restore_plan_free(&plan);
	ltxset_free(&set);
}

static void test_bans(void **state)
{
	(void)state;
	/* the later file is wrong: another one holds what it holds */
	struct restore_ban later[] = {ban(9, 1, 5, 0, 6, 6)};
	check_banned("9:1-5 0:6 1:4-7 0:7", later, 1, ERR_OK, "9:1-5 1:4-7");
	check_banned("9:1-5 1:1-6 0:6 0:7", later, 1, ERR_OK, "1:1-6 0:7");
	/* the earlier one is wrong: it is the one to go around */
	struct restore_ban earlier[] = {ban(0, 8, 8, 0, 9, 9)};
	check_banned("9:1-7 0:8 0:9 1:7-8", earlier, 1, ERR_OK, "9:1-7 1:7-8 0:9");
	/* back over two files */
	struct restore_ban deep[] = {ban(0, 3, 3, 0, 4, 4), ban(0, 3, 3, 1, 4, 4)};
	check_banned("0:1 0:2 0:3 0:4 1:4-4 2:2-3", deep, 2, ERR_OK, "0:1 2:2-3 1:4");
	/* no way around: both are named */
	check_banned("9:1-5 0:6 0:7", later, 1, ERR_DAMAGED,
		"L0 0000000000000006-0000000000000006.ltx was not written on top of L9 "
		"0000000000000001-0000000000000005.ltx");
}

/* ---- random histories ---- */

static uint64_t rng_state = 88172645463325252u;
static unsigned rng(unsigned n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)(rng_state % n);
}

/* L0 for each TXID, higher levels merged from the one below, snapshots; then some are lost. */
static void random_history(struct ltx_set *set, unsigned last, unsigned lose_percent)
{
	struct ltx_set all;
	ltxset_init(&all);
	ltxset_init(set);
	for (unsigned t = 1; t <= last; t++)
		add(&all, 0, t, t);
	for (int level = 1; level <= 3; level++)
		for (unsigned t = 1, step; t <= last; t += step) {
			step = 1 + rng(4u * (unsigned)level);
			if (t + step - 1 <= last)
				add(&all, level, t, t + step - 1);
		}
	for (unsigned n = rng(4); n > 0; n--)
		add(&all, 9, 1, 1 + rng(last));
	ltxset_sort(&all);
	for (size_t i = 0; i < all.count; i++)
		if (rng(100) >= lose_percent)
			assert_int_equal(ltxset_add(set, &all.files[i]), ERR_OK);
	ltxset_sort(set);
	ltxset_free(&all);
}

static bool is_banned(
	const struct restore_ban *bans, size_t n, const struct ltx_file *a, const struct ltx_file *b)
{
	for (size_t i = 0; i < n; i++) {
		const struct ltx_file *x = &bans[i].before, *y = &bans[i].after;
		if (x->level == a->level && x->min_txid == a->min_txid && x->max_txid == a->max_txid &&
			y->level == b->level && y->min_txid == b->min_txid && y->max_txid == b->max_txid)
			return true;
	}
	return false;
}

/* The least number of files that lead to `goal`, 0 when none do: breadth first over all pairs. */
static size_t try_everything(
	const struct ltx_set *set, uint64_t goal, const struct restore_ban *bans, size_t n_bans)
{
	size_t *dist = calloc(set->count + 1, sizeof(*dist)), best = 0;
	for (size_t i = 0; i < set->count; i++)
		dist[i] = set->files[i].min_txid == 1 && set->files[i].max_txid <= goal;
	for (size_t d = 1; d <= set->count && !best; d++) {
		for (size_t i = 0; i < set->count; i++) {
			if (dist[i] != d)
				continue;
			if (set->files[i].max_txid == goal)
				best = d;
			for (size_t k = 0; k < set->count; k++)
				if (!dist[k] && set->files[k].max_txid <= goal &&
					ltx_follows(set->files[i].max_txid, &set->files[k]) &&
					!is_banned(bans, n_bans, &set->files[i], &set->files[k]))
					dist[k] = d + 1;
		}
	}
	free(dist);
	return best;
}

static void check_plan(
	const struct restore_plan *plan, uint64_t goal, const struct restore_ban *bans, size_t n)
{
	assert_true(plan->count > 0);
	assert_int_equal(plan->txid, goal);
	assert_int_equal(plan->files[0].min_txid, 1);
	assert_int_equal(plan->files[plan->count - 1].max_txid, goal);
	for (size_t i = 1; i < plan->count; i++) {
		assert_true(ltx_follows(plan->files[i - 1].max_txid, &plan->files[i]));
		assert_false(is_banned(bans, n, &plan->files[i - 1], &plan->files[i]));
	}
}

static bool file_ends_at(const struct ltx_set *set, uint64_t txid)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->files[i].max_txid == txid)
			return true;
	return false;
}

/* Latest and every TXID of a history: a plan exactly where there is a way, and the shortest one. */
static void check_history(const struct ltx_set *set, const struct restore_ban *bans, size_t n_bans)
{
	uint64_t last = ltxset_max_txid(set);
	for (uint64_t t = 0; t <= last + 1; t++) {
		struct restore_plan plan;
		struct err e = ERR_INIT;
		uint64_t goal = t ? t : last;
		size_t least = goal ? try_everything(set, goal, bans, n_bans) : 0;
		int rc = make(set, t, 0, bans, n_bans, &plan, &e);
		if ((rc == ERR_OK) != (least > 0))
			fail_msg(
				"TXID %lu: %s, but trying everything says %zu", (unsigned long)t, e.text, least);
		if (rc == ERR_OK) {
			check_plan(&plan, goal, bans, n_bans);
			if (n_bans == 0)
				assert_int_equal(plan.count, least);
		} else {
			assert_true(rc == ERR_DAMAGED || rc == ERR_NO_BACKUP);
			assert_true(strlen(e.text) > 10);
			/* the latest state is never missing for want of a target */
			if (t == 0 && set->count)
				assert_int_equal(rc, ERR_DAMAGED);
			if (t && !file_ends_at(set, t))
				assert_int_equal(rc, ERR_NO_BACKUP);
		}
		restore_plan_free(&plan);
	}
}

static void test_random_histories(void **state)
{
	(void)state;
	for (int round = 0; round < 600; round++) {
		struct ltx_set set;
		random_history(&set, 1 + rng(30), rng(5) * 15);
		check_history(&set, NULL, 0);
		ltxset_free(&set);
	}
}

static void test_random_bans(void **state)
{
	(void)state;
	for (int round = 0; round < 300; round++) {
		struct ltx_set set;
		random_history(&set, 2 + rng(20), rng(3) * 15);
		struct restore_ban bans[40];
		size_t n = 0, want = set.count ? rng(40) : 0;
		while (n < want)
			bans[n++] = (struct restore_ban){
				set.files[rng((unsigned)set.count)], set.files[rng((unsigned)set.count)]};
		if (set.count)
			check_history(&set, bans, n);
		ltxset_free(&set);
	}
}

/* Whatever the listing's times are worth, the right TXID is found, with few rounds of headers read.
 */
static void test_random_times(void **state)
{
	(void)state;
	for (int round = 0; round < 400; round++) {
		struct ltx_set set;
		unsigned last = 1 + rng(400);
		random_history(&set, last, 0);
		unsigned kind = rng(3);
		for (size_t i = 0; i < set.count && kind; i++)
			set.files[i].modified_ms = kind == 1 ? 0 : (int64_t)rng(NOW_MS);
		int64_t ms = 1000 + (int64_t)rng(last * 1000 + 500);
		struct restore_plan plan;
		struct err e = ERR_INIT;
		rounds_asked = 0;
		assert_int_equal(make(&set, 0, ms, NULL, 0, &plan, &e), ERR_OK);
		uint64_t expect = (uint64_t)ms / 1000 < last ? (uint64_t)ms / 1000 : last;
		assert_int_equal(plan.txid, expect);
		if (rounds_asked > (kind == 0 ? 2 : 3)) /* 17 ^ 3 > 400 */
			fail_msg("kind %u: %d rounds for %u files", kind, rounds_asked, last);
		restore_plan_free(&plan);
		ltxset_free(&set);
	}
}

/* A day of L0 every second: planning must not be quadratic. */
static void test_many_files(void **state)
{
	(void)state;
	struct ltx_set set;
	ltxset_init(&set);
	for (uint64_t t = 1; t <= 86400; t++)
		add(&set, 0, t, t);
	ltxset_sort(&set);
	struct restore_plan plan;
	struct err e = ERR_INIT;
	assert_int_equal(make(&set, 0, 0, NULL, 0, &plan, &e), ERR_OK);
	assert_int_equal(plan.count, 86400);
	restore_plan_free(&plan);
	struct restore_ban last = ban(0, 86399, 86399, 0, 86400, 86400);
	assert_int_equal(make(&set, 0, 0, &last, 1, &plan, &e), ERR_DAMAGED);
	restore_plan_free(&plan);
	ltxset_free(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_failing_stamp_is_reported),
		cmocka_unit_test(test_bans),
		cmocka_unit_test(test_random_histories),
		cmocka_unit_test(test_random_bans),
		cmocka_unit_test(test_random_times),
		cmocka_unit_test(test_many_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
