/*
 * Our copies of the L0 files that were uploaded: <state folder>/ltx/0/<name>. Bounded; the oldest
 * go first. Those behind the page table on disk bring it forward after a crash, and compaction
 * reads them instead of the replica.
 *
 * The folders of the levels above, ltx/1 and so on, are compaction's (compact.h): another thread's,
 * except that copies_clear empties them too, before that thread has anything to do.
 */
#ifndef REPLICATE_COPIES_H
#define REPLICATE_COPIES_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define COPIES_MAX_FILES 2048

/* What all copies together may take: `configured` (0 = 512 MiB), or the size of the database where
 * that is less, but 1 MiB at least. */
uint64_t copies_bound(uint64_t configured, uint64_t db_bytes);

/* Of that, what belongs to the levels above L0 (half of it); the rest is L0's. */
uint64_t copies_level_share(uint64_t bound);

struct copies {
	uint64_t oldest, newest; /* TXIDs between which there may be copies; 0, 0 = none */
	uint64_t bytes;
	uint64_t files;
};

/* Counts what is in the folder (created if need be), deletes what is no L0 copy (torn .tmp files).
 */
int copies_scan(struct copies *c, const char *folder, struct err *e);

void copies_added(struct copies *c, uint64_t txid, uint64_t size);

/* Do copies take more than allowed? */
bool copies_over(const struct copies *c, uint64_t max_bytes);

/* Deletes the oldest copies, none after `last`, until they take no more than allowed. */
void copies_trim(struct copies *c, const char *folder, uint64_t max_bytes, uint64_t last);

/* Deletes the copies up to TXID `last`: nothing needs them any more. */
void copies_drop(struct copies *c, const char *folder, uint64_t last);

/* Deletes all, of all levels: another timeline begins. */
int copies_clear(struct copies *c, const char *folder, struct err *e);

#endif
