#include "ltx_build.h"

#include "base/digest.h"
#include "base/endian.h"

#include <lz4.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void add(struct buf *b, const void *p, size_t n)
{
	must(buf_append(b, p, n) == ERR_OK);
}

static void add_summed(struct ltx_build *b, const void *p, size_t n)
{
	b->crc = crc64_iso_bytewise(b->crc, p, n);
	add(&b->file, p, n);
}

static void add_uvarint(struct buf *b, uint64_t v)
{
	do {
		uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		add(b, &byte, 1);
		v >>= 7;
	} while (v);
}

void ltx_build_start(struct ltx_build *b, const struct ltx_header *h, bool frames)
{
	*b = (struct ltx_build){.page_size = h->page_size, .frames = frames};
	buf_init(&b->file, (size_t)1 << 30);
	buf_init(&b->index, (size_t)1 << 30);
	uint8_t head[LTX_HEADER_SIZE] = "LTX1";
	put_be32(head + 4, h->flags);
	put_be32(head + 8, h->page_size);
	put_be32(head + 12, h->commit);
	put_be64(head + 16, h->min_txid);
	put_be64(head + 24, h->max_txid);
	put_be64(head + 32, (uint64_t)h->timestamp);
	put_be64(head + 40, h->pre_apply_checksum);
	put_be64(head + 48, h->wal_offset);
	put_be64(head + 56, h->wal_size);
	put_be32(head + 64, h->wal_salt1);
	put_be32(head + 68, h->wal_salt2);
	put_be64(head + 72, h->node_id);
	if (h->ours) {
		memcpy(head + 80, "DLS1", 4);
		put_be64(head + 84, h->before_checksum);
		put_be64(head + 92, h->after_checksum);
	}
	add_summed(b, head, sizeof(head));
}

void ltx_build_raw_page(struct ltx_build *b, uint32_t pgno, unsigned flags, const void *data,
	size_t n, const void *page)
{
	size_t at = b->file.len;
	uint8_t head[10];
	put_be32(head, pgno);
	put_be16(head + 4, (uint16_t)flags);
	put_be32(head + 6, (uint32_t)n);
	add_summed(b, head, flags & 1 ? 10 : 6);
	add(&b->file, data, n);
	b->crc = crc64_iso_bytewise(b->crc, page, b->page_size);
	add_uvarint(&b->index, pgno);
	add_uvarint(&b->index, at);
	add_uvarint(&b->index, b->file.len - at);
}

void ltx_build_page(struct ltx_build *b, uint32_t pgno, const void *page)
{
	size_t max = b->page_size * 2 + 1024, n;
	char *data = malloc(max);
	must(data != NULL);
	if (b->frames) {
		LZ4F_preferences_t prefs = {.frameInfo = {.blockSizeID = LZ4F_max64KB,
										.blockMode = LZ4F_blockIndependent,
										.contentChecksumFlag = LZ4F_contentChecksumEnabled}};
		n = LZ4F_compressFrame(data, max, page, b->page_size, &prefs);
		must(!LZ4F_isError(n));
	} else {
		n = (size_t)LZ4_compress_default(page, data, (int)b->page_size, (int)max);
	}
	ltx_build_raw_page(b, pgno, b->frames ? 0 : 1, data, n, page);
	free(data);
}

void ltx_build_end(struct ltx_build *b, uint64_t post_apply)
{
	static const uint8_t zeros[6];
	uint8_t word[8];
	add_summed(b, zeros, 6);
	add_uvarint(&b->index, 0);
	add_summed(b, b->index.data, b->index.len);
	put_be64(word, b->index.len + b->index_length_off);
	add_summed(b, word, 8);
	put_be64(word, post_apply);
	add_summed(b, word, 8);
	put_be64(word, b->crc | UINT64_C(1) << 63);
	add(&b->file, word, 8);
}

void ltx_build_free(struct ltx_build *b)
{
	buf_free(&b->file);
	buf_free(&b->index);
}

void ltx_fill_page(void *page, uint32_t page_size, uint32_t pgno, uint32_t seed)
{
	uint8_t *p = page;
	uint64_t v = (uint64_t)pgno << 32 ^ seed ^ UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t i = 0; i < page_size; i++) {
		v ^= v << 13;
		v ^= v >> 7;
		v ^= v << 17;
		p[i] = i < page_size / 2 ? (uint8_t)pgno : (uint8_t)(v >> 24);
	}
}

int ltx_write_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	int rc = buf_append(ctx, p, n);
	return rc ? err_set(e, (enum err_code)rc, "the buffer is full") : ERR_OK;
}

ptrdiff_t ltx_read_mem(void *ctx, void *p, size_t n, struct err *e)
{
	struct ltx_mem *m = ctx;
	must(!m->ended);
	m->calls++;
	if (m->calls == m->fail_at) {
		m->ended = true;
		err_set(e, ERR_UNREACHABLE, "the test's reader fails");
		return -1;
	}
	n = n < m->n ? n : m->n;
	n = n < m->piece ? n : m->piece;
	memcpy(p, m->p, n);
	m->p += n;
	m->n -= n;
	m->ended = n == 0;
	return (ptrdiff_t)n;
}
