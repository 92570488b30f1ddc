/*
 * LTX files built from parts, right or wrong, without the code under test: plain fields, byte-wise
 * CRC, either page form. And readers and writers over memory for that code.
 */
#ifndef TESTS_LIB_LTX_BUILD_H
#define TESTS_LIB_LTX_BUILD_H

#include "base/buf.h"
#include "format/ltx.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ltx_build {
	struct buf file;
	struct buf index;
	uint64_t crc;
	uint32_t page_size;
	uint64_t index_length_off; /* added to the index's length: 0 is right */
	bool frames;               /* pages in the LZ4 frame form, as Litestream before 0.5.16 */
};

/* Begins with a header of these very fields, allowed or not. Aborts when out of memory, as all do.
 */
void ltx_build_start(struct ltx_build *b, const struct ltx_header *h, bool frames);
void ltx_build_page(struct ltx_build *b, uint32_t pgno, const void *page);
/* The same with the page's data given as it shall stand in the file. */
void ltx_build_raw_page(struct ltx_build *b, uint32_t pgno, unsigned flags, const void *data,
	size_t n, const void *page);
void ltx_build_end(struct ltx_build *b, uint64_t post_apply);
void ltx_build_free(struct ltx_build *b);

/* A page with content that depends on its number and `seed`: half of it compresses. */
void ltx_fill_page(void *page, uint32_t page_size, uint32_t pgno, uint32_t seed);

/* ltx_write_fn: appends to a struct buf. */
int ltx_write_buf(void *ctx, const void *p, size_t n, struct err *e);

/* ltx_read_fn over memory that gives at most `piece` bytes a call; fails at call `fail_at`
 * (from 1; 0 = never). Aborts when it is asked again after the end or a failure. */
struct ltx_mem {
	const uint8_t *p;
	size_t n, piece;
	unsigned calls, fail_at;
	bool ended;
};
ptrdiff_t ltx_read_mem(void *ctx, void *p, size_t n, struct err *e);

#endif
