/*
 * All levels of a replica in one set.
 *
 * A listing comes in pages of a thousand names, each asked for with the end of the one before: with
 * 20,000 L0 files that is twenty round trips, one after the other. But their names are TXIDs, one
 * after the other as well, so pages further on can be asked for without knowing what comes before:
 * after the first page 4 ranges side by side, then 16, then 20 at a time, until one is the end.
 */
#include "restore/restore.h"

#include "base/thread.h"

#include <stdint.h>
#include <string.h>

#define PAGE 1000 /* names in a page */
/* A page holds one name more than a range has TXIDs, so that it shows whether the range is over. */
#define RANGE (PAGE - 1)
#define WAVE_FIRST 4
#define WAVE_GROWTH 4
#define WAVE_MAX 20
#define WAVES_IDLE 8 /* that found nothing, one after the other, where a file had been seen */

struct level_list {
	struct store *store;
	int level;
	size_t *total; /* files of the whole listing */
	struct ltx_set set;
	struct err err;
	/* A range: names after that of TXID `after`, up to TXID `end`. */
	uint64_t after, end;
	size_t given;
	uint64_t beyond; /* the first TXID behind `end`; 0 = the listing ends before that */
};

/* What isn't named like an LTX file is somebody else's and left alone. */
static int add_object(void *ctx, const struct store_object *o, struct err *e)
{
	struct level_list *l = ctx;
	l->given++;
	struct ltx_file f = {.level = l->level, .size = o->size, .modified_ms = o->modified_ms};
	if (!ltx_parse_name(o->name, &f.min_txid, &f.max_txid))
		return ERR_OK;
	if (f.min_txid > l->end) {
		l->beyond = f.min_txid;
		return err_set(e, ERR_CANCELLED, "the end of the range");
	}
	if (__atomic_add_fetch(l->total, 1, __ATOMIC_RELAXED) > RESTORE_FILES_MAX)
		return err_set(e, ERR_DAMAGED,
			"%s lists more than %zu LTX files, one a second for more than a year: that is no "
			"replica",
			store_url(l->store), RESTORE_FILES_MAX);
	return ltxset_add(&l->set, &f) ? err_nomem(e, "listing the replica") : ERR_OK;
}

static void level_init(struct level_list *l, struct store *s, int level, size_t *total)
{
	*l = (struct level_list){
		.store = s, .level = level, .total = total, .err = ERR_INIT, .end = UINT64_MAX};
	ltxset_init(&l->set);
}

static void list_level(void *arg)
{
	struct level_list *l = arg;
	char prefix[16], name[LTX_NAME_SIZE];
	store_level_prefix(l->store, l->level, prefix);
	ltx_format_name(l->after, l->after, name);
	store_list(l->store, prefix, l->after ? name : NULL, 0, add_object, l, &l->err);
	if (l->err.code == ERR_CANCELLED && l->beyond)
		err_clear(&l->err);
}

static void list_first_page(void *arg)
{
	struct level_list *l = arg;
	char prefix[16];
	store_level_prefix(l->store, l->level, prefix);
	store_list(l->store, prefix, NULL, PAGE, add_object, l, &l->err);
}

static int merge(struct level_list *l, struct ltx_set *set, struct err *e)
{
	if (l->err.code) {
		*e = l->err;
		return l->err.code;
	}
	if (set->count == 0) {
		struct ltx_set empty = *set;
		*set = l->set;
		l->set = empty;
		return ERR_OK;
	}
	for (size_t i = 0; i < l->set.count; i++)
		if (ltxset_add(set, &l->set.files[i]))
			return err_nomem(e, "listing the replica");
	return ERR_OK;
}

/* n ranges from after `after` on. *next = where the next wave begins, 0 = the listing is over. */
static int list_wave(struct pool *pool, const struct level_list *first, uint64_t after, size_t n,
	struct ltx_set *set, uint64_t *next, struct err *e)
{
	struct level_list ranges[WAVE_MAX];
	int rc = ERR_OK;
	for (size_t i = 0; i < n; i++) {
		level_init(&ranges[i], first->store, 0, first->total);
		ranges[i].after = after + i * RANGE;
		ranges[i].end = ranges[i].after + RANGE;
		pool_run(pool, list_level, &ranges[i]);
	}
	pool_wait(pool);
	/* Where TXIDs are missing the next name may be far on. */
	*next = ranges[n - 1].beyond ? ranges[n - 1].beyond - 1 : 0;
	for (size_t i = 0; i < n; i++) {
		if (!rc)
			rc = merge(&ranges[i], set, e);
		ltxset_free(&ranges[i].set);
	}
	return rc;
}

/* What comes behind the first page of L0, which was full. */
static int list_rest(const struct level_list *first, struct ltx_set *set, struct err *e)
{
	struct pool *pool = NULL;
	size_t n = WAVE_FIRST, last = first->set.count, idle = 0;
	uint64_t after = last ? first->set.files[last - 1].min_txid : 1;
	int rc = pool_new(&pool, WAVE_MAX, WAVE_MAX, e);
	while (!rc && after && after < UINT64_MAX - WAVE_MAX * RANGE) {
		size_t before = set->count;
		rc = list_wave(pool, first, after, n, set, &after, e);
		/* Each wave begins at a file that the one before saw. Retention may have been quicker. */
		idle = set->count > before ? 0 : idle + 1;
		if (!rc && idle == WAVES_IDLE)
			rc = err_set(e, ERR_DAMAGED, "the listing of %s names files and then doesn't have them",
				store_url(first->store));
		n = n * WAVE_GROWTH < WAVE_MAX ? n * WAVE_GROWTH : WAVE_MAX;
	}
	pool_free(pool);
	return rc;
}

/* Side by side: one round trip for all levels. */
static int list_far(struct level_list levels[LTX_LEVELS], struct ltx_set *set, struct err *e)
{
	struct pool *pool = NULL;
	int rc = pool_new(&pool, LTX_LEVELS, LTX_LEVELS, e);
	if (rc)
		return rc;
	pool_run(pool, list_first_page, &levels[0]);
	for (int i = 1; i < LTX_LEVELS; i++)
		pool_run(pool, list_level, &levels[i]);
	pool_wait(pool);
	pool_free(pool);
	if (!levels[0].err.code && levels[0].given == PAGE)
		rc = list_rest(&levels[0], set, e);
	return rc;
}

/* Where there is no round trip to wait for, threads only cost. */
static int list_near(struct level_list levels[LTX_LEVELS])
{
	for (int i = 0; i < LTX_LEVELS; i++)
		list_level(&levels[i]);
	return ERR_OK;
}

int restore_list(struct store *s, struct ltx_set *set, struct err *e)
{
	struct level_list levels[LTX_LEVELS];
	const char *scheme = store_capabilities(s)->scheme;
	bool far = strcmp(scheme, "file") != 0 && strcmp(scheme, "mem") != 0;
	size_t total = 0;
	for (int i = 0; i < LTX_LEVELS; i++)
		level_init(&levels[i], s, i, &total);
	int rc = far ? list_far(levels, set, e) : list_near(levels);
	for (int i = 0; i < LTX_LEVELS; i++) {
		if (!rc)
			rc = merge(&levels[i], set, e);
		ltxset_free(&levels[i].set);
	}
	ltxset_sort(set);
	return rc;
}
