#include "lib/image.h"

#include "format/ltxset.h"
#include "lib/ltx_build.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void image_free(struct image *im)
{
	free(im->pages);
	memset(im, 0, sizeof(*im));
}

static int take(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	return buf_append(ctx, p, n);
}

static int fetch(
	const char *url, int level, uint64_t min, uint64_t max, struct buf *out, struct err *e)
{
	struct store *s = NULL;
	char folder[16], name[LTX_NAME_SIZE], full[64];
	int rc = store_open(&s, url, NULL, e);
	if (rc)
		return rc;
	store_level_prefix(s, level, folder);
	ltx_format_name(min, max, name);
	snprintf(full, sizeof(full), "%s%s", folder, name);
	rc = store_get(s, full, 0, 0, take, out, e);
	store_close(s);
	return rc;
}

static void resize(struct image *im, const struct ltx_header *h)
{
	if (h->page_size != im->page_size)
		im->n_page = 0;
	im->page_size = h->page_size;
	im->pages = realloc(im->pages, (size_t)h->commit * h->page_size);
	if (!im->pages)
		abort();
	if (h->commit > im->n_page)
		memset(im->pages + (size_t)im->n_page * h->page_size, 0,
			(size_t)(h->commit - im->n_page) * h->page_size);
	im->n_page = h->commit;
	im->header = *h;
}

static int apply(struct image *im, struct ltx_mem *m, struct err *e)
{
	struct ltx_decoder *dec = NULL;
	uint8_t *page = malloc(65536);
	uint32_t pgno = 1;
	int rc = ltx_decoder_new(&dec, ltx_read_mem, m, e);
	if (!rc)
		resize(im, ltx_decoder_header(dec));
	while (!rc && pgno) {
		rc = ltx_decoder_page(dec, &pgno, page, e);
		if (!rc && pgno)
			memcpy(im->pages + (size_t)(pgno - 1) * im->page_size, page, im->page_size);
	}
	ltx_decoder_free(dec);
	free(page);
	return rc;
}

bool image_apply(struct image *im, const char *url, int level, uint64_t min, uint64_t max)
{
	struct buf b;
	struct err e = ERR_INIT;
	buf_init(&b, SIZE_MAX / 2);
	int rc = fetch(url, level, min, max, &b, &e);
	struct ltx_mem m = {.p = b.data, .n = b.len, .piece = 65536};
	if (!rc)
		rc = apply(im, &m, &e);
	if (rc)
		fprintf(stderr, "L%d %" PRIx64 "-%" PRIx64 ": %s\n", level, min, max, e.text);
	buf_free(&b);
	return rc == 0;
}

uint64_t image_checksum(const struct image *im)
{
	uint64_t sum = 0;
	for (uint32_t pgno = 1; pgno <= im->n_page; pgno++)
		if (pgno != ltx_lock_page(im->page_size))
			sum = ltx_checksum_xor(
				sum, ltx_page_checksum(
						 pgno, im->pages + (size_t)(pgno - 1) * im->page_size, im->page_size));
	return sum;
}

bool image_same(const struct image *a, const struct image *b)
{
	if (a->page_size != b->page_size || a->n_page != b->n_page) {
		fprintf(stderr, "%u pages of %u bytes, %u of %u\n", a->n_page, a->page_size, b->n_page,
			b->page_size);
		return false;
	}
	for (uint32_t i = 0; i < a->n_page; i++)
		if (memcmp(a->pages + (size_t)i * a->page_size, b->pages + (size_t)i * a->page_size,
				a->page_size) != 0) {
			fprintf(stderr, "page %u of %u differs\n", i + 1, a->n_page);
			return false;
		}
	return true;
}

static bool is_right(const struct image *snapshot, const struct image *chain)
{
	const struct ltx_header *s = &snapshot->header, *l = &chain->header;
	bool same = image_same(snapshot, chain);
	if (s->after_checksum != image_checksum(snapshot) || s->after_checksum != l->after_checksum) {
		fprintf(stderr, "recorded %" PRIx64 ", is %" PRIx64 ", L0 says %" PRIx64 "\n",
			s->after_checksum, image_checksum(snapshot), l->after_checksum);
		same = false;
	}
	if (s->timestamp != l->timestamp || s->before_checksum != 0 || !s->ours || !s->node_id) {
		fprintf(stderr, "the header is wrong\n");
		same = false;
	}
	return same;
}

bool image_snapshot_is_right(const char *url, uint64_t txid)
{
	struct image snapshot = {0}, chain = {0};
	bool right = image_apply(&snapshot, url, LTX_SNAPSHOT_LEVEL, 1, txid);
	for (uint64_t n = 1; n <= txid && right; n++)
		right = image_apply(&chain, url, 0, n, n);
	right = right && is_right(&snapshot, &chain);
	image_free(&snapshot);
	image_free(&chain);
	return right;
}
