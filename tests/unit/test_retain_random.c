/*
 * Retention over random histories. The promised states are looked for with the real restore planner
 * and by Litestream's rules, and each kept file must have a reason that is found here by other
 * means.
 */
#include "lib/history.h"
#include "lib/rounds.h"
#include "lib/times.h"
#include "restore/restore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

/* ---- the real planner and Litestream's ---- */

static int stamps_of(
	void *ctx, const struct ltx_file *const *files, size_t n, int64_t *ms, struct err *e)
{
	(void)e;
	const struct history *h = ctx;
	for (size_t i = 0; i < n; i++)
		ms[i] = h->uploads[files[i]->max_txid - 1].timestamp_ms;
	return ERR_OK;
}

static void listing(const struct history *h, struct ltx_set *set)
{
	ltxset_init(set);
	for (size_t i = 0; i < h->n_files; i++) {
		const struct replica_file *f = &h->files[i];
		struct ltx_file l = {f->level, f->min_txid, f->max_txid, f->size, f->uploaded_ms};
		assert_int_equal(ltxset_add(set, &l), ERR_OK);
	}
	ltxset_sort(set);
}

/* Plans with the real planner, for a TXID or a time: the TXID that comes out. */
static uint64_t planned(struct history *h, const struct ltx_set *set, uint64_t txid, int64_t ms)
{
	struct restore_plan plan;
	struct err e = ERR_INIT;
	struct restore_plan_input in = {.set = set,
		.target = {txid, ms},
		.now_ms = INT64_MAX,
		.stamps = stamps_of,
		.stamps_ctx = h};
	if (restore_plan_make(&in, &plan, &e) != ERR_OK)
		fail_msg("TXID %lu of %zu at %ld: %s", (unsigned long)txid, h->n_uploads, (long)ms, e.text);
	uint64_t result = plan.txid;
	restore_plan_free(&plan);
	return result;
}

static bool litestream_better(const struct replica_file *a, const struct replica_file *b)
{
	if (a->max_txid != b->max_txid)
		return a->max_txid > b->max_txid;
	return a->min_txid != b->min_txid ? a->min_txid < b->min_txid : a->level > b->level;
}

/* Litestream 0.5: the last snapshot before the time, then from level 8 to 0 what leads furthest.
 * *gap = some file begins behind what was reached: an error when the latest state is wanted. */
static uint64_t litestream_plans(const struct history *h, int64_t before_ms, bool *gap)
{
	uint64_t at = 0;
	for (size_t i = 0; i < h->n_files; i++) {
		const struct replica_file *f = &h->files[i];
		if (f->level == LTX_SNAPSHOT_LEVEL && f->timestamp_ms < before_ms)
			at = f->max_txid;
	}
	for (const struct replica_file *best;; at = best->max_txid) {
		best = NULL;
		*gap = false;
		for (size_t i = 0; i < h->n_files; i++) {
			const struct replica_file *f = &h->files[i];
			if (f->level == LTX_SNAPSHOT_LEVEL || f->max_txid <= at || f->timestamp_ms >= before_ms)
				continue;
			if (f->min_txid > at + 1)
				*gap = true;
			else if (!best || litestream_better(f, best))
				best = f;
		}
		if (!best)
			return at;
	}
}

/* ---- properties ---- */

/* Every promised state of the whole history can be had exactly, by TXID and by time; of `one_in` so
 * many by chance, and the first and last in any case. Returns how many are promised. */
