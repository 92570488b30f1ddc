/*
 * The change itself: what was staged, into the database, as follow_file.h describes it.
 *
 * Locks are those of SQLite's unix VFS (os_unix.c, "Posix Advisory Locking"): bytes from 2^30 on.
 * They are taken for the open file description (F_OFD_SETLK), which SQLite's own see, and which no
 * other descriptor of this process that is closed can lose.
 */
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/journal.h"
#include "restore/follow_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING 0x40000000
#define RESERVED (PENDING + 1)
#define SHARED (PENDING + 2)
#define SHARED_SIZE 510
#define ALL_SIZE 512

#define HOLD_US INT64_C(1000000) /* so long new readers are kept out while old ones end */
#define LOOK_MS 5
#define PAUSE_MS 200
#define TELL_US INT64_C(10000000)
#define TELL_AGAIN_US (INT64_C(600) * 1000000)

struct change {
	struct follow_file *f;
	char *journal; /* its name */
	int journal_fd;
	uint32_t nonce;
	uint8_t *record; /* room for one, which has room for a page */
	bool touched;    /* the database may differ from what it was */
};

/* ---- locks ---- */

/* 0, 1 = somebody else has it, or an error. */
static int lock(const struct follow_file *f, short type, off_t first, off_t size, struct err *e)
{
	struct flock l = {type, SEEK_SET, first, size, 0};
	if (fcntl(f->fd, F_OFD_SETLK, &l) == 0)
		return ERR_OK;
	if (errno == EAGAIN || errno == EACCES)
		return ERR_AGAIN;
	return err_errno(e, ERR_IO, errno, "cannot lock %s", f->path);
}

static void unlock(const struct follow_file *f)
{
	struct err ignored;
	if (f->fd >= 0)
		lock(f, F_UNLCK, PENDING, ALL_SIZE, &ignored);
}

static int pause_for(const struct follow_file *f, int64_t ms, struct err *e)
{
	return f->wait(f->wait_ctx, ms) ? err_set(e, ERR_CANCELLED, "stopped") : ERR_OK;
}

/* Once it lasts, and again now and then: meanwhile the database gets older. */
static void tell_busy(struct follow_file *f, int64_t since_us)
{
	int64_t now = clock_mono_us();
	if (now - since_us < TELL_US || (f->told_us && now - f->told_us < TELL_AGAIN_US))
		return;
	f->told_us = now;
	log_warn("%s: at TXID %016" PRIx64 ", waiting for a reader that has not ended for %" PRId64
			 " s",
		f->path, f->state.now.txid, (now - since_us) / 1000000);
}

static int try_reserved(const struct follow_file *f, struct err *e)
{
	int rc = lock(f, F_RDLCK, PENDING, 1, e);
	if (!rc)
		rc = lock(f, F_RDLCK, SHARED, SHARED_SIZE, e);
	if (!rc)
		rc = lock(f, F_UNLCK, PENDING, 1, e);
	return rc ? rc : lock(f, F_WRLCK, RESERVED, 1, e);
}

/* Others may go on reading. */
static int take_reserved(struct follow_file *f, struct err *e)
{
	int64_t start = clock_mono_us();
	for (;;) {
		int rc = try_reserved(f, e);
		if (rc != ERR_AGAIN)
			return rc;
		unlock(f);
		tell_busy(f, start);
		rc = pause_for(f, PAUSE_MS / 4, e);
		if (rc)
			return rc;
	}
}

/* New readers wait while we do; but not for one that takes its time. */
static int take_exclusive(struct follow_file *f, struct err *e)
{
	int64_t start = clock_mono_us();
	for (;;) {
		int64_t until = clock_mono_us() + HOLD_US;
		int rc = lock(f, F_WRLCK, PENDING, 1, e);
		if (!rc)
			rc = lock(f, F_WRLCK, SHARED, SHARED_SIZE, e);
		while (rc == ERR_AGAIN && clock_mono_us() < until) {
			rc = pause_for(f, LOOK_MS, e);
			if (!rc)
				rc = lock(f, F_WRLCK, SHARED, SHARED_SIZE, e);
		}
		if (rc != ERR_AGAIN)
			return rc;
		lock(f, F_UNLCK, PENDING, 1, e);
		tell_busy(f, start);
		rc = pause_for(f, PAUSE_MS, e);
		if (rc)
			return rc;
	}
}

