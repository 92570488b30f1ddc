/*
 * Our copies of the L0 files that were uploaded: <state folder>/ltx/0/<name>. Bounded; the oldest
 * go first. Those behind the page table on disk bring it forward after a crash.
 */
#ifndef REPLICATE_COPIES_H
#define REPLICATE_COPIES_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define COPIES_MAX_FILES 2048

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

/* Deletes all: another timeline begins. */
int copies_clear(struct copies *c, const char *folder, struct err *e);

#endif
