#include "format/ltx_merge.h"

#include "format/ltx_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define READ_ALL ((size_t)1 << 20)
#define READ_MOST ((size_t)64 * 1024)
#define READ_LEAST ((size_t)8 * 1024)

struct source {
	struct ltx_decoder *dec;
	uint8_t *page;
	uint32_t pgno;  /* of `page`; 0 = it has no more */
	uint32_t floor; /* the smallest commit after it: its pages above don't count */
};

struct merge {
	const struct ltx_merge_input *in;
	size_t n;
	struct source *sources;
	struct ltx_encoder *enc;
	const atomic_bool *cancelled;
	struct ltx_merge_result *out;
	uint64_t checksum; /* of the pages that were written */
	uint32_t held;     /* no page up to it that had to be written is missing */
};

/* ---- faults ---- */

static int bad_file(struct merge *m, size_t i, struct err *e)
{
	if (e->code == ERR_NOMEM)
		return e->code;
	m->out->fault = LTX_MERGE_BAD_FILE;
	m->out->culprit = i;
	return err_wrap(e, "%s", m->in[i].name);
}

static int no_fit(struct merge *m, size_t i, int code)
{
	m->out->fault = LTX_MERGE_NO_FIT;
	m->out->culprit = i;
	return code;
}

/* ---- headers ---- */

static const struct ltx_header *header_of(const struct merge *m, size_t i)
{
	return ltx_decoder_header(m->sources[i].dec);
}

/* What all read buffers together take is bounded, as long as each is worth a call. */
static size_t read_size(size_t inputs)
{
	size_t size = READ_ALL / inputs;
	return size > READ_MOST ? READ_MOST : size < READ_LEAST ? READ_LEAST : size;
}

static int open_source(struct merge *m, size_t i, struct err *e)
{
	const struct ltx_merge_input *in = &m->in[i];
	if (ltx_decoder_new_small(&m->sources[i].dec, in->read, in->ctx, read_size(m->n), e))
		return bad_file(m, i, e);
	const struct ltx_header *h = header_of(m, i);
	if (h->min_txid != in->min_txid || h->max_txid != in->max_txid) {
		err_set(
			e, ERR_DAMAGED, "it holds TXID %016" PRIx64 "-%016" PRIx64, h->min_txid, h->max_txid);
		return bad_file(m, i, e);
	}
	m->sources[i].page = malloc(h->page_size);
	return m->sources[i].page ? ERR_OK : err_nomem(e, "merging LTX files");
}

/* Input i behind input i - 1. */
static int check_follows(struct merge *m, size_t i, struct err *e)
{
	const struct ltx_header *a = header_of(m, i - 1), *b = header_of(m, i);
	const char *before = m->in[i - 1].name, *after = m->in[i].name;
	if (b->min_txid - 1 != a->max_txid)
		return no_fit(m, i,
			err_set(e, ERR_DAMAGED, "%s does not begin where %s ends, at TXID %016" PRIx64, after,
				before, a->max_txid));
	if (b->before_checksum && a->after_checksum && b->before_checksum != a->after_checksum)
		return no_fit(m, i,
			err_set(e, ERR_DAMAGED,
				"%s was not written on top of %s: it was made from the database with checksum "
				"%016" PRIx64 ", the other led to %016" PRIx64 " (two writers on one replica?)",
				after, before, b->before_checksum, a->after_checksum));
	if (b->page_size != a->page_size) {
		m->out->fault = LTX_MERGE_OTHER_SIZE;
		m->out->culprit = i;
		return err_set(e, ERR_DAMAGED,
			"%s has pages of %" PRIu32 " bytes, %s before it of %" PRIu32, after, b->page_size,
			before, a->page_size);
	}
	return ERR_OK;
}

static struct ltx_header merged_header(const struct merge *m)
{
	const struct ltx_header *first = header_of(m, 0);
	struct ltx_header h = *header_of(m, m->n - 1);
	h.min_txid = first->min_txid;
	h.before_checksum = h.min_txid == 1 ? 0 : first->before_checksum;
	h.ours |= first->ours;
	return h;
}

static int open_sources(struct merge *m, struct err *e)
{
	for (size_t i = 0; i < m->n; i++) {
		int rc = open_source(m, i, e);
		if (!rc && i > 0)
			rc = check_follows(m, i, e);
		if (rc)
			return rc;
	}
	m->out->header = merged_header(m);
	if (m->out->header.commit == 0)
		return no_fit(m, m->n - 1,
			err_set(e, ERR_DAMAGED, "%s leaves a database of 0 pages, which can't be written",
				m->in[m->n - 1].name));
	uint32_t floor = UINT32_MAX;
	m->held = m->out->header.commit;
	for (size_t i = m->n; i-- > 0;) {
		m->sources[i].floor = floor;
		if (header_of(m, i)->commit < floor)
			floor = header_of(m, i)->commit;
	}
	if (floor < m->held)
		m->held = floor;
	return ERR_OK;
}

/* ---- pages ---- */

