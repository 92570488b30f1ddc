/*
 * Retention: what no promised point needs any more is deleted (retain.h decides).
 *
 * Nothing is deleted on a guess: the times of all files must be known, and the full file that a
 * restore of the present begins with is asked for by name, or was just listed. What the store does
 * not say is gone stays in the inventory and is tried again.
 */
#include "replicate/upkeep.h"

#include "base/clock.h"
#include "base/log.h"
#include "replicate/fence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS (INT64_C(3600) * 1000)
#define DAY_MS (24 * HOUR_MS)
#define LEAST_MS (INT64_C(5) * 60 * 1000) /* between two looks */
#define GROWN 256                         /* so many files more make a look worth its requests */
#define BATCH 1000                        /* names in one request */
#define WORTH_FILES 100                   /* so many are worth one … */
#define WORTH_SHARE 2                     /* … or half of all bytes */
#define HEADERS_MAX 500

/* ---- times ---- */

int upkeep_learn_times(struct replicator *r, struct err *e)
{
	struct replica_file *files;
	size_t n, asked = 0;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	for (size_t i = 0; !rc && i < n; i++) {
		struct replica_file *f = &files[i];
		struct ltx_header h;
		if (f->timestamp_ms)
			continue;
		if (asked++ == HEADERS_MAX)
			rc = err_set(e, ERR_AGAIN, "the times of more files are unknown");
		if (!rc)
			rc = fence_header(r->store, f->level, f->min_txid, f->max_txid, &h, e);
		if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED) {
			upkeep_lost(r, f, e);
			rc = ERR_OK;
			continue;
		}
		if (rc)
			break;
		f->timestamp_ms = h.timestamp > 0 ? h.timestamp : 1;
		rc = inventory_add(&r->inventory, f, e);
	}
	free(files);
	return rc;
}

/* ---- deleting ---- */

struct batch {
	char names[BATCH][FENCE_NAME_SIZE];
	const char *list[BATCH];
	struct store_delete_result results[BATCH];
};

/* Told once: what follows would be refused too. */
static void give_up(struct replicator *r, const struct err *why)
{
	snprintf(r->upkeep.denied, sizeof(r->upkeep.denied),
		"the store does not let us delete, so everything is kept from now on; allow it, or set "
		"retention to false where the bucket's own rules delete: %.300s",
		why->text);
}

/* Takes out what the store said is gone; those are moved to the front of `files`. */
static void note_gone(
	struct replicator *r, const struct batch *b, struct replica_file *files, size_t n, size_t *gone)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		if (b->results[i].code == ERR_OK)
			files[k++] = files[i];
	inventory_remove(&r->inventory, files, k);
	*gone += k;
}

static int delete_batch(struct replicator *r, struct batch *b, struct replica_file *files, size_t n,
	size_t *gone, struct err *e)
{
	int rc = upkeep_gate(r, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < n; i++) {
		fence_name(r->store, files[i].level, files[i].min_txid, files[i].max_txid, b->names[i]);
		b->list[i] = b->names[i];
		b->results[i].code = ERR_FAIL;
	}
	rc = store_delete(r->store, b->list, n, b->results, e);
	note_gone(r, b, files, n, gone);
	if (rc != ERR_DENIED)
		return rc;
	give_up(r, e);
	return ERR_OK;
}

static int delete_all(struct replicator *r, struct replica_file *files, size_t n, struct err *e)
{
	size_t gone = 0;
	int rc = ERR_OK;
	struct batch *b = malloc(sizeof(*b));
	if (!b)
		return err_nomem(e, "deleting what is no longer needed");
	for (size_t done = 0; !rc && done < n && !r->upkeep.denied[0]; done += BATCH) {
		size_t part = n - done < BATCH ? n - done : BATCH;
		rc = delete_batch(r, b, files + done, part, &gone, e);
	}
	free(b);
	log_debug("%s: %zu of %zu files that no promise needs were deleted", r->cfg.database, gone, n);
	return rc;
}

