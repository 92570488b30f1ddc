/*
 * The audit: what is in the replica compared with what we believe is there.
 *
 * One LIST of everything below the URL. A file that the inventory has and the listing has not is
 * asked for by name before anything is said; then it is a fault, and no longer counted on. Files
 * that only the listing has are added (an upload whose answer was lost). L0s behind our last one
 * are another node's (F4).
 */
#include "replicate/upkeep.h"

#include "base/clock.h"
#include "replicate/fence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define FRESH_MS (INT64_C(5) * 60 * 1000)
#define SELDOM_MS (3 * DAY_MS) /* where little is written … */
#define OFTEN 100              /* … which is less than so many uploads */
#define STRANGERS_MAX 5000
#define ASKED_MAX 50 /* files that are asked for by name */

struct listing {
	struct store *store;
	struct ltx_set set;
	const char *prefix;     /* what the listed names lack */
	uint64_t strangers;     /* objects that are no LTX files of ours */
	uint64_t settled, next; /* L0s behind `settled`: the first one … */
	bool more;              /* … and there are others */
};

static int take(void *ctx, const struct store_object *o, struct err *e)
{
	struct listing *l = ctx;
	struct ltx_file f = {.size = o->size, .modified_ms = o->modified_ms};
	char name[FENCE_NAME_SIZE * 2];
	int n = snprintf(name, sizeof(name), "%s%s", l->prefix, o->name);
	if (n < 0 || (size_t)n >= sizeof(name) || !fence_parse_name(l->store, name, &f)) {
		bool many = ++l->strangers > STRANGERS_MAX && !l->prefix[0];
		return many ? err_set(e, ERR_FULL, "other things are below the replica's URL") : ERR_OK;
	}
	if (f.level == 0 && f.min_txid > l->settled) {
		l->more = l->next != 0;
		if (!l->next || f.min_txid < l->next)
			l->next = f.min_txid;
		return ERR_OK; /* not settled: not ours yet, or not ours */
	}
	return ltxset_add(&l->set, &f) ? err_nomem(e, "auditing the replica") : ERR_OK;
}

static int list_levels(struct listing *l, struct err *e)
{
	int rc = ERR_OK;
	for (int level = 0; !rc && level < LTX_LEVELS; level++) {
		char prefix[16];
		store_level_prefix(l->store, level, prefix);
		l->prefix = prefix;
		rc = store_list(l->store, prefix, NULL, 0, take, l, e);
	}
	l->prefix = "";
	return rc;
}

/* One LIST for all levels, unless the URL is that of a whole bucket with much else in it. */
static int list_all(struct replicator *r, struct listing *l, struct err *e)
{
	if (r->upkeep.by_level)
		return list_levels(l, e);
	int rc = store_list(l->store, "", NULL, 0, take, l, e);
	if (rc != ERR_FULL)
		return rc;
	err_clear(e);
	r->upkeep.by_level = true;
	l->set.count = 0;
	l->next = 0;
	l->more = false;
	return list_levels(l, e);
}

/* ---- missing ---- */

static int compare_listed(const void *key, const void *member)
{
	const struct replica_file *f = key;
	const struct ltx_file *l = member;
	const struct replica_file g = {l->level, l->min_txid, l->max_txid, 0, 0, 0};
	return replica_file_compare(f, &g);
}

static const struct ltx_file *listed(const struct ltx_set *set, const struct replica_file *f)
{
	return set->count ? bsearch(f, set->files, set->count, sizeof(*set->files), compare_listed)
					  : NULL;
}

/* ERR_NOT_FOUND, ERR_OK: it is there, with the size that it had. */
static int ask(struct replicator *r, const struct replica_file *f, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct store_object o;
	fence_name(r->store, f->level, f->min_txid, f->max_txid, name);
	int rc = store_head(r->store, name, &o, e);
	return rc ? rc : o.size == f->size ? ERR_OK : ERR_NOT_FOUND;
}

/* Files of the copy that are not there as they were, moved to its front. */
static int find_missing(struct replicator *r, const struct ltx_set *set, struct replica_file *files,
	size_t n, size_t *missing, struct err *e)
{
	*missing = 0;
	for (size_t i = 0; i < n; i++) {
		const struct ltx_file *l = listed(set, &files[i]);
		if (l && l->size == files[i].size)
			continue;
		struct err why = ERR_INIT;
		int rc = *missing < ASKED_MAX ? ask(r, &files[i], &why) : ERR_NOT_FOUND;
		if (rc && rc != ERR_NOT_FOUND) {
			*e = why;
			return rc;
		}
		if (rc)
			files[(*missing)++] = files[i];
	}
	return ERR_OK;
}

static int compare_files(const void *a, const void *b)
{
	return replica_file_compare(a, b);
}

/* No listing brings it back into the inventory. Beyond the bound, or without memory, one does, and
 * then it is found out again. */
static void set_apart(struct replicator *r, const struct replica_file *f)
{
	struct upkeep *u = &r->upkeep;
	inventory_remove(&r->inventory, f, 1);
	if (!u->apart)
		u->apart = calloc(UPKEEP_APART, sizeof(*u->apart));
	if (!u->apart || upkeep_is_apart(r, f) || u->n_apart == UPKEEP_APART)
		return;
	u->apart[u->n_apart++] = *f;
	qsort(u->apart, u->n_apart, sizeof(*u->apart), compare_files);
}

bool upkeep_is_apart(const struct replicator *r, const struct replica_file *f)
{
	const struct upkeep *u = &r->upkeep;
	return u->n_apart && bsearch(f, u->apart, u->n_apart, sizeof(*f), compare_files);
}

