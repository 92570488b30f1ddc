/*
 * Retention. See retain.h for what is promised and kept.
 *
 * Ways are found with a table of the *ends*: the TXIDs at which files end, ascending. The best way
 * to an end is one file, and before it the best way to one of the ends from min_txid - 1 on: so
 * each end needs one predecessor, the ways form a tree, and marking the ways of all points visits
 * each file once. Ends are filled in ascending order, which makes every search for a predecessor
 * one for the least cost in the last part of what is filled: a monotonic stack answers it by
 * binary search.
 */
#include "replicate/retain.h"

#include "replicate/levels.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DAY (INT64_C(24) * 3600 * 1000)
#define NONE ((size_t)-1)

/* Ways are compared by their number of files, then by how low the levels of these are. */
#define COST_FILE (UINT64_C(1) << 32)
#define COST_LOW(level) ((uint64_t)(LTX_SNAPSHOT_LEVEL - (level)))
#define COST_FALLBACK (UINT64_C(1) << 60) /* of a full file that would rather not stay */

struct end {
	uint64_t txid;
	int64_t timestamp_ms, uploaded_ms;
	bool promised;
	size_t first;           /* its files: by_end[first] up to the next end's */
	size_t file;            /* the last file of the best way to here, NONE = there is no way */
	size_t before;          /* the end it goes on from, NONE when the file is full */
	uint64_t cost;          /* of the way since its base */
	uint64_t bytes;         /* that the way reads behind its base */
	int64_t base_timestamp; /* of the full file that counts as the way's base */
};

struct retention {
	const struct replica_file *files;
	size_t n;
	size_t start[LTX_LEVELS + 1];
	const struct retain_policy *p;
	int64_t now_ms;
	unsigned char *reasons;

	const struct replica_file **by_end;
	struct end *ends; /* one more than n_ends, for the last one's files */
	size_t n_ends;
	size_t *stack; /* ends, ascending in place and in cost */
	size_t n_stack;
	uint64_t base;                /* full files before it are no use to any point */
	size_t newest;                /* file: the newest full one that can be counted on; NONE */
	bool all_files;               /* young ones too */
	const struct end *last_point; /* the last promised end that has a way */
};

/* ---- ends ---- */

