#include "replicate/ltxfile.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)64 * 1024)
#define GENTLE_BYTES (UINT64_C(8) << 20)

struct ltxfile {
	int fd;
	char *path;
	uint64_t offset; /* reading: of the next byte; writing: of the buffer's start */
	uint64_t synced; /* writing gently: up to there */
	size_t used;
	uint8_t *buffer; /* NULL when reading: the decoder has its own */
};

static int open_file(struct ltxfile **out, const char *path, int flags, struct err *e)
{
	struct ltxfile *f = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(e, "opening an LTX file");
	f->path = strdup(path);
	f->fd = fs_open(path, flags | O_NOFOLLOW, 0600);
	int saved = errno;
	int rc = ERR_OK;
	if (f->fd < 0)
		rc = err_errno(e, saved == ENOENT ? ERR_NOT_FOUND : fs_error_code(saved), saved,
			"cannot open %s", path);
	else if (!f->path)
		rc = err_nomem(e, "opening an LTX file");
	if (rc) {
		ltxfile_close(f);
		return rc;
	}
	*out = f;
	return ERR_OK;
}

int ltxfile_create(struct ltxfile **out, const char *path, struct err *e)
{
	struct ltxfile *f = NULL;
	int rc = open_file(&f, path, O_RDWR | O_CREAT | O_TRUNC, e);
	if (rc)
		return rc;
	f->buffer = malloc(BUFFER_SIZE);
	if (!f->buffer) {
		ltxfile_close(f);
		return err_nomem(e, "writing an LTX file");
	}
	*out = f;
	return ERR_OK;
}

static int write_failed(const struct ltxfile *f, struct err *e)
{
	return err_errno(e, fs_error_code(errno), errno, "cannot write %s", f->path);
}

static int write_out(struct ltxfile *f, struct err *e)
{
	if (f->used && fs_pwrite_full(f->fd, f->buffer, f->used, (off_t)f->offset))
		return write_failed(f, e);
	f->offset += f->used;
	f->used = 0;
	return ERR_OK;
}

int ltxfile_write(void *ctx, const void *p, size_t n, struct err *e)
{
	struct ltxfile *f = ctx;
	const uint8_t *from = p;
	while (n) {
		size_t part = BUFFER_SIZE - f->used < n ? BUFFER_SIZE - f->used : n;
		memcpy(f->buffer + f->used, from, part);
		f->used += part;
		from += part;
		n -= part;
		int rc = f->used == BUFFER_SIZE ? write_out(f, e) : ERR_OK;
		if (rc)
			return rc;
	}
	return ERR_OK;
}

int ltxfile_flush(struct ltxfile *f, int sync, struct err *e)
{
	int rc = write_out(f, e);
	if (!rc && sync && fs_fsync(f->fd))
		rc = write_failed(f, e);
	return rc;
}

int ltxfile_write_gently(void *ctx, const void *p, size_t n, struct err *e)
{
	struct ltxfile *f = ctx;
	int rc = ltxfile_write(f, p, n, e);
	if (!rc && f->offset - f->synced >= GENTLE_BYTES) {
		rc = ltxfile_flush(f, 1, e);
		f->synced = f->offset;
	}
	return rc;
}

int ltxfile_publish(const char *tmp, const char *path, struct err *e)
{
	if (fs_rename(tmp, path))
		return err_errno(e, ERR_IO, errno, "cannot rename %s", tmp);
	if (fs_fsync_parent(path))
		return err_errno(e, ERR_IO, errno, "cannot fsync the folder of %s", path);
	return ERR_OK;
}

int ltxfile_open(struct ltxfile **out, const char *path, struct err *e)
{
	return open_file(out, path, O_RDONLY, e);
}

ptrdiff_t ltxfile_read(void *ctx, void *p, size_t n, struct err *e)
{
	struct ltxfile *f = ctx;
	struct stat st;
	if (fstat(f->fd, &st)) {
		err_errno(e, ERR_IO, errno, "cannot look at %s", f->path);
		return -1;
	}
	uint64_t left = (uint64_t)st.st_size > f->offset ? (uint64_t)st.st_size - f->offset : 0;
	if (n > left)
		n = (size_t)left;
	if (n && fs_pread_full(f->fd, p, n, (off_t)f->offset)) {
		err_errno(e, ERR_IO, errno, "cannot read %s", f->path);
		return -1;
	}
	f->offset += n;
	return (ptrdiff_t)n;
}

int ltxfile_rewind(struct ltxfile *f, struct err *e)
{
	int rc = ltxfile_flush(f, 0, e);
	f->offset = 0;
	free(f->buffer);
	f->buffer = NULL;
	return rc;
}