void upkeep_unfit(struct replicator *r, const struct replica_file *f, struct err *e)
{
	struct upkeep *u = &r->upkeep;
	snprintf(u->fault, sizeof(u->fault),
		"files in the replica contradict each other; restoring to points between them and the next "
		"snapshot may fail: %.380s",
		e->text);
	upkeep_say(r, u->fault);
	set_apart(r, f);
	err_clear(e);
}

void upkeep_lost(struct replicator *r, const struct replica_file *f, struct err *e)
{
	struct upkeep *u = &r->upkeep;
	snprintf(u->fault, sizeof(u->fault),
		"a file in the replica is missing or damaged; restoring to earlier points may fail: %.380s",
		e->text);
	upkeep_say(r, u->fault);
	set_apart(r, f);
	err_clear(e);
}

static void tell_missing(struct replicator *r, const struct replica_file *files, size_t n)
{
	char name[FENCE_NAME_SIZE];
	struct upkeep *u = &r->upkeep;
	u->fault[0] = '\0';
	if (!n)
		return;
	fence_name(r->store, files[0].level, files[0].min_txid, files[0].max_txid, name);
	snprintf(u->fault, sizeof(u->fault),
		"%zu %s missing in the replica or changed there, not by this node: %s%s; restoring to "
		"earlier points may fail",
		n, n == 1 ? "file is" : "files are", name, n == 1 ? "" : " and others");
	upkeep_say(r, u->fault);
}

/* Of files that are not there as they were: those that are there otherwise, moved to the front, in
 * their order. */
static size_t set_changed_apart(
	struct replicator *r, const struct ltx_set *set, struct replica_file *files, size_t n)
{
	size_t changed = 0;
	for (size_t i = 0; i < n; i++) {
		if (!listed(set, &files[i]))
			continue;
		struct replica_file f = files[i];
		files[i] = files[changed];
		files[changed++] = f;
		set_apart(r, &f);
	}
	return changed;
}

/* ---- added ---- */

/* Files that were changed are listed, and not counted on. */
static void leave_out(struct ltx_set *set, const struct replica_file *files, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < set->count; i++) {
		const struct ltx_file *l = &set->files[i];
		const struct replica_file f = {.level = l->level, l->min_txid, l->max_txid, 0, 0, 0};
		if (!n || !bsearch(&f, files, n, sizeof(*files), compare_files))
			set->files[kept++] = *l;
	}
	set->count = kept;
}

static int compare(struct replicator *r, struct listing *l, struct err *e)
{
	struct replica_file *files;
	size_t n, missing = 0;
	bool known = inventory_known(&r->inventory);
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	/* What came in during the listing is not in it. */
	size_t old = 0;
	for (size_t i = 0; !rc && i < n; i++)
		if (files[i].max_txid <= l->settled && files[i].uploaded_ms <= r->upkeep.audited_ms)
			files[old++] = files[i];
	if (!rc && known)
		rc = find_missing(r, &l->set, files, old, &missing, e);
	if (!rc) {
		size_t changed = set_changed_apart(r, &l->set, files, missing);
		inventory_remove(&r->inventory, files, missing);
		/* Where the bucket's own rules delete, what is gone is no news. */
		tell_missing(r, files, r->cfg.no_retention ? changed : missing);
		leave_out(&l->set, files, changed);
		leave_out(&l->set, r->upkeep.apart, r->upkeep.n_apart);
		/* What was settled since the listing began stays. */
		rc = inventory_load(&r->inventory, &l->set, true, state_dir_path(r->dir),
			store_url(r->store), clock_wall_ms(), e);
	}
	free(files);
	return rc;
}

static void facts(struct replicator *r, uint64_t *uploads, int64_t *listed_ms)
{
	pthread_mutex_lock(&r->lock);
	*uploads = r->shared.uploads;
	*listed_ms = r->shared.listed_ms;
	pthread_mutex_unlock(&r->lock);
}

/* *done: the start has just listed everything. */
static bool is_due(struct replicator *r, int64_t now, bool *done)
{
	struct upkeep *u = &r->upkeep;
	uint64_t uploads;
	int64_t listed_ms;
	facts(r, &uploads, &listed_ms);
	if (!u->audited_ms) {
		u->audited_ms = listed_ms;
		*done = now >= listed_ms && now - listed_ms <= FRESH_MS;
	}
	if (!inventory_known(&r->inventory) || now < u->audited_ms)
		return true;
	int64_t since = now - u->audited_ms;
	return since >= SELDOM_MS || (since >= DAY_MS && uploads >= u->audited_uploads + OFTEN);
}

int upkeep_audit(struct replicator *r, bool *done, struct err *e)
{
	int64_t now = clock_wall_ms();
	*done = false;
	if (!is_due(r, now, done))
		return ERR_OK;
	struct listing l = {.store = r->store, .prefix = ""};
	struct moment asked = moment_now();
	ltxset_init(&l.set);
	pthread_mutex_lock(&r->lock);
	l.settled = r->shared.txid;
	uint64_t uploads = r->shared.uploads;
	pthread_mutex_unlock(&r->lock);
	int rc = list_all(r, &l, e);
	if (!rc)
		rc = upkeep_judge_tail(r, &asked, l.settled, l.next, l.more, e);
	if (!rc || rc == ERR_AGAIN) { /* an upload on its way is no reason to list again */
		err_clear(e);
		ltxset_sort(&l.set);
		r->upkeep.audited_ms = now;
		r->upkeep.audited_uploads = uploads;
		rc = compare(r, &l, e);
		*done = rc == ERR_OK;
	}
	ltxset_free(&l.set);
	return rc;
}