/* ---- the journal ---- */

static int journal_failed(const struct change *c, struct err *e)
{
	return err_errno(e, fs_error_code(errno), errno, "cannot write %s-journal", c->f->path);
}

static int write_header(const struct change *c, uint32_t n_records, struct err *e)
{
	uint8_t sector[JOURNAL_SECTOR];
	const struct follow_point *now = &c->f->state.now;
	const struct journal_header h = {n_records, c->nonce, now->n_page, now->page_size};
	journal_header_encode(&h, sector);
	if (fs_pwrite_full(c->journal_fd, sector, sizeof(sector), 0) || fs_fsync(c->journal_fd))
		return journal_failed(c, e);
	return ERR_OK;
}

static int write_record(const struct change *c, uint32_t pgno, uint32_t n, struct err *e)
{
	uint32_t size = c->f->state.now.page_size;
	size_t length = size + JOURNAL_RECORD_EXTRA;
	if (fs_pread_full(c->f->fd, c->record + 4, size, (off_t)(pgno - 1) * size))
		return err_errno(e, ERR_IO, errno, "cannot read page %" PRIu32 " of %s", pgno, c->f->path);
	journal_record_seal(c->nonce, pgno, size, c->record);
	if (fs_pwrite_full(c->journal_fd, c->record, length, JOURNAL_SECTOR + (off_t)(n * length)))
		return journal_failed(c, e);
	return ERR_OK;
}

/* Who may read and write the database may roll it back. */
static int give_away(const struct change *c, struct err *e)
{
	struct stat st;
	if (fstat(c->f->fd, &st) || (geteuid() == 0 && fchown(c->journal_fd, st.st_uid, st.st_gid)) ||
		fchmod(c->journal_fd, st.st_mode & 0777))
		return journal_failed(c, e);
	return ERR_OK;
}

/* Instead of one that is over. Who else was killed has left a hot one, which is rolled back. */
static int create_journal(struct change *c, struct err *e)
{
	const struct folder *in = &c->f->folder;
	c->journal_fd = folder_create(in, c->journal);
	if (c->journal_fd >= 0)
		return ERR_OK;
	if (errno != EEXIST)
		return journal_failed(c, e);
	c->touched = follow_has_journal(c->f);
	if (c->touched)
		return err_set(e, ERR_AGAIN, "%s-journal is there: rolling it back first", c->f->path);
	if (folder_unlink(in, c->journal) || (c->journal_fd = folder_create(in, c->journal)) < 0)
		return journal_failed(c, e);
	return ERR_OK;
}

static int write_journal(struct change *c, struct err *e)
{
	const struct follow_staged *t = &c->f->staged;
	uint32_t n = 0;
	int rc = create_journal(c, e);
	if (rc)
		return rc;
	rc = give_away(c, e);
	if (!rc)
		rc = write_header(c, 0, e);
	if (!rc && !t->has_page1)
		rc = write_record(c, 1, n++, e);
	for (size_t i = 0; !rc && i < t->count && t->numbers[i] <= c->f->state.now.n_page; i++)
		rc = write_record(c, t->numbers[i], n++, e);
	if (!rc && fs_fsync(c->journal_fd))
		rc = journal_failed(c, e);
	return rc ? rc : write_header(c, n, e);
}

/* ---- the pages ---- */

static int write_page(const struct change *c, uint32_t pgno, uint8_t *page, struct err *e)
{
	uint32_t size = c->f->state.now.page_size;
	if (pgno == 1)
		follow_patch(page, c->f->state.next.counter, c->f->state.next.n_page);
	if (fs_pwrite_full(c->f->fd, page, size, (off_t)(pgno - 1) * size))
		return err_errno(e, fs_error_code(errno), errno, "cannot write page %" PRIu32 " of %s",
			pgno, c->f->path);
	return ERR_OK;
}

/* Page 1 last: a reader that takes no locks doesn't take a part for the whole so easily. */
static int write_page1(const struct change *c, struct err *e)
{
	uint8_t *page = c->record;
	int fd = c->f->staged.has_page1 ? c->f->staged.fd : c->f->fd; /* the first in either */
	if (fs_pread_full(fd, page, c->f->state.now.page_size, 0))
		return err_errno(e, ERR_IO, errno, "cannot read page 1 of %s", c->f->path);
	return write_page(c, 1, page, e);
}