/* ---- what may go ---- */

/* The full file that leads furthest among those that stay. */
static const struct replica_file *newest_full(
	const struct replica_file *files, const bool *keep, size_t n)
{
	const struct replica_file *best = NULL;
	for (size_t i = 0; i < n; i++)
		if (keep[i] && files[i].min_txid == 1 && (!best || files[i].max_txid > best->max_txid))
			best = &files[i];
	return best;
}

/* It is there, as large as it was. Otherwise: an audit first. */
static int check_cover(struct replicator *r, const struct replica_file *f, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct store_object o = {0};
	if (!f)
		return err_set(e, ERR_DAMAGED, "no full file would be left in the replica");
	fence_name(r->store, f->level, f->min_txid, f->max_txid, name);
	int rc = store_head(r->store, name, &o, e);
	if (rc == ERR_NOT_FOUND || (!rc && o.size != f->size)) {
		r->upkeep.audited_ms = 1; /* long ago */
		return err_set(
			e, ERR_AGAIN, "%s is not there as it was: the replica is listed first", name);
	}
	return rc;
}

/* Those that may go, moved to the front. */
static size_t pick(struct replica_file *files, const bool *keep, size_t n)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		if (!keep[i])
			files[k++] = files[i];
	return k;
}

/* Is what may go worth the requests? Where little is written it waits for the audit, which shows
 * what stays and so saves one. */
static bool is_worth(const struct replica_file *files, const bool *keep, size_t n, bool audited)
{
	uint64_t bytes = 0, all = 0;
	size_t going = 0;
	for (size_t i = 0; i < n; i++) {
		all += files[i].size;
		bytes += keep[i] ? 0 : files[i].size;
		going += !keep[i];
	}
	return going && (audited || going >= WORTH_FILES || bytes >= all / WORTH_SHARE);
}

static int decide(struct replicator *r, struct replica_file *files, size_t n, bool audited,
	bool asked, size_t *going, struct err *e)
{
	bool *keep = malloc(n * sizeof(*keep));
	if (!keep)
		return err_nomem(e, "looking for what may go");
	int rc = retain_decide(files, n, &r->retain, clock_wall_ms(), keep, e);
	bool worth = !rc && (asked || is_worth(files, keep, n, audited));
	if (worth && !audited)
		rc = check_cover(r, newest_full(files, keep, n), e);
	*going = worth && !rc ? pick(files, keep, n) : 0;
	free(keep);
	return rc;
}

static int retain_now(struct replicator *r, bool audited, bool asked, struct err *e)
{
	struct replica_file *files;
	size_t n, going = 0;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	if (!rc && n)
		rc = decide(r, files, n, audited, asked, &going, e);
	if (!rc && going)
		rc = delete_all(r, files, going, e);
	free(files);
	r->upkeep.retained_count = n - going;
	return rc;
}

static bool is_due(const struct replicator *r, int64_t now, size_t count, bool audited)
{
	const struct upkeep *u = &r->upkeep;
	int64_t since = now - u->retained_ms;
	if (r->cfg.no_retention || u->denied[0])
		return false;
	if (audited || !u->retained_ms || since < 0 || since >= DAY_MS)
		return true;
	return since >= LEAST_MS && count >= u->retained_count + GROWN;
}

int upkeep_retain(struct replicator *r, bool audited, struct err *e)
{
	struct inventory_totals t;
	int64_t now = clock_wall_ms();
	inventory_get_totals(&r->inventory, &t);
	bool asked = upkeep_retain_asked(r) && !r->upkeep.denied[0];
	if (!asked && !is_due(r, now, t.files, audited))
		return ERR_OK;
	int rc = retain_now(r, audited, asked, e);
	if (!rc)
		r->upkeep.retained_ms = now;
	if (!rc && asked && !r->upkeep.denied[0])
		upkeep_done(r, REPLICATOR_RETAIN);
	return rc;
}
