/*
 * Writing LTX files (the layout is in ltx_header.c).
 *
 * A file is written in one pass: each page is compressed behind its header in an output buffer that
 * is handed on when it is full, and what its tuple of the page index says is kept until the end:
 * how far its number is from the one before, and its size. The offset follows from the sizes.
 */
#include "base/digest.h"
#include "base/endian.h"
#include "format/ltx_internal.h"

#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

/* Pages are gathered up to this size before they are handed on. */
#define OUT_FLUSH ((size_t)32 * 1024)

struct ltx_encoder {
	struct ltx_header header;
	ltx_write_fn write;
	void *ctx;
	uint8_t *out; /* OUT_FLUSH bytes, and room for one page and the terminator more */
	size_t out_len;
	uint64_t offset; /* of the end of out in the file */
	uint64_t crc;
	uint32_t prev_pgno;
	struct buf index; /* of each page: number - the one before, size */
	int failed;       /* the code of a failed write: the file is lost */
	bool finished;
};

static int flush(struct ltx_encoder *enc, struct err *e)
{
	if (enc->out_len == 0)
		return ERR_OK;
	int rc = enc->write(enc->ctx, enc->out, enc->out_len, e);
	enc->out_len = 0;
	enc->failed = rc;
	return rc;
}

/* Bytes that the file checksum covers as they are; few enough for the room behind OUT_FLUSH. */
static void put(struct ltx_encoder *enc, const uint8_t *p, size_t n)
{
	memcpy(enc->out + enc->out_len, p, n);
	enc->out_len += n;
	enc->offset += n;
	enc->crc = crc64_iso(enc->crc, p, n);
}

int ltx_encoder_new(struct ltx_encoder **out, const struct ltx_header *h, ltx_write_fn write,
	void *ctx, struct err *e)
{
	struct ltx_header header = *h;
	header.flags = LTX_FLAG_NO_CHECKSUM;
	header.pre_apply_checksum = 0;
	/* With offset 0 Litestream, taking over, would fail for ever; real salts it would trust. */
	header.wal_offset = 32;
	header.wal_size = 0;
	header.wal_salt1 = header.wal_salt2 = 0;
	uint8_t bytes[LTX_HEADER_SIZE];
	int rc = ltx_header_encode(&header, bytes, e);
	if (rc)
		return rc;
	struct ltx_encoder *enc = calloc(1, sizeof(*enc));
	if (enc)
		enc->out = malloc(OUT_FLUSH + LTX_PAGE_PREFIX_SIZE + ltx_block_max(header.page_size) +
						  LTX_PAGE_HEADER_SIZE);
	if (!enc || !enc->out) {
		free(enc);
		return err_nomem(e, "writing an LTX file");
	}
	enc->header = header;
	enc->write = write;
	enc->ctx = ctx;
	buf_init(&enc->index, SIZE_MAX / 2);
	put(enc, bytes, sizeof(bytes));
	*out = enc;
	return ERR_OK;
}

static int usable(const struct ltx_encoder *enc, struct err *e)
{
	if (enc->failed)
		return err_set(e, (enum err_code)enc->failed, "writing this LTX file failed before");
	if (enc->finished)
		return err_set(e, ERR_FAIL, "this LTX file is finished");
	return ERR_OK;
}

static int add_to_index(struct ltx_encoder *enc, uint32_t pgno, uint64_t size, struct err *e)
{
	uint8_t entry[2 * LTX_UVARINT_MAX];
	size_t n = ltx_uvarint_put(entry, pgno - enc->prev_pgno);
	n += ltx_uvarint_put(entry + n, size);
	if (buf_append(&enc->index, entry, n) == ERR_OK)
		return ERR_OK;
	enc->failed = ERR_NOMEM;
	return err_nomem(e, "writing the page index of an LTX file");
}

