/*
 * Reading LTX files (the layout is in ltx_header.c) as a stream, in bounded memory.
 *
 * The page index has exactly one right form for the pages that were read, so nothing of it is kept:
 * its CRC and length are computed while the pages go by and compared with those of the index that
 * comes behind them.
 */
#include "base/digest.h"
#include "base/endian.h"
#include "format/ltx_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE ((size_t)64 * 1024)

struct ltx_decoder {
	struct ltx_header header;
	ltx_read_fn read;
	void *ctx;
	uint8_t *buf; /* bytes start to end were read and not yet taken */
	size_t cap, start, end;
	bool eof;
	uint64_t offset; /* of buf[start] in the file */
	uint64_t crc;
	uint64_t index_crc, index_len; /* of the index that the pages so far must have */
	uint64_t db_checksum;          /* of the pages so far, where the file keeps checksums */
	uint32_t prev_pgno;
	size_t raw_size;          /* of the raw page that was given out and is to be taken */
	struct LZ4F_dctx_s *dctx; /* once a page in the frame form was met */
	uint64_t file_checksum;
	int failed;
	bool done;
};

static size_t available(const struct ltx_decoder *dec)
{
	return dec->end - dec->start;
}

/* Reads until n bytes (at most cap) are there or the file ends. */
static int fill(struct ltx_decoder *dec, size_t n, struct err *e)
{
	if (available(dec) >= n || dec->eof)
		return ERR_OK;
	memmove(dec->buf, dec->buf + dec->start, available(dec));
	dec->end -= dec->start;
	dec->start = 0;
	while (dec->end < n && !dec->eof) {
		ptrdiff_t got = dec->read(dec->ctx, dec->buf + dec->end, dec->cap - dec->end, e);
		if (got < 0)
			return e->code ? (int)e->code : err_set(e, ERR_IO, "cannot read the LTX file");
		dec->eof = got == 0;
		dec->end += (size_t)got;
	}
	return ERR_OK;
}

/* n bytes in one piece at *p, or ERR_DAMAGED because the file ends before. */
static int need(
	struct ltx_decoder *dec, size_t n, const char *what, const uint8_t **p, struct err *e)
{
	int rc = fill(dec, n, e);
	if (rc)
		return rc;
	if (available(dec) < n)
		return err_set(e, ERR_DAMAGED, "the LTX file ends early, at byte %" PRIu64 ", in its %s",
			dec->offset + available(dec), what);
	*p = dec->buf + dec->start;
	return ERR_OK;
}

static void take(struct ltx_decoder *dec, size_t n)
{
	dec->start += n;
	dec->offset += n;
}

/* Takes n bytes that the file checksum covers as they are. */
static void take_summed(struct ltx_decoder *dec, size_t n)
{
	dec->crc = crc64_iso(dec->crc, dec->buf + dec->start, n);
	take(dec, n);
}

static int read_header(struct ltx_decoder *dec, struct err *e)
{
	uint8_t bytes[LTX_HEADER_SIZE];
	dec->buf = bytes;
	dec->cap = sizeof(bytes);
	const uint8_t *p = NULL;
	int rc = need(dec, sizeof(bytes), "header", &p, e);
	if (!rc)
		rc = ltx_header_decode(p, &dec->header, e);
	if (!rc)
		take_summed(dec, sizeof(bytes));
	dec->start = dec->end = 0;
	dec->buf = NULL;
	return rc;
}

int ltx_decoder_new(struct ltx_decoder **out, ltx_read_fn read, void *ctx, struct err *e)
{
	return ltx_decoder_new_small(out, read, ctx, READ_SIZE, e);
}

int ltx_decoder_new_small(
	struct ltx_decoder **out, ltx_read_fn read, void *ctx, size_t read_size, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	err_clear(e);
	struct ltx_decoder *dec = calloc(1, sizeof(*dec));
	if (!dec)
		return err_nomem(e, "reading an LTX file");
	dec->read = read;
	dec->ctx = ctx;
	int rc = read_header(dec, e);
	if (!rc) {
		dec->cap = read_size + LTX_PAGE_PREFIX_SIZE + ltx_frame_max(dec->header.page_size);
		dec->buf = malloc(dec->cap);
		if (!dec->buf)
			rc = err_nomem(e, "reading an LTX file");
	}
	if (rc) {
		ltx_decoder_free(dec);
		return rc;
	}
	*out = dec;
	return ERR_OK;
}

