/*
 * What of a replica is to be restored: its LTX files, or what Litestream 0.3 left beside them.
 * Inner part of restore.
 *
 * With a TXID the LTX files, with a generation or index 0.3's. Otherwise, where both are there, the
 * one that was written last: as the store lists it, or, with a timestamp, the one whose last state
 * up to it is the later one. (Litestream 0.5 compares snapshots when a timestamp is given: then a
 * time soon after the change from 0.3 to 0.5 means 0.3's last state.)
 */
#ifndef RESTORE_CHOOSE_H
#define RESTORE_CHOOSE_H

#include "restore/restore.h"

struct choice {
	/* In. */
	struct store *store;
	const struct restore_target *target;
	const struct restore_ban *bans;
	size_t n_bans;

	/* Out; may be used for a second choice. */
	uint64_t highest_txid; /* of the LTX files, 0 = there are none */
	int64_t legacy_ms; /* when Litestream 0.3 wrote there last; 0 = it didn't, or nobody asked */
	bool empty;        /* there is neither */
	bool told;         /* that there are both, in the log */
};

/* Lists and plans. ERR_NO_BACKUP, ERR_DAMAGED, ERR_USAGE as restore_plan_make and v3_plan_make; the
 * store's errors. */
int choose_plan(struct choice *c, struct restore_plan *plan, struct err *e);

#endif