static int by_max_txid(const void *a, const void *b)
{
	const struct replica_file *x = *(const struct replica_file *const *)a;
	const struct replica_file *y = *(const struct replica_file *const *)b;
	if (x->max_txid != y->max_txid)
		return x->max_txid < y->max_txid ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Nobody wrote LTX files in 1970: such a time is unknown, and the upload's is not earlier. */
static int64_t time_of(const struct replica_file *f)
{
	return f->timestamp_ms > DAY ? f->timestamp_ms : f->uploaded_ms;
}

static void add_to_ends(struct retention *r, size_t place)
{
	const struct replica_file *f = r->by_end[place];
	struct end *last = r->n_ends ? &r->ends[r->n_ends - 1] : NULL;
	if (!last || last->txid != f->max_txid) {
		last = &r->ends[r->n_ends++];
		*last = (struct end){.txid = f->max_txid,
			.timestamp_ms = time_of(f),
			.uploaded_ms = f->uploaded_ms,
			.first = place,
			.file = NONE,
			.before = NONE};
	}
	if (time_of(f) < last->timestamp_ms)
		last->timestamp_ms = time_of(f);
	if (f->uploaded_ms < last->uploaded_ms)
		last->uploaded_ms = f->uploaded_ms;
}

static int collect_ends(struct retention *r, struct err *e)
{
	r->by_end = calloc(r->n + 1, sizeof(struct replica_file *));
	r->ends = calloc(r->n + 1, sizeof(*r->ends));
	r->stack = calloc(r->n + 1, sizeof(*r->stack));
	if (!r->by_end || !r->ends || !r->stack)
		return err_nomem(e, "deciding what the replica keeps");
	for (size_t i = 0; i < r->n; i++)
		r->by_end[i] = &r->files[i];
	qsort(r->by_end, r->n, sizeof(struct replica_file *), by_max_txid);
	for (size_t i = 0; i < r->n; i++)
		add_to_ends(r, i);
	r->ends[r->n_ends].first = r->n;
	/* Time grows with TXID (F9); files of others may say otherwise. */
	for (size_t i = r->n_ends - 1; i > 0; i--)
		if (r->ends[i - 1].timestamp_ms > r->ends[i].timestamp_ms)
			r->ends[i - 1].timestamp_ms = r->ends[i].timestamp_ms;
	return ERR_OK;
}

/* The first end at or after txid. */
static size_t find_end(const struct retention *r, uint64_t txid)
{
	size_t lo = 0, hi = r->n_ends;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (r->ends[mid].txid < txid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- points ---- */

static int64_t step_of(int64_t timestamp_ms, int64_t step_ms)
{
	int64_t step = timestamp_ms / step_ms;
	return timestamp_ms % step_ms < 0 ? step - 1 : step;
}

/* Since when this end was the state that the step shows. A clock that was set back has left
 * timestamps of the future: then what counts is when it came. */
static int64_t shown_since(const struct end *u, int64_t step_ms)
{
	int64_t by_stamp =
		step_ms ? (step_of(u->timestamp_ms, step_ms) + 1) * step_ms : u->timestamp_ms;
	int64_t by_upload = u->uploaded_ms + step_ms;
	return by_upload < by_stamp ? by_upload : by_stamp;
}

/* From the present back to the state that was shown when the window began. */
static void promise_step(struct retention *r, int64_t window_ms, int64_t step_ms)
{
	int64_t begin = r->now_ms - window_ms - r->p->grace_ms;
	for (size_t i = r->n_ends; i > 0; i--) {
		struct end *u = &r->ends[i - 1];
		bool last_of_step =
			i == r->n_ends || step_ms == 0 ||
			step_of(u->timestamp_ms, step_ms) < step_of(r->ends[i].timestamp_ms, step_ms);
		if (!last_of_step)
			continue;
		u->promised = true;
		if (shown_since(u, step_ms) <= begin)
			return;
	}
}

static void promise(struct retention *r)
{
	promise_step(r, 0, 0); /* who restores what was the present may go on for the grace */
	for (int i = 0; i < r->p->n_steps; i++)
		promise_step(r, r->p->steps[i].window_ms, r->p->steps[i].step_ms);
}

/* ---- ways ---- */

static bool is_young(const struct retention *r, const struct replica_file *f)
{
	return r->now_ms - f->uploaded_ms < r->p->grace_ms;
}

/* The newest full file that ends no later than txid, NONE when there is none. Among equals the
 * smallest. */
static size_t newest_full(const struct retention *r, uint64_t txid)
{
	size_t best = NONE;
	for (size_t i = 0; i < r->n; i++) {
		const struct replica_file *f = &r->files[i], *b = best == NONE ? NULL : &r->files[best];
		if (f->min_txid != 1 || f->max_txid > txid || is_young(r, f))
			continue;
		if (!b || f->max_txid > b->max_txid || (f->max_txid == b->max_txid && f->size < b->size))
			best = i;
	}
	return best;
}

static uint64_t oldest_full_end(const struct retention *r)
{
	uint64_t oldest = UINT64_MAX;
	for (size_t i = 0; i < r->n; i++)
		if (r->files[i].min_txid == 1 && !is_young(r, &r->files[i]) &&
			r->files[i].max_txid < oldest)
			oldest = r->files[i].max_txid;
	return oldest;
}

/* Where the ways begin: the newest full file that the oldest point can use. */
static void choose_bases(struct retention *r)
{
	r->newest = newest_full(r, UINT64_MAX);
	uint64_t oldest = oldest_full_end(r);
	for (size_t i = find_end(r, oldest); i < r->n_ends; i++) {
		if (!r->ends[i].promised)
			continue;
		size_t base = newest_full(r, r->ends[i].txid);
		r->base = base == NONE ? 0 : r->files[base].max_txid;
		return;
	}
}

/* Of the filled ends from `lo` on the one with the cheapest way, NONE when there is none. */
static size_t cheapest_from(const struct retention *r, size_t lo)
{
	size_t a = 0, b = r->n_stack;
	while (a < b) {
		size_t mid = a + (b - a) / 2;
		if (r->stack[mid] < lo)
			a = mid + 1;
		else
			b = mid;
	}
	return a < r->n_stack ? r->stack[a] : NONE;
}

static void push(struct retention *r, size_t i)
{
	while (r->n_stack && r->ends[r->stack[r->n_stack - 1]].cost >= r->ends[i].cost)
		r->n_stack--;
	r->stack[r->n_stack++] = i;
}

static void try_increment(struct retention *r, struct end *end, size_t file)
{
	const struct replica_file *f = &r->files[file];
	size_t before = cheapest_from(r, find_end(r, f->min_txid - 1));
	if (before == NONE)
		return;
	uint64_t cost = r->ends[before].cost + COST_FILE + COST_LOW(f->level);
	if (end->file != NONE && end->cost < cost)
		return;
	end->file = file;
	end->before = before;
	end->cost = cost;
	end->bytes = r->ends[before].bytes + f->size;
	end->base_timestamp = r->ends[before].base_timestamp;
}

static int64_t longest_window(const struct retain_policy *p)
{
	return p->n_steps ? p->steps[p->n_steps - 1].window_ms : 0;
}

/* A full file becomes a base, or stays what the way falls back on when nothing else leads here. It
 * is compared with the way to the last point, because what leads to other ends may be gone after
 * this very decision. */
static void try_full(struct retention *r, struct end *end, size_t file)
{
	const struct replica_file *f = &r->files[file];
	const struct end *point = end->promised && end->file != NONE ? end : r->last_point;
	bool base = !point || file == r->newest || f->max_txid == r->base || point->bytes > f->size ||
				end->timestamp_ms - point->base_timestamp >= longest_window(r->p) / 2;
	if (!base && end->file != NONE)
		return;
	end->cost = base ? 0 : COST_FALLBACK;
	end->bytes = base ? 0 : point->bytes + f->size;
	end->base_timestamp = base ? end->timestamp_ms : point->base_timestamp;
	end->file = file;
	end->before = NONE;
}

static void fill_end(struct retention *r, size_t i)
{
	struct end *end = &r->ends[i];
	size_t full = NONE;
	for (size_t k = end->first; k < r->ends[i + 1].first; k++) {
		size_t file = (size_t)(r->by_end[k] - r->files);
		const struct replica_file *f = r->by_end[k];
		if (!r->all_files && is_young(r, f))
			continue;
		if (f->min_txid != 1)
			try_increment(r, end, file);
		else if (full == NONE || f->size <= r->files[full].size)
			full = file;
	}
	if (full != NONE)
		try_full(r, end, full);
}

/* Finds the best way to each end that has none yet. */
static void find_ways(struct retention *r, bool all_files)
{
	r->all_files = all_files;
	r->n_stack = 0;
	r->last_point = NULL;
	for (size_t i = 0; i < r->n_ends; i++) {
		struct end *end = &r->ends[i];
		if (end->file == NONE)
			fill_end(r, i);
		if (end->file == NONE)
			continue;
		push(r, i);
		if (end->promised)
			r->last_point = end;
	}
}

static void mark_way(struct retention *r, size_t i)
{
	while (i != NONE && !(r->reasons[r->ends[i].file] & RETAIN_WAY)) {
		r->reasons[r->ends[i].file] |= RETAIN_WAY;
		i = r->ends[i].before;
	}
}

/* Ways without young files; for a point that has none, what such files lead closest to it. */
static bool mark_old_ways(struct retention *r)
{
	size_t reached = NONE;
	bool all = true;
	find_ways(r, false);
	for (size_t i = 0; i < r->n_ends; i++) {
		if (r->ends[i].file != NONE)
			reached = i;
		else if (r->ends[i].promised)
			all = false;
		if (r->ends[i].promised && reached != NONE)
			mark_way(r, reached);
	}
	return all;
}

/* false when no way leads to the present. */
static bool mark_ways(struct retention *r)
{
	if (!mark_old_ways(r)) {
		find_ways(r, true);
		for (size_t i = 0; i < r->n_ends; i++)
			if (r->ends[i].promised && r->ends[i].file != NONE)
				mark_way(r, i);
	}
	return r->ends[r->n_ends - 1].file != NONE;
}

/* ---- the other reasons ---- */

static void mark_by_age(struct retention *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct replica_file *f = &r->files[i];
		if (is_young(r, f))
			r->reasons[i] |= RETAIN_YOUNG;
		if (f->level == 0 &&
			(i + 1 == r->start[1] || r->now_ms - f->uploaded_ms < r->p->l0_keep_ms))
			r->reasons[i] |= RETAIN_L0;
	}
}

static void mark_full(struct retention *r)
{
	if (r->newest != NONE)
		r->reasons[r->newest] |= RETAIN_NEWEST;
}

/* From the top down: what is kept of a level decides from where the levels below must go on. */
static void mark_levels(struct retention *r)
{
	uint64_t merged = 0; /* the kept levels above end here; 0 = nothing of them is kept */
	for (int k = LTX_SNAPSHOT_LEVEL - 1; k >= 0; k--) {
		bool kept = false;
		for (size_t i = r->start[k]; i < r->start[k + 1]; i++) {
			if (merged && r->files[i].max_txid > merged)
				r->reasons[i] |= RETAIN_WAITING;
			if (kept && k > 0)
				r->reasons[i] |= RETAIN_CONTIGUOUS;
			kept = kept || r->reasons[i] != 0;
		}
		if (kept && k > 0 && r->files[r->start[k + 1] - 1].max_txid > merged)
			merged = r->files[r->start[k + 1] - 1].max_txid;
	}
}

/* ---- together ---- */

static void report(const struct retention *r, struct retain_range *range)
{
	memset(range, 0, sizeof(*range));
	for (size_t i = 0; i < r->n_ends; i++) {
		const struct end *end = &r->ends[i];
		if (!end->promised || end->file == NONE)
			continue;
		if (range->points++ == 0) {
			range->earliest_txid = end->txid;
			range->earliest_ms = end->timestamp_ms;
		}
		range->latest_txid = end->txid;
		range->latest_ms = end->timestamp_ms;
	}
}

static int explain(struct retention *r, struct err *e)
{
	int rc = levels_index(r->files, r->n, r->start, e);
	if (!rc)
		rc = collect_ends(r, e);
	if (rc)
		return rc;
	promise(r);
	choose_bases(r);
	bool whole = mark_ways(r);
	mark_by_age(r);
	mark_full(r);
	mark_levels(r);
	for (size_t i = 0; !whole && i < r->n; i++)
		r->reasons[i] |= RETAIN_WAY;
	return ERR_OK;
}

int retain_explain(const struct replica_file *files, size_t n, const struct retain_policy *p,
	int64_t now_ms, unsigned char *reasons, struct retain_range *range, struct err *e)
{
	struct retention r = {
		.files = files, .n = n, .p = p, .now_ms = now_ms, .reasons = reasons, .newest = NONE};
	if (range)
		memset(range, 0, sizeof(*range));
	if (n == 0)
		return ERR_OK;
	memset(reasons, 0, n);
	int rc = explain(&r, e);
	if (!rc && range)
		report(&r, range);
	free(r.by_end);
	free(r.ends);
	free(r.stack);
	return rc;
}

int retain_decide(const struct replica_file *files, size_t n, const struct retain_policy *p,
	int64_t now_ms, bool *keep, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		keep[i] = true;
	unsigned char *reasons = calloc(n + 1, 1);
	if (!reasons)
		return err_nomem(e, "deciding what the replica keeps");
	int rc = retain_explain(files, n, p, now_ms, reasons, NULL, e);
	for (size_t i = 0; !rc && i < n; i++)
		keep[i] = reasons[i] != 0;
	free(reasons);
	return rc;
}