const struct ltx_header *ltx_decoder_header(const struct ltx_decoder *dec)
{
	return &dec->header;
}

/* A page in the block form, header and all, in one piece at *p, and its size. */
static int need_block(struct ltx_decoder *dec, const uint8_t **p, size_t *size, struct err *e)
{
	int rc = need(dec, LTX_PAGE_PREFIX_SIZE, "page header", p, e);
	if (rc)
		return rc;
	uint32_t n = get_be32(*p + LTX_PAGE_HEADER_SIZE);
	if (n > ltx_block_max(dec->header.page_size))
		return err_set(e, ERR_DAMAGED,
			"%" PRIu32 " bytes of LZ4 block can't be a page of %" PRIu32 " bytes", n,
			dec->header.page_size);
	*size = LTX_PAGE_PREFIX_SIZE + (size_t)n;
	return need(dec, *size, "pages", p, e);
}

/* The content of a page in the block form; on return *size are its bytes in the file. */
static int read_block(struct ltx_decoder *dec, void *page, uint64_t *size, struct err *e)
{
	const uint8_t *p = NULL;
	size_t n;
	int rc = need_block(dec, &p, &n, e);
	if (!rc)
		rc = ltx_block_decode(
			p + LTX_PAGE_PREFIX_SIZE, n - LTX_PAGE_PREFIX_SIZE, page, dec->header.page_size, e);
	if (rc)
		return rc;
	take_summed(dec, LTX_PAGE_PREFIX_SIZE);
	take(dec, n - LTX_PAGE_PREFIX_SIZE);
	*size = n;
	return ERR_OK;
}

/* The same for the frame form, whose length is known only afterwards. */
static int read_frame(struct ltx_decoder *dec, void *page, uint64_t *size, struct err *e)
{
	size_t max = LTX_PAGE_HEADER_SIZE + ltx_frame_max(dec->header.page_size), used = 0;
	int rc = fill(dec, max, e);
	if (rc)
		return rc;
	size_t n = available(dec) < max ? available(dec) : max;
	rc = ltx_frame_decode(&dec->dctx, dec->buf + dec->start + LTX_PAGE_HEADER_SIZE,
		n - LTX_PAGE_HEADER_SIZE, page, dec->header.page_size, &used, e);
	if (rc)
		return rc;
	take_summed(dec, LTX_PAGE_HEADER_SIZE);
	take(dec, used);
	*size = LTX_PAGE_HEADER_SIZE + (uint64_t)used;
	return ERR_OK;
}

/* What the index will have to say of a page. */
static void note_entry(struct ltx_decoder *dec, const struct ltx_index_entry *entry)
{
	uint8_t tuple[LTX_INDEX_TUPLE_MAX];
	size_t n = ltx_index_tuple(entry, tuple);
	dec->index_crc = crc64_iso(dec->index_crc, tuple, n);
	dec->index_len += n;
	dec->prev_pgno = entry->pgno;
}

static void note_page(
	struct ltx_decoder *dec, const struct ltx_index_entry *entry, const void *page)
{
	note_entry(dec, entry);
	dec->crc = crc64_iso(dec->crc, page, dec->header.page_size);
	if (dec->header.min_txid == 1 && !(dec->header.flags & LTX_FLAG_NO_CHECKSUM))
		dec->db_checksum = ltx_checksum_xor(
			dec->db_checksum, ltx_page_checksum(entry->pgno, page, dec->header.page_size));
}

