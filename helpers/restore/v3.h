/*
 * Restoring what Litestream 0.3 wrote: listing, plan, and a snapshot with WALs replayed over it.
 * Inner part of restore.
 */
#ifndef RESTORE_V3_H
#define RESTORE_V3_H

#include "format/v3.h"
#include "restore/output.h"
#include "restore/restore.h"

/* Lists all of Litestream 0.3's objects into *set (initialised by the caller), sorted. The store's
 * errors, ERR_NOMEM. */
int v3_list(struct store *s, struct v3_set *set, struct err *e);

/*
 * Chooses the files; pure. The generation: the target's, else the one that was written last (before
 * the timestamp). In it the last snapshot before the target, and the segments from that WAL on up
 * to the target. By time a snapshot whose own WAL is cut gives way to the one before it: it may
 * hold what came after.
 *
 * ERR_NO_BACKUP  none at all; no such generation or index; nothing as old as the timestamp
 * ERR_DAMAGED    a WAL, or the first segment of one, is missing: named; a generation without a
 *                snapshot
 * ERR_NOMEM; ERR_USAGE as restore_target_check
 */
int v3_plan_make(const struct v3_set *set, const struct restore_target *t, int64_t now_ms,
	struct restore_plan *plan, struct err *e);

/* When the last of the plan's files was written. */
int64_t v3_plan_time(const struct restore_plan *plan);

/*
 * Makes result->plan's database in output's open file; page size, size, files and time go into
 * *result. ERR_DAMAGED names the object at fault, or the segment that is missing; ERR_UNSUPPORTED
 * one that is encrypted; ERR_NOT_FOUND one that vanished. Memory: what fetch.h says, 9 MB to
 * decode, 10 MB of frames that are to be written.
 */
int v3_restore(struct store *s, const struct restore_options *options, struct output *output,
	struct restore_result *result, struct err *e);

/* Looks whether the plan's first file can be read at all. */
int v3_look(struct store *s, const struct restore_plan *plan, struct err *e);

#endif
