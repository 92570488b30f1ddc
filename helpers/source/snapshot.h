/*
 * Images of pages under the pin.
 *
 * For each page the last frame in (nBackfill, x], else the database file, where x is mxFrame and
 * nBackfill the backfilled part of one header that was read after the pin was granted.
 *
 * No page is torn: a page that a checkpoint writes just now occurs in a frame behind nBackfill and
 * not behind x (I1), so it is taken from the WAL. On mark 0 with everything backfilled the range is
 * empty and the database file is frozen (I2). Frames up to nBackfill are not looked at, as SQLite's
 * own readers don't: a checkpoint of a state in which the database was smaller skips pages, and
 * their old frames are no part of a later, larger state.
 */
#ifndef SOURCE_SNAPSHOT_H
#define SOURCE_SNAPSHOT_H

#include "base/err.h"
#include "source/shm.h"
#include "source/walread.h"

#include <stdint.h>

/* Calls fn for each page of [first, first + count) that exists in a database of n_page pages, but
 * not for the lock page. What lies past the end of the file is zeros. */
int snapshot_read(const struct walread *w, const struct shm_view *v, uint32_t n_page,
	uint32_t first, uint32_t count,
	int (*fn)(void *ctx, uint32_t pgno, const void *page, struct err *e), void *ctx, struct err *e);

/* The size of the database in pages: the header's, or while nothing was committed since the last
 * recovery what page 1 says. */
int snapshot_size(
	const struct walread *w, const struct shm_view *v, uint32_t *n_page, struct err *e);

#endif