static int read_page(
	struct ltx_decoder *dec, uint32_t pgno, unsigned flags, void *page, struct err *e)
{
	struct ltx_index_entry entry = {pgno, dec->offset, 0};
	int rc = ltx_check_pgno(&dec->header, dec->prev_pgno, pgno, ERR_DAMAGED, e);
	if (!rc && flags > LTX_PAGE_FLAG_SIZE)
		rc = err_set(e, ERR_DAMAGED, "unknown flags %04x", flags);
	if (!rc)
		rc = flags ? read_block(dec, page, &entry.size, e) : read_frame(dec, page, &entry.size, e);
	if (rc)
		return err_wrap(e, "page %" PRIu32 " at byte %" PRIu64, pgno, entry.offset);
	note_page(dec, &entry, page);
	return ERR_OK;
}

/* The index itself, in pieces; its length behind it. */
static int read_index(struct ltx_decoder *dec, struct err *e)
{
	uint64_t at = dec->offset, want = crc64_iso(dec->index_crc, "\0", 1), crc = 0;
	const uint8_t *p = NULL;
	for (uint64_t left = dec->index_len + 1; left > 0;) {
		int rc = need(dec, 1, "page index", &p, e);
		if (rc)
			return rc;
		size_t n = available(dec) < left ? available(dec) : (size_t)left;
		crc = crc64_iso(crc, p, n);
		take_summed(dec, n);
		left -= n;
	}
	int rc = need(dec, LTX_INDEX_LENGTH_SIZE, "page index", &p, e);
	if (rc)
		return rc;
	if (crc != want || get_be64(p) != dec->index_len + 1)
		return err_set(e, ERR_DAMAGED,
			"the page index at byte %" PRIu64 " does not describe the pages before it", at);
	take_summed(dec, LTX_INDEX_LENGTH_SIZE);
	return ERR_OK;
}

static int check_post_apply(const struct ltx_decoder *dec, uint64_t post, struct err *e)
{
	if (dec->header.flags & LTX_FLAG_NO_CHECKSUM) {
		if (post)
			return err_set(e, ERR_DAMAGED,
				"LTX trailer: post-apply checksum %016" PRIx64 " where none may be", post);
		return ERR_OK;
	}
	if (!(post & LTX_CHECKSUM_FLAG))
		return err_set(
			e, ERR_DAMAGED, "LTX trailer: post-apply checksum %016" PRIx64 " is none", post);
	if (dec->header.min_txid == 1 && post != (LTX_CHECKSUM_FLAG | dec->db_checksum))
		return err_set(e, ERR_DAMAGED,
			"LTX trailer: post-apply checksum %016" PRIx64 ", but the pages have %016" PRIx64, post,
			LTX_CHECKSUM_FLAG | dec->db_checksum);
	return ERR_OK;
}

static int read_trailer(struct ltx_decoder *dec, struct err *e)
{
	const uint8_t *p = NULL;
	int rc = need(dec, LTX_TRAILER_SIZE, "trailer", &p, e);
	if (!rc)
		rc = check_post_apply(dec, get_be64(p), e);
	if (rc)
		return rc;
	dec->file_checksum = get_be64(p + 8);
	take_summed(dec, 8);
	if (dec->file_checksum != (LTX_CHECKSUM_FLAG | dec->crc))
		return err_set(e, ERR_DAMAGED,
			"the LTX file was altered: its checksum is %016" PRIx64 ", its content has %016" PRIx64,
			dec->file_checksum, LTX_CHECKSUM_FLAG | dec->crc);
	take(dec, 8);
	rc = fill(dec, 1, e);
	if (!rc && available(dec))
		rc = err_set(e, ERR_DAMAGED, "more bytes follow the end of the LTX file at byte %" PRIu64,
			dec->offset);
	return rc;
}

static int read_end(struct ltx_decoder *dec, struct err *e)
{
	take_summed(dec, LTX_PAGE_HEADER_SIZE);
	if (!ltx_is_complete(&dec->header, dec->prev_pgno))
		return err_set(e, ERR_DAMAGED,
			"the LTX file must hold all %" PRIu32 " pages and ends after page %" PRIu32,
			dec->header.commit, dec->prev_pgno);
	int rc = read_index(dec, e);
	if (!rc)
		rc = read_trailer(dec, e);
	dec->done = rc == ERR_OK;
	return rc;
}

