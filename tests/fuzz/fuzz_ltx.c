/*
 * LTX: bytes from anywhere through the decoder, the page index and the page decoder; and pages of
 * the fuzzer's choice through encoder and decoder, which must agree.
 */
#include "format/ltx.h"
#include "format/ltxset.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t page[65536];

static void must(bool ok)
{
	if (!ok)
		abort();
}

struct input {
	const uint8_t *p;
	size_t n, piece;
};

static ptrdiff_t read_input(void *ctx, void *p, size_t n, struct err *e)
{
	struct input *in = ctx;
	(void)e;
	n = n < in->n ? n : in->n;
	n = n < in->piece ? n : in->piece;
	memcpy(p, in->p, n);
	in->p += n;
	in->n -= n;
	return (ptrdiff_t)n;
}

/* Any bytes: an error with a text, or a file. */
static int decode(const uint8_t *data, size_t size, size_t piece)
{
	struct err e = ERR_INIT;
	struct input in = {data, size, piece};
	struct ltx_decoder *dec;
	int rc = ltx_decoder_new(&dec, read_input, &in, &e);
	if (!rc) {
		uint32_t pgno = 0, prev;
		do {
			prev = pgno;
			rc = ltx_decoder_page(dec, &pgno, page, &e);
			must(rc || pgno == 0 || pgno > prev);
		} while (!rc && pgno);
		must(rc || in.n == 0);
		ltx_decoder_free(dec);
	}
	must(rc == ERR_OK ||
		 ((rc == ERR_DAMAGED || rc == ERR_NOMEM) && e.code == (unsigned)rc && *e.text));
	return rc;
}

static int unpack_all(struct ltx_decoder *dec, struct err *e)
{
	static struct ltx_unpacker u;
	struct ltx_pages_sum sum = {0};
	struct ltx_raw raw;
	uint64_t checksum;
	ltx_unpacker_init(&u, ltx_decoder_header(dec)->page_size);
	for (;;) {
		int rc = ltx_decoder_raw(dec, &raw, e);
		if (rc || raw.pgno == 0)
			return rc ? rc : ltx_decoder_end(dec, &sum, e);
		must(raw.n <= ltx_raw_max(u.page_size));
		rc = ltx_unpack(&u, raw.data, raw.n, page, &sum, &checksum, e);
		if (rc)
			return rc;
		must(checksum == ltx_page_checksum(raw.pgno, page, u.page_size));
	}
}

/* The same with pages unpacked by themselves: nothing passes that the decoder refuses. (The reverse
 * may be: a file with pages in both forms.) */
static void decode_raw(const uint8_t *data, size_t size, int plain)
{
	struct err e = ERR_INIT;
	struct input in = {data, size, SIZE_MAX};
	struct ltx_decoder *dec;
	bool raw = false;
	int rc = ltx_decoder_new(&dec, read_input, &in, &e);
	if (rc)
		return;
	rc = ltx_decoder_is_raw(dec, &raw, &e);
	if (!rc && raw) {
		rc = unpack_all(dec, &e);
		must(rc ? e.code == (unsigned)rc && *e.text : plain == ERR_OK && in.n == 0);
	}
	ltx_decoder_free(dec);
}

static void decode_index(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct ltx_index_entry *entries;
	size_t count, have = size < 24 ? size : 24, need = 0;
	int rc = ltx_index_decode(data + size - have, have, size, &entries, &count, &need, &e);
	if (!rc && need) {
		must(need > have && need <= size);
		rc = ltx_index_decode(data + size - need, need, size, &entries, &count, &need, &e);
		must(rc || need == 0);
	}
	if (rc || need)
		return;
	for (size_t i = 0; i < count; i++)
		must(entries[i].offset < size && entries[i].size <= size - entries[i].offset);
	free(entries);
}

static void decode_pages(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	uint32_t pgno = size >= 4 ? (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
									(uint32_t)data[2] << 8 | data[3]
							  : 1;
	for (uint32_t page_size = 512; page_size <= 65536; page_size *= 16)
		ltx_page_decode(data, size, page_size, pgno, page, &e);
}

static int append(void *ctx, const void *p, size_t n, struct err *e)
{
	int rc = buf_append(ctx, p, n);
	return rc ? err_set(e, (enum err_code)rc, "full") : ERR_OK;
}

/* Every 32 bytes of input are a page number's distance and the content of a page, repeated. */
static void make_page(const uint8_t *data, uint32_t page_size)
{
	for (uint32_t i = 0; i < page_size; i++)
		page[i] = (uint8_t)(data[1 + i % 31] + (data[0] & 0x80 ? i / 31 : 0));
}

static void read_back(
	const struct buf *file, const uint8_t *data, uint32_t page_size, uint32_t pages)
{
	struct err e = ERR_INIT;
	struct input in = {file->data, file->len, 5000};
	struct ltx_decoder *dec;
	uint8_t *got = malloc(page_size);
	must(got && ltx_decoder_new(&dec, read_input, &in, &e) == ERR_OK);
	uint32_t pgno, want = 0;
	for (uint32_t i = 0; i < pages; i++) {
		want += 1 + (data[32 * i] & 0x7f);
		make_page(data + (size_t)32 * i, page_size);
		must(ltx_decoder_page(dec, &pgno, got, &e) == ERR_OK && pgno == want);
		must(memcmp(got, page, page_size) == 0);
	}
	must(ltx_decoder_page(dec, &pgno, got, &e) == ERR_OK && pgno == 0);
	ltx_decoder_free(dec);
	free(got);
	decode_index(file->data, file->len);
}

static void round_trip(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct buf file;
	struct ltx_encoder *enc;
	uint32_t page_size = 512u << (size % 8), pages = (uint32_t)(size / 32 % 16), pgno = 0;
	struct ltx_header h = {
		.page_size = page_size, .commit = 1 + 128 * pages, .min_txid = 2, .max_txid = 2};
	buf_init(&file, (size_t)8 << 20);
	must(ltx_encoder_new(&enc, &h, append, &file, &e) == ERR_OK);
	for (uint32_t i = 0; i < pages; i++) {
		pgno += 1 + (data[32 * i] & 0x7f);
		make_page(data + (size_t)32 * i, page_size);
		must(ltx_encoder_page(enc, pgno, page, &e) == ERR_OK);
	}
	must(ltx_encoder_finish(enc, NULL, NULL, &e) == ERR_OK);
	ltx_encoder_free(enc);
	read_back(&file, data, page_size, pages);
	buf_free(&file);
}

static void parse_name(const uint8_t *data, size_t size)
{
	char name[64], again[LTX_NAME_SIZE];
	size_t n = size < sizeof(name) - 1 ? size : sizeof(name) - 1;
	memcpy(name, data, n);
	name[n] = '\0';
	uint64_t min, max, txid;
	if (ltx_parse_name(name, &min, &max)) {
		ltx_format_name(min, max, again);
		must(strcmp(name, again) == 0);
	}
	ltx_parse_txid(name, &txid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int plain = decode(data, size, SIZE_MAX);
	must(decode(data, size, 61) == plain);
	decode_raw(data, size, plain);
	decode_index(data, size);
	decode_pages(data, size);
	parse_name(data, size);
	if (size && data[0] != 'L') /* such inputs are files */
		round_trip(data, size);
	return 0;
}
