/* Which files are merged, and when a snapshot is made. See levels.h. */
#include "replicate/levels.h"

#include <inttypes.h>
#include <string.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define MAX_MS (INT64_C(1000) * 365 * 24 * HOUR)

/* Files by level, ready for searches. */
struct shelf {
	const struct replica_file *files;
	size_t start[LTX_LEVELS + 1];
	const struct levels_policy *p;
	int64_t now_ms;
};

void levels_policy_init(struct levels_policy *p)
{
	*p = (struct levels_policy){
		.n_levels = 3,
		.step_ms = {30 * SECOND, 5 * MINUTE, HOUR},
		.min_inputs = 8,
		.max_inputs = 256,
		.sparse_ms = 15 * MINUTE,
		.settle_ms = 5 * SECOND,
		.snapshot_min_ms = HOUR,
		.snapshot_max_ms = 24 * HOUR,
		.snapshot_fraction = 4,
		.snapshot_min_bytes = 1 << 20,
	};
}

static int check_steps(const struct levels_policy *p, struct err *e)
{
	if (p->n_levels < 1 || p->n_levels > LEVELS_MAX)
		return err_set(
			e, ERR_USAGE, "levels: there must be 1 to %d, not %d", LEVELS_MAX, p->n_levels);
	for (int k = 0; k < p->n_levels; k++) {
		int64_t step = p->step_ms[k], below = k > 0 ? p->step_ms[k - 1] : 0;
		if (step < SECOND || step > MAX_MS)
			return err_set(e, ERR_USAGE,
				"levels: the step of level %d is %" PRId64 " ms; it must be at least a second",
				k + 1, step);
		if (k > 0 && (step <= below || step % below != 0))
			return err_set(e, ERR_USAGE,
				"levels: the step of level %d (%" PRId64
				" ms) must be a multiple of that of level %d (%" PRId64 " ms)",
				k + 1, step, k, below);
	}
	return ERR_OK;
}

int levels_policy_check(const struct levels_policy *p, struct err *e)
{
	int rc = check_steps(p, e);
	if (rc)
		return rc;
	if (p->min_inputs < 2 || p->max_inputs < 2 * p->min_inputs)
		return err_set(e, ERR_USAGE,
			"levels: at least 2 files are merged into one, and at most twice as many or more (%zu "
			"to %zu were asked for)",
			p->min_inputs, p->max_inputs);
	if (p->sparse_ms < 0 || p->sparse_ms > MAX_MS)
		return err_set(e, ERR_USAGE, "levels: files can't be sparse at %" PRId64 " ms (0 = never)",
			p->sparse_ms);
	if (p->settle_ms < 0 || p->settle_ms > HOUR)
		return err_set(e, ERR_USAGE,
			"levels: a step settles for 0 ms to an hour, not %" PRId64 " ms", p->settle_ms);
	if (p->snapshot_min_ms < 0 || p->snapshot_max_ms < p->snapshot_min_ms ||
		p->snapshot_max_ms > MAX_MS || p->snapshot_max_ms == 0)
		return err_set(e, ERR_USAGE,
			"snapshots: the longest time between two (%" PRId64
			" ms) can't be shorter than the shortest (%" PRId64 " ms)",
			p->snapshot_max_ms, p->snapshot_min_ms);
	if (p->snapshot_fraction == 0)
		return err_set(
			e, ERR_USAGE, "snapshots: the fraction of the database must be 1/1 or smaller");
	if (p->renew_ms < 0 || p->renew_ms > MAX_MS)
		return err_set(e, ERR_USAGE,
			"snapshots: they can't be renewed every %" PRId64 " ms (0 = never)", p->renew_ms);
	return ERR_OK;
}

static bool in_order(const struct replica_file *a, const struct replica_file *b)
{
	if (a->level != b->level)
		return a->level < b->level;
	if (a->min_txid != b->min_txid)
		return a->min_txid < b->min_txid;
	return a->max_txid < b->max_txid;
}

static bool sound(const struct replica_file *f)
{
	return f->level >= 0 && f->level < LTX_LEVELS && f->min_txid > 0 && f->min_txid <= f->max_txid;
}

int levels_index(
	const struct replica_file *files, size_t n, size_t start[LTX_LEVELS + 1], struct err *e)
{
	int level = 0;
	start[0] = 0;
	for (size_t i = 0; i < n; i++) {
		const struct replica_file *f = &files[i];
		if (!sound(f) || (i > 0 && !in_order(f - 1, f)))
			return err_set(e, ERR_FAIL,
				"the inventory of the replica is out of order at L%d %016" PRIx64 "-%016" PRIx64,
				f->level, f->min_txid, f->max_txid);
		while (level < f->level)
			start[++level] = i;
	}
	while (level < LTX_LEVELS)
		start[++level] = n;
	return ERR_OK;
}

/* ---- merges ---- */

