#include "restore/follow_file.h"

#include "base/endian.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/dbheader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define COUNTER_AT 24
#define BUSY_MS 10000

void follow_patch(uint8_t *page1, uint32_t counter, uint32_t n_page)
{
	page1[18] = page1[19] = 1;
	put_be32(page1 + COUNTER_AT, counter);
	put_be32(page1 + 28, n_page);
	put_be32(page1 + 92, counter); /* for which the size in the header holds */
}

uint32_t follow_counter(uint32_t old)
{
	uint32_t counter;
	do
		fs_random(&counter, sizeof(counter));
	while (counter == old || counter == 0);
	return counter;
}

static int changed_error(const struct follow_file *f, struct err *e)
{
	return err_set(e, ERR_DATABASE,
		"%s was changed by somebody else while it was followed, or is another file now: restore it "
		"anew (-force -f), and open it only for reading",
		f->path);
}

/* ---- a change that was interrupted ---- */

static bool has_wal(const struct follow_file *f)
{
	struct stat st;
	char *name;
	if (asprintf(&name, "%s-wal", f->name) < 0)
		return true; /* then what comes next says so */
	bool there = !folder_stat(&f->folder, name, &st) && st.st_size > 0;
	free(name);
	return there;
}

bool follow_has_journal(const struct follow_file *f)
{
	uint8_t first = 0;
	char *name;
	if (asprintf(&name, "%s-journal", f->name) < 0)
		return true;
	int fd = folder_open_file(&f->folder, name, O_RDONLY);
	bool over = fd < 0 ? errno == ENOENT : fs_pread_full(fd, &first, 1, 0) != 0 || first == 0;
	fs_close(fd);
	free(name);
	return !over;
}

/* SQLite rolls a hot journal back when it begins to read. */
static int roll_back(const struct follow_file *f, struct err *e)
{
	sqlite3 *db = NULL;
	char *path = fs_join(f->folder.path, f->name), *real = path ? fs_real_name(path) : NULL;
	int rc = real ? sqlite3_open_v2(real, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL)
				  : SQLITE_NOMEM;
	if (!rc)
		rc = sqlite3_busy_timeout(db, BUSY_MS);
	if (!rc)
		rc = sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL);
	free(path);
	free(real);
	if (rc)
		err_set(e, (rc & 0xff) == SQLITE_BUSY ? ERR_AGAIN : ERR_IO,
			"cannot roll back the change of %s that was interrupted: %s", f->path,
			db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	sqlite3_close(db);
	return rc ? (int)e->code : ERR_OK;
}

static int recover(const struct follow_file *f, struct err *e)
{
	if (!follow_has_journal(f))
		return ERR_OK;
	log_info("%s: rolling back a change that was interrupted", f->path);
	int rc = roll_back(f, e);
	if (!rc && follow_has_journal(f))
		rc = err_set(e, ERR_AGAIN, "%s-journal is still there: somebody writes to it", f->path);
	return rc;
}

/* ---- which state is it ---- */

/* Is it the file that is no more, or only the system that is short of something? */
static enum err_code gone(int errnum)
{
	return errnum == ENOENT || errnum == ELOOP || errnum == EACCES ? ERR_DATABASE : ERR_IO;
}

static int read_header(const struct follow_file *f, struct db_header *h, struct err *e)
{
	uint8_t head[DB_HEADER_SIZE];
	if (fs_pread_full(f->fd, head, sizeof(head), 0))
		return err_errno(
			e, errno == ENODATA ? ERR_DATABASE : ERR_IO, errno, "cannot read %s", f->path);
	return db_header_decode(head, h, e);
}

int follow_check_header(const struct follow_file *f, struct err *e)
{
	struct db_header h;
	struct stat st, there;
	int rc = read_header(f, &h, e);
	if (rc)
		return rc;
	if (fstat(f->fd, &st) || folder_stat(&f->folder, f->name, &there))
		return err_errno(e, gone(errno), errno, "cannot look at %s", f->path);
	if (h.change_counter != f->state.now.counter || st.st_ino != there.st_ino ||
		st.st_dev != there.st_dev)
		return changed_error(f, e);
	return ERR_OK;
}