static size_t check_promises(struct history *h, int64_t now_ms, uint64_t one_in)
{
	struct ltx_set set;
	listing(h, &set);
	bool *promised = history_promised(h, now_ms), gap, seen = false;
	size_t n = 0;
	for (size_t i = 0; i < h->n_uploads; i++) {
		n += promised[i];
		if (!promised[i] || (seen && i + 1 < h->n_uploads && history_random(h, one_in) != 0))
			continue;
		seen = true;
		int64_t stamp = h->uploads[i].timestamp_ms;
		assert_int_equal(planned(h, &set, i + 1, 0), i + 1);
		assert_int_equal(planned(h, &set, 0, stamp), i + 1);
		if (history_random(h, 20) == 0)
			assert_int_equal(litestream_plans(h, stamp + 1, &gap), i + 1);
	}
	/* Latest, and any time since the earliest point: never a dead end. */
	assert_int_equal(planned(h, &set, 0, 0), h->n_uploads);
	assert_int_equal(litestream_plans(h, INT64_MAX, &gap), h->n_uploads);
	assert_false(gap);
	for (size_t i = 0; i < set.count; i++)
		if (history_random(h, one_in) == 0)
			assert_int_equal(planned(h, &set, set.files[i].max_txid, 0), set.files[i].max_txid);
	free(promised);
	ltxset_free(&set);
	return n;
}

/* Levels 1 to 8 have neither gaps nor overlaps, the newest L0 is there. */
static void check_shape(const struct history *h)
{
	uint64_t last_l0 = 0;
	for (size_t i = 0; i < h->n_files; i++) {
		const struct replica_file *f = &h->files[i];
		if (f->level == 0)
			last_l0 = f->max_txid;
		else if (f->level < LTX_SNAPSHOT_LEVEL && i > 0 && f[-1].level == f->level)
			assert_int_equal(f->min_txid, f[-1].max_txid + 1);
	}
	assert_int_equal(last_l0, h->n_uploads);
}

/*
 * The ways found once more, the slow way: for each TXID the least cost over all files that end
 * there and all TXIDs they go on from.
 */
struct way {
	uint64_t cost; /* UINT64_MAX = none */
	uint64_t bytes;
	int64_t base_ms;
	size_t file; /* the last one on it */
	uint64_t from;
};

struct ways {
	const struct history *h;
	int64_t now_ms;
	const size_t *order; /* of h->before, by end */
	bool *held;
	struct way *to; /* by TXID */
};

