/*
 * The way through the files.
 *
 * At TXID a (0 at first) every file with min <= a + 1 and max > a can be applied; with min = 1 at
 * the start, because such a file holds all pages. Taking the one that reaches furthest is never
 * wrong: whatever follows a shorter one also follows it. Among equals the lowest min wins, then
 * the highest level: files that were merged from what the others hold.
 *
 * Pairs that are banned (F8) break this: then a dead end sends the search one step back. Whether a
 * way leads on from a file depends on that file alone, so each is left at most once, and marked
 * dead. Within a level the files that matter are found by binary search and `far`: n files in plain
 * order cost O(log n) a step.
 */
#include "restore/path.h"

#include <stdlib.h>
#include <string.h>

int path_init(struct path_finder *p, const struct ltx_set *set, const struct restore_ban *bans,
	size_t n_bans, struct err *e)
{
	memset(p, 0, sizeof(*p));
	p->set = set;
	p->bans = bans;
	p->n_bans = n_bans;
	p->far = calloc(set->count + 1, sizeof(*p->far));
	p->dead = calloc(set->count + 1, sizeof(*p->dead));
	p->steps = calloc(set->count + 1, sizeof(*p->steps));
	if (!p->far || !p->dead || !p->steps) {
		path_free(p);
		return err_nomem(e, "planning the restore");
	}
	size_t i = 0;
	for (int level = 0; level < LTX_LEVELS; level++) {
		p->level_start[level] = i;
		while (i < set->count && set->files[i].level == level)
			i++;
	}
	p->level_start[LTX_LEVELS] = i;
	return ERR_OK;
}

void path_free(struct path_finder *p)
{
	free(p->far);
	free(p->dead);
	free(p->steps);
	memset(p, 0, sizeof(*p));
}

/* How far file i brings us, 0 when it passes the ceiling. */
static uint64_t reach(const struct path_finder *p, size_t i)
{
	uint64_t max = p->set->files[i].max_txid;
	return max <= p->ceiling ? max : 0;
}

static void set_ceiling(struct path_finder *p, uint64_t ceiling)
{
	p->ceiling = ceiling;
	memset(p->dead, 0, p->set->count * sizeof(*p->dead));
	for (int level = 0; level < LTX_LEVELS; level++) {
		size_t start = p->level_start[level], end = p->level_start[level + 1];
		for (size_t i = start; i < end; i++)
			p->far[i] = i > start && reach(p, p->far[i - 1]) >= reach(p, i) ? p->far[i - 1] : i;
	}
}

static bool same_file(const struct ltx_file *a, const struct ltx_file *b)
{
	return a->level == b->level && a->min_txid == b->min_txid && a->max_txid == b->max_txid;
}

static bool banned(const struct path_finder *p, size_t before, size_t after)
{
	if (before == PATH_NONE)
		return false;
	for (size_t i = 0; i < p->n_bans; i++)
		if (same_file(&p->bans[i].before, &p->set->files[before]) &&
			same_file(&p->bans[i].after, &p->set->files[after]))
			return true;
	return false;
}

static bool better(const struct ltx_file *a, const struct ltx_file *b)
{
	if (a->max_txid != b->max_txid)
		return a->max_txid > b->max_txid;
	if (a->min_txid != b->min_txid)
		return a->min_txid < b->min_txid;
	return a->level > b->level;
}

/* One past the last file of the level with min <= txid. */
static size_t upper_bound(const struct path_finder *p, int level, uint64_t txid)
{
	size_t lo = p->level_start[level], hi = p->level_start[level + 1];
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->set->files[mid].min_txid <= txid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The best file to apply after `before` (at TXID `at`), PATH_NONE when there is none. */
static size_t best_next(const struct path_finder *p, size_t before, uint64_t at)
{
	const struct ltx_file *files = p->set->files;
	size_t best = PATH_NONE;
	for (int level = 0; level < LTX_LEVELS; level++) {
		for (size_t end = upper_bound(p, level, at + 1);
			 end > p->level_start[level] && reach(p, p->far[end - 1]) > at; end--) {
			size_t i = end - 1;
			if (reach(p, i) <= at || p->dead[i] || banned(p, before, i))
				continue;
			if (best == PATH_NONE || better(&files[i], &files[best]))
				best = i;
		}
	}
	return best;
}

bool path_find(struct path_finder *p, uint64_t goal)
{
	set_ceiling(p, goal);
	p->n_steps = 0;
	p->furthest = PATH_NONE;
	bool dead_end = false;
	for (;;) {
		size_t top = p->n_steps ? p->steps[p->n_steps - 1] : PATH_NONE;
		uint64_t at = top == PATH_NONE ? 0 : p->set->files[top].max_txid;
		if (at == goal)
			return true;
		size_t next = best_next(p, top, at);
		if (next != PATH_NONE) {
			p->steps[p->n_steps++] = next;
			continue;
		}
		if (!dead_end)
			p->furthest = top;
		dead_end = true;
		if (top == PATH_NONE || p->n_bans == 0)
			return false;
		p->dead[top] = true;
		p->n_steps--;
	}
}
