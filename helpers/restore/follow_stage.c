/*
 * An LTX file read, checked and compared with the followed database, before anything is written.
 *
 * The database checksum is the XOR of its pages' checksums, so the one after the file is known from
 * the one before it and from the pages that change: each page's old content leaves it, its new one
 * enters, what is cut off leaves, new pages that no file holds enter as zeros. Page 1 is told by
 * what the source has there: the file here differs in a few bytes.
 */
#include "base/array.h"
#include "base/fs.h"
#include "restore/follow_file.h"
#include "restore/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MIN_PAGE_BYTES 16 /* what a page takes in a file at least */

struct staging {
	struct follow_file *f;
	const struct ltx_file *file;
	struct ltx_header h;
	uint8_t *fresh, *old; /* a page each */
	bool known;           /* the checksum is */
	uint64_t holes;       /* new pages that the file doesn't hold */
};

static uint64_t sum_of(const struct staging *g, uint32_t pgno, const uint8_t *page)
{
	return ltx_page_checksum(pgno, page, g->h.page_size);
}

static void mix(struct staging *g, uint64_t page_sum)
{
	g->f->staged.sum = ltx_checksum_xor(g->f->staged.sum, page_sum);
}

static int read_old(struct staging *g, uint32_t pgno, struct err *e)
{
	off_t at = (off_t)(pgno - 1) * g->h.page_size;
	if (fs_pread_full(g->f->fd, g->old, g->h.page_size, at))
		return err_errno(e, ERR_IO, errno, "cannot read page %" PRIu32 " of %s", pgno, g->f->path);
	return ERR_OK;
}

static int keep(struct staging *g, uint32_t pgno, struct err *e)
{
	struct follow_staged *t = &g->f->staged;
	off_t at = (off_t)t->count * g->h.page_size;
	void *more = array_append(t->numbers, &t->count, &t->cap, sizeof(*t->numbers), &pgno);
	if (!more)
		return err_nomem(e, "following a replica");
	t->numbers = more;
	t->has_page1 |= pgno == 1;
	if (fs_pwrite_full(t->fd, g->fresh, g->h.page_size, at))
		return err_errno(
			e, fs_error_code(errno), errno, "cannot write a scratch file in %s", g->f->folder.path);
	return ERR_OK;
}

/* New pages before `pgno` that are in no file are zeros. */
static void add_holes(struct staging *g, uint64_t pgno)
{
	struct follow_staged *t = &g->f->staged;
	uint32_t lock = ltx_lock_page(g->h.page_size);
	for (; t->next < pgno; t->next++) {
		if (t->next == lock)
			continue;
		memset(g->old, 0, g->h.page_size);
		mix(g, sum_of(g, (uint32_t)t->next, g->old));
		g->holes++;
	}
}

static int take_page1(struct staging *g, struct err *e)
{
	struct follow_staged *t = &g->f->staged;
	uint64_t sum = sum_of(g, 1, g->fresh), was = g->f->state.now.page1;
	t->point.page1 = sum;
	if (sum == was)
		return ERR_OK;
	mix(g, was);
	mix(g, sum);
	return keep(g, 1, e);
}

static int take_page(struct staging *g, uint32_t pgno, struct err *e)
{
	struct follow_staged *t = &g->f->staged;
	if (pgno == 1)
		return take_page1(g, e);
	if (pgno > g->f->state.now.n_page) {
		add_holes(g, pgno);
		t->next = (uint64_t)pgno + 1;
		mix(g, sum_of(g, pgno, g->fresh));
		return keep(g, pgno, e);
	}
	int rc = read_old(g, pgno, e);
	if (rc || memcmp(g->old, g->fresh, g->h.page_size) == 0)
		return rc;
	mix(g, sum_of(g, pgno, g->old));
	mix(g, sum_of(g, pgno, g->fresh));
	return keep(g, pgno, e);
}

/* Pages that the database no longer has. */
static int take_cut(struct staging *g, struct err *e)
{
	uint32_t lock = ltx_lock_page(g->h.page_size);
	int rc = ERR_OK;
	for (uint64_t pgno = (uint64_t)g->h.commit + 1; !rc && pgno <= g->f->state.now.n_page; pgno++) {
		if (pgno == lock || !g->known)
			continue;
		rc = read_old(g, (uint32_t)pgno, e);
		if (!rc)
			mix(g, sum_of(g, (uint32_t)pgno, g->old));
	}
	return rc;
}