static int by_end(const void *a, const void *b, void *ctx)
{
	const struct history *h = ctx;
	uint64_t x = h->before[*(const size_t *)a].max_txid, y = h->before[*(const size_t *)b].max_txid;
	if (x != y)
		return x < y ? -1 : 1;
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static void go_on(struct ways *w, const struct replica_file *f, size_t i)
{
	struct way *to = &w->to[f->max_txid];
	for (uint64_t t = f->min_txid - 1; t < f->max_txid; t++) {
		const struct way *from = &w->to[t];
		if (from->cost == UINT64_MAX)
			continue;
		uint64_t cost = from->cost + (UINT64_C(1) << 32) + (uint64_t)(9 - f->level);
		if (cost <= to->cost)
			*to = (struct way){cost, from->bytes + f->size, from->base_ms, i, t};
	}
}

/* A full file is where ways begin, if it is the first or the newest, if the changes since the one
 * before weigh more, or half the window lies between them; else only what has no other way goes
 * on from it. `point` is the last held state with a way. */
static void begin(struct ways *w, const struct replica_file *f, size_t i, uint64_t point,
	uint64_t first, uint64_t newest)
{
	const struct retain_policy *p = &w->h->retain;
	struct way *to = &w->to[f->max_txid];
	if (w->held[f->max_txid - 1] && to->cost != UINT64_MAX)
		point = f->max_txid;
	const struct way *other = &w->to[point];
	int64_t half = p->n_steps ? p->steps[p->n_steps - 1].window_ms / 2 : 0;
	bool base = point == 0 || f->max_txid == first || f->max_txid == newest ||
				other->bytes > f->size || f->timestamp_ms - other->base_ms >= half;
	if (base)
		*to = (struct way){0, 0, f->timestamp_ms, i, 0};
	else if (to->cost == UINT64_MAX)
		*to = (struct way){UINT64_C(1) << 60, other->bytes + f->size, other->base_ms, i, 0};
}

/* Full files that are old enough: the newest, and the newest up to the first held state that has
 * one. */
static void find_bases(const struct ways *w, uint64_t *first, uint64_t *newest)
{
	uint64_t point = 0, upto = 0;
	*first = *newest = 0;
	for (size_t k = 0; k < w->h->n_before; k++) {
		const struct replica_file *f = &w->h->before[w->order[k]];
		if (f->min_txid != 1 || w->now_ms - f->uploaded_ms < w->h->retain.grace_ms)
			continue;
		for (uint64_t t = f->max_txid; !point && t <= w->h->n_uploads; t++)
			point = w->held[t - 1] ? t : 0;
		*newest = f->max_txid;
		upto = f->max_txid <= point ? f->max_txid : upto;
	}
	*first = upto;
}

/* With files that are old enough or with all; where there is a way already it stays. */
static void find_ways(struct ways *w, bool young_too)
{
	uint64_t point = 0, first, newest;
	size_t k = 0;
	find_bases(w, &first, &newest);
	for (uint64_t t = 1; t <= w->h->n_uploads; t++) {
		bool done = w->to[t].cost != UINT64_MAX;
		size_t full = SIZE_MAX;
		for (; k < w->h->n_before && w->h->before[w->order[k]].max_txid == t; k++) {
			const struct replica_file *f = &w->h->before[w->order[k]];
			if (done || (!young_too && w->now_ms - f->uploaded_ms < w->h->retain.grace_ms))
				continue;
			if (f->min_txid != 1)
				go_on(w, f, w->order[k]);
			else if (full == SIZE_MAX || f->size <= w->h->before[full].size)
				full = w->order[k];
		}
		if (full != SIZE_MAX)
			begin(w, &w->h->before[full], full, point, first, newest);
		if (w->held[t - 1] && w->to[t].cost != UINT64_MAX)
			point = t;
	}
}

/* The ways to what is held; for a state without a way the one to what is reached before it. */
static void use_ways(const struct ways *w, unsigned char *used)
{
	uint64_t reached = 0;
	for (uint64_t t = 1; t <= w->h->n_uploads; t++) {
		if (w->to[t].cost != UINT64_MAX)
			reached = t;
		for (uint64_t at = w->held[t - 1] ? reached : 0; at; at = w->to[at].from)
			used[w->to[at].file] = 1;
	}
}

/* Which files the ways to promised points need: what RETAIN_WAY must say, file by file. */
static void check_ways(const struct history *h, int64_t now_ms)
{
	size_t n = h->n_before, *order = calloc(n + 1, sizeof(*order));
	unsigned char *used = calloc(n + 1, 1);
	struct ways w = {
		h, now_ms, order, history_held(h, now_ms), calloc(h->n_uploads + 1, sizeof(struct way))};
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof(*order), by_end, (void *)h);
	for (uint64_t t = 0; t <= h->n_uploads; t++)
		w.to[t].cost = UINT64_MAX;
	find_ways(&w, false);
	use_ways(&w, used);
	find_ways(&w, true);
	use_ways(&w, used);
	for (size_t i = 0; i < n; i++) {
		const struct replica_file *f = &h->before[i];
		if (used[i] != (h->reasons[i] & RETAIN_WAY))
			fail_msg("L%d %lu-%lu: %s, reasons %d", f->level, (unsigned long)f->min_txid,
				(unsigned long)f->max_txid, used[i] ? "needed" : "not needed", h->reasons[i]);
	}
	free(order);
	free(used);
	free(w.held);
	free(w.to);
}

