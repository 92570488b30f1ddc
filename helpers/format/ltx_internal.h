/* What the files of the LTX code share with each other and nobody else. */
#ifndef FORMAT_LTX_INTERNAL_H
#define FORMAT_LTX_INTERNAL_H

#include "format/ltx.h"

#define LTX_PAGE_FLAG_SIZE 1 /* a length of 4 bytes and an LZ4 block follow, not an LZ4 frame */
#define LTX_PAGE_PREFIX_SIZE (LTX_PAGE_HEADER_SIZE + 4)
#define LTX_INDEX_LENGTH_SIZE 8

#define LTX_UVARINT_MAX 10 /* bytes of the longest one */
#define LTX_INDEX_TUPLE_MAX (3 * LTX_UVARINT_MAX)

/* Longest data of a page in the block form: LZ4's own bound. */
size_t ltx_block_max(uint32_t page_size);

/* Longest data of a page in the frame form that we accept. */
size_t ltx_frame_max(uint32_t page_size);

/* Writes v, seven bits a byte, lowest first; returns the number of bytes. */
size_t ltx_uvarint_put(uint8_t *out, uint64_t v);

/* Reads one at *p, before end; false when it runs past the end or past 64 bits. */
bool ltx_uvarint_get(const uint8_t **p, const uint8_t *end, uint64_t *v);

/* One tuple of the page index into LTX_INDEX_TUPLE_MAX bytes; returns its length. */
size_t ltx_index_tuple(const struct ltx_index_entry *entry, uint8_t *out);

/*
 * The page number that must follow `prev` (0 = none yet) in a file that holds every page, or, if it
 * is past commit, one more than the last one: the lock page is left out.
 */
uint32_t ltx_next_full_pgno(uint32_t prev, uint32_t page_size);

/* The rules for page numbers, the same for writing and reading: `code` when one is broken. */
int ltx_check_pgno(
	const struct ltx_header *h, uint32_t prev, uint32_t pgno, enum err_code code, struct err *e);

/* Is `prev` the last page of a file that holds every page? True also for files that needn't. */
bool ltx_is_complete(const struct ltx_header *h, uint32_t prev);

/* Decodes n bytes of LZ4 block into exactly page_size bytes. ERR_DAMAGED. */
int ltx_block_decode(const uint8_t *p, size_t n, void *page, uint32_t page_size, struct err *e);

/*
 * Decodes the LZ4 frame at the start of p into exactly page_size bytes; *used is its length, which
 * may be less than n. *dctx is made when NULL, kept for the next call, and freed by
 * ltx_frame_free. ERR_DAMAGED, ERR_NOMEM.
 */
struct LZ4F_dctx_s;
int ltx_frame_decode(struct LZ4F_dctx_s **dctx, const uint8_t *p, size_t n, void *page,
	uint32_t page_size, size_t *used, struct err *e);
void ltx_frame_free(struct LZ4F_dctx_s *dctx);

/* What liblz4 says of a frame: ERR_NOMEM, or ERR_DAMAGED. */
int ltx_lz4_error(size_t code, struct err *e);

#endif