int ltxfile_size(const struct ltxfile *f, uint64_t *size, struct err *e)
{
	struct stat st;
	if (fstat(f->fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at %s", f->path);
	*size = (uint64_t)st.st_size;
	return ERR_OK;
}

void ltxfile_close(struct ltxfile *f)
{
	if (!f)
		return;
	fs_close(f->fd);
	free(f->path);
	free(f->buffer);
	free(f);
}

/* ---- verifying ---- */

static int read_through(struct ltx_decoder *dec, const atomic_bool *cancelled, struct err *e)
{
	uint8_t *page = malloc(ltx_decoder_header(dec)->page_size);
	if (!page)
		return err_nomem(e, "verifying an LTX file");
	uint32_t pgno = 1;
	int rc = ERR_OK;
	while (!rc && pgno) {
		if (cancelled && atomic_load_explicit(cancelled, memory_order_relaxed))
			rc = err_set(e, ERR_CANCELLED, "verifying an LTX file was stopped");
		else
			rc = ltx_decoder_page(dec, &pgno, page, e);
	}
	free(page);
	return rc;
}

int ltxfile_verify(
	const char *path, const atomic_bool *cancelled, struct ltx_header *out, struct err *e)
{
	struct ltxfile *f = NULL;
	struct ltx_decoder *dec = NULL;
	int rc = ltxfile_open(&f, path, e);
	if (rc)
		return rc;
	rc = ltx_decoder_new(&dec, ltxfile_read, f, e);
	if (!rc)
		rc = read_through(dec, cancelled, e);
	if (!rc)
		*out = *ltx_decoder_header(dec);
	if (rc == ERR_DAMAGED)
		err_wrap(e, "%s", path);
	ltx_decoder_free(dec);
	ltxfile_close(f);
	return rc;
}

/* ---- folding ---- */

struct page_sum {
	uint32_t pgno;
	uint64_t sum;
};

struct page_sums {
	struct page_sum *list;
	size_t count, cap;
};

static int add_sum(struct page_sums *s, uint32_t pgno, uint64_t sum, struct err *e)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct page_sum *list = realloc(s->list, cap * sizeof(*list));
		if (!list)
			return err_nomem(e, "folding an LTX file");
		s->list = list;
		s->cap = cap;
	}
	s->list[s->count++] = (struct page_sum){pgno, sum};
	return ERR_OK;
}

static int check_follows(
	const char *path, const struct ltx_header *h, const struct pagesums *t, struct err *e)
{
	if (h->min_txid > t->txid + 1 || h->max_txid <= t->txid)
		return err_set(e, ERR_DAMAGED, "%s does not follow TXID %016" PRIx64, path, t->txid);
	if (t->txid && h->min_txid != 1 && h->page_size != t->page_size)
		return err_set(e, ERR_DAMAGED, "%s has pages of %" PRIu32 " bytes instead of %" PRIu32,
			path, h->page_size, t->page_size);
	if (t->txid + 1 == h->min_txid && h->before_checksum && t->checksum &&
		h->before_checksum != t->checksum)
		return err_set(
			e, ERR_DAMAGED, "%s was made from another database than the page table", path);
	return ERR_OK;
}

/* All pages' sums; at the end the file is proven whole. */
static int read_sums(
	struct ltx_decoder *dec, uint32_t page_size, struct page_sums *s, struct err *e)
{
	uint8_t *page = malloc(page_size);
	if (!page)
		return err_nomem(e, "folding an LTX file");
	uint32_t pgno = 1;
	int rc = ERR_OK;
	while (!rc && pgno) {
		rc = ltx_decoder_page(dec, &pgno, page, e);
		if (!rc && pgno)
			rc = add_sum(s, pgno, ltx_page_checksum(pgno, page, page_size), e);
	}
	free(page);
	return rc;
}

static int apply(const struct ltx_header *h, const struct page_sums *s, struct pagesums *t)
{
	if (h->page_size != t->page_size) {
		pagesums_free(t);
		pagesums_init(t, h->page_size);
	}
	int rc = pagesums_resize(t, h->commit);
	for (size_t i = 0; !rc && i < s->count; i++)
		rc = pagesums_set(t, s->list[i].pgno, s->list[i].sum);
	t->txid = h->max_txid;
	return rc;
}

static int fold(const char *path, struct ltx_decoder *dec, struct pagesums *table, struct err *e)
{
	const struct ltx_header *h = ltx_decoder_header(dec);
	struct page_sums sums = {0};
	int rc = check_follows(path, h, table, e);
	if (!rc)
		rc = read_sums(dec, h->page_size, &sums, e);
	if (!rc && apply(h, &sums, table))
		rc = err_nomem(e, "folding an LTX file");
	if (!rc && h->after_checksum && h->after_checksum != table->checksum)
		rc = err_set(e, ERR_DAMAGED, "%s does not lead to the database that it names", path);
	free(sums.list);
	return rc;
}

int ltxfile_fold(const char *path, struct pagesums *table, struct err *e)
{
	struct ltxfile *f = NULL;
	struct ltx_decoder *dec = NULL;
	int rc = ltxfile_open(&f, path, e);
	if (rc)
		return rc;
	rc = ltx_decoder_new(&dec, ltxfile_read, f, e);
	if (!rc)
		rc = fold(path, dec, table, e);
	ltx_decoder_free(dec);
	ltxfile_close(f);
	return rc;
}