/* The other reasons, each by its own words. */
static void check_reasons(const struct history *h, int64_t now_ms)
{
	uint64_t newest_full = 0, kept_end[LTX_LEVELS] = {0}, last_l0 = 0;
	bool kept_before[LTX_LEVELS] = {false};
	for (size_t i = 0; i < h->n_before; i++) {
		const struct replica_file *f = &h->before[i];
		bool young = now_ms - f->uploaded_ms < h->retain.grace_ms;
		if (f->min_txid == 1 && !young && f->max_txid > newest_full)
			newest_full = f->max_txid;
		if (h->reasons[i] && f->max_txid > kept_end[f->level])
			kept_end[f->level] = f->max_txid;
		if (f->level == 0)
			last_l0 = f->max_txid;
	}
	for (size_t i = 0; i < h->n_before; i++) {
		const struct replica_file *f = &h->before[i];
		int64_t age = now_ms - f->uploaded_ms;
		uint64_t above = 0;
		for (int k = f->level + 1; k < LTX_SNAPSHOT_LEVEL; k++)
			above = kept_end[k] > above ? kept_end[k] : above;
		bool merged = f->level > 0 && f->level < LTX_SNAPSHOT_LEVEL;
		unsigned want = 0;
		want |= age < h->retain.grace_ms ? RETAIN_YOUNG : 0;
		want |=
			f->level == 0 && (age < h->retain.l0_keep_ms || f->max_txid == last_l0) ? RETAIN_L0 : 0;
		want |= f->level < LTX_SNAPSHOT_LEVEL && above && f->max_txid > above ? RETAIN_WAITING : 0;
		want |= merged && kept_before[f->level] ? RETAIN_CONTIGUOUS : 0;
		assert_int_equal(h->reasons[i] & ~(RETAIN_WAY | RETAIN_NEWEST), want);
		if (h->reasons[i] & RETAIN_NEWEST)
			assert_true(f->min_txid == 1 && f->max_txid == newest_full);
		kept_before[f->level] |= h->reasons[i] != 0;
	}
}

/* A policy like the default one, 120 times as fast: a week is 84 minutes. */
static void hurry(struct history *h)
{
	h->retain = (struct retain_policy){.steps = {{90 * SECOND, 0}, {12 * MINUTE, 2 * SECOND},
										   {36 * MINUTE, 10 * SECOND}, {84 * MINUTE, 2 * MINUTE}},
		.n_steps = 4,
		.l0_keep_ms = 90 * SECOND,
		.grace_ms = 30 * SECOND};
	h->levels.step_ms[0] = 2 * SECOND;
	h->levels.step_ms[1] = 10 * SECOND;
	h->levels.step_ms[2] = 2 * MINUTE;
	h->levels.settle_ms = 100;
	h->levels.snapshot_min_ms = 30 * SECOND;
	h->levels.snapshot_max_ms = 12 * MINUTE;
}

/* A stretch of one rhythm: bursts, drops, silence, a clock that stands or is set back. */
static void stretch(struct history *h, int64_t *now_ms, int64_t unit)
{
	static const int64_t paces[] = {1, 1, 4, 5, 20, 60, 400};
	int64_t pace = paces[history_random(h, 7)] * unit;
	size_t n = 1 + history_random(h, 200);
	switch (history_random(h, 12)) {
	case 0: /* idle */
		*now_ms += (int64_t)history_random(h, 10000) * unit;
		n = 0;
		break;
	case 1: /* the clock stands */
		pace = 0;
		n = 1 + n / 10;
		break;
	case 2: /* it is set back, by less than the grace */
		*now_ms -= (int64_t)history_random(h, (uint64_t)h->retain.grace_ms / 2);
		break;
	}
	for (size_t i = 0; i < n; i++) {
		*now_ms += pace ? pace / 2 + (int64_t)history_random(h, (uint64_t)pace) : 0;
		history_upload(h, now_ms, 1, 60000);
		if (history_random(h, 10) == 0)
			history_merge(h, *now_ms);
		if (history_random(h, 30) == 0)
			history_snapshot(h, *now_ms);
	}
}

