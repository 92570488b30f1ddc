/*
 * Upkeep: what keeps a replica quick to restore and cheap to keep, in a thread of its own so that
 * no upload waits for it.
 *
 *   audit             → compaction → snapshot → retention         → unfinished uploads
 *   (upkeep_audit.c)    (upkeep_levels.c)       (upkeep_retain.c)   (upkeep_unfinished.c)
 *
 * It runs after an upload was settled and something may be due; while nothing is uploaded it makes
 * no request (but with retention off it renews the snapshot, which takes a timer). Each put and
 * delete goes through upkeep_gate (F5). Whatever ends it in the middle, what is there stays
 * restorable: files are added before others are deleted, and deleted only when the store has shown
 * that what replaces them is there.
 */
#ifndef REPLICATE_UPKEEP_H
#define REPLICATE_UPKEEP_H

#include "replicate/internal.h"

/*
 * F5: may the upkeep put or delete now? ERR_OK when the replica was seen to be ours within the last
 * five minutes, or a tail check just showed it (F4). ERR_CANCELLED while this node has no claim, is
 * fenced, stopped or ending; ERR_AGAIN when an upload of ours is on its way and nothing can be told
 * before it is settled; ERR_FENCED when another node wrote (the caller calls become_fenced); the
 * store's errors.
 */
int upkeep_gate(struct replicator *r, struct err *e);

/* What a LIST behind `settled` says, which was asked for at that moment: `next` is the first L0
 * there (0 = none), `more` that there is another. As upkeep_gate. */
int upkeep_judge_tail(struct replicator *r, const struct moment *asked, uint64_t settled,
	uint64_t next, bool more, struct err *e);

/* Lists the whole replica once a day, or in three where little is written, and compares it with the
 * inventory. *listed: it did. What is missing is said in status and no longer counted on. */
int upkeep_audit(struct replicator *r, bool *listed, struct err *e);

/* Makes the merges that are due, one after the other. *at_ms: when another may be due (wall time),
 * 0 = only after an upload. ERR_AGAIN: the audit must run first. */
int upkeep_compact(struct replicator *r, int64_t *at_ms, struct err *e);

/* A step towards a snapshot, if one is due or begun. *wait_us: run again after this. *at_ms: when
 * one is due without another upload, 0 = only after one. */
int upkeep_snapshot(struct replicator *r, int64_t *wait_us, int64_t *at_ms, struct err *e);

/* Deletes what no promise needs. `audited`: a listing of this very run has shown what stays. */
int upkeep_retain(struct replicator *r, bool audited, struct err *e);

/* Gives up uploads in parts that a crash left in the store. After a listing (`audited`) only. */
int upkeep_unfinished(struct replicator *r, bool audited, struct err *e);

/* Asks the headers of files whose time is unknown. ERR_AGAIN when there are too many for one run.
 */
int upkeep_learn_times(struct replicator *r, struct err *e);

/* A file is not in the replica, or is none any more (*e says how that was found, and is cleared): a
 * fault in status, and no longer counted on. If that breaks the way to the last upload, a snapshot
 * is due. */
void upkeep_lost(struct replicator *r, const struct replica_file *f, struct err *e);

/* The same of a file that is there and does not continue the one before it (F8). */
void upkeep_unfit(struct replicator *r, const struct replica_file *f, struct err *e);

/* Is it one of those? */
bool upkeep_is_apart(const struct replicator *r, const struct replica_file *f);

/* ---- upkeep_asked.c: what a person has asked for ---- */

/* Is a snapshot asked for that is not among these files? */
bool upkeep_snapshot_asked(struct replicator *r, const struct replica_file *files, size_t n);

/* Is it time for the look at what may go that was asked for? */
bool upkeep_retain_asked(struct replicator *r);

/* Takes what is done out of what was asked for (REPLICATOR_…). */
void upkeep_done(struct replicator *r, unsigned what);

/* After a run that ended with rc: what can't be is told; *wait_us is less when something is still
 * to be done. */
void upkeep_answer(struct replicator *r, int rc, const struct err *e, int64_t *wait_us);

/* Says what is wrong, in the log (once for the same sentence) and in status; "" = all is well. */
void upkeep_say(struct replicator *r, const char *text);

#endif
