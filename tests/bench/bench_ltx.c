/* bench_ltx [PAGE_SIZE] - MB/s of pages through the LTX encoder and decoder on one core. Pages are
 * half random, half zeros: about what tables of an app are. */
#include "base/clock.h"
#include "format/ltx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOTAL ((size_t)256 << 20)
#define DISTINCT 64

struct memory {
	struct buf buf;
	size_t at;
};

static int append(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	return buf_append(&((struct memory *)ctx)->buf, p, n);
}

static ptrdiff_t give(void *ctx, void *p, size_t n, struct err *e)
{
	struct memory *m = ctx;
	(void)e;
	n = n < m->buf.len - m->at ? n : m->buf.len - m->at;
	memcpy(p, m->buf.data + m->at, n);
	m->at += n;
	return (ptrdiff_t)n;
}

static void check(int rc, const struct err *e)
{
	if (rc) {
		fprintf(stderr, "bench_ltx: %s\n", e->text);
		exit(1);
	}
}

static uint8_t *make_pages(uint32_t page_size)
{
	uint8_t *pages = calloc(DISTINCT, page_size);
	if (!pages)
		exit(1);
	for (size_t i = 0; i < (size_t)DISTINCT * page_size; i++)
		pages[i] = i % page_size < page_size / 2 ? (uint8_t)(random() >> 5) : 0;
	return pages;
}

static void encode(struct memory *m, uint32_t page_size, uint32_t count, const uint8_t *pages)
{
	struct err e = ERR_INIT;
	struct ltx_encoder *enc;
	struct ltx_header h = {.page_size = page_size, .commit = count, .min_txid = 2, .max_txid = 2};
	check(ltx_encoder_new(&enc, &h, append, m, &e), &e);
	for (uint32_t pgno = 1; pgno <= count; pgno++)
		check(ltx_encoder_page(enc, pgno, pages + (size_t)(pgno % DISTINCT) * page_size, &e), &e);
	check(ltx_encoder_finish(enc, NULL, NULL, &e), &e);
	ltx_encoder_free(enc);
}

static void decode(struct memory *m, uint32_t page_size)
{
	struct err e = ERR_INIT;
	struct ltx_decoder *dec;
	uint8_t *page = malloc(page_size);
	uint32_t pgno;
	m->at = 0;
	check(page ? ERR_OK : ERR_NOMEM, &e);
	check(ltx_decoder_new(&dec, give, m, &e), &e);
	do {
		check(ltx_decoder_page(dec, &pgno, page, &e), &e);
	} while (pgno);
	ltx_decoder_free(dec);
	free(page);
}

int main(int argc, char **argv)
{
	uint32_t page_size = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 4096;
	if (!ltx_valid_page_size(page_size)) {
		fprintf(stderr, "usage: bench_ltx [PAGE_SIZE]\n");
		return 2;
	}
	uint8_t *pages = make_pages(page_size);
	struct memory m = {.at = 0};
	buf_init(&m.buf, 2 * TOTAL);
	for (int round = 0; round < 2; round++) { /* the first one pays for the memory */
		buf_reset(&m.buf);
		int64_t start = clock_mono_us();
		encode(&m, page_size, (uint32_t)(TOTAL / page_size) - 2, pages);
		int64_t middle = clock_mono_us();
		decode(&m, page_size);
		int64_t end = clock_mono_us();
		if (round)
			printf("ltx encode %5.0f MB/s   decode %5.0f MB/s   (%zu MB of %zu)\n",
				(double)TOTAL / (double)(middle - start), (double)TOTAL / (double)(end - middle),
				m.buf.len >> 20, TOTAL >> 20);
	}
	buf_free(&m.buf);
	free(pages);
	return 0;
}
