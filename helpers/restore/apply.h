/*
 * Pages into the file that is to become the database. Inner part of restore.
 *
 * Files are applied newest first and a page is taken from the first that has it, so that each page
 * is written once. Checksums and writes are done by threads of their own, one for each processor, a
 * batch of pages at a time; of large files decoding too. Pages that are all zero stay holes.
 */
#ifndef RESTORE_APPLY_H
#define RESTORE_APPLY_H

#include "base/err.h"
#include "base/folder.h"
#include "format/ltx.h"

#include <stdbool.h>
#include <stdint.h>

struct apply;

/*
 * Begins with an empty file `fd` (the caller's), which gets its final size: n_page pages (not 0).
 * With keep_sums each page's checksum is kept (8 bytes a page; of large databases in an unlinked
 * file in `scratch`). ERR_NOMEM, ERR_IO (naming `path`), ERR_FULL when the disk is.
 */
int apply_new(struct apply **out, int fd, const char *path, const struct folder *scratch,
	uint32_t page_size, uint32_t n_page, bool keep_sums, struct err *e);

/* Nothing but page 1 is written: who calls wants the sums. Before the first page. */
void apply_only_sums(struct apply *a);

void apply_free(struct apply *a); /* waits for what is under way; NULL is fine */

/*
 * Goes on to an older file, after which the database had `commit` pages. Pages past the smallest
 * size between that file and the end were cut off since: older files' versions of them don't count.
 */
void apply_limit(struct apply *a, uint32_t commit);

/* Where to put the next page (page_size bytes), until apply_page; NULL with *e set when a write
 * failed. May wait for one. */
void *apply_slot(struct apply *a, struct err *e);

/* What is in the slot is page pgno of the present file: taken if no newer file had it. */
void apply_page(struct apply *a, uint32_t pgno);

/*
 * Instead of both, for pages that are to be decoded elsewhere: copies what the decoder gave out.
 * May wait. Not ERR_OK when decoding (ERR_DAMAGED: of the present file) or writing a page has
 * failed.
 */
int apply_raw(struct apply *a, const struct ltx_raw *page, struct err *e);

/* Files of so many bytes are worth it. Tests change it. */
extern uint64_t apply_raw_bytes;

/* At the end of such a file's pages: waits for them all. *sum is for ltx_decoder_end. */
int apply_raw_end(struct apply *a, struct ltx_pages_sum *sum, struct err *e);

/* Pages that the present and older files could still give. 0: older files need not be read. */
uint32_t apply_missing(const struct apply *a);

/*
 * Waits until everything is written. *holes = pages that no file had (they are zero), *first_hole
 * the first of them; *checksum = the database checksum of what the file holds now.
 */
int apply_finish(
	struct apply *a, uint32_t *holes, uint32_t *first_hole, uint64_t *checksum, struct err *e);

/* Checksums by page number - 1, 0 for the lock page; NULL without keep_sums. Borrowed. *mapped:
 * they are a file, mapped (pagesums.h). */
uint64_t *apply_sums(struct apply *a, bool *mapped);

#endif
