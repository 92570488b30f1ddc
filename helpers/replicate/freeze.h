/*
 * Freezing: a sealed staging becomes the file of TXID n, once and for good (F1).
 *
 *   <folder>/<name>.tmp   written
 *   the slot              a small file: durable there, and frozen (slot.h)
 *   <folder>/<name>.tmp   a large one: fsynced
 *   <folder>/<name>       renamed; a large one: folder fsynced, and frozen
 *
 * From then on every attempt to upload TXID n sends these bytes. A crash before that leaves a .tmp
 * that the next start deletes. The copy of a small file in the folder is not made durable: until n
 * is settled the slot is, and then the replica; who needs a copy that is torn fetches the file.
 */
#ifndef REPLICATE_FREEZE_H
#define REPLICATE_FREEZE_H

#include "base/err.h"
#include "format/ltx.h"
#include "replicate/staging.h"
#include "source/pagesums.h"

#include <stdbool.h>
#include <stdint.h>

/* A frozen file; txid 0 = there is none. */
struct frozen {
	uint64_t txid;
	uint64_t size;
	uint8_t head[LTX_HEADER_SIZE], tail[LTX_TRAILER_SIZE];
	struct ltx_header header;
};

/* "<folder>/<name of the L0 file>" as a new string (free), NULL when out of memory. */
char *frozen_path(const char *folder, uint64_t txid);

/*
 * Writes the pages of `pages` as the L0 file h->max_txid and brings `table` to that state. Of *h
 * the caller fills page_size, commit, min_txid = max_txid, timestamp, node_id and before_checksum
 * (0 = unknown); after_checksum is computed from the table. On failure the table is as it was,
 * except that it may have room for more pages. ERR_FULL when the disk is full, ERR_IO, ERR_NOMEM;
 * ERR_FAIL when the pages don't make a file.
 */
int freeze(const char *folder, const struct staging *pages, const struct ltx_header *h,
	struct pagesums *table, struct frozen *out, struct err *e);

/* Reads what identifies the LTX file at `path`, whatever TXIDs it holds; out->txid is its highest.
 * ERR_NOT_FOUND, ERR_DAMAGED, ERR_IO. */
int frozen_read(const char *path, struct frozen *out, struct err *e);

/* The same of a frozen file, which holds one TXID. ERR_NOT_FOUND, ERR_DAMAGED, ERR_IO. */
int frozen_load(const char *folder, uint64_t txid, struct frozen *out, struct err *e);

/* Rewrites the frozen L0 `txid`, which holds every page, as the snapshot 1-txid into `to` (F7), not
 * fsynced. ERR_DAMAGED when it does not hold every page. */
int freeze_snapshot(const char *folder, uint64_t txid, const char *to, struct err *e);

#endif
