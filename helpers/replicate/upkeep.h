/*
 * Upkeep: what keeps a replica quick to restore and cheap to keep, in a thread of its own so that
 * no upload waits for it.
 *
 *   compaction   → snapshot   → audit             → retention
 *   (compact.h)    (spool.h)    (upkeep_audit.c)    (upkeep_retain.c)
 *
 * It runs after an upload was settled and something may be due; while nothing is uploaded it makes
 * no request. Each put and delete goes through upkeep_gate (F5). Whatever ends it in the middle,
 * what is there stays restorable: files are added before others are deleted, and deleted only when
 * the store has shown that what replaces them is there.
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

/* What a LIST behind `settled` says: `next` is the first L0 there (0 = none), *more that there is
 * another. As upkeep_gate. */
int upkeep_judge_tail(
	struct replicator *r, uint64_t settled, uint64_t next, bool more, struct err *e);

/* Lists the whole replica once a day and compares it with the inventory. *listed: it did. What is
 * missing is said in status and sets upkeep.broken where no way to the last upload is left. */
int upkeep_audit(struct replicator *r, bool *listed, struct err *e);

/* Says what is wrong, in the log (once for the same sentence) and in status; "" = all is well. */
void upkeep_say(struct replicator *r, const char *text);

#endif