/* Of a level (not L9, whose files overlap): the first file that ends after txid. */
static size_t first_ending_after(const struct shelf *s, int level, uint64_t txid)
{
	size_t lo = s->start[level], hi = s->start[level + 1];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->files[mid].max_txid > txid)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static int64_t step_of(int64_t timestamp_ms, int64_t step_ms)
{
	int64_t step = timestamp_ms / step_ms;
	return timestamp_ms % step_ms < 0 ? step - 1 : step;
}

/* When the step that holds this time is over, and its uploads have arrived. */
static int64_t step_over(const struct shelf *s, int64_t timestamp_ms, int level)
{
	int64_t step_ms = s->p->step_ms[level - 1];
	return (step_of(timestamp_ms, step_ms) + 1) * step_ms + s->p->settle_ms;
}

/* The first known upload after file i of level below `level`; NULL when it is the last of all. */
static const struct replica_file *next_upload(const struct shelf *s, int level, size_t i)
{
	const struct replica_file *next = NULL;
	for (int k = 0; k < level; k++) {
		size_t j = first_ending_after(s, k, s->files[i].max_txid);
		if (j < s->start[k + 1] && (!next || s->files[j].max_txid < next->max_txid))
			next = &s->files[j];
	}
	return next;
}

/* The highest level whose step ends with input i, 0 when none does. */
static int border(const struct shelf *s, int level, size_t i)
{
	int64_t at = s->files[i].timestamp_ms;
	const struct replica_file *next = next_upload(s, level, i);
	for (int k = s->p->n_levels; k > 0; k--) {
		int64_t step = s->p->step_ms[k - 1];
		bool over = next ? step_of(next->timestamp_ms, step) > step_of(at, step)
						 : s->now_ms >= step_over(s, at, k);
		if (over)
			return k;
	}
	return 0;
}

/* Level k and those above it end here; its next file begins one further. 0 = they are empty. */
static uint64_t end_of_levels_from(const struct shelf *s, int k)
{
	uint64_t end = 0;
	for (; k < LTX_SNAPSHOT_LEVEL; k++)
		if (s->start[k] < s->start[k + 1] && s->files[s->start[k + 1] - 1].max_txid > end)
			end = s->files[s->start[k + 1] - 1].max_txid;
	return end;
}

static bool full_file_reaches(const struct shelf *s, uint64_t txid)
{
	for (size_t i = 0; i < s->start[LTX_LEVELS]; i++)
		if (s->files[i].min_txid == 1 && s->files[i].max_txid >= txid)
			return true;
	return false;
}

/* The files that wait for level k, the last ones of the level below that have no gap between them:
 * *first and how many. */
static size_t waiting(const struct shelf *s, int k, size_t *first)
{
	uint64_t after = end_of_levels_from(s, k);
	size_t end = s->start[k], lowest = first_ending_after(s, k - 1, after);
	size_t i = end;
	while (i > lowest && (i == end || s->files[i - 1].max_txid + 1 == s->files[i].min_txid))
		i--;
	if (i < end && after == 0 && s->files[i].min_txid == 1)
		i++;
	*first = i;
	if (i == end || after == 0 || s->files[i].min_txid == after + 1)
		return end - i;
	bool behind_gap =
		s->files[i].min_txid > after + 1 && full_file_reaches(s, s->files[i].min_txid - 1);
	return behind_gap ? end - i : 0;
}

/* Are the last of the n uploads from `first` on so far apart that merging can wait? Files that were
 * merged once are apart anyway, and few: letting them wait would save next to no request, and their
 * local copies would be gone. */
static bool is_sparse(const struct shelf *s, int k, size_t first, size_t n)
{
	size_t min = s->p->min_inputs;
	if (k > 1 || n < min || !s->p->sparse_ms)
		return false;
	const struct replica_file *last = &s->files[first + n - 1];
	int64_t span = last->timestamp_ms - last[1 - (ptrdiff_t)min].timestamp_ms;
	return span / (int64_t)(min - 1) > s->p->sparse_ms;
}

/* How many of the n inputs from `first` on go into one output; 0 = none yet. */
static size_t cut(const struct shelf *s, int k, size_t first, size_t n)
{
	if (is_sparse(s, k, first, n))
		return n >= s->p->max_inputs ? s->p->max_inputs : 0;
	size_t min = s->p->min_inputs, best = 0;
	int best_border = k - 1;
	for (size_t count = min; count <= n && count <= 2 * min; count++) {
		int b = border(s, k, first + count - 1);
		if (b > best_border) {
			best = count;
			best_border = b;
		}
	}
	if (best_border == s->p->n_levels || (best && (best_border > k || n >= 2 * min)))
		return best;
	if (best)
		return 0;
	for (size_t count = 2 * min + 1; count <= n && count <= s->p->max_inputs; count++)
		if (border(s, k, first + count - 1) >= k)
			return count;
	return n >= s->p->max_inputs ? s->p->max_inputs : 0;
}

