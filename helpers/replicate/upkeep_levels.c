/*
 * Compaction and snapshots: when is levels.h's to say, how compact.h's and snapshots.h's. Here what
 * comes in goes into the inventory, and what turns out to be missing goes out of it.
 */
#include "replicate/upkeep.h"

#include "base/clock.h"
#include "base/log.h"
#include "replicate/compact.h"
#include "replicate/copies.h"
#include "replicate/snapshots.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOOK_AGAIN_MS (INT64_C(3600) * 1000)

static int gate(void *ctx, struct err *e)
{
	return upkeep_gate(ctx, e);
}

static struct compact_env make_env(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	uint64_t db_bytes = (uint64_t)s->n_page * s->page_size;
	struct compact_env env = {
		.store = r->store,
		.state_dir = state_dir_path(r->dir),
		.copies_max = copies_level_share(copies_bound(r->cfg.copies_max, db_bytes)),
		.weak = s->weak,
		.unconditional = s->unconditional,
		.cancelled = &r->cancelled,
		.gate = gate,
		.gate_ctx = r,
	};
	pthread_mutex_unlock(&r->lock);
	return env;
}

/*
 * Another file has the output's name. The listing tells which, and it is taken for what it says;
 * unless that was done before, and it is not to be counted on. Then *n is less: an output of fewer
 * files has another name.
 */
static int taken(struct replicator *r, const struct compact_result *out, size_t *n, struct err *e)
{
	upkeep_say(r, e->text);
	if (!upkeep_is_apart(r, &out->file)) {
		r->upkeep.audited_ms = 1; /* long ago */
		return err_set(e, ERR_AGAIN, "the replica is listed first");
	}
	*n = out->used - 1;
	if (*n == 0)
		return e->code = ERR_DAMAGED;
	err_clear(e);
	return ERR_OK;
}

static int merge_files(
	struct replicator *r, int level, const struct replica_file *inputs, size_t n, struct err *e)
{
	struct compact_env env = make_env(r);
	struct compact_result out;
	int rc;
	while ((rc = compact_run(&env, level, inputs, n, &out, e)) && out.fault == COMPACT_TAKEN) {
		rc = taken(r, &out, &n, e);
		if (rc)
			return rc;
	}
	if (env.unconditional) {
		pthread_mutex_lock(&r->lock);
		r->shared.unconditional = true;
		pthread_mutex_unlock(&r->lock);
	}
	if (rc && out.fault == COMPACT_LOST) {
		upkeep_lost(r, &inputs[out.culprit], e);
		return ERR_OK;
	}
	if (rc && out.fault == COMPACT_NO_FIT) {
		/* F8: no way leads over it, so a snapshot is due now. */
		upkeep_unfit(r, &inputs[out.culprit], e);
		return ERR_OK;
	}
	if (rc)
		return rc;
	log_debug("%s: L%d %016" PRIx64 "-%016" PRIx64 " of %zu files, %" PRIu64 " bytes",
		r->cfg.database, level, out.file.min_txid, out.file.max_txid, out.used, out.file.size);
	if (level == 1) {
		pthread_mutex_lock(&r->lock);
		r->shared.merged_txid = out.file.max_txid;
		pthread_mutex_unlock(&r->lock);
	}
	return inventory_add(&r->inventory, &out.file, e);
}

/* The next merge that is due. *done: there is none; *at_ms: when there may be. */
static int merge_next(struct replicator *r, bool *done, int64_t *at_ms, struct err *e)
{
	struct replica_file *files;
	struct levels_merge m = {0};
	size_t n;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	if (!rc)
		rc = levels_due(files, n, &r->levels, clock_wall_ms(), &m, e);
	*done = rc || m.count == 0;
	if (*done)
		*at_ms = rc ? 0 : m.at_ms;
	else
		rc = merge_files(r, m.level, &files[m.first], m.count, e);
	free(files);
	return rc;
}

int upkeep_compact(struct replicator *r, int64_t *at_ms, struct err *e)
{
	bool done = false;
	int rc = ERR_OK;
	if (!r->upkeep.compact_begun) {
		struct compact_env env = make_env(r);
		rc = compact_begin(&env, e);
		r->upkeep.compact_begun = rc == ERR_OK;
	}
	while (!rc && !done)
		rc = merge_next(r, &done, at_ms, e);
	return rc;
}

/* ---- snapshots ---- */

/*
 * The bucket's rules delete what is old, whatever it is: also the newest L0 of a database that
 * nobody changes. So a renewal is a new upload (page 1 as it is, like a claim) and then a snapshot
 * that ends there. True when the upload has to come first.
 */
static bool renew_upload(struct replicator *r, const struct replica_file *files, size_t n)
{
	uint64_t full = 0;
	for (size_t i = 0; i < n; i++)
		if (files[i].min_txid == 1 && files[i].max_txid > full)
			full = files[i].max_txid;
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	bool first = full >= s->txid;
	if (first && (s->phase == PHASE_RUN || s->phase == PHASE_RELEASED))
		s->claim = s->renewing = true;
	pthread_mutex_unlock(&r->lock);
	return first;
}

/* Where the bucket's rules delete, a missing file is no news; one without which the present can't
 * be restored is, although a snapshot mends it. The next audit takes it back. */
static void tell_broken(struct replicator *r)
{
	struct upkeep *u = &r->upkeep;
	if (!r->cfg.no_retention || u->fault[0])
		return;
	copy_text(u->fault, sizeof(u->fault),
		"the bucket's lifecycle rules have deleted what a restore of the present begins with; a "
		"new snapshot is made, and until it is there the present can't be restored: let the rules "
		"keep files for twice as long as snapshot-renew, at least");
	upkeep_say(r, u->fault);
}

/* Is one due, by what is there now? */
static int look_for_due(struct replicator *r, bool *due, int64_t *at_ms, struct err *e)
{
	struct replica_file *files;
	struct levels_snapshot s = {0};
	size_t n;
	*due = false;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	if (!rc)
		rc = levels_snapshot_due(files, n, &r->levels, 0, clock_wall_ms(), &s, e);
	if (!rc) {
		*due = s.due != LEVELS_NOT_DUE || upkeep_snapshot_asked(r, files, n);
		*at_ms = s.at_ms;
		if (s.due == LEVELS_BROKEN)
			tell_broken(r);
	}
	if (!rc && s.due == LEVELS_RENEWAL && renew_upload(r, files, n)) {
		*due = false;
		*at_ms = clock_wall_ms() + LOOK_AGAIN_MS; /* should nothing come of the upload */
	}
	free(files);
	return rc;
}

int upkeep_snapshot(struct replicator *r, int64_t *wait_us, int64_t *at_ms, struct err *e)
{
	struct replica_file made;
	bool due;
	int rc = look_for_due(r, &due, at_ms, e);
	if (!rc)
		rc = snapshot_step(r, due, upkeep_gate, &made, wait_us, e);
	if (rc)
		return rc;
	if (made.max_txid) {
		rc = inventory_add(&r->inventory, &made, e);
		if (!rc)
			rc = look_for_due(r, &due, at_ms, e);
	}
	int64_t renew_us = *at_ms ? (*at_ms - clock_wall_ms()) * 1000 : INT64_MAX;
	if (!rc && r->levels.renew_ms && renew_us < *wait_us)
		*wait_us = renew_us;
	return rc;
}
