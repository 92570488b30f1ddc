/*
 * The slot: where a small frozen file becomes durable with one write in place.
 *
 * A new file costs an fsync of itself and one of its folder; on a journaling file system each waits
 * for a commit of the journal, a few times as long as for a write to blocks that exist. What is
 * frozen is uploaded right after, and the app's commit is not safe before that. So a small file is
 * written into the slot first; its name in the folder of L0 files follows, and is made durable
 * after the upload (F1 needs that the bytes survive, not the name).
 *
 *   <state folder>/ltx/frozen     SLOT_SIZE bytes, all of them written once
 *     0    8  "DLSFRZN1"
 *     8    8  TXID, big-endian
 *    16    8  length of the LTX file
 *    24    8  CRC-64 of bytes 0–23 and of the file
 *    32    …  the file
 *
 * Only the file behind the settled TXID counts. A
 * slot that doesn't verify was being written when the machine went down: nothing of it was sent. It
 * is in "ltx", so whoever removes the copies of another timeline removes it too.
 */
#ifndef REPLICATE_SLOT_H
#define REPLICATE_SLOT_H

#include "base/err.h"

#include <stdint.h>

#define SLOT_SIZE ((size_t)64 * 1024)
#define SLOT_HEADER 32
#define SLOT_FILE_MAX (SLOT_SIZE - SLOT_HEADER)

/*
 * Puts the file at `path`, the L0 `txid` of `size` <= SLOT_FILE_MAX bytes, into the slot of
 * `folder` (state folder/ltx/0), durably. On failure the slot holds nothing. ERR_FULL, ERR_IO,
 * ERR_NOMEM.
 */
int slot_put(const char *folder, uint64_t txid, const char *path, uint64_t size, struct err *e);

/* Empties the slot, durably, where it holds `txid`; a missing one is empty. ERR_IO, ERR_NOMEM. */
int slot_clear(const char *folder, uint64_t txid, struct err *e);

/*
 * At start: makes the L0 `txid` in `folder` what the slot holds under this TXID, durably; does
 * nothing where the slot holds none or another. ERR_FULL, ERR_IO, ERR_NOMEM.
 */
int slot_recover(const char *folder, uint64_t txid, struct err *e);

#endif
