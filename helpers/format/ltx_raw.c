/*
 * Pages of an LTX file decoded out of order. The file checksum covers each page's header and its
 * content after decoding, in order; a CRC of pieces can be put together from the CRCs of the
 * pieces, and a page's own checksum is the CRC of its number and the same content. So each page
 * goes through the CRC once, wherever that is done.
 */
#include "base/endian.h"
#include "format/ltx_internal.h"

#include <inttypes.h>

size_t ltx_raw_max(uint32_t page_size)
{
	return LTX_PAGE_PREFIX_SIZE + ltx_block_max(page_size);
}

void ltx_unpacker_init(struct ltx_unpacker *u, uint32_t page_size)
{
	u->page_size = page_size;
	crc64_append_init(&u->content, page_size);
	crc64_append_init(&u->record, LTX_PAGE_PREFIX_SIZE + (uint64_t)page_size);
}

int ltx_unpack(const struct ltx_unpacker *u, const uint8_t *p, size_t n, void *page,
	struct ltx_pages_sum *sum, uint64_t *page_checksum, struct err *e)
{
	int rc = n > LTX_PAGE_PREFIX_SIZE ? ltx_block_decode(p + LTX_PAGE_PREFIX_SIZE,
											n - LTX_PAGE_PREFIX_SIZE, page, u->page_size, e)
									  : err_set(e, ERR_DAMAGED, "an empty LZ4 block");
	if (rc)
		return err_wrap(e, "page %" PRIu32, get_be32(p));
	uint64_t content = crc64_iso(0, page, u->page_size);
	uint64_t record = crc64_append(&u->content, crc64_iso(0, p, LTX_PAGE_PREFIX_SIZE)) ^ content;
	/* The page's header begins with its number, as its checksum does. */
	*page_checksum = LTX_CHECKSUM_FLAG | (crc64_append(&u->content, crc64_iso(0, p, 4)) ^ content);
	sum->crc = crc64_append(&u->record, sum->crc) ^ record;
	sum->checksum ^= *page_checksum;
	sum->n++;
	return ERR_OK;
}

void ltx_pages_sum_add(
	const struct ltx_unpacker *u, struct ltx_pages_sum *sum, const struct ltx_pages_sum *next)
{
	uint64_t each = LTX_PAGE_PREFIX_SIZE + (uint64_t)u->page_size;
	sum->crc = crc64_iso_combine(sum->crc, next->crc, next->n * each);
	sum->checksum ^= next->checksum;
	sum->n += next->n;
}
