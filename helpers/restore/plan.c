/* From a listing and a target to the files of a restore, or to the sentence that says why not. */
#include "restore/restore.h"

#include "base/clock.h"
#include "restore/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAREST_TRIES 64

struct planner {
	const struct restore_plan_input *in;
	struct path_finder path;
	const struct ltx_file **ends; /* one file for each TXID at which files end, ascending */
	size_t n_ends;
	char what[80]; /* "TXID 000…" or "the state of 2026-…", for messages */
};

const char *restore_label(const struct ltx_file *f, char out[RESTORE_LABEL_SIZE])
{
	char name[LTX_NAME_SIZE];
	ltx_format_name(f->min_txid, f->max_txid, name);
	snprintf(out, RESTORE_LABEL_SIZE, "L%d %s", f->level, name);
	return out;
}

void restore_plan_free(struct restore_plan *p)
{
	free(p->files);
	free(p->v3);
	memset(p, 0, sizeof(*p));
}

int restore_target_check(const struct restore_target *t, int64_t now_ms, struct err *e)
{
	char asked[32], now[32];
	if (t->txid && t->timestamp_ms)
		return err_set(e, ERR_USAGE, "a TXID and a timestamp exclude each other");
	if (t->txid && (t->generation || t->by_index))
		return err_set(e, ERR_USAGE,
			"a TXID and a generation or index exclude each other: Litestream 0.3 had generations, "
			"0.5 has TXIDs");
	if (t->by_index && t->timestamp_ms)
		return err_set(e, ERR_USAGE, "an index and a timestamp exclude each other");
	if (t->timestamp_ms <= now_ms)
		return ERR_OK;
	clock_format_rfc3339(t->timestamp_ms, asked);
	clock_format_rfc3339(now_ms, now);
	return err_set(e, ERR_USAGE, "%s is in the future: it is %s now", asked, now);
}

static int by_end(const void *a, const void *b)
{
	const struct ltx_file *x = *(const struct ltx_file *const *)a;
	const struct ltx_file *y = *(const struct ltx_file *const *)b;
	if (x->max_txid != y->max_txid)
		return x->max_txid < y->max_txid ? -1 : 1;
	return x->level - y->level;
}

/* Of files that end at the same TXID the one of the lowest level is kept: it was listed closest to
 * the time of its transaction. */
static int collect_ends(struct planner *p, struct err *e)
{
	const struct ltx_set *set = p->in->set;
	p->ends = calloc(set->count + 1, sizeof(struct ltx_file *));
	if (!p->ends)
		return err_nomem(e, "planning the restore");
	for (size_t i = 0; i < set->count; i++)
		p->ends[i] = &set->files[i];
	qsort(p->ends, set->count, sizeof(struct ltx_file *), by_end);
	for (size_t i = 0; i < set->count; i++)
		if (p->n_ends == 0 || p->ends[p->n_ends - 1]->max_txid != p->ends[i]->max_txid)
			p->ends[p->n_ends++] = p->ends[i];
	return ERR_OK;
}

/* The full file that ends first, NULL when no file is full: no state before it can be had. */
static const struct ltx_file *first_full(const struct ltx_set *set)
{
	const struct ltx_file *first = NULL;
	for (size_t i = 0; i < set->count; i++) {
		const struct ltx_file *f = &set->files[i];
		if (f->min_txid == 1 && (!first || f->max_txid < first->max_txid))
			first = f;
	}
	return first;
}

/* The first file, by TXID, that begins after `txid`; NULL when none does. */
static const struct ltx_file *first_after(const struct ltx_set *set, uint64_t txid)
{
	const struct ltx_file *first = NULL;
	for (size_t i = 0; i < set->count; i++) {
		const struct ltx_file *f = &set->files[i];
		if (f->min_txid > txid && (!first || f->min_txid < first->min_txid))
			first = f;
	}
	return first;
}

static const struct ltx_file *holder_of(const struct ltx_set *set, uint64_t txid)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->files[i].min_txid <= txid && txid <= set->files[i].max_txid)
			return &set->files[i];
	return NULL;
}

/* ---- a timestamp's TXID ---- */

/* Where the listing's times suggest the last file at or before `ms`: a start, nothing more. */
static size_t guess_end(const struct planner *p, int64_t ms)
{
	size_t guess = 0;
	for (size_t i = 0; i < p->n_ends; i++)
		if (p->ends[i]->modified_ms <= ms)
			guess = i;
	return guess;
}

static int by_place(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	return x < y ? -1 : x > y;
}

/* Chooses which of ends[lo … hi - 1] to ask about, ascending, evenly spread; the first time (guess
 * not PATH_NONE) two of them on both sides of the guessed boundary. Returns how many. */
