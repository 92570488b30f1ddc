#include "source/identity.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/followed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

/* statfs(2) and linux/magic.h. `why` NULL means: warn only. */
static const struct {
	unsigned long type;
	const char *name, *why;
} filesystems[] = {
	{0x6969, "NFS", "its locks and shared memory don't work between machines"},
	{0xff534d42, "CIFS", "its locks and shared memory don't work between machines"},
	{0xfe534d42, "SMB", "its locks and shared memory don't work between machines"},
	{0x517b, "SMB", "its locks and shared memory don't work between machines"},
	{0x65735546, "FUSE", "its locks and shared memory can't be relied on"},
	{0x01021997, "9p", "its locks and shared memory don't work between machines"},
	{0x786f4256, "a VirtualBox shared folder", "it has no shared memory between machines"},
	{0x5346414f, "AFS", "its locks and shared memory don't work between machines"},
	{0x794c7630, "overlay", NULL},
};

int identity_paths_init(struct identity_paths *p, const char *db, struct err *e)
{
	memset(p, 0, sizeof(*p));
	p->db = strdup(db);
	if (asprintf(&p->wal, "%s-wal", db) < 0)
		p->wal = NULL;
	if (asprintf(&p->shm, "%s-shm", db) < 0)
		p->shm = NULL;
	if (p->db && p->wal && p->shm)
		return ERR_OK;
	identity_paths_free(p);
	return err_nomem(e, "opening the database");
}

void identity_paths_free(struct identity_paths *p)
{
	free(p->db);
	free(p->wal);
	free(p->shm);
	memset(p, 0, sizeof(*p));
}

static int check_filesystem(const char *path, bool any, struct err *e)
{
	struct statfs fs;
	if (statfs(path, &fs))
		return ERR_OK;
	for (size_t i = 0; i < sizeof(filesystems) / sizeof(filesystems[0]); i++) {
		if (((unsigned long)fs.f_type & 0xffffffff) != filesystems[i].type)
			continue;
		if (filesystems[i].why && !any)
			return err_set(e, ERR_DATABASE,
				"%s is on %s: %s, so its WAL can't be followed safely; move it to a local disk",
				path, filesystems[i].name, filesystems[i].why);
		/* Once: every attach comes by here. */
		static bool warned;
		if (!__atomic_exchange_n(&warned, true, __ATOMIC_RELAXED))
			log_warn("%s is on %s: what is written to it from elsewhere may not be seen", path,
				filesystems[i].name);
	}
	return ERR_OK;
}

static int check_folder(const char *path, bool any, struct err *e)
{
	char *dir = fs_dirname(path);
	if (!dir)
		return err_nomem(e, "looking at the folder");
	int rc = check_filesystem(dir, any, e);
	free(dir);
	return rc ? rc : err_set(e, ERR_NOT_FOUND, "there is no database %s yet", path);
}

/* SQLite waits for ever when it opens a FIFO. */
static int check_companions(const char *path, struct err *e)
{
	static const char *const endings[] = {"-wal", "-shm", "-journal"};
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < sizeof(endings) / sizeof(endings[0]); i++) {
		char *name;
		struct stat st;
		if (asprintf(&name, "%s%s", path, endings[i]) < 0)
			return err_nomem(e, "looking at the database");
		if (!lstat(name, &st) && !S_ISREG(st.st_mode))
			rc = err_set(e, ERR_DATABASE, "%s is %s, which is nothing of SQLite's: remove it", name,
				S_ISLNK(st.st_mode) ? "a symbolic link" : "not a regular file");
		free(name);
	}
	return rc;
}

int identity_check_path(const char *path, bool any, struct err *e)
{
	struct stat st;
	if (lstat(path, &st)) {
		if (errno == ENOENT || errno == ENOTDIR)
			return check_folder(path, any, e);
		return err_errno(e, ERR_DATABASE, errno, "cannot look at %s", path);
	}
	if (S_ISLNK(st.st_mode))
		return err_set(e, ERR_DATABASE, "%s is a symbolic link: name the file itself", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DATABASE, "%s is not a regular file", path);
	if (st.st_nlink != 1)
		return err_set(e, ERR_DATABASE,
			"%s has %lu hard links: an app that opens another name would have another -wal", path,
			(unsigned long)st.st_nlink);
	int rc = check_companions(path, e);
	if (!rc)
		rc = followed_refuse(path, e);
	return rc ? rc : check_filesystem(path, any, e);
}

static bool take(struct identity_file *f, const char *path)
{
	struct stat st;
	if (lstat(path, &st))
		return false;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	return true;
}

int identity_take(struct identity *id, const struct identity_paths *p, struct err *e)
{
	if (take(&id->db, p->db) && take(&id->wal, p->wal) && take(&id->shm, p->shm))
		return ERR_OK;
	return err_set(e, ERR_AGAIN, "the files of %s are changing", p->db);
}

void identity_stamp_of(const struct stat *st, struct identity_stamp *out)
{
	out->mtime = st->st_mtim;
	out->ctime = st->st_ctim;
	out->size = st->st_size;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool identity_stamp_equal(
	const struct identity_stamp *a, const struct identity_stamp *b, bool strict)
{
	return a->size == b->size && same_time(&a->mtime, &b->mtime) &&
		   (!strict || same_time(&a->ctime, &b->ctime));
}

static enum identity_change compare_one(
	const struct identity_file *f, const char *path, struct stat *st, char *reason, size_t n)
{
	if (lstat(path, st)) {
		snprintf(reason, n, "%s was removed while it was open", path);
		return IDENTITY_GONE;
	}
	if (st->st_dev != f->dev || st->st_ino != f->ino) {
		snprintf(reason, n, "%s is another file than the one that is open", path);
		return IDENTITY_REPLACED;
	}
	if (st->st_nlink != 1) {
		snprintf(reason, n, "%s has %lu hard links", path, (unsigned long)st->st_nlink);
		return IDENTITY_REPLACED;
	}
	return IDENTITY_SAME;
}

enum identity_change identity_compare(const struct identity *id, const struct identity_paths *p,
	struct identity_stamp *db, char *reason, size_t n)
{
	struct stat st, side;
	enum identity_change change = compare_one(&id->db, p->db, &st, reason, n);
	if (change != IDENTITY_SAME)
		return change;
	if (db)
		identity_stamp_of(&st, db);
	if (compare_one(&id->wal, p->wal, &side, reason, n) != IDENTITY_SAME)
		return IDENTITY_REPLACED;
	if (compare_one(&id->shm, p->shm, &side, reason, n) != IDENTITY_SAME)
		return IDENTITY_REPLACED;
	return IDENTITY_SAME;
}
