#include "restore/choose.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "restore/fetch.h"
#include "restore/header.h"
#include "restore/v3.h"

#include <string.h>

#define UNLISTED_MAX 1000 /* files that are asked for by name */

struct planning {
	struct choice *c;
	struct ltx_set set;
	struct v3_set old;
	struct err old_err; /* of listing `old` */
	int64_t now_ms;
};

/* ---- listing ---- */

static void list_old(void *arg)
{
	struct planning *p = arg;
	v3_list(p->c->store, &p->old, &p->old_err);
}

/* One more request, side by side with the others where a round trip counts. */
static int list_both(struct planning *p, struct err *e)
{
	struct pool *pool = NULL;
	bool near = strcmp(store_capabilities(p->c->store)->scheme, "s3") != 0;
	int rc = near ? ERR_OK : pool_new(&pool, 1, 1, e);
	if (rc)
		return rc;
	if (near)
		list_old(p);
	else
		pool_run(pool, list_old, p);
	rc = restore_list(p->c->store, &p->set, e);
	pool_free(pool);
	if (!rc && p->old_err.code) {
		*e = p->old_err;
		rc = e->code;
	}
	return rc;
}

/* A TXID, or who follows, says that it is no 0.3; but where there is nothing else, say so. */
static int list_new(struct planning *p, struct err *e)
{
	int rc = restore_list(p->c->store, &p->set, e);
	if (!rc && p->set.count == 0)
		rc = v3_list(p->c->store, &p->old, e);
	return rc;
}

/*
 * A listing may lag behind the objects (Swift's does), and what is restored would silently be an
 * older state: the L0s that would come next are asked for by name. One request where the listing
 * tells all.
 */
static int add_unlisted(struct planning *p, struct err *e)
{
	struct store *s = p->c->store;
	const char *scheme = store_capabilities(s)->scheme;
	uint64_t max = ltxset_max_txid(&p->set), wanted = p->c->target->txid;
	if (!max || (wanted && wanted <= max) || !strcmp(scheme, "file") || !strcmp(scheme, "mem"))
		return ERR_OK;
	for (unsigned i = 1; i <= UNLISTED_MAX; i++) {
		struct ltx_file f = {.min_txid = max + i, .max_txid = max + i};
		char name[FETCH_NAME_SIZE];
		struct store_object o;
		struct err why = ERR_INIT;
		int rc = store_head(s, fetch_object_name(s, &f, name), &o, &why);
		if (rc == ERR_NOT_FOUND)
			break;
		if (rc) {
			*e = why;
			return rc;
		}
		f.size = o.size;
		f.modified_ms = o.modified_ms;
		if (ltxset_add(&p->set, &f))
			return err_nomem(e, "listing the replica");
	}
	ltxset_sort(&p->set);
	return ERR_OK;
}

static int64_t old_written_ms(const struct planning *p)
{
	int64_t last = INT64_MIN;
	for (size_t i = 0; i < p->old.count; i++)
		if (p->old.files[i].modified_ms > last)
			last = p->old.files[i].modified_ms;
	return last;
}

static int list(struct planning *p, struct err *e)
{
	const struct restore_target *t = p->c->target;
	int rc = t->txid || t->only_ltx ? list_new(p, e) : list_both(p, e);
	if (!rc)
		rc = add_unlisted(p, e);
	p->c->highest_txid = ltxset_max_txid(&p->set);
	p->c->legacy_ms = p->old.count ? old_written_ms(p) : 0;
	p->c->empty = p->set.count == 0 && p->old.count == 0;
	return rc;
}

/* ---- planning ---- */

static int plan_new(const struct planning *p, struct restore_plan *plan, struct err *e)
{
	struct restore_plan_input in = {.set = &p->set,
		.target = *p->c->target,
		.now_ms = p->now_ms,
		.stamps = header_stamps,
		.stamps_ctx = p->c->store,
		.bans = p->c->bans,
		.n_bans = p->c->n_bans};
	return restore_plan_make(&in, plan, e);
}

static int plan_old(const struct planning *p, struct restore_plan *plan, struct err *e)
{
	return v3_plan_make(&p->old, p->c->target, p->now_ms, plan, e);
}

