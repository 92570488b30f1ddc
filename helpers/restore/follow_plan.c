#include "restore/follow_plan.h"

#include "restore/restore.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void follow_plan_free(struct follow_plan *p)
{
	free(p->files);
	*p = (struct follow_plan){0};
}

static int by_start(const void *a, const void *b)
{
	const struct ltx_file *x = a, *y = b;
	if (x->min_txid != y->min_txid)
		return x->min_txid < y->min_txid ? -1 : 1;
	return x->max_txid < y->max_txid ? -1 : x->max_txid > y->max_txid;
}

static bool is_skipped(const struct ltx_file *f, const struct ltx_file *skip, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (f->level == skip[i].level && f->min_txid == skip[i].min_txid &&
			f->max_txid == skip[i].max_txid)
			return true;
	return false;
}

/* The files that are newer than `at`, by where they begin. */
static int collect(const struct ltx_set *set, uint64_t at, const struct ltx_file *skip,
	size_t n_skip, struct ltx_file **out, size_t *count, struct err *e)
{
	struct ltx_file *list = calloc(set->count + 1, sizeof(*list));
	size_t n = 0;
	if (!list)
		return err_nomem(e, "planning how to follow");
	for (size_t i = 0; i < set->count; i++)
		if (set->files[i].max_txid > at && !is_skipped(&set->files[i], skip, n_skip))
			list[n++] = set->files[i];
	qsort(list, n, sizeof(*list), by_start);
	*out = list;
	*count = n;
	return ERR_OK;
}

static int gap_error(uint64_t at, const struct ltx_file *next, struct err *e)
{
	char label[RESTORE_LABEL_SIZE];
	return err_set(e, ERR_DAMAGED,
		"the replica has a gap: nothing leads on from TXID %016" PRIx64 ", the next file is %s", at,
		restore_label(next, label));
}

static const struct ltx_file *further(const struct ltx_file *best, const struct ltx_file *f)
{
	return !best || f->max_txid >= best->max_txid ? f : best;
}

/* Each step takes the file that reaches furthest of those that begin early enough. */
static int choose(
	const struct ltx_file *list, size_t n, uint64_t at, struct follow_plan *out, struct err *e)
{
	const struct ltx_file *best = NULL, *full = NULL;
	for (size_t i = 0;;) {
		for (; i < n && list[i].min_txid - 1 <= at; i++) {
			if (list[i].min_txid == 1)
				full = further(full, &list[i]);
			else
				best = further(best, &list[i]);
		}
		const struct ltx_file *step = best && best->max_txid > at ? best : full;
		if (!step || step->max_txid <= at)
			return i < n ? gap_error(at, &list[i], e) : ERR_OK;
		out->files[out->count++] = *step;
		out->full |= step->min_txid == 1;
		at = step->max_txid;
	}
}

int follow_plan_make(const struct ltx_set *set, uint64_t at, const struct ltx_file *skip,
	size_t n_skip, struct follow_plan *out, struct err *e)
{
	struct ltx_file *list = NULL;
	size_t n = 0;
	uint64_t max = ltxset_max_txid(set);
	*out = (struct follow_plan){0};
	if (max < at)
		return err_set(e, ERR_NO_BACKUP,
			"the replica ends at TXID %016" PRIx64 ", before TXID %016" PRIx64
			" that was followed: it was emptied, or begun anew",
			max, at);
	int rc = collect(set, at, skip, n_skip, &list, &n, e);
	if (!rc && !(out->files = calloc(n + 1, sizeof(*out->files))))
		rc = err_nomem(e, "planning how to follow");
	if (!rc)
		rc = choose(list, n, at, out, e);
	if (!rc && n_skip && max > at && (!out->count || out->files[out->count - 1].max_txid < max))
		rc = err_set(e, ERR_DAMAGED,
			"no file leads to TXID %016" PRIx64 " but such as were not written on top of TXID "
			"%016" PRIx64 ", which was followed: is it another database's replica now?",
			max, at);
	free(list);
	return rc;
}