static int read_next(struct ltx_decoder *dec, uint32_t *pgno, void *page, struct err *e)
{
	const uint8_t *p = NULL;
	int rc = need(dec, LTX_PAGE_HEADER_SIZE, "pages", &p, e);
	if (rc)
		return rc;
	uint32_t number = get_be32(p);
	unsigned flags = get_be16(p + 4);
	if (number == 0 && flags == 0)
		return read_end(dec, e);
	rc = read_page(dec, number, flags, page, e);
	*pgno = rc ? 0 : number;
	return rc;
}

int ltx_decoder_page(struct ltx_decoder *dec, uint32_t *pgno, void *page, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	*pgno = 0;
	if (dec->done)
		return ERR_OK;
	if (dec->failed)
		return err_set(e, (enum err_code)dec->failed, "reading this LTX file failed before");
	err_clear(e);
	dec->failed = read_next(dec, pgno, page, e);
	return dec->failed;
}

/* ---- pages that are decoded elsewhere ---- */

/* Not after a failure, and what fails stays failed. */
static int guard(struct ltx_decoder *dec, struct err *e)
{
	if (dec->failed)
		return err_set(e, (enum err_code)dec->failed, "reading this LTX file failed before");
	err_clear(e);
	take(dec, dec->raw_size);
	dec->raw_size = 0;
	return ERR_OK;
}

int ltx_decoder_is_raw(struct ltx_decoder *dec, bool *raw, struct err *e)
{
	const uint8_t *p = NULL;
	int rc = guard(dec, e);
	if (!rc)
		rc = dec->failed = need(dec, LTX_PAGE_HEADER_SIZE, "pages", &p, e);
	*raw = !rc && get_be16(p + 4) == LTX_PAGE_FLAG_SIZE;
	return rc;
}

static int next_raw(struct ltx_decoder *dec, struct ltx_raw *out, struct err *e)
{
	const uint8_t *p = NULL;
	int rc = need(dec, LTX_PAGE_HEADER_SIZE, "pages", &p, e);
	if (rc)
		return rc;
	unsigned flags = get_be16(p + 4);
	struct ltx_index_entry entry = {get_be32(p), dec->offset, 0};
	if (entry.pgno == 0 && flags == 0)
		return ERR_OK;
	rc = ltx_check_pgno(&dec->header, dec->prev_pgno, entry.pgno, ERR_DAMAGED, e);
	if (!rc && flags != LTX_PAGE_FLAG_SIZE)
		rc = err_set(e, ERR_DAMAGED, "flags %04x in a file of LZ4 blocks", flags);
	if (!rc)
		rc = need_block(dec, &p, &dec->raw_size, e);
	if (rc)
		return err_wrap(e, "page %" PRIu32 " at byte %" PRIu64, entry.pgno, entry.offset);
	entry.size = dec->raw_size;
	note_entry(dec, &entry);
	*out = (struct ltx_raw){entry.pgno, p, dec->raw_size};
	return ERR_OK;
}

int ltx_decoder_raw(struct ltx_decoder *dec, struct ltx_raw *out, struct err *e)
{
	*out = (struct ltx_raw){0, NULL, 0};
	int rc = guard(dec, e);
	return rc ? rc : (dec->failed = next_raw(dec, out, e));
}

int ltx_decoder_end(struct ltx_decoder *dec, const struct ltx_pages_sum *sum, struct err *e)
{
	const uint8_t *p = NULL;
	int rc = guard(dec, e);
	if (rc)
		return rc;
	rc = need(dec, LTX_PAGE_HEADER_SIZE, "pages", &p, e);
	if (!rc) {
		uint64_t each = LTX_PAGE_PREFIX_SIZE + (uint64_t)dec->header.page_size;
		dec->crc = crc64_iso_combine(dec->crc, sum->crc, sum->n * each);
		dec->db_checksum = sum->checksum;
		rc = read_end(dec, e);
	}
	return dec->failed = rc;
}

uint64_t ltx_decoder_file_checksum(const struct ltx_decoder *dec)
{
	return dec->file_checksum;
}

void ltx_decoder_free(struct ltx_decoder *dec)
{
	if (!dec)
		return;
	ltx_frame_free(dec->dctx);
	free(dec->buf);
	free(dec);
}