/* When a cut may appear though nothing is uploaded: when the step of the last input is over. */
static int64_t cut_at(const struct shelf *s, int k, size_t first, size_t n)
{
	if (n < s->p->min_inputs || is_sparse(s, k, first, n))
		return 0;
	int64_t last = s->files[first + n - 1].timestamp_ms;
	int wanted = k < s->p->n_levels ? k + 1 : k;
	for (int level = n >= 2 * s->p->min_inputs ? k : wanted; level <= wanted; level++) {
		int64_t at = step_over(s, last, level);
		if (at > s->now_ms)
			return at;
	}
	return 0;
}

int levels_due(const struct replica_file *files, size_t n, const struct levels_policy *p,
	int64_t now_ms, struct levels_merge *merge, struct err *e)
{
	struct shelf s = {.files = files, .p = p, .now_ms = now_ms};
	memset(merge, 0, sizeof(*merge));
	int rc = levels_index(files, n, s.start, e);
	for (int k = 1; !rc && k <= p->n_levels; k++) {
		size_t first, waits = waiting(&s, k, &first);
		size_t count = cut(&s, k, first, waits);
		if (count) {
			*merge = (struct levels_merge){.level = k, .first = first, .count = count};
			return ERR_OK;
		}
		int64_t at = cut_at(&s, k, first, waits);
		if (at && (!merge->at_ms || at < merge->at_ms))
			merge->at_ms = at;
	}
	return rc;
}

/* ---- snapshots ---- */

static const struct replica_file *newest_full(const struct shelf *s)
{
	const struct replica_file *newest = NULL;
	for (size_t i = 0; i < s->start[LTX_LEVELS]; i++) {
		const struct replica_file *f = &s->files[i];
		if (f->min_txid == 1 && (!newest || f->max_txid > newest->max_txid))
			newest = f;
	}
	return newest;
}

static uint64_t last_txid(const struct shelf *s)
{
	uint64_t last = 0;
	for (size_t i = 0; i < s->start[LTX_LEVELS]; i++)
		if (s->files[i].max_txid > last)
			last = s->files[i].max_txid;
	return last;
}

/* The file that leads furthest from TXID `at`, NULL when none goes on. Levels below L9 ascend in
 * both ends, so their last one with min <= at + 1 is the one. */
static const struct replica_file *furthest_from(const struct shelf *s, uint64_t at)
{
	const struct replica_file *best = NULL;
	for (int k = 0; k < LTX_SNAPSHOT_LEVEL; k++) {
		size_t lo = s->start[k], hi = s->start[k + 1];
		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;
			if (s->files[mid].min_txid <= at + 1)
				lo = mid + 1;
			else
				hi = mid;
		}
		const struct replica_file *f = lo > s->start[k] ? &s->files[lo - 1] : NULL;
		if (f && f->max_txid > at && (!best || f->max_txid >= best->max_txid))
			best = f;
	}
	return best;
}

/* Adds up what leads from `full` to TXID `last`; false when nothing does. */
static bool weigh_increments(
	const struct shelf *s, const struct replica_file *full, uint64_t last, uint64_t *bytes)
{
	*bytes = 0;
	for (uint64_t at = full->max_txid; at < last;) {
		const struct replica_file *f = furthest_from(s, at);
		if (!f)
			return false;
		*bytes += f->size;
		at = f->max_txid;
	}
	return true;
}

/* The earlier of two times of which 0 means never. */
static int64_t sooner(int64_t a, int64_t b)
{
	return a && (!b || a < b) ? a : b;
}

int levels_snapshot_due(const struct replica_file *files, size_t n, const struct levels_policy *p,
	uint64_t db_bytes, int64_t now_ms, struct levels_snapshot *snap, struct err *e)
{
	struct shelf s = {.files = files, .p = p, .now_ms = now_ms};
	memset(snap, 0, sizeof(*snap));
	int rc = levels_index(files, n, s.start, e);
	if (rc || n == 0)
		return rc;
	const struct replica_file *full = newest_full(&s);
	uint64_t last = last_txid(&s);
	if (!full || !weigh_increments(&s, full, last, &snap->increments)) {
		snap->due = LEVELS_BROKEN;
		return ERR_OK;
	}
	uint64_t allowed = (db_bytes ? db_bytes : full->size) / p->snapshot_fraction;
	if (allowed < p->snapshot_min_bytes)
		allowed = p->snapshot_min_bytes;
	int64_t grown = snap->increments > allowed ? full->uploaded_ms + p->snapshot_min_ms : 0;
	int64_t aged = full->max_txid < last ? full->uploaded_ms + p->snapshot_max_ms : 0;
	int64_t renewed = p->renew_ms ? full->uploaded_ms + p->renew_ms : 0;
	if (grown && now_ms >= grown)
		snap->due = LEVELS_GROWTH;
	else if (aged && now_ms >= aged)
		snap->due = LEVELS_AGE;
	else if (renewed && now_ms >= renewed)
		snap->due = LEVELS_RENEWAL;
	else
		snap->at_ms = sooner(grown, sooner(aged, renewed));
	return ERR_OK;
}
