/*
 * LTX files that follow each other become one that leads from the state before the first to the
 * state after the last: compaction, as a stream.
 *
 * Applied to a database, the merged file must give what the inputs give one after the other. So:
 *
 * - Of a page that several inputs hold the newest counts. Pages past the last commit are dropped.
 * - The TXIDs have no gap and no overlap, all inputs have one page size, and where two neighbours
 *   both record a database checksum the one's "after" is the other's "before". (A file that begins
 *   with TXID 1 has no "before"; it can only be the first.)
 * - When the database shrank and grew again in between, what an input before the shrinking holds of
 *   the pages above is stale and does not count. Each such page must be in an input after it: what
 *   else is there? Applied one by one the page would be zeros, applied at once it would be what the
 *   database had before, and either may be wrong. Our uploads always hold these pages; Litestream's
 *   may lack those that SQLite freed and never wrote. Such inputs are not merged.
 * - A merged file from TXID 1 on holds every page, and these have the recorded checksum.
 *
 * The bytes depend on nothing but the inputs' content, and not on how they are grouped: merging
 * a+b and then c gives the same file as all three at once. (When a+b can't be merged because pages
 * are missing that c holds, all three can.)
 */
#ifndef FORMAT_LTX_MERGE_H
#define FORMAT_LTX_MERGE_H

#include "format/ltx.h"

#include <stdatomic.h>

struct ltx_merge_input {
	const char *name;            /* for messages */
	uint64_t min_txid, max_txid; /* what its header must say */
	ltx_read_fn read;
	void *ctx;
};

/* Whose fault it was that nothing came of it. */
enum ltx_merge_fault {
	LTX_MERGE_OTHER,    /* writing failed, no memory, cancelled */
	LTX_MERGE_BAD_FILE, /* `culprit` can't be read, is damaged, or is not what its name says */
	LTX_MERGE_NO_FIT, /* `culprit` does not continue those before it: a broken chain, pages that are
						 missing; those before it may still fit each other */
	LTX_MERGE_OTHER_SIZE, /* `culprit` has another page size; those before it fit each other */
};

struct ltx_merge_result {
	struct ltx_header header; /* of the merged file */
	uint64_t size, file_checksum;
	enum ltx_merge_fault fault; /* after a failure; culprit: place in the inputs */
	size_t culprit;
};

/*
 * Merges n inputs, oldest first, into write. Before/after, timestamp, commit and node: before is
 * the first input's, the others the last one's. Every input is read to its end and verified: what
 * was written counts only after ERR_OK. ERR_DAMAGED with the names (out->fault says what kind),
 * ERR_CANCELLED when *cancelled (may be NULL) became true, ERR_NOMEM, the codes of read and write.
 * Memory: read buffers of 1 MiB together (8 KiB each at least), two pages for each input, and an
 * encoder.
 */
int ltx_merge(const struct ltx_merge_input *inputs, size_t n, ltx_write_fn write, void *ctx,
	const atomic_bool *cancelled, struct ltx_merge_result *out, struct err *e);

#endif
