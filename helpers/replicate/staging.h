/*
 * Captured pages on their way to a file: a plain file of page slots, and in memory which page
 * number is in which slot. The newest version of a page wins.
 *
 * A staging is dropped whole, never repaired: it holds nothing that a comparison with the database
 * could not find again. So nothing of it is fsynced, and what a crash left is deleted at start.
 *
 * Not thread-safe; each staging belongs to one thread at a time.
 */
#ifndef REPLICATE_STAGING_H
#define REPLICATE_STAGING_H

#include "base/err.h"
#include "source/source.h"

#include <stdbool.h>
#include <stdint.h>

struct staging;

/* The file is created with the first page and removed when the staging is dropped. `path` is
 * copied. */
int staging_new(struct staging **out, const char *path, struct err *e);
void staging_free(struct staging *s); /* removes the file; NULL is fine */

/* Empties it, frees the memory and the disk. What comes has pages of page_size bytes and begins
 * with a database of n_page pages. */
void staging_reset(struct staging *s, uint32_t page_size, uint32_t n_page);

/* Most bytes of slots; 0 = no bound. staging_at_max: one more page would not fit. */
void staging_set_max(struct staging *s, uint64_t max);
bool staging_at_max(const struct staging *s);

enum staging_origin {
	STAGING_FRAME, /* captured from the WAL */
	STAGING_IMAGE, /* read from the image of the database, because no frame held it */
};

/* ERR_FULL at the bound or on a full disk, ERR_IO, ERR_NOMEM. */
int staging_put(
	struct staging *s, uint32_t pgno, const void *page, enum staging_origin origin, struct err *e);

/*
 * All that was put so far makes the committed state `point`. Pages past its size go. When the
 * database was smaller than ever since the reset, so do all pages past that smallest size, because
 * they may be older than the shrink: whoever cuts reads those that are missing from the image.
 */
int staging_commit(struct staging *s, const struct source_point *point, struct err *e);

bool staging_has(const struct staging *s, uint32_t pgno);
bool staging_clean(const struct staging *s);      /* nothing was put since the last commit */
bool staging_empty(const struct staging *s);      /* no page in it */
uint32_t staging_count(const struct staging *s);  /* pages */
uint32_t staging_images(const struct staging *s); /* of them from the image */
uint64_t staging_bytes(const struct staging *s);  /* on disk */
uint32_t staging_page_size(const struct staging *s);

/* The page numbers in ascending order: a new array of staging_count (free), NULL when out of
 * memory. */
uint32_t *staging_pages(const struct staging *s);

/* Reads a page that is there. */
int staging_get(const struct staging *s, uint32_t pgno, void *page, struct err *e);

/* Deletes what an earlier life left in a state folder ("staging-*"). */
int staging_clear_folder(const char *dir, struct err *e);

#endif
