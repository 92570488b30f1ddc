/* What Litestream 0.3 left in a replica (replicate/legacy.h) is counted or deleted; both only where
 * our own files there are whole, and the newer ones: so a person is told before being asked. */
#include "base/clock.h"
#include "base/json.h"
#include "daemon/jobrun_internal.h"
#include "format/ltxset.h"
#include "replicate/fence.h"
#include "replicate/legacy.h"

#include <inttypes.h>

/* The full file that all depends on is there, as large as it was listed. */
static int check_full(struct store *s, const struct ltx_file *f, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct store_object o = {0};
	fence_name(s, f->level, f->min_txid, f->max_txid, name);
	int rc = store_head(s, name, &o, e);
	if (rc == ERR_OK && o.size != f->size)
		rc = err_set(e, ERR_DAMAGED, "%s in %s has %" PRIu64 " bytes and was listed with %" PRIu64,
			name, store_url(s), o.size, f->size);
	return rc;
}

/* Who still writes with Litestream 0.3 relies on it. Both times are the store's. */
static int check_newer(
	struct store *s, const struct restore_plan *plan, const struct legacy_tally *t, struct err *e)
{
	char theirs[32], ours[32];
	int64_t newest = 0;
	for (size_t i = 0; i < plan->count; i++)
		if (plan->files[i].modified_ms > newest)
			newest = plan->files[i].modified_ms;
	if (newest >= t->newest_ms)
		return ERR_OK;
	clock_format_rfc3339(t->newest_ms, theirs);
	clock_format_rfc3339(newest, ours);
	return err_set(e, ERR_FAIL,
		"Litestream 0.3 wrote to %s at %s, after our own last upload (%s): does it still run? "
		"Nothing was deleted",
		store_url(s), theirs, ours);
}

static int check_ours(struct store *s, const struct legacy_tally *t, struct err *e)
{
	struct ltx_set set;
	struct restore_plan plan = {0};
	const struct restore_plan_input in = {.set = &set, .now_ms = clock_wall_ms()};
	ltxset_init(&set);
	int rc = restore_list(s, &set, e);
	if (rc == ERR_OK)
		rc = restore_plan_make(&in, &plan, e);
	if (rc == ERR_OK)
		rc = check_full(s, &plan.files[0], e);
	if (rc == ERR_OK)
		rc = check_newer(s, &plan, t, e);
	else
		err_wrap(e, "our own files in %s are not enough, so nothing was deleted", store_url(s));
	restore_plan_free(&plan);
	ltxset_free(&set);
	return rc;
}

static int tally_json(const struct legacy_tally *t, json_t **out, struct err *e)
{
	int rc = ERR_OK;
	if (!(*out = json_object()))
		return err_nomem(e, "telling a result");
	json_put_int(*out, "generations", (int64_t)t->generations, &rc);
	json_put_int(*out, "objects", (int64_t)t->objects, &rc);
	json_put_int(*out, "bytes", (int64_t)t->bytes, &rc);
	json_put_time(*out, "oldest", t->oldest_ms, &rc);
	json_put_time(*out, "newest", t->newest_ms, &rc);
	json_put_int(*out, "others", (int64_t)t->others, &rc);
	json_put_int(*out, "deleted", (int64_t)t->deleted, &rc);
	return rc == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
}

struct deleting {
	struct jobrun *r;
	uint64_t total;
};

static void on_deleted(void *ctx, uint64_t bytes)
{
	const struct deleting *d = ctx;
	jobrun_on_progress(d->r, bytes, d->total);
}

static int delete_them(struct jobrun *r, struct legacy_tally *t, struct err *e)
{
	struct deleting d = {r, t->bytes};
	uint64_t objects = t->objects;
	int rc = legacy_delete(r->store, on_deleted, &d, t, e);
	if (rc != ERR_OK)
		err_wrap(e, "%" PRIu64 " of %" PRIu64 " objects are deleted, then", t->deleted, objects);
	return rc;
}

int jobrun_legacy(struct jobrun *r, json_t **out, struct err *e)
{
	struct legacy_tally t;
	int rc = legacy_count(r->store, &t, e);
	if (rc == ERR_OK && t.objects > 0)
		rc = check_ours(r->store, &t, e);
	if (rc == ERR_OK && t.objects > 0 && r->job.kind == JOB_CLEANUP_LEGACY)
		rc = delete_them(r, &t, e);
	return rc == ERR_OK ? tally_json(&t, out, e) : rc;
}
