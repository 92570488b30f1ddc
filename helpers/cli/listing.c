#include "cli/listing.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/place.h"
#include "cli/stop.h"
#include "restore/restore.h"
#include "restore/v3.h"

#include <stdio.h>
#include <string.h>

static int list(struct store *s, unsigned kinds, struct listing *l, struct err *e)
{
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	if (kinds & LISTING_V3)
		rc = v3_list(s, &l->v3, e);
	if (!rc && (kinds & LISTING_LTX))
		rc = restore_list(s, &l->ltx, e);
	stop_end();
	return rc;
}

struct listed {
	unsigned kinds;
	int (*fn)(void *ctx, const struct listing *l, struct err *e);
	void *ctx;
	struct err first; /* of the replicas that could not be listed */
};

static int list_place(struct listed *to, const struct place *p, struct err *e)
{
	struct store *s;
	int rc = store_open(&s, p->url, &p->store, e);
	if (rc)
		return rc;
	struct listing l = {
		.database = p->path, .url = store_url(s), .name = store_capabilities(s)->scheme};
	if (p->wanted.replica)
		l.name = p->wanted.replica->name;
	v3_set_init(&l.v3);
	ltxset_init(&l.ltx);
	rc = list(s, to->kinds, &l, e);
	if (!rc)
		rc = to->fn(to->ctx, &l, e);
	v3_set_free(&l.v3);
	ltxset_free(&l.ltx);
	store_close(s);
	return rc;
}

static int list_next(void *ctx, const struct place *p, bool last, struct err *e)
{
	struct listed *to = ctx;
	struct err why = ERR_INIT;
	int rc = list_place(to, p, &why);
	if (rc && !last && rc != ERR_CANCELLED && rc != ERR_NOMEM) {
		log_error("%s", why.text);
		if (!to->first.code)
			to->first = why;
		return ERR_OK;
	}
	if (rc)
		*e = why;
	return rc;
}

int listing_each(struct args *a, unsigned kinds,
	int (*fn)(void *ctx, const struct listing *l, struct err *e), void *ctx, struct err *e)
{
	struct listed to = {kinds, fn, ctx, ERR_INIT};
	int rc = place_each(a, a->argv[0], list_next, &to, e);
	if (!rc && to.first.code) {
		*e = to.first;
		rc = e->code;
	}
	return rc;
}

int listing_end(struct listing_table *t, int rc, struct err *e)
{
	struct err ignored;
	json_t *all = t->all;
	t->all = NULL;
	if (!all || (rc && t->count == 0)) {
		json_decref(all);
		return rc;
	}
	int printed = listing_print_json(all, rc ? &ignored : e);
	return rc ? rc : printed;
}

int listing_show(struct args *a, unsigned kinds,
	int (*fn)(void *ctx, const struct listing *l, struct err *e), const char *nothing,
	struct err *e)
{
	struct listing_table t = {.all = args_bool(a, "json") ? json_array() : NULL};
	int rc = listing_each(a, kinds, fn, &t, e);
	if (!rc && t.count == 0)
		rc = err_set(e, ERR_NO_BACKUP, "%s: %s", t.where, nothing);
	return listing_end(&t, rc, e);
}

int listing_print_json(json_t *root, struct err *e)
{
	int rc = root && !json_dumpf(root, stdout, JSON_INDENT(2)) ? ERR_OK : ERR_NOMEM;
	json_decref(root);
	printf("\n");
	return rc ? err_nomem(e, "printing the list") : ERR_OK;
}

const char *listing_time(int64_t ms, char out[32])
{
	clock_format_rfc3339(ms, out);
	char *fraction = strchr(out, '.');
	if (fraction)
		memcpy(fraction, "Z", 2);
	return out;
}