int ltx_encoder_page(struct ltx_encoder *enc, uint32_t pgno, const void *page, struct err *e)
{
	int rc = usable(enc, e);
	if (!rc)
		rc = ltx_check_pgno(&enc->header, enc->prev_pgno, pgno, ERR_FAIL, e);
	if (!rc && enc->out_len >= OUT_FLUSH)
		rc = flush(enc, e);
	if (rc)
		return rc;
	uint32_t page_size = enc->header.page_size;
	uint8_t *at = enc->out + enc->out_len;
	int n = LZ4_compress_default(
		page, (char *)at + LTX_PAGE_PREFIX_SIZE, (int)page_size, (int)ltx_block_max(page_size));
	if (n <= 0)
		return enc->failed = err_set(e, ERR_FAIL, "LZ4 can't compress page %" PRIu32, pgno);
	put_be32(at, pgno);
	put_be16(at + 4, LTX_PAGE_FLAG_SIZE);
	put_be32(at + 6, (uint32_t)n);
	enc->crc = crc64_iso(enc->crc, at, LTX_PAGE_PREFIX_SIZE);
	enc->crc = crc64_iso(enc->crc, page, page_size);
	uint64_t size = LTX_PAGE_PREFIX_SIZE + (uint64_t)n;
	rc = add_to_index(enc, pgno, size, e);
	enc->out_len += size;
	enc->offset += size;
	enc->prev_pgno = pgno;
	return rc;
}

/* Every tuple, out of what was kept. */
static int write_tuples(struct ltx_encoder *enc, struct err *e)
{
	const uint8_t *p = (const uint8_t *)buf_str(&enc->index), *end = p + enc->index.len;
	struct ltx_index_entry entry = {.offset = LTX_HEADER_SIZE};
	uint64_t step;
	int rc = ERR_OK;
	while (!rc && ltx_uvarint_get(&p, end, &step) && ltx_uvarint_get(&p, end, &entry.size)) {
		uint8_t tuple[LTX_INDEX_TUPLE_MAX];
		entry.pgno += (uint32_t)step;
		put(enc, tuple, ltx_index_tuple(&entry, tuple));
		entry.offset += entry.size;
		rc = enc->out_len >= OUT_FLUSH ? flush(enc, e) : ERR_OK;
	}
	return rc;
}

static int write_index(struct ltx_encoder *enc, struct err *e)
{
	static const uint8_t terminator[LTX_PAGE_HEADER_SIZE];
	put(enc, terminator, sizeof(terminator));
	uint64_t begin = enc->offset;
	int rc = flush(enc, e);
	if (!rc)
		rc = write_tuples(enc, e);
	if (rc)
		return rc;
	put(enc, (const uint8_t *)"", 1);
	uint8_t bytes[LTX_INDEX_LENGTH_SIZE];
	put_be64(bytes, enc->offset - begin);
	put(enc, bytes, sizeof(bytes));
	return ERR_OK;
}

int ltx_encoder_finish(
	struct ltx_encoder *enc, uint64_t *file_checksum, uint64_t *size, struct err *e)
{
	int rc = usable(enc, e);
	if (rc)
		return rc;
	if (!ltx_is_complete(&enc->header, enc->prev_pgno))
		return err_set(e, ERR_FAIL,
			"a file that must hold all %" PRIu32 " pages ends after page %" PRIu32,
			enc->header.commit, enc->prev_pgno);
	rc = write_index(enc, e);
	if (rc)
		return rc;
	uint8_t post_apply[8] = {0}, sum[8];
	put(enc, post_apply, sizeof(post_apply));
	uint64_t checksum = LTX_CHECKSUM_FLAG | enc->crc;
	put_be64(sum, checksum);
	put(enc, sum, sizeof(sum));
	rc = flush(enc, e);
	if (rc)
		return rc;
	enc->finished = true;
	if (file_checksum)
		*file_checksum = checksum;
	if (size)
		*size = enc->offset;
	return ERR_OK;
}

void ltx_encoder_free(struct ltx_encoder *enc)
{
	if (!enc)
		return;
	buf_free(&enc->index);
	free(enc->out);
	free(enc);
}
