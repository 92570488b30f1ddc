/* From a listing of Litestream 0.3's files and a target to those that a restore needs. */
#include "restore/v3.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One generation, as far as the target goes. */
struct line {
	const struct v3_file *files; /* snapshots, then segments */
	size_t n_snapshots, count;
	int64_t last_ms;                /* of its files up to the time that is asked for */
	const struct v3_file *snapshot; /* the last one that the target allows; NULL = none */
};

struct planner {
	const struct v3_set *set;
	const struct restore_target *target;
	int64_t limit_ms; /* files that are newer don't count */
	uint32_t limit_index;
};

static bool in_time(const struct planner *p, const struct v3_file *f)
{
	return f->modified_ms <= p->limit_ms;
}

/* The line that begins at set->files[at]. */
static struct line line_at(const struct planner *p, size_t at)
{
	const struct v3_set *set = p->set;
	struct line l = {.files = &set->files[at], .last_ms = INT64_MIN};
	for (size_t i = at; i < set->count && set->files[i].generation == l.files->generation; i++) {
		const struct v3_file *f = &set->files[i];
		l.count++;
		l.n_snapshots += f->snapshot;
		if (in_time(p, f) && f->modified_ms > l.last_ms)
			l.last_ms = f->modified_ms;
		if (f->snapshot && in_time(p, f) && f->index <= p->limit_index)
			l.snapshot = f;
	}
	return l;
}

static uint32_t last_index(const struct line *l)
{
	const struct v3_file *last = &l->files[l->count - 1];
	uint32_t index = last->index;
	if (l->n_snapshots && l->files[l->n_snapshots - 1].index > index)
		index = l->files[l->n_snapshots - 1].index;
	return index;
}

/* ---- why there is none ---- */

static int no_generation(const struct planner *p, struct err *e)
{
	char known[200] = "";
	size_t n = 0;
	for (size_t i = 0; i < p->set->count;) {
		struct line l = line_at(p, i);
		if (n < sizeof(known) - 20)
			n += (size_t)snprintf(
				known + n, sizeof(known) - n, "%s%016" PRIx64, n ? ", " : "", l.files->generation);
		i += l.count;
	}
	return err_set(e, ERR_NO_BACKUP, "there is no generation %016" PRIx64 ", only %s",
		p->target->generation, known);
}

static int too_early(const struct planner *p, struct err *e)
{
	const struct v3_file *first = NULL;
	char asked[32], earliest[32];
	for (size_t i = 0; i < p->set->count; i++) {
		const struct v3_file *f = &p->set->files[i];
		bool counts = !p->target->generation || f->generation == p->target->generation;
		if (counts && f->snapshot && (!first || f->modified_ms < first->modified_ms))
			first = f;
	}
	if (!first)
		return err_set(e, ERR_DAMAGED, "Litestream 0.3's backup has no snapshot to begin with");
	clock_format_rfc3339(p->target->timestamp_ms, asked);
	clock_format_rfc3339(first->modified_ms, earliest);
	return err_set(e, ERR_NO_BACKUP,
		"nothing is as old as %s: the earliest state that can be restored is that of %s "
		"(generation %016" PRIx64 ")",
		asked, earliest, first->generation);
}

static int no_snapshot(const struct planner *p, const struct line *l, struct err *e)
{
	if (l->n_snapshots == 0)
		return err_set(e, ERR_DAMAGED,
			"generation %016" PRIx64 " has no snapshot to begin with; an older generation can be "
			"restored with -generation or -timestamp",
			l->files->generation);
	return err_set(e, ERR_NO_BACKUP,
		"index %08" PRIx32 " can't be restored: the first snapshot of generation %016" PRIx64
		" has index %08" PRIx32,
		p->target->index, l->files->generation, l->files->index);
}

/* ---- the choice ---- */