/* Page pgno was cut off by an input, and none behind that holds it. */
static int missing(struct merge *m, uint32_t pgno, struct err *e)
{
	size_t cut = m->n - 1;
	while (cut > 0 && header_of(m, cut)->commit >= pgno)
		cut--;
	return no_fit(m, cut + 1,
		err_set(e, ERR_DAMAGED,
			"after %s the database has %" PRIu32 " pages, at the end %" PRIu32
			", but no file behind it holds page %" PRIu32,
			m->in[cut].name, header_of(m, cut)->commit, m->out->header.commit, pgno));
}

static int next_page(struct merge *m, size_t i, struct err *e)
{
	struct source *s = &m->sources[i];
	int rc = ltx_decoder_page(s->dec, &s->pgno, s->page, e);
	return rc ? bad_file(m, i, e) : ERR_OK;
}

/* The lowest page number that a source stands at, and the newest source that stands there. */
static uint32_t lowest(const struct merge *m, size_t *newest)
{
	uint32_t pgno = 0;
	for (size_t i = 0; i < m->n; i++) {
		uint32_t at = m->sources[i].pgno;
		if (at && (pgno == 0 || at <= pgno)) {
			pgno = at;
			*newest = i;
		}
	}
	return pgno;
}

static int write_page(struct merge *m, const struct source *s, struct err *e)
{
	const struct ltx_header *h = &m->out->header;
	if (s->pgno > m->held) {
		uint32_t want = ltx_next_full_pgno(m->held, h->page_size);
		if (s->pgno != want)
			return missing(m, want, e);
		m->held = s->pgno;
	}
	if (h->min_txid == 1)
		m->checksum =
			ltx_checksum_xor(m->checksum, ltx_page_checksum(s->pgno, s->page, h->page_size));
	return ltx_encoder_page(m->enc, s->pgno, s->page, e);
}

/* Writes one page and lets all sources pass it. */
static int step(struct merge *m, uint32_t pgno, size_t newest, struct err *e)
{
	int rc = ERR_OK;
	const struct source *s = &m->sources[newest];
	if (pgno <= s->floor)
		rc = write_page(m, s, e);
	for (size_t i = 0; !rc && i <= newest; i++)
		if (m->sources[i].pgno == pgno)
			rc = next_page(m, i, e);
	return rc;
}

static int copy_pages(struct merge *m, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < m->n; i++)
		rc = next_page(m, i, e);
	while (!rc) {
		size_t newest = 0;
		uint32_t pgno = lowest(m, &newest);
		if (pgno == 0)
			break;
		if (m->cancelled && atomic_load_explicit(m->cancelled, memory_order_relaxed))
			return err_set(e, ERR_CANCELLED, "merging LTX files was stopped");
		rc = step(m, pgno, newest, e);
	}
	return rc;
}

/* ---- the end ---- */

static int check_whole(struct merge *m, struct err *e)
{
	struct ltx_header all = m->out->header;
	all.min_txid = 1;
	if (m->held < all.commit && !ltx_is_complete(&all, m->held))
		return missing(m, ltx_next_full_pgno(m->held, all.page_size), e);
	const struct ltx_header *h = &m->out->header;
	if (h->min_txid != 1 || !h->after_checksum || h->after_checksum == m->checksum)
		return ERR_OK;
	err_set(e, ERR_DAMAGED,
		"%s records the database checksum %016" PRIx64
		", but the pages of all files from the first to it have %016" PRIx64,
		m->in[m->n - 1].name, h->after_checksum, m->checksum);
	return m->n == 1 ? bad_file(m, 0, e) : no_fit(m, m->n - 1, e->code);
}

static int merge(struct merge *m, ltx_write_fn write, void *ctx, struct err *e)
{
	int rc = open_sources(m, e);
	if (!rc)
		rc = ltx_encoder_new(&m->enc, &m->out->header, write, ctx, e);
	if (!rc)
		rc = copy_pages(m, e);
	if (!rc)
		rc = check_whole(m, e);
	if (!rc)
		rc = ltx_encoder_finish(m->enc, &m->out->file_checksum, &m->out->size, e);
	return rc;
}

int ltx_merge(const struct ltx_merge_input *inputs, size_t n, ltx_write_fn write, void *ctx,
	const atomic_bool *cancelled, struct ltx_merge_result *out, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	err_clear(e);
	*out = (struct ltx_merge_result){0};
	if (n == 0)
		return err_set(e, ERR_FAIL, "no files to merge");
	struct merge m = {.in = inputs, .n = n, .cancelled = cancelled, .out = out};
	m.sources = calloc(n, sizeof(*m.sources));
	if (!m.sources)
		return err_nomem(e, "merging LTX files");
	int rc = merge(&m, write, ctx, e);
	for (size_t i = 0; i < n; i++) {
		ltx_decoder_free(m.sources[i].dec);
		free(m.sources[i].page);
	}
	ltx_encoder_free(m.enc);
	free(m.sources);
	return rc;
}