static int check_header(struct staging *g, bool *contradicts, struct err *e)
{
	const struct follow_point *now = &g->f->state.now;
	if (g->h.page_size != now->page_size)
		return err_set(e, ERR_DATABASE,
			"the database has pages of %" PRIu32 " bytes now, %s of %" PRIu32
			": restore it anew (-force -f)",
			g->h.page_size, g->f->path, now->page_size);
	int rc = verify_header(&g->h, g->file, now->page_size, e);
	if (rc)
		return rc;
	uint32_t old = now->n_page;
	if (g->h.commit > old && g->h.commit - old > g->file->size / MIN_PAGE_BYTES)
		return err_set(e, ERR_DAMAGED,
			"its header says that the database has %" PRIu32 " pages, more than it can hold",
			g->h.commit);
	if (g->h.ours && g->h.before_checksum && now->checksum && g->h.min_txid == now->txid + 1 &&
		g->h.before_checksum != now->checksum) {
		*contradicts = true;
		return err_set(e, ERR_DAMAGED,
			"it was not written on top of the state that was followed: the database checksum "
			"before "
			"it is %016" PRIx64 ", that of TXID %016" PRIx64 " is %016" PRIx64
			" (two writers on one replica, or another database's replica?)",
			g->h.before_checksum, now->txid, now->checksum);
	}
	return ERR_OK;
}

static int check_result(struct staging *g, struct err *e)
{
	struct follow_staged *t = &g->f->staged;
	bool recorded = g->h.ours && g->h.after_checksum;
	if (recorded && g->known && g->h.after_checksum != t->sum)
		return err_set(e, ERR_DAMAGED,
			"what it makes of the database is not what was replicated: the database checksum is "
			"%016" PRIx64 ", but it recorded %016" PRIx64,
			t->sum, g->h.after_checksum);
	if (!recorded && g->holes)
		return err_set(e, ERR_DAMAGED,
			"%" PRIu64 " pages that are new in the database are not in it", g->holes);
	t->point.checksum = g->known ? t->sum : 0;
	return ERR_OK;
}

/* All pages are in a full file: its checksum needs no other. */
static void begin(struct staging *g)
{
	struct follow_staged *t = &g->f->staged;
	const struct follow_point *now = &g->f->state.now;
	t->count = 0;
	t->has_page1 = false;
	t->sum = now->checksum;
	t->next = (uint64_t)now->n_page + 1;
	t->point = (struct follow_point){.txid = g->h.max_txid,
		.page1 = now->page1,
		.counter = now->counter,
		.n_page = g->h.commit,
		.page_size = g->h.page_size};
	g->known = now->checksum && now->page1;
}

static int read_pages(struct staging *g, struct ltx_decoder *dec, struct err *e)
{
	int rc = ERR_OK;
	uint64_t all = 0;
	for (;;) {
		uint32_t pgno;
		rc = ltx_decoder_page(dec, &pgno, g->fresh, e);
		if (rc || pgno == 0)
			break;
		if (!g->known && g->h.min_txid == 1)
			all = ltx_checksum_xor(all, sum_of(g, pgno, g->fresh));
		rc = take_page(g, pgno, e);
		if (rc)
			break;
	}
	if (!rc)
		add_holes(g, (uint64_t)g->h.commit + 1);
	if (!rc)
		rc = take_cut(g, e);
	if (!rc && all) {
		g->f->staged.sum = all;
		g->known = true;
	}
	return rc;
}

int follow_stage(struct follow_file *f, const struct ltx_file *file, struct ltx_decoder *dec,
	bool *contradicts, struct err *e)
{
	struct staging g = {.f = f, .file = file, .h = *ltx_decoder_header(dec)};
	*contradicts = false;
	int rc = check_header(&g, contradicts, e);
	if (rc)
		return rc;
	begin(&g);
	g.fresh = malloc(g.h.page_size);
	g.old = malloc(g.h.page_size);
	if (!g.fresh || !g.old)
		rc = err_nomem(e, "following a replica");
	else if (fs_ftruncate(f->staged.fd, 0))
		rc = err_errno(e, ERR_IO, errno, "cannot empty a scratch file in %s", f->folder.path);
	if (!rc)
		rc = read_pages(&g, dec, e);
	if (!rc)
		rc = check_result(&g, e);
	free(g.fresh);
	free(g.old);
	return rc;
}
