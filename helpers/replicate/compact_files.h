/* The folders of compaction's files, ltx/1 and up. Inner part of compact.h. */
#ifndef REPLICATE_COMPACT_FILES_H
#define REPLICATE_COMPACT_FILES_H

#include "base/err.h"
#include "replicate/inventory.h"

#include <stddef.h>
#include <stdint.h>

/* "<state_dir>/ltx/<level>" as a new string (free), NULL when out of memory. */
char *compact_folder(const char *state_dir, int level);

/* "<folder of the level>/<name of the file>", the same. */
char *compact_path(const char *state_dir, int level, uint64_t min_txid, uint64_t max_txid);

/* Deletes what is no finished file in the folders of levels 1 and up, and creates none. */
int compact_clean(const char *state_dir, struct err *e);

/* How many of the inputs, from the first, the longest finished file of `level` holds that begins
 * with the first and ends with one of them; 0 = there is none. */
size_t compact_find(const char *state_dir, int level, const struct replica_file *inputs, size_t n);

/* Deletes copies of levels 1 and up, those of the lowest TXIDs first, until they take no more than
 * max bytes. What can't be deleted stays. */
void compact_trim(const char *state_dir, uint64_t max);

#endif