static int write_pages(struct change *c, struct err *e)
{
	const struct follow_staged *t = &c->f->staged;
	const struct follow_point *now = &c->f->state.now, *next = &c->f->state.next;
	int rc = ERR_OK;
	c->touched = true;
	/* New pages are zeros, whatever an earlier change could not cut. */
	if (next->n_page > now->n_page &&
		(fs_ftruncate(c->f->fd, (off_t)now->n_page * now->page_size) ||
			fs_ftruncate(c->f->fd, (off_t)next->n_page * next->page_size)))
		return err_errno(e, fs_error_code(errno), errno, "cannot grow %s", c->f->path);
	for (size_t i = t->has_page1; !rc && i < t->count; i++) {
		if (fs_pread_full(t->fd, c->record, now->page_size, (off_t)i * now->page_size))
			return err_errno(
				e, ERR_IO, errno, "cannot read a scratch file in %s", c->f->folder.path);
		rc = write_page(c, t->numbers[i], c->record, e);
	}
	if (!rc)
		rc = write_page1(c, e);
	if (!rc && fs_fsync(c->f->fd))
		rc = err_errno(e, fs_error_code(errno), errno, "cannot fsync %s", c->f->path);
	return rc;
}

/* From here on the database is at the next point, whatever else fails. */
static int commit(struct change *c, struct err *e)
{
	struct follow_state *s = &c->f->state;
	if (folder_unlink(&c->f->folder, c->journal))
		return err_errno(e, ERR_IO, errno, "cannot remove %s-journal", c->f->path);
	fs_close(c->journal_fd);
	c->journal_fd = -1;
	c->touched = false;
	bool shrunk = s->next.n_page < s->now.n_page;
	s->now = s->next;
	s->next = (struct follow_point){0};
	int rc = ERR_OK;
	if (folder_sync(&c->f->folder))
		rc = err_errno(e, ERR_IO, errno, "cannot fsync the folder of %s", c->f->path);
	if (!rc && shrunk && fs_ftruncate(c->f->fd, (off_t)s->now.n_page * s->now.page_size))
		log_warn("%s: cannot cut what it no longer needs: %s", c->f->path, strerror(errno));
	return rc;
}

/* ---- all of it ---- */

static int change(struct change *c, struct err *e)
{
	struct follow_file *f = c->f;
	int rc = take_reserved(f, e);
	if (!rc)
		rc = follow_check_header(f, e);
	if (!rc)
		rc = write_journal(c, e);
	if (rc)
		return rc;
	f->state.next = f->staged.point;
	f->state.next.counter = follow_counter(f->state.now.counter);
	rc = follow_state_save(&f->folder, f->name, &f->state, e);
	if (!rc)
		rc = take_exclusive(f, e);
	if (!rc)
		rc = write_pages(c, e);
	return rc ? rc : commit(c, e);
}

/* A database that was touched is closed with its journal hot, and opened as after a crash. */
static void take_back(struct change *c)
{
	struct err why = ERR_INIT;
	struct follow_file *f = c->f;
	if (!c->touched) {
		f->state.next = (struct follow_point){0};
		if (c->journal_fd >= 0)
			folder_unlink(&f->folder, c->journal);
		unlock(f);
		return;
	}
	fs_close(f->fd);
	f->fd = -1;
	if (follow_reopen(f, &why))
		log_error("%s", why.text);
}

int follow_apply(struct follow_file *f, struct err *e)
{
	if (f->staged.count == 0 && f->staged.point.n_page == f->state.now.n_page) {
		f->state.now = f->staged.point;
		return follow_state_save(&f->folder, f->name, &f->state, e);
	}
	struct change c = {.f = f, .journal_fd = -1};
	fs_random(&c.nonce, sizeof(c.nonce));
	c.record = malloc(f->state.now.page_size + JOURNAL_RECORD_EXTRA);
	if (asprintf(&c.journal, "%s-journal", f->name) < 0)
		c.journal = NULL;
	int rc = c.record && c.journal ? change(&c, e) : err_nomem(e, "following a replica");
	if (rc && c.journal)
		take_back(&c);
	else
		unlock(f);
	fs_ftruncate(f->staged.fd, 0); /* the room; what is staged next empties it in any case */
	fs_close(c.journal_fd);
	free(c.record);
	free(c.journal);
	return rc;
}
