/* All levels of a replica in one set. */
#include "restore/restore.h"

#include "base/thread.h"

#include <pthread.h>
#include <string.h>

struct level_list {
	struct store *store;
	int level;
	struct ltx_set set;
	struct err err;
};

/* What isn't named like an LTX file is somebody else's and left alone. */
static int add_object(void *ctx, const struct store_object *o, struct err *e)
{
	struct level_list *l = ctx;
	struct ltx_file f = {.level = l->level, .size = o->size, .modified_ms = o->modified_ms};
	if (!ltx_parse_name(o->name, &f.min_txid, &f.max_txid))
		return ERR_OK;
	return ltxset_add(&l->set, &f) ? err_nomem(e, "listing the replica") : ERR_OK;
}

static void list_level(void *arg)
{
	struct level_list *l = arg;
	char prefix[16];
	store_level_prefix(l->store, l->level, prefix);
	store_list(l->store, prefix, NULL, 0, add_object, l, &l->err);
}

static int merge(struct level_list *l, struct ltx_set *set, struct err *e)
{
	if (l->err.code) {
		*e = l->err;
		return l->err.code;
	}
	for (size_t i = 0; i < l->set.count; i++)
		if (ltxset_add(set, &l->set.files[i]))
			return err_nomem(e, "listing the replica");
	return ERR_OK;
}

/* Side by side: one round trip for all. Where there is none to wait for threads only cost. */
static int list_levels(struct store *s, struct level_list levels[LTX_LEVELS], struct err *e)
{
	const char *scheme = store_capabilities(s)->scheme;
	bool far = strcmp(scheme, "file") != 0 && strcmp(scheme, "mem") != 0;
	struct pool *pool = NULL;
	int rc = far ? pool_new(&pool, LTX_LEVELS, LTX_LEVELS, e) : ERR_OK;
	for (int i = 0; i < LTX_LEVELS && !rc; i++) {
		if (far)
			pool_run(pool, list_level, &levels[i]);
		else
			list_level(&levels[i]);
	}
	if (pool)
		pool_wait(pool);
	pool_free(pool);
	return rc;
}

int restore_list(struct store *s, struct ltx_set *set, struct err *e)
{
	struct level_list levels[LTX_LEVELS];
	for (int i = 0; i < LTX_LEVELS; i++) {
		levels[i] = (struct level_list){.store = s, .level = i, .err = ERR_INIT};
		ltxset_init(&levels[i].set);
	}
	int rc = list_levels(s, levels, e);
	for (int i = 0; i < LTX_LEVELS; i++) {
		if (!rc)
			rc = merge(&levels[i], set, e);
		ltxset_free(&levels[i].set);
	}
	ltxset_sort(set);
	return rc;
}
