/*
 * What follows an upload and can wait: the page table on disk, local copies within bounds, the
 * manifest, the snapshot of a takeover. Nothing of it fails the upload; what goes wrong is said and
 * tried again after the next one.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/manifest.h"
#include "replicate/snapfile.h"
#include "replicate/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_US (INT64_C(600) * 1000000)
#define FRESH_MS (INT64_C(5) * 60 * 1000) /* F5 */

/* ---- page table ---- */

static void save_table(struct replicator *r)
{
	struct work *w = &r->work;
	struct err e = ERR_INIT;
	if (r->table.txid == 0 || r->table.txid == w->table_saved_txid)
		return;
	if (table_save(&r->table, state_dir_path(r->dir), &e))
		log_warn("%s: %s", r->cfg.database, e.text);
	else
		w->table_saved_txid = r->table.txid;
	w->table_saved_us = clock_mono_us();
}

uint64_t database_bytes(struct replicator *r)
{
	return (uint64_t)r->work.state.n_page * r->work.state.page_size;
}

static uint64_t copies_max(struct replicator *r)
{
	uint64_t bound = copies_bound(r->cfg.copies_max, database_bytes(r));
	return bound - copies_level_share(bound);
}

/*
 * A copy serves two ends: it brings the table on disk forward after a crash, and it is merged into
 * L1. One that was merged and lies behind the table goes at once. Above the bound others go too,
 * the oldest first: those behind the table as they are, for later ones it is saved first. So at the
 * bound it is saved once for all copies that fit into it, and not with each upload.
 */
static void trim_copies(struct replicator *r)
{
	struct work *w = &r->work;
	uint64_t max = copies_max(r);
	if (w->state.snapshot_txid) /* a takeover's is made from the copy */
		return;
	pthread_mutex_lock(&r->lock);
	uint64_t merged = r->shared.merged_txid;
	pthread_mutex_unlock(&r->lock);
	copies_drop(&w->copies, w->folder, merged < w->table_saved_txid ? merged : w->table_saved_txid);
	copies_trim(&w->copies, w->folder, max, w->table_saved_txid);
	if (!copies_over(&w->copies, max))
		return;
	save_table(r);
	copies_trim(&w->copies, w->folder, max, w->table_saved_txid);
}

static void keep_table_and_copies(struct replicator *r)
{
	struct work *w = &r->work;
	if (w->table_saved_us == 0 || clock_mono_us() - w->table_saved_us >= TABLE_US)
		save_table(r);
	trim_copies(r);
}

void note_full_disk(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	r->shared.disk_full = r->shared.no_space = true;
	pthread_mutex_unlock(&r->lock);
}

void make_room(struct replicator *r)
{
	struct work *w = &r->work;
	pthread_mutex_lock(&r->lock);
	bool full = r->shared.disk_full;
	r->shared.disk_full = false;
	pthread_mutex_unlock(&r->lock);
	if (!full || w->state.snapshot_txid)
		return;
	uint64_t before = w->copies.bytes;
	copies_trim(&w->copies, w->folder, 0, w->table_saved_txid);
	if (w->copies.bytes < before)
		log_info("%s: the disk is full: local copies of %" PRIu64
				 " bytes were deleted, which the replica has",
			r->cfg.database, before - w->copies.bytes);
}

/* ---- manifest ---- */

static void keep_manifest(struct replicator *r)
{
	struct work *w = &r->work;
	struct err e = ERR_INIT;
	struct buf text;
	buf_init(&text, MANIFEST_MAX);
	struct manifest m = {
		.app = r->cfg.app,
		.storage_name = r->cfg.storage_name,
		.container_path = r->cfg.container_path,
		.database = r->cfg.database,
		.weak_fencing = w->state.weak_fencing,
	};
	int rc = manifest_make(&m, &text, &e);
	uint64_t digest = rc ? 0 : crc64_iso(0, text.data, text.len);
	if (!rc && digest != w->state.manifest_digest) {
		rc = manifest_put(r->store, &text, &e);
		if (!rc)
			w->state.manifest_digest = digest; /* journaled with the next settled file */
	}
	if (rc && rc != ERR_CANCELLED)
		log_warn("%s: %s was not written: %s", r->cfg.database, MANIFEST_NAME, e.text);
	buf_free(&text);
}

/* ---- F7 ---- */

static int put_snapshot(struct replicator *r, const char *path, struct err *e)
{
	struct work *w = &r->work;
	struct put_ltx_how how = {.weak = w->state.weak_fencing, .unconditional = w->unconditional};
	struct frozen f;
	int rc = snapfile_put(r->store, path, &how, &f, e);
	w->unconditional = how.unconditional;
	if (rc)
		return rc;
	struct replica_file made = snapfile_record(&f);
	return inventory_add(&r->inventory, &made, e);
}

/* The takeover's L0 holds every page; its snapshot lets a restore begin there. */
static int keep_snapshot(struct replicator *r, struct err *e)
{
	struct work *w = &r->work;
	char *tmp = fs_join(state_dir_path(r->dir), "staging-snapshot");
	if (!tmp)
		return err_nomem(e, "writing a snapshot");
	uint64_t txid = w->state.snapshot_txid;
	int rc = freeze_snapshot(w->folder, txid, tmp, e);
	if (!rc)
		rc = put_snapshot(r, tmp, e);
	fs_unlink(tmp);
	free(tmp);
	if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED || rc == ERR_CONDITION) {
		/* Later files stand on an L0 with every page, so a restore is whole without it too. */
		log_warn("%s: no snapshot after the takeover: %s", r->cfg.database, e->text);
		rc = ERR_OK;
	}
	if (rc)
		return rc;
	w->state.snapshot_txid = 0;
	return state_save(r->dir, &w->state, e);
}

/* F5: nothing more is put when another node owns the replica, though an order to stop may still
 * wait for the turn. (And the tail is looked at before a put that does not follow an upload at
 * once: a snapshot that failed is tried again, and a process may be stopped in between.) */
static bool stops(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	bool stop = r->shared.order == ORDER_STOP || r->shared.phase == PHASE_STOPPED;
	pthread_mutex_unlock(&r->lock);
	return stop;
}

void keep(struct replicator *r)
{
	struct work *w = &r->work;
	struct err e = ERR_INIT;
	if (atomic_load(&r->cancelled) || stops(r))
		return;
	bool snapshot = w->state.snapshot_txid && w->state.txid >= w->state.snapshot_txid;
	if (!snapshot && !w->kept_due)
		return;
	int rc = check_tail(r, FRESH_MS, &e);
	if (!rc && snapshot)
		rc = keep_snapshot(r, &e);
	if (rc == ERR_FENCED)
		become_fenced(r, &e);
	else if (rc)
		store_trouble(r, rc, &e);
	if (rc || !w->kept_due)
		return;
	w->kept_due = false;
	if (replicator_flight(r) != FLIGHT_SEALED)
		keep_table_and_copies(r);
	keep_manifest(r);
}