static void run_history(uint64_t seed, bool hurried, size_t max_uploads)
{
	struct history h;
	history_init(&h, seed, 4 * MIB);
	if (hurried)
		hurry(&h);
	int64_t now = START, unit = hurried ? 50 : SECOND;
	history_upload(&h, &now, 1, 1);
	while (h.n_uploads < max_uploads) {
		stretch(&h, &now, unit);
		history_merge(&h, now);
		history_snapshot(&h, now);
		if (history_random(&h, 4) != 0)
			continue;
		history_retain(&h, now);
		check_reasons(&h, now);
		check_ways(&h, now);
		check_shape(&h);
		check_promises(&h, now, h.n_files < 500 ? 1 : 10);
		assert_int_equal(history_retain(&h, now), 0); /* once decided, decided */
	}
	/* Left alone: the newest full file, the way from it to the present, the last L0. */
	now += 30 * DAY;
	history_retain(&h, now);
	history_snapshot(&h, now);
	now += 2 * h.retain.grace_ms;
	history_retain(&h, now);
	assert_true(h.n_files <= 2);
	assert_int_equal(check_promises(&h, now, 1), 1);
	history_free(&h);
}

static void test_random_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= ROUNDS(12); seed++)
		run_history(seed, true, 5000);
}

static void test_random_weeks(void **state)
{
	(void)state;
	for (uint64_t seed = 101; seed <= 100 + ROUNDS(4); seed++)
		run_history(seed, false, 6000);
}

/* ---- 30 days at one upload a second ---- */

static double cpu_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Minutes of uploads at once, then the merges, the snapshot and, every half hour, the retention. */
static void minutes_of_uploads(struct history *h, int64_t *now, int minutes)
{
	int64_t at[60];
	for (int m = 0; m < minutes; m++) {
		for (int i = 0; i < 60; i++)
			at[i] = *now += SECOND;
		history_upload(h, at, 60, 6000);
	}
	history_merge(h, *now);
	history_snapshot(h, *now);
}

/*
 * At most, with an hour of grace and half an hour between two retentions:
 * L0 4.5 h of 3,600 = 16,200; L1 25.5 h of 120 = 3,060, and 20 that wait;
 * L2 73.5 h of 12 = 882, and 32 that wait; L3 169.5 h, the hours back to the oldest base, at most
 * half a window = 84, and 16 that wait; L9 24: here the changes of seven hours or so weigh as much
 * as the database.
 */
static void test_thirty_days_at_one_a_second(void **state)
{
	(void)state;
	/* A sanitised build sees ten: more than any level keeps. */
	const int half_hours = (ROUNDS_STEP > 1 ? 10 : 30) * 48;
	struct history h;
	history_init(&h, 7, 200 * MIB);
	int64_t now = START;
	size_t most = 0, most_deleted = 0, checks = 0;
	double worst = 0;
	for (int half_hour = 1; half_hour <= half_hours; half_hour++) {
		for (int k = 0; k < 6; k++)
			minutes_of_uploads(&h, &now, 5);
		most = h.n_files > most ? h.n_files : most;
		double before = cpu_seconds();
		size_t deleted = history_retain(&h, now);
		double took = cpu_seconds() - before;
		worst = took > worst ? took : worst;
		most_deleted = deleted > most_deleted ? deleted : most_deleted;
		if (half_hour % 287 == 0) {
			check_shape(&h);
			check_promises(&h, now, 1000);
			checks++;
		}
	}
	print_message(
		"%d days at 1/s: %zu uploads, at most %zu files, %zu deleted at once at most, "
		"%zu files and %zu MiB at the end, %zu snapshots made, retention at most %.1f ms\n",
		half_hours / 48, h.n_uploads, most, most_deleted, h.n_files, (size_t)(h.bytes / MIB),
		(size_t)h.puts[LTX_SNAPSHOT_LEVEL], worst * 1e3);
	assert_true(checks == (size_t)half_hours / 287);
	assert_true(most <= 16200 + 3080 + 914 + 270 + 24);
	/* No storm: a snapshot or a merge sets free what it covers, never much more at once than half
	 * an hour brought. */
	assert_true(most_deleted <= 4000);
	history_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_histories),
		cmocka_unit_test(test_random_weeks),
		cmocka_unit_test(test_thirty_days_at_one_a_second),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
