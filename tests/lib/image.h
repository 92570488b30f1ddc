/*
 * A database put together from LTX files of a replica, one after the other, without the code that
 * plans and restores.
 */
#ifndef TESTS_LIB_IMAGE_H
#define TESTS_LIB_IMAGE_H

#include "format/ltx.h"

#include <stdbool.h>
#include <stdint.h>

struct image {
	uint8_t *pages; /* n_page * page_size bytes; the lock page is zeros */
	uint32_t page_size, n_page;
	struct ltx_header header; /* of the last file applied */
};

void image_free(struct image *im);

/* Applies <level>/<min-max>; false, with a line on stderr, when it is not there or damaged. */
bool image_apply(
	struct image *im, const char *url, int level, uint64_t min_txid, uint64_t max_txid);

/* The XOR of the checksums of its pages. */
uint64_t image_checksum(const struct image *im);

/* The same pages? Says on stderr which one is not. */
bool image_same(const struct image *a, const struct image *b);

/* Is the snapshot 1-txid whole, is its checksum the recorded one, and is it what the L0 files 1 to
 * txid make, with the timestamp of the last? */
bool image_snapshot_is_right(const char *url, uint64_t txid);

#endif