static int64_t new_written_ms(const struct planning *p)
{
	int64_t last = INT64_MIN;
	for (size_t i = 0; i < p->set.count; i++)
		if (p->set.files[i].modified_ms > last)
			last = p->set.files[i].modified_ms;
	return last;
}

static void tell(const struct planning *p, bool old, int64_t old_ms, int64_t new_ms)
{
	char old_time[32], new_time[32];
	if (p->c->told)
		return;
	p->c->told = true;
	clock_format_rfc3339(old_ms, old_time);
	clock_format_rfc3339(new_ms, new_time);
	log_warn(
		"%s holds backups of Litestream 0.3, up to %s, and of 0.5, up to %s: restoring %s, which "
		"is the newer one%s",
		store_url(p->c->store), old_time, new_time, old ? "0.3's" : "0.5's",
		old ? " (-txid means 0.5's)" : " (-generation means 0.3's)");
}

static int choose_latest(const struct planning *p, struct restore_plan *plan, struct err *e)
{
	int64_t old_ms = p->c->legacy_ms, new_ms = new_written_ms(p);
	bool old = old_ms > new_ms;
	tell(p, old, old_ms, new_ms);
	return old ? plan_old(p, plan, e) : plan_new(p, plan, e);
}

/* Both have a state that is old enough: the later one. */
static int choose_later(const struct planning *p, struct restore_plan *plan,
	struct restore_plan *old_plan, struct err *e)
{
	struct ltx_header h;
	int rc = header_read(p->c->store, &plan->files[plan->count - 1], &h, e);
	if (rc)
		return rc;
	int64_t old_ms = v3_plan_time(old_plan);
	bool old = old_ms > h.timestamp;
	tell(p, old, old_ms, h.timestamp);
	if (old) {
		struct restore_plan other = *plan;
		*plan = *old_plan;
		*old_plan = other;
	}
	return ERR_OK;
}

static int choose_by_time(const struct planning *p, struct restore_plan *plan, struct err *e)
{
	struct err old_err = ERR_INIT;
	struct restore_plan old_plan = {0};
	int rc = plan_new(p, plan, e);
	if (rc && rc != ERR_NO_BACKUP)
		return rc;
	int old_rc = plan_old(p, &old_plan, &old_err);
	if (!rc && !old_rc) {
		rc = choose_later(p, plan, &old_plan, e);
	} else if (rc) {
		/* 0.3's reaches further back: its error, too, names the earliest state that there is. */
		*plan = old_plan;
		old_plan = (struct restore_plan){0};
		*e = old_err;
		rc = old_rc;
	}
	restore_plan_free(&old_plan);
	return rc;
}

static int choose(const struct planning *p, struct restore_plan *plan, struct err *e)
{
	const struct restore_target *t = p->c->target;
	if (t->txid && p->old.count > 0)
		return err_set(e, ERR_NO_BACKUP,
			"only Litestream 0.3's backups are there, which have no TXIDs: -timestamp, -generation "
			"and "
			"-index name their states");
	if (t->only_ltx && p->old.count > 0)
		return err_set(e, ERR_NO_BACKUP,
			"only Litestream 0.3's backups are there, which nobody can follow: restore without -f");
	if (t->generation || t->by_index || (p->set.count == 0 && p->old.count > 0))
		return plan_old(p, plan, e);
	if (p->old.count == 0)
		return plan_new(p, plan, e);
	return t->timestamp_ms ? choose_by_time(p, plan, e) : choose_latest(p, plan, e);
}

int choose_plan(struct choice *c, struct restore_plan *plan, struct err *e)
{
	struct planning p = {.c = c, .old_err = ERR_INIT, .now_ms = clock_wall_ms()};
	ltxset_init(&p.set);
	v3_set_init(&p.old);
	int rc = restore_target_check(c->target, p.now_ms, e);
	if (!rc)
		rc = list(&p, e);
	if (!rc) {
		rc = choose(&p, plan, e);
		if (rc == ERR_NO_BACKUP || rc == ERR_DAMAGED)
			err_wrap(e, "%s", store_url(c->store));
	}
	ltxset_free(&p.set);
	v3_set_free(&p.old);
	return rc;
}
