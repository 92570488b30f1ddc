#include "replicate/spool.h"

#include "base/fs.h"
#include "format/ltx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE ((uint32_t)64 * 1024)       /* as large as the largest page */
#define PUNCH_BYTES ((uint64_t)4 * 1024 * 1024) /* freed at a time */

struct spool {
	char *path;
	int fd; /* -1 while there is no file */
	uint32_t page_size;
	uint32_t next;    /* pages below it are copied */
	uint32_t written; /* no page above it was ever written: all holes */
	uint32_t n_page;  /* after spool_end */
	bool all;         /* copied up to the end of the database, wherever it moves */
	bool unproven;    /* holds an image that may be younger than the captured point */
};

int spool_new(struct spool **out, const char *path, struct err *e)
{
	struct spool *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e, "making a spool");
	s->path = strdup(path);
	s->fd = -1;
	if (!s->path) {
		free(s);
		return err_nomem(e, "making a spool");
	}
	*out = s;
	return ERR_OK;
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	spool_drop(s);
	free(s->path);
	free(s);
}

void spool_drop(struct spool *s)
{
	if (s->fd >= 0) {
		fs_close(s->fd);
		fs_unlink(s->path); /* what stays by accident is deleted at the next start */
	}
	s->fd = -1;
}

static int failed(const struct spool *s, const char *what, struct err *e)
{
	return err_errno(e, fs_error_code(errno), errno, "cannot %s %s", what, s->path);
}

int spool_begin(struct spool *s, uint32_t page_size, struct err *e)
{
	spool_drop(s);
	s->page_size = page_size;
	s->next = 1;
	s->written = s->n_page = 0;
	s->all = s->unproven = false;
	s->fd = fs_open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
	return s->fd < 0 ? failed(s, "create", e) : ERR_OK;
}

/* ---- filling ---- */

static off_t place_of(const struct spool *s, uint32_t pgno)
{
	return (off_t)(pgno - 1) * s->page_size;
}

static int write_page(struct spool *s, uint32_t pgno, const void *page, struct err *e)
{
	if (fs_pwrite_full(s->fd, page, s->page_size, place_of(s, pgno)))
		return failed(s, "write", e);
	if (pgno > s->written)
		s->written = pgno;
	return ERR_OK;
}

static bool is_zero(const uint8_t *page, uint32_t n)
{
	return page[0] == 0 && memcmp(page, page + 1, n - 1) == 0;
}

uint32_t spool_next(const struct spool *s)
{
	return s->all ? 0 : s->next;
}

int spool_copy(struct spool *s, uint32_t pgno, const void *page, struct err *e)
{
	s->unproven = true;
	if (pgno > s->written && is_zero(page, s->page_size))
		return ERR_OK;
	return write_page(s, pgno, page, e);
}

void spool_copied(struct spool *s, uint32_t count, uint32_t n_page)
{
	s->unproven = true;
	s->all = count > n_page || s->next > n_page - count;
	if (!s->all)
		s->next += count;
}

int spool_put(struct spool *s, uint32_t pgno, const void *page, bool image, struct err *e)
{
	if (!s->all && pgno >= s->next)
		return ERR_OK;
	s->unproven = s->unproven || image;
	return write_page(s, pgno, page, e);
}

void spool_caught_up(struct spool *s)
{
	s->unproven = false;
}

bool spool_is_whole(const struct spool *s)
{
	return s->all && !s->unproven;
}

int spool_end(struct spool *s, uint32_t n_page, struct err *e)
{
	s->n_page = n_page;
	if (fs_ftruncate(s->fd, (off_t)n_page * s->page_size))
		return failed(s, "set the size of", e);
	return ERR_OK;
}

/* ---- reading ---- */

static int hand_out(const struct spool *s, uint32_t first, uint32_t count, const uint8_t *buffer,
	spool_page_fn fn, void *ctx, struct err *e)
{
	uint32_t lock_page = ltx_lock_page(s->page_size);
	int rc = ERR_OK;
	for (uint32_t i = 0; i < count && !rc; i++)
		if (first + i != lock_page)
			rc = fn(ctx, first + i, buffer + (size_t)i * s->page_size, e);
	return rc;
}

int spool_take(struct spool *s, spool_page_fn fn, void *ctx, struct err *e)
{
	uint8_t *buffer = malloc(BUFFER_SIZE);
	if (!buffer)
		return err_nomem(e, "reading a spool");
	uint32_t most = BUFFER_SIZE / s->page_size;
	uint64_t freed = 0;
	int rc = ERR_OK;
	for (uint32_t done = 0; done < s->n_page && !rc;) {
		uint32_t n = s->n_page - done < most ? s->n_page - done : most;
		if (fs_pread_full(s->fd, buffer, (size_t)n * s->page_size, place_of(s, done + 1)))
			rc = failed(s, "read", e);
		else
			rc = hand_out(s, done + 1, n, buffer, fn, ctx, e);
		done += n;
		uint64_t end = (uint64_t)done * s->page_size;
		/* Where holes can't be made, the disk is freed at the end. */
		if (end - freed >= PUNCH_BYTES && !fs_punch(s->fd, (off_t)freed, (off_t)(end - freed)))
			freed = end;
	}
	free(buffer);
	return rc;
}