/* The point that the file is at; what a crash left behind its end is cut. */
static int find_point(struct follow_file *f, struct err *e)
{
	struct follow_state *s = &f->state;
	struct db_header h;
	struct stat st;
	int rc = read_header(f, &h, e);
	if (rc)
		return rc;
	if (s->next.txid && h.change_counter == s->next.counter)
		s->now = s->next;
	s->next = (struct follow_point){0};
	off_t size = (off_t)s->now.n_page * s->now.page_size;
	if (fstat(f->fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at %s", f->path);
	if (h.change_counter != s->now.counter || h.page_size != s->now.page_size || st.st_size < size)
		return changed_error(f, e);
	if (st.st_size > size && fs_ftruncate(f->fd, size))
		return err_errno(e, ERR_IO, errno, "cannot cut %s", f->path);
	return ERR_OK;
}

/* Where Litestream's restore -f ended. Nothing tells whether its last change was whole. */
static int adopt(struct follow_file *f, struct err *e)
{
	struct follow_point *p = &f->state.now;
	struct db_header h;
	struct stat st;
	int rc = read_header(f, &h, e);
	if (rc)
		return rc;
	if (fstat(f->fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at %s", f->path);
	p->page_size = h.page_size;
	p->n_page = (uint32_t)(st.st_size / h.page_size);
	p->counter = h.change_counter;
	log_warn("%s: going on where Litestream ended, at TXID %016" PRIx64
			 ": its checksum is not known, so what was before is not proven",
		f->path, p->txid);
	return follow_state_save(&f->folder, f->name, &f->state, e);
}

int follow_reopen(struct follow_file *f, struct err *e)
{
	if (f->fd >= 0)
		return ERR_OK;
	f->fd = folder_open_file(&f->folder, f->name, O_RDWR);
	if (f->fd < 0)
		return err_errno(e, gone(errno), errno, "cannot open %s", f->path);
	int rc = ERR_OK;
	/* SQLite takes no such lock, so it is in no reader's way. */
	if (flock(f->fd, LOCK_EX | LOCK_NB))
		rc = errno == EWOULDBLOCK
				 ? err_set(e, ERR_DATABASE, "another restore -f follows into %s", f->path)
				 : err_errno(e, ERR_IO, errno, "cannot lock %s", f->path);
	if (!rc)
		rc = recover(f, e);
	if (!rc && has_wal(f))
		rc = changed_error(f, e);
	if (!rc)
		rc = f->state.now.page_size ? find_point(f, e) : adopt(f, e);
	if (rc) {
		fs_close(f->fd);
		f->fd = -1;
	}
	return rc;
}

static int load_state(struct follow_file *f, const char *replica, struct err *e)
{
	struct follow_state *s = &f->state;
	int rc = follow_state_load(&f->folder, f->name, s, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		rc = follow_txid_load(&f->folder, f->name, &s->now.txid, e);
		if (!rc && !s->now.txid)
			rc = err_set(e, ERR_EXISTS,
				"cannot resume follow mode: database exists but no -txid file found; delete the "
				"database to re-restore, or replace it (-force): %s",
				f->path);
	} else if (!rc && strcmp(s->replica, replica) != 0) {
		log_warn("%s: has followed %s until now", f->path, s->replica);
	}
	if (rc)
		return rc;
	free(s->replica);
	s->replica = strdup(replica);
	return s->replica ? ERR_OK : err_nomem(e, "following a replica");
}

int follow_file_open(struct follow_file *f, const char *path, const char *replica, struct err *e)
{
	bool (*wait)(void *, int64_t) = f->wait;
	void *wait_ctx = f->wait_ctx;
	*f = (struct follow_file){.path = path,
		.folder = FOLDER_NONE,
		.name = fs_basename(path),
		.fd = -1,
		.wait = wait,
		.wait_ctx = wait_ctx};
	f->staged.fd = -1;
	int rc = folder_open_of(&f->folder, path, "following a replica", e);
	if (!rc)
		rc = load_state(f, replica, e);
	if (!rc)
		rc = follow_reopen(f, e);
	if (!rc && (f->staged.fd = folder_create_scratch(&f->folder)) < 0)
		rc = err_errno(e, ERR_IO, errno, "cannot create a file in %s", f->folder.path);
	return rc;
}

void follow_file_close(struct follow_file *f)
{
	fs_close(f->fd);
	fs_close(f->staged.fd);
	free(f->staged.numbers);
	follow_state_free(&f->state);
	folder_close(&f->folder);
	f->fd = f->staged.fd = -1;
	f->staged.numbers = NULL;
}