static size_t choose_probes(size_t lo, size_t hi, size_t guess, size_t probes[RESTORE_STAMPS])
{
	size_t n = 0, spread = guess == PATH_NONE ? RESTORE_STAMPS : RESTORE_STAMPS - 2;
	if (hi - lo <= spread) {
		while (lo < hi)
			probes[n++] = lo++;
		return n;
	}
	for (size_t i = 0; i < spread; i++)
		probes[n++] = lo + (hi - lo) * (i + 1) / (spread + 1);
	for (size_t i = guess; guess != PATH_NONE && i < guess + 2 && i < hi; i++)
		probes[n++] = i;
	qsort(probes, n, sizeof(*probes), by_place);
	size_t unique = 1;
	for (size_t i = 1; i < n; i++)
		if (probes[i] != probes[unique - 1])
			probes[unique++] = probes[i];
	return unique;
}

/* *count = how many of the ends have a timestamp at or before `ms`. Each round of questions leaves
 * the room between two of them: one round when the guess was good, O(log n) when it was not. */
static int count_until(const struct planner *p, int64_t ms, size_t *count, struct err *e)
{
	size_t lo = 0, hi = p->n_ends; /* ends[lo - 1] is known to be in, ends[hi] to be out */
	size_t guess = guess_end(p, ms);
	while (lo < hi) {
		size_t probes[RESTORE_STAMPS];
		const struct ltx_file *files[RESTORE_STAMPS];
		int64_t stamps[RESTORE_STAMPS];
		size_t n = choose_probes(lo, hi, guess, probes);
		for (size_t i = 0; i < n; i++)
			files[i] = p->ends[probes[i]];
		int rc = p->in->stamps(p->in->stamps_ctx, files, n, stamps, e);
		if (rc)
			return rc;
		size_t in = 0;
		while (in < n && stamps[in] <= ms)
			in++;
		lo = in > 0 ? probes[in - 1] + 1 : lo;
		hi = in < n ? probes[in] : hi;
		guess = PATH_NONE;
	}
	*count = lo;
	return ERR_OK;
}

static int too_early(const struct planner *p, const struct ltx_file *first, struct err *e)
{
	int64_t stamp;
	int rc = p->in->stamps(p->in->stamps_ctx, &first, 1, &stamp, e);
	if (rc)
		return rc;
	char asked[32], earliest[32];
	clock_format_rfc3339(p->in->target.timestamp_ms, asked);
	clock_format_rfc3339(stamp, earliest);
	return err_set(e, ERR_NO_BACKUP,
		"nothing is as old as %s: the earliest state that can be restored is that of %s (TXID "
		"%016" PRIx64 ")",
		asked, earliest, first->max_txid);
}

/* The last TXID at or before the timestamp. */
static int resolve_timestamp(struct planner *p, uint64_t *txid, struct err *e)
{
	int64_t ms = p->in->target.timestamp_ms;
	char asked[32];
	clock_format_rfc3339(ms, asked);
	snprintf(p->what, sizeof(p->what), "the state of %s", asked);
	size_t count;
	int rc = count_until(p, ms, &count, e);
	if (rc)
		return rc;
	const struct ltx_file *first = first_full(p->in->set);
	if (first && (count == 0 || p->ends[count - 1]->max_txid < first->max_txid))
		return too_early(p, first, e);
	*txid = count ? p->ends[count - 1]->max_txid : p->ends[0]->max_txid;
	return ERR_OK;
}

/* ---- why there is no plan ---- */

static int banned_error(const struct planner *p, struct err *e)
{
	const struct restore_ban *ban = &p->in->bans[p->in->n_bans - 1];
	char before[RESTORE_LABEL_SIZE], after[RESTORE_LABEL_SIZE];
	return err_set(e, ERR_DAMAGED,
		"%s was not written on top of %s: the database checksums that they record contradict each "
		"other (two writers on one replica?), and no other files lead to TXID %016" PRIx64,
		restore_label(&ban->after, after), restore_label(&ban->before, before), p->path.ceiling);
}

static int gap_error(const struct planner *p, uint64_t at, struct err *e)
{
	char left[RESTORE_LABEL_SIZE], right[RESTORE_LABEL_SIZE];
	const struct ltx_file *next = first_after(p->in->set, at + 1);
	if (!next)
		return err_set(e, ERR_DAMAGED, "no files lead to TXID %016" PRIx64, p->path.ceiling);
	restore_label(next, right);
	if (p->path.furthest == PATH_NONE)
		return err_set(e, ERR_DAMAGED,
			"the replica has no snapshot to begin with: the first file after TXID "
			"%016" PRIx64 " is %s",
			at, right);
	restore_label(&p->in->set->files[p->path.furthest], left);
	return err_set(e, ERR_DAMAGED,
		"the replica has a gap: %s ends at TXID %016" PRIx64
		", but the next file, %s, begins at TXID %016" PRIx64,
		left, at, right, next->min_txid);
}

/* "the nearest that can be: TXID a, TXID b": what is reachable below and above `txid`. */
static int nearest_error(
	struct planner *p, uint64_t txid, uint64_t below, const char *why, struct err *e)
{
	char near[128] = "nothing near it can be";
	size_t n = 0;
	if (below)
		n = (size_t)snprintf(
			near, sizeof(near), "the nearest that can be: TXID %016" PRIx64, below);
	size_t tries = 0;
	for (size_t i = 0; i < p->n_ends && tries < NEAREST_TRIES; i++) {
		if (p->ends[i]->max_txid <= txid)
			continue;
		tries++;
		if (!path_find(&p->path, p->ends[i]->max_txid))
			continue;
		snprintf(near + n, sizeof(near) - n, "%sTXID %016" PRIx64,
			n ? ", " : "the nearest that can be: ", p->ends[i]->max_txid);
		break;
	}
	return err_set(e, ERR_NO_BACKUP, "%s can't be restored: %s; %s", p->what, why, near);
}

