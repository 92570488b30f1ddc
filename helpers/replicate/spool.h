/*
 * The spool: a copy of the whole database, made in slices while capture goes on, from which a
 * snapshot is encoded.
 *
 * Page n is at (n - 1) * page size; pages of zeros are holes. What is in it at the end:
 *
 *   S1 A slice shows its pages as of a header that was read behind all that is captured. It is
 *      copied in ascending order, each page once.
 *   S2 Whatever is staged goes here too, if its page was copied already (all are, once the copy has
 *      reached the end of the database): so the newest version of a page wins, as in the staging.
 *      A page that was not reached yet is read later, from an image that has it.
 *   S3 Once a turn has caught up behind the last slice, the spool holds the database at the
 * captured point: a page is as its slice saw it, unless a frame up to that point holds it. S4 At a
 * cut, pages by which the database grew and that no frame holds are staged out of the image, and
 * come here by S2; pages past its end are cut off. So at that moment the spool is exactly the state
 * that the cut leads to.
 *
 * It is dropped whole, never repaired, whenever the staging is: like that it holds nothing that
 * can't be read again, so nothing is fsynced, and what a crash left is deleted at the next start.
 *
 * Not thread-safe; it belongs to one thread at a time.
 */
#ifndef REPLICATE_SPOOL_H
#define REPLICATE_SPOOL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct spool;

/* `path` is copied; the file is there from spool_begin to spool_drop. */
int spool_new(struct spool **out, const char *path, struct err *e);
void spool_free(struct spool *s); /* drops; NULL is fine */

/* Begins a copy. What was there is dropped. ERR_FULL, ERR_IO. */
int spool_begin(struct spool *s, uint32_t page_size, struct err *e);

/* Removes the file, frees the disk. */
void spool_drop(struct spool *s);

/* The first page that is to be copied next; 0 = none, all are. */
uint32_t spool_next(const struct spool *s);

/* A page of the slice that begins at spool_next. ERR_FULL, ERR_IO: drop it. */
int spool_copy(struct spool *s, uint32_t pgno, const void *page, struct err *e);

/* The slice of `count` pages was copied; the database had n_page pages then. */
void spool_copied(struct spool *s, uint32_t count, uint32_t n_page);

/* A page that was staged (S2); `image`: it was read from the image, not from a frame. ERR_FULL,
 * ERR_IO: drop it. */
int spool_put(struct spool *s, uint32_t pgno, const void *page, bool image, struct err *e);

/* A turn has caught up. */
void spool_caught_up(struct spool *s);

/* S3: it holds the database at the captured point, if that is a committed state. */
bool spool_is_whole(const struct spool *s);

/* S4: cuts off what is past the end. Nothing is put after that. */
int spool_end(struct spool *s, uint32_t n_page, struct err *e);

typedef int (*spool_page_fn)(void *ctx, uint32_t pgno, const void *page, struct err *e);

/* Hands out every page but the lock page in ascending order, and gives the disk behind it back: it
 * can be read once. Memory: 64 KiB. fn's error ends it. */
int spool_take(struct spool *s, spool_page_fn fn, void *ctx, struct err *e);

#endif
