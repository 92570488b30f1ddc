/*
 * The content of one page: LZ4 block or LZ4 frame (the layout is in ltx_header.c).
 *
 * The frames are those that Litestream before 0.5.16 wrote: blocks of at most 64 KiB, a content
 * checksum, no dictionary. Any other kind is refused before liblz4 sees it: its memory goes by the
 * block size that the frame claims (up to 4 MiB), and it would skip "skippable" frames silently.
 */
#include "base/endian.h"
#include "format/ltx_internal.h"

#include <inttypes.h>
#include <lz4.h>
#include <lz4frame.h>
#include <string.h>

#define FRAME_MAGIC UINT32_C(0x184D2204)

size_t ltx_block_max(uint32_t page_size)
{
	return (size_t)LZ4_compressBound((int)page_size);
}

/* Frame header at most 19 bytes, per block 4 (8 with checksum), end mark 4, content checksum 4; a
 * block that doesn't shrink is stored as it is. 64 is room for a few blocks more than needed. */
size_t ltx_frame_max(uint32_t page_size)
{
	return ltx_block_max(page_size) + 64;
}

int ltx_block_decode(const uint8_t *p, size_t n, void *page, uint32_t page_size, struct err *e)
{
	if (n == 0 || n > ltx_block_max(page_size))
		return err_set(e, ERR_DAMAGED,
			"%zu bytes of LZ4 block can't be a page of %" PRIu32 " bytes", n, page_size);
	int got = LZ4_decompress_safe((const char *)p, page, (int)n, (int)page_size);
	if (got < 0)
		return err_set(e, ERR_DAMAGED, "not an LZ4 block of at most %" PRIu32 " bytes", page_size);
	if ((uint32_t)got != page_size)
		return err_set(
			e, ERR_DAMAGED, "LZ4 block of %d bytes where a page has %" PRIu32, got, page_size);
	return ERR_OK;
}

int ltx_lz4_error(size_t code, struct err *e)
{
	if (strcmp(LZ4F_getErrorName(code), "ERROR_allocation_failed") == 0)
		return err_nomem(e, "decoding an LZ4 frame");
	return err_set(e, ERR_DAMAGED, "bad LZ4 frame (%s)", LZ4F_getErrorName(code));
}

/* Reads the frame header; *used is its length. */
static int frame_begin(LZ4F_dctx *dctx, const uint8_t *p, size_t n, size_t *used, struct err *e)
{
	if (n < 7 || get_le32(p) != FRAME_MAGIC)
		return err_set(e, ERR_DAMAGED, "no LZ4 frame where the content of a page must be");
	LZ4F_frameInfo_t info = {0};
	*used = n;
	size_t rc = LZ4F_getFrameInfo(dctx, &info, p, used);
	if (LZ4F_isError(rc))
		return ltx_lz4_error(rc, e);
	if (info.blockSizeID > LZ4F_max64KB || info.dictID ||
		info.contentChecksumFlag != LZ4F_contentChecksumEnabled)
		return err_set(e, ERR_DAMAGED,
			"LZ4 frame with blocks over 64 KiB, a dictionary or no checksum, "
			"which no Litestream writes");
	return ERR_OK;
}

/* The rest of the frame. LZ4F_decompress stops by itself where the frame ends and returns 0. */
static int frame_content(LZ4F_dctx *dctx, const uint8_t *p, size_t n, uint8_t *page,
	uint32_t page_size, size_t *used, struct err *e)
{
	size_t in = 0, out = 0;
	for (;;) {
		uint8_t over;
		bool full = out == page_size; /* one byte more shows that there is more */
		size_t src = n - in, dst = full ? 1 : page_size - out;
		size_t rc = LZ4F_decompress(dctx, full ? &over : page + out, &dst, p + in, &src, NULL);
		if (LZ4F_isError(rc))
			return ltx_lz4_error(rc, e);
		if (full && dst)
			return err_set(
				e, ERR_DAMAGED, "LZ4 frame of more than a page (%" PRIu32 " bytes)", page_size);
		in += src;
		out += dst;
		if (rc == 0)
			break;
		if (src == 0 && dst == 0)
			return err_set(
				e, ERR_DAMAGED, "LZ4 frame ends early or is longer than a page's can be");
	}
	*used += in;
	if (out != page_size)
		return err_set(
			e, ERR_DAMAGED, "LZ4 frame of %zu bytes where a page has %" PRIu32, out, page_size);
	return ERR_OK;
}

int ltx_frame_decode(struct LZ4F_dctx_s **dctx, const uint8_t *p, size_t n, void *page,
	uint32_t page_size, size_t *used, struct err *e)
{
	if (!*dctx && LZ4F_isError(LZ4F_createDecompressionContext(dctx, LZ4F_VERSION)))
		return err_nomem(e, "reading an LTX file");
	LZ4F_resetDecompressionContext(*dctx);
	int rc = frame_begin(*dctx, p, n, used, e);
	return rc ? rc : frame_content(*dctx, p + *used, n - *used, page, page_size, used, e);
}

void ltx_frame_free(struct LZ4F_dctx_s *dctx)
{
	LZ4F_freeDecompressionContext(dctx);
}

static int decode_frame_alone(
	const uint8_t *p, size_t n, uint32_t page_size, void *page, struct err *e)
{
	struct LZ4F_dctx_s *dctx = NULL;
	size_t used = 0;
	int rc = n > ltx_frame_max(page_size)
				 ? err_set(e, ERR_DAMAGED, "%zu bytes of LZ4 frame can't be a page", n)
				 : ltx_frame_decode(&dctx, p, n, page, page_size, &used, e);
	if (!rc && used != n)
		rc = err_set(e, ERR_DAMAGED, "%zu bytes after the LZ4 frame of a page", n - used);
	ltx_frame_free(dctx);
	return rc;
}

int ltx_page_decode(
	const uint8_t *p, size_t n, uint32_t page_size, uint32_t expect_pgno, void *page, struct err *e)
{
	if (n < LTX_PAGE_HEADER_SIZE)
		return err_set(e, ERR_DAMAGED, "%zu bytes are too few for a page of an LTX file", n);
	uint32_t pgno = get_be32(p);
	uint16_t flags = get_be16(p + 4);
	if (pgno != expect_pgno)
		return err_set(e, ERR_DAMAGED, "page %" PRIu32 " where the page index says page %" PRIu32,
			pgno, expect_pgno);
	int rc;
	if (flags == 0)
		rc = decode_frame_alone(
			p + LTX_PAGE_HEADER_SIZE, n - LTX_PAGE_HEADER_SIZE, page_size, page, e);
	else if (flags != LTX_PAGE_FLAG_SIZE || n < LTX_PAGE_PREFIX_SIZE ||
			 get_be32(p + LTX_PAGE_HEADER_SIZE) != n - LTX_PAGE_PREFIX_SIZE)
		rc = err_set(e, ERR_DAMAGED, "flags %04x or a length that doesn't fit", flags);
	else
		rc = ltx_block_decode(
			p + LTX_PAGE_PREFIX_SIZE, n - LTX_PAGE_PREFIX_SIZE, page, page_size, e);
	return rc ? err_wrap(e, "page %" PRIu32, pgno) : ERR_OK;
}