/* The highest TXID up to `txid` to which a way leads. */
static uint64_t reachable_below(struct planner *p, uint64_t txid)
{
	for (size_t i = p->n_ends, tries = 0; i > 0 && tries < NEAREST_TRIES; i--) {
		if (p->ends[i - 1]->max_txid > txid)
			continue;
		tries++;
		if (path_find(&p->path, p->ends[i - 1]->max_txid))
			return p->ends[i - 1]->max_txid;
	}
	return 0;
}

/*
 * A time may fall on files that retention has left behind without what lies before them, because a
 * larger file holds all of it. As with any time between two files the state before counts: the
 * furthest that could be reached. True with that as *goal; not for a gap.
 */
static bool step_back(const struct planner *p, uint64_t *goal)
{
	size_t last = p->path.furthest;
	if (!p->in->target.timestamp_ms || p->in->n_bans || last == PATH_NONE)
		return false;
	uint64_t at = p->in->set->files[last].max_txid;
	const struct ltx_file *holder = holder_of(p->in->set, at + 1);
	if (!holder || holder->max_txid <= *goal)
		return false;
	*goal = at;
	return true;
}

static int no_path_error(struct planner *p, uint64_t goal, struct err *e)
{
	size_t last = p->path.furthest;
	uint64_t at = last == PATH_NONE ? 0 : p->in->set->files[last].max_txid;
	const struct ltx_file *holder = holder_of(p->in->set, at + 1);
	if (p->in->n_bans && (!holder || holder->max_txid <= goal))
		return banned_error(p, e);
	if (!holder || holder->max_txid <= goal)
		return gap_error(p, at, e);
	/* What is missing is there, but only inside a file that goes past the goal. */
	char label[RESTORE_LABEL_SIZE], why[200];
	snprintf(why, sizeof(why), "TXID %016" PRIx64 " is only kept inside %s", at + 1,
		restore_label(holder, label));
	return nearest_error(p, goal, at, why, e);
}

/* ---- the plan ---- */

static bool ends_at(const struct planner *p, uint64_t txid)
{
	size_t lo = 0, hi = p->n_ends;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->ends[mid]->max_txid < txid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n_ends && p->ends[lo]->max_txid == txid;
}

static int check_txid(struct planner *p, uint64_t txid, struct err *e)
{
	uint64_t last = p->ends[p->n_ends - 1]->max_txid;
	snprintf(p->what, sizeof(p->what), "TXID %016" PRIx64, txid);
	if (txid > last)
		return err_set(e, ERR_NO_BACKUP,
			"TXID %016" PRIx64 " does not exist: the replica ends at TXID %016" PRIx64, txid, last);
	if (ends_at(p, txid))
		return ERR_OK;
	return nearest_error(p, txid, reachable_below(p, txid), "no file ends there", e);
}

static int choose_goal(struct planner *p, uint64_t *goal, struct err *e)
{
	const struct restore_target *t = &p->in->target;
	*goal = p->ends[p->n_ends - 1]->max_txid;
	if (t->timestamp_ms)
		return resolve_timestamp(p, goal, e);
	if (t->txid) {
		*goal = t->txid;
		return check_txid(p, t->txid, e);
	}
	return ERR_OK;
}

static int copy_plan(const struct planner *p, struct restore_plan *plan, struct err *e)
{
	plan->files = calloc(p->path.n_steps, sizeof(*plan->files));
	if (!plan->files)
		return err_nomem(e, "planning the restore");
	for (size_t i = 0; i < p->path.n_steps; i++)
		plan->files[i] = p->in->set->files[p->path.steps[i]];
	plan->count = p->path.n_steps;
	plan->txid = p->path.ceiling;
	return ERR_OK;
}

int restore_plan_make(const struct restore_plan_input *in, struct restore_plan *plan, struct err *e)
{
	memset(plan, 0, sizeof(*plan));
	int rc = restore_target_check(&in->target, in->now_ms, e);
	if (!rc && in->set->count == 0)
		rc = err_set(e, ERR_NO_BACKUP, "no backup found: the replica is empty");
	if (rc)
		return rc;
	struct planner p = {.in = in};
	uint64_t goal;
	rc = path_init(&p.path, in->set, in->bans, in->n_bans, e);
	if (!rc)
		rc = collect_ends(&p, e);
	if (!rc)
		rc = choose_goal(&p, &goal, e);
	bool found = !rc && path_find(&p.path, goal);
	if (!rc && !found && step_back(&p, &goal))
		found = path_find(&p.path, goal);
	if (!rc)
		rc = found ? copy_plan(&p, plan, e) : no_path_error(&p, goal, e);
	free(p.ends);
	path_free(&p.path);
	return rc;
}
