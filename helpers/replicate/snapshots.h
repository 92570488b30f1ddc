/*
 * Snapshots in the making, upkeep's side.
 *
 *   due → a copy is asked for → the turn makes it (spooling.c) → encoded, proven, durable →
 * uploaded
 *
 * One step follows the other over several runs of the upkeep; the turn and the work set
 * shared.upkeep_wanted when there is something to go on with. A finished file survives a restart.
 */
#ifndef REPLICATE_SNAPSHOTS_H
#define REPLICATE_SNAPSHOTS_H

#include "replicate/internal.h"
#include "replicate/inventory.h"

/*
 * Does what can be done now. `due`: a snapshot is wanted; one that was begun is ended anyway.
 * `may_put` is asked right before the upload (F5); what it returns if not ERR_OK is returned, and
 * the file waits for the next call.
 *
 * *made is what came into the replica; max_txid 0 = nothing. *wait_us: call again after this
 * (INT64_MAX: no need).
 *
 * Returns errors of the store, ERR_FENCED among them. What goes wrong here (disk full, a copy that
 * is not what was recorded) is no error: making.fault says it until one succeeds, and the next
 * attempt comes later.
 */
int snapshot_step(struct replicator *r, bool due, int (*may_put)(struct replicator *, struct err *),
	struct replica_file *made, int64_t *wait_us, struct err *e);

/* Fenced or stopped: gives the disk back that an unfinished one takes. */
void snapshot_abandon(struct replicator *r);

/* Another timeline begins: no file of this one must be uploaded. ERR_IO. */
int snapshot_forget(struct replicator *r, struct err *e);

#endif
