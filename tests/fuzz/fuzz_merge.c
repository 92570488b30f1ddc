/*
 * Merging LTX files with any commits, pages, TXIDs and checksums that a valid file may have: an
 * error that names a file, or a file that holds of each page what the rules say.
 *
 *   byte 0            inputs (1 to 4), page size (512 or 1024), whether the first TXID is 1
 *   for each input    gap to the TXID before (1: mostly 0), commit (4), before and after (1 each),
 *                     pages (1), then for each page: distance (1), content (1)
 */
#include "format/ltx_merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUTS 4
#define PAGES 32

struct input {
	struct ltx_header header;
	uint32_t pgnos[PAGES];
	uint8_t fill[PAGES];
	size_t pages;
	struct buf file;
	size_t at; /* read so far */
	char name[8];
};

static uint8_t page[1024];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t next_byte(const uint8_t **p, const uint8_t *end)
{
	return *p < end ? *(*p)++ : 0;
}

static int append(void *ctx, const void *p, size_t n, struct err *e)
{
	int rc = buf_append(ctx, p, n);
	return rc ? err_set(e, (enum err_code)rc, "full") : ERR_OK;
}

static ptrdiff_t read_input(void *ctx, void *p, size_t n, struct err *e)
{
	struct input *in = ctx;
	(void)e;
	n = n < in->file.len - in->at ? n : in->file.len - in->at;
	if (n)
		memcpy(p, in->file.data + in->at, n);
	in->at += n;
	return (ptrdiff_t)n;
}

static uint64_t checksum(uint8_t v)
{
	return v % 4 ? LTX_CHECKSUM_FLAG | v % 4 : 0;
}

static void read_input_bytes(
	struct input *in, uint64_t min, uint32_t page_size, const uint8_t **p, const uint8_t *end)
{
	uint32_t commit = 0;
	for (int i = 0; i < 4; i++)
		commit = commit << 8 | next_byte(p, end);
	in->header = (struct ltx_header){.page_size = page_size,
		.commit = commit ? commit : 1,
		.min_txid = min,
		.max_txid = min,
		.ours = true};
	in->header.before_checksum = checksum(next_byte(p, end));
	in->header.after_checksum = checksum(next_byte(p, end));
	if (min == 1)
		in->header.before_checksum = 0;
	in->pages = next_byte(p, end) % (PAGES + 1);
	uint32_t pgno = 0;
	for (size_t i = 0; i < in->pages; i++) {
		pgno += 1 + next_byte(p, end) % 8;
		in->pgnos[i] = pgno;
		in->fill[i] = next_byte(p, end);
	}
}

/* False when the encoder refuses it. */
static bool encode(struct input *in)
{
	struct ltx_encoder *enc;
	struct err e = ERR_INIT;
	buf_init(&in->file, (size_t)1 << 20);
	if (ltx_encoder_new(&enc, &in->header, append, &in->file, &e))
		return false;
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < in->pages; i++) {
		memset(page, in->fill[i], in->header.page_size);
		rc = ltx_encoder_page(enc, in->pgnos[i], page, &e);
	}
	if (!rc)
		rc = ltx_encoder_finish(enc, NULL, NULL, &e);
	ltx_encoder_free(enc);
	return rc == ERR_OK;
}

/* What the merged file must hold of a page: its content, or -1. */
static int expected(const struct input *in, size_t n, uint32_t pgno)
{
	for (size_t i = n; i-- > 0;) {
		for (size_t k = 0; k < in[i].pages; k++)
			if (in[i].pgnos[k] == pgno)
				return in[i].fill[k];
		if (i && in[i - 1].header.commit < pgno)
			return -1; /* cut off: what is before does not count */
	}
	return -1;
}

static void check_merged(const struct input *in, size_t n, struct buf *file)
{
	struct input out = {.file = *file};
	struct ltx_decoder *dec;
	struct err e = ERR_INIT;
	uint32_t pgno = 1, last = 0, found = 0, want = 0;
	must(ltx_decoder_new(&dec, read_input, &out, &e) == ERR_OK);
	const struct ltx_header *h = ltx_decoder_header(dec);
	must(h->commit == in[n - 1].header.commit && h->min_txid == in[0].header.min_txid);
	must(h->max_txid == in[n - 1].header.max_txid);
	must(h->before_checksum == in[0].header.before_checksum);
	must(h->after_checksum == in[n - 1].header.after_checksum);
	while (pgno) {
		must(ltx_decoder_page(dec, &pgno, page, &e) == ERR_OK);
		must(!pgno || (pgno > last && expected(in, n, pgno) == page[0]));
		last = pgno;
		found += pgno != 0;
	}
	for (pgno = 1; pgno <= PAGES * 8 && pgno <= h->commit; pgno++)
		want += expected(in, n, pgno) >= 0;
	must(found == want);
	ltx_decoder_free(dec);
}

static void merge(struct input *in, size_t n)
{
	struct ltx_merge_input inputs[INPUTS];
	struct ltx_merge_result result;
	struct err e = ERR_INIT;
	struct buf out;
	for (size_t i = 0; i < n; i++) {
		snprintf(in[i].name, sizeof(in[i].name), "file-%zu", i);
		inputs[i] = (struct ltx_merge_input){
			in[i].name, in[i].header.min_txid, in[i].header.max_txid, read_input, &in[i]};
	}
	buf_init(&out, (size_t)4 << 20);
	int rc = ltx_merge(inputs, n, append, &out, NULL, &result, &e);
	if (rc) {
		/* A single file can only contradict itself. */
		must(rc == ERR_DAMAGED && result.culprit < n);
		must(result.fault == (n == 1 ? LTX_MERGE_BAD_FILE : LTX_MERGE_NO_FIT));
		must(strstr(e.text, "file-") != NULL);
	} else {
		must(result.size == out.len);
		check_merged(in, n, &out);
	}
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input *in = calloc(INPUTS, sizeof(*in));
	must(in != NULL);
	const uint8_t *p = data, *end = data + size;
	uint8_t first = next_byte(&p, end);
	size_t n = 1 + first % INPUTS;
	uint64_t txid = first & 0x80 ? 1 : 9;
	bool valid = true;
	for (size_t i = 0; i < n; i++) {
		uint8_t gap = next_byte(&p, end);
		if (i)
			txid += 1 + (gap > 250);
		read_input_bytes(&in[i], txid, first & 0x40 ? 1024 : 512, &p, end);
		valid &= encode(&in[i]);
	}
	if (valid)
		merge(in, n);
	for (size_t i = 0; i < n; i++)
		buf_free(&in[i].file);
	free(in);
	return 0;
}