static int choose_line(const struct planner *p, struct line *out, struct err *e)
{
	bool by_time = p->target->timestamp_ms != 0, known = false, found = false;
	for (size_t i = 0; i < p->set->count;) {
		struct line l = line_at(p, i);
		i += l.count;
		if (p->target->generation && p->target->generation != l.files->generation)
			continue;
		known = true;
		if ((by_time && !l.snapshot) || (found && l.last_ms <= out->last_ms))
			continue;
		*out = l;
		found = true;
	}
	if (!known)
		return no_generation(p, e);
	if (!found)
		return too_early(p, e);
	if (p->target->by_index && p->target->index > last_index(out))
		return err_set(e, ERR_NO_BACKUP,
			"index %08" PRIx32 " does not exist: generation %016" PRIx64
			" ends at index %08" PRIx32,
			p->target->index, out->files->generation, last_index(out));
	return out->snapshot ? ERR_OK : no_snapshot(p, out, e);
}

static bool wanted(const struct planner *p, const struct line *l, const struct v3_file *f)
{
	return f->index >= l->snapshot->index && f->index <= p->limit_index;
}

/* Does the time that is asked for lie in the snapshot's own WAL? */
static bool cuts_own_wal(const struct planner *p, const struct line *l)
{
	for (size_t i = l->n_snapshots; i < l->count; i++)
		if (l->files[i].index == l->snapshot->index && !in_time(p, &l->files[i]))
			return true;
	return false;
}

static int missing(const struct v3_file *like, uint32_t index, struct err *e)
{
	struct v3_file f = *like;
	char name[V3_NAME_SIZE], next[V3_NAME_SIZE];
	f.snapshot = false;
	f.index = index;
	f.offset = 0;
	return err_set(e, ERR_DAMAGED, "a gap: %s is missing, the next one is %s",
		v3_format_name(&f, name), v3_format_name(like, next));
}

/* Each WAL from the snapshot's on, each from its first segment; whether the others join is seen
 * when they are read. */
static int check_segments(const struct restore_plan *plan, struct err *e)
{
	uint32_t index = plan->v3[0].index;
	for (size_t i = 1; i < plan->n_v3; i++) {
		const struct v3_file *f = &plan->v3[i];
		bool first = i == 1 || f->index != plan->v3[i - 1].index;
		if (!first)
			continue;
		uint32_t expected = i == 1 ? index : plan->v3[i - 1].index + 1;
		if (f->index != expected || f->offset != 0)
			return missing(f, expected, e);
	}
	return ERR_OK;
}

static int collect(
	const struct planner *p, const struct line *l, struct restore_plan *plan, struct err *e)
{
	plan->v3 = calloc(l->count + 1, sizeof(*plan->v3));
	if (!plan->v3)
		return err_nomem(e, "planning the restore");
	plan->v3[plan->n_v3++] = *l->snapshot;
	for (size_t i = l->n_snapshots; i < l->count; i++) {
		const struct v3_file *f = &l->files[i];
		if (!wanted(p, l, f))
			continue;
		if (!in_time(p, f))
			break;
		plan->v3[plan->n_v3++] = *f;
	}
	return check_segments(plan, e);
}

int v3_plan_make(const struct v3_set *set, const struct restore_target *t, int64_t now_ms,
	struct restore_plan *plan, struct err *e)
{
	struct planner p = {
		.set = set,
		.target = t,
		.limit_ms = t->timestamp_ms ? t->timestamp_ms : INT64_MAX,
		.limit_index = t->by_index ? t->index : V3_INDEX_MAX,
	};
	struct line l = {0};
	memset(plan, 0, sizeof(*plan));
	int rc = restore_target_check(t, now_ms, e);
	if (!rc && set->count == 0)
		rc = err_set(e, ERR_NO_BACKUP, "no backup of Litestream 0.3 found");
	if (!rc)
		rc = choose_line(&p, &l, e);
	if (!rc && l.snapshot > l.files && cuts_own_wal(&p, &l))
		l.snapshot--;
	return rc ? rc : collect(&p, &l, plan, e);
}

int64_t v3_plan_time(const struct restore_plan *plan)
{
	int64_t last = INT64_MIN;
	for (size_t i = 0; i < plan->n_v3; i++)
		if (plan->v3[i].modified_ms > last)
			last = plan->v3[i].modified_ms;
	return last;
}
