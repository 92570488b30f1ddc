#include "source/snapshot.h"

#include "format/dbheader.h"
#include "format/ltx.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RUN_BYTES (256 * 1024)
#define PGNOS 1024

struct slice {
	const struct walread *w;
	uint32_t first, count;
	uint32_t *frames; /* of page first + i; 0 = in the database file */
	uint8_t *buf;
	uint32_t buf_pages;
};

/* Which frame holds each page of the slice? The page numbers of all frames in (from, to], in order:
 * the last one wins. */
static int find_frames(struct slice *s, uint32_t from, uint32_t to, struct err *e)
{
	uint32_t pgnos[PGNOS];
	for (uint32_t f = from + 1; f <= to;) {
		uint32_t n = to - f + 1 < PGNOS ? to - f + 1 : PGNOS;
		int rc = shm_pgnos(s->w->shm, f, f + n - 1, pgnos, e);
		if (rc)
			return rc;
		for (uint32_t i = 0; i < n; i++)
			if (pgnos[i] >= s->first && pgnos[i] - s->first < s->count)
				s->frames[pgnos[i] - s->first] = f + i;
		f += n;
	}
	return ERR_OK;
}

static int read_file(const struct walread *w, void *p, size_t n, uint64_t off, struct err *e)
{
	sqlite3_file *db = w->con->file;
	int rc = w->con->real->xRead(db, p, (int)n, (sqlite3_int64)off);
	if (rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ) /* the rest was set to zero */
		return ERR_OK;
	return err_set(e, ERR_IO, "cannot read the database at byte %" PRIu64 ": SQLite says %s [%d]",
		off, sqlite3_errstr(rc), rc);
}

/* Pages [i, i + n) of the slice into the buffer: one frame, or a run out of the file. */
static int read_run(struct slice *s, uint32_t i, uint32_t *n, struct err *e)
{
	*n = 1;
	if (s->frames[i])
		return walread_page(s->w, s->frames[i], s->buf, e);
	while (i + *n < s->count && *n < s->buf_pages && s->frames[i + *n] == 0)
		(*n)++;
	uint64_t off = (uint64_t)(s->first + i - 1) * s->w->page_size;
	return read_file(s->w, s->buf, (size_t)*n * s->w->page_size, off, e);
}

static int read_slice(struct slice *s,
	int (*fn)(void *ctx, uint32_t pgno, const void *page, struct err *e), void *ctx, struct err *e)
{
	uint32_t lock_page = ltx_lock_page(s->w->page_size);
	for (uint32_t i = 0, n; i < s->count; i += n) {
		int rc = read_run(s, i, &n, e);
		for (uint32_t k = 0; k < n && !rc; k++)
			if (s->first + i + k != lock_page)
				rc = fn(ctx, s->first + i + k, s->buf + (size_t)k * s->w->page_size, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

int snapshot_read(const struct walread *w, const struct shm_view *v, uint32_t n_page,
	uint32_t first, uint32_t count,
	int (*fn)(void *ctx, uint32_t pgno, const void *page, struct err *e), void *ctx, struct err *e)
{
	if (first == 0 || first > n_page || count == 0)
		return ERR_OK;
	struct slice s = {.w = w, .first = first, .count = count};
	if (s.count > n_page - first + 1)
		s.count = n_page - first + 1;
	s.buf_pages = RUN_BYTES / w->page_size;
	if (s.buf_pages > s.count)
		s.buf_pages = s.count;
	s.frames = calloc(s.count, sizeof(*s.frames));
	s.buf = malloc((size_t)s.buf_pages * w->page_size);
	int rc = s.frames && s.buf ? ERR_OK : err_nomem(e, "reading pages");
	if (!rc && v->backfill < v->h.mx_frame)
		rc = find_frames(&s, v->backfill, v->h.mx_frame, e);
	if (!rc)
		rc = read_slice(&s, fn, ctx, e);
	free(s.frames);
	free(s.buf);
	return rc;
}

static int take_first_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)pgno;
	return db_header_decode(page, ctx, e);
}

int snapshot_size(
	const struct walread *w, const struct shm_view *v, uint32_t *n_page, struct err *e)
{
	if (v->h.n_page > 0) {
		*n_page = v->h.n_page;
		return ERR_OK;
	}
	struct db_header h = {0};
	int rc = snapshot_read(w, v, 1, 1, 1, take_first_page, &h, e);
	if (rc)
		return rc;
	*n_page = h.n_page;
	if (h.n_page > 0 && h.version_valid_for == h.change_counter)
		return ERR_OK;
	/* Written by SQLite before 3.7: the header has no size, the file does. */
	sqlite3_int64 bytes = 0;
	if (w->con->real->xFileSize(w->con->file, &bytes) != SQLITE_OK)
		return err_set(e, ERR_IO, "cannot ask for the size of the database");
	*n_page = (uint32_t)(bytes / w->page_size);
	return ERR_OK;
}
