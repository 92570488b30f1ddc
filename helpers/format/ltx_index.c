/*
 * The page index of an LTX file (the layout is in ltx_header.c), read from the file's end without
 * the pages: who wants some pages of a file in a store fetches the end, then these by range.
 *
 * Only the one form that fits the file is accepted: page numbers ascend, the first page lies behind
 * the header, each next one behind the one before, the terminator and the index behind the last.
 */
#include "base/endian.h"
#include "format/ltx_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define AFTER_INDEX (LTX_INDEX_LENGTH_SIZE + LTX_TRAILER_SIZE)

size_t ltx_uvarint_put(uint8_t *out, uint64_t v)
{
	size_t n = 0;
	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

size_t ltx_index_tuple(const struct ltx_index_entry *entry, uint8_t *out)
{
	size_t n = ltx_uvarint_put(out, entry->pgno);
	n += ltx_uvarint_put(out + n, entry->offset);
	return n + ltx_uvarint_put(out + n, entry->size);
}

bool ltx_uvarint_get(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t byte = *(*p)++;
		if (shift == 63 && byte > 1)
			return false;
		*v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/* The bytes that end a varint; three make a tuple, the last one is the 0 at the end. */
static size_t count_tuples(const uint8_t *p, size_t n)
{
	size_t ends = 0;
	for (size_t i = 0; i < n; i++)
		ends += !(p[i] & 0x80);
	return ends / 3;
}

static bool next_entry(const uint8_t **p, const uint8_t *end, uint32_t prev_pgno, uint64_t offset,
	struct ltx_index_entry *entry)
{
	uint64_t pgno;
	if (!ltx_uvarint_get(p, end, &pgno) || !ltx_uvarint_get(p, end, &entry->offset) ||
		!ltx_uvarint_get(p, end, &entry->size))
		return false;
	entry->pgno = (uint32_t)pgno;
	return pgno <= UINT32_MAX && pgno > prev_pgno && entry->offset == offset &&
		   entry->size > LTX_PAGE_HEADER_SIZE && entry->size <= UINT32_MAX;
}

/* The tuples in p to end, for pages that lie between the header and pages_end. */
static bool parse(const uint8_t *p, const uint8_t *end, uint64_t pages_end,
	struct ltx_index_entry *entries, size_t count)
{
	uint64_t offset = LTX_HEADER_SIZE;
	uint32_t prev = 0;
	for (size_t i = 0; i < count; i++) {
		if (!next_entry(&p, end, prev, offset, &entries[i]))
			return false;
		prev = entries[i].pgno;
		offset += entries[i].size;
		if (offset > pages_end)
			return false;
	}
	return offset == pages_end && p + 1 == end && *p == 0;
}

/* The length of the index as the file says it, checked against the file's size. */
static int index_length(
	const uint8_t *tail, size_t n, uint64_t file_size, uint64_t *length, struct err *e)
{
	*length = get_be64(tail + n - AFTER_INDEX);
	uint64_t most = file_size - LTX_HEADER_SIZE - LTX_PAGE_HEADER_SIZE - AFTER_INDEX;
	if (*length == 0 || *length > most || *length > SIZE_MAX - AFTER_INDEX)
		return err_set(e, ERR_DAMAGED,
			"a page index of %" PRIu64 " bytes can't be in an LTX file of %" PRIu64 " bytes",
			*length, file_size);
	return ERR_OK;
}

int ltx_index_decode(const uint8_t *tail, size_t n, uint64_t file_size,
	struct ltx_index_entry **entries, size_t *count, size_t *need, struct err *e)
{
	if (file_size < LTX_HEADER_SIZE + LTX_PAGE_HEADER_SIZE + 1 + AFTER_INDEX || n > file_size)
		return err_set(e, ERR_DAMAGED, "%" PRIu64 " bytes are too few for an LTX file", file_size);
	*need = AFTER_INDEX;
	if (n < AFTER_INDEX)
		return ERR_OK;
	uint64_t length;
	int rc = index_length(tail, n, file_size, &length, e);
	if (rc)
		return rc;
	*need = (size_t)length + AFTER_INDEX;
	if (n < *need)
		return ERR_OK;
	const uint8_t *p = tail + n - *need;
	uint64_t pages_end = file_size - *need - LTX_PAGE_HEADER_SIZE;
	size_t tuples = count_tuples(p, (size_t)length);
	struct ltx_index_entry *list = calloc(tuples ? tuples : 1, sizeof(*list));
	if (!list)
		return err_nomem(e, "reading the page index of an LTX file");
	if (!parse(p, p + length, pages_end, list, tuples)) {
		free(list);
		return err_set(e, ERR_DAMAGED, "the page index does not fit the LTX file");
	}
	*need = 0;
	*entries = list;
	*count = tuples;
	return ERR_OK;
}
