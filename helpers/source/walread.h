/*
 * Reads committed frames of the WAL, through SQLite's own handle, and checks each.
 *
 * A frame verifies when it has the incarnation's salt and its checksum continues the running one.
 * Frames up to mxFrame are immutable under a pin, so one that does not verify at a second reading
 * is no torn write. There is one known reason: SQLite 3.11 to 3.49 can commit frames whose salt and
 * checksum are all zero (pages spilled to the WAL, one of them rewritten, ROLLBACK TO, more writes,
 * COMMIT: the index of the first frame to sum up again, iReCksum, outlives the savepoint and lies
 * behind the end). Readers see such transactions; after a crash they are gone. So:
 *
 *   - a frame with zero salt and checksum is accepted if the wal-index names the same page for it;
 *     the running checksum is unknown after it;
 *   - a frame with the right salt that follows an unknown checksum is accepted likewise, and its
 *     own stored checksum is the running one from there;
 *   - at mxFrame the header's frame checksum is the running one: writers continue from it;
 *   - anything else is refused (ERR_DAMAGED): what was read before can't be trusted to be the past
 *     of what is there now (a recovery that went back and was written over looks like this).
 */
#ifndef SOURCE_WALREAD_H
#define SOURCE_WALREAD_H

#include "base/err.h"
#include "format/wal.h"
#include "source/connection.h"
#include "source/shm.h"

#include <stdbool.h>
#include <stdint.h>

/* Where we are in the WAL. */
struct walread_chain {
	uint8_t salt[8];
	uint32_t frame; /* read up to here; 0 = at the WAL's header */
	uint32_t cksum[2];
	bool known;      /* cksum is the running checksum (at frame 0: once the header was read) */
	bool unverified; /* a frame of this incarnation was accepted without verifying */
};

struct walread {
	const struct connection *con; /* any that has read */
	const struct shm *shm;
	uint32_t page_size;
};

/* Called for each frame in order. `page` is valid during the call; an error ends the reading. */
typedef int (*walread_fn)(
	void *ctx, const struct wal_frame_header *fh, const void *page, struct err *e);

/* Puts the chain behind the last frame that the header names. */
void walread_at_end(struct walread_chain *c, const struct wal_index_header *h);

/* Puts the chain before the first frame of the header's incarnation. */
void walread_at_start(struct walread_chain *c, const struct wal_index_header *h);

/*
 * Reads the frames behind c->frame up to `to` (at most h->mx_frame, the header being one that was
 * read under the pin) and moves the chain. *unverified counts frames that were accepted without
 * verifying. ERR_DAMAGED: see above; the frames before were handed over. Else fn's error, ERR_IO,
 * ERR_NOMEM.
 */
int walread_frames(const struct walread *w, struct walread_chain *c,
	const struct wal_index_header *h, uint32_t to, walread_fn fn, void *ctx, uint64_t *unverified,
	struct err *e);

/* Reads the page in one frame that is known to be committed. */
int walread_page(const struct walread *w, uint32_t frame, void *page, struct err *e);

/* Does the WAL hold this incarnation, and frame `frame` of it with this checksum? For frame 0: is
 * its header's checksum that one? */
bool walread_holds(
	const struct walread *w, const uint8_t salt[8], uint32_t frame, const uint32_t cksum[2]);

#endif
