#include "restore/integrity.h"

#include "base/fs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define VFS_NAME "dokku-litestream-descriptor"
#define STEPS 10000 /* of SQLite's machine between two looks whether it is to stop */

/* ---- a VFS of one descriptor: its number is the file's name ---- */

struct descriptor {
	sqlite3_file base;
	int fd;
};

static int file_close(sqlite3_file *f)
{
	(void)f;
	return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
	struct stat st;
	if (fstat(((struct descriptor *)f)->fd, &st))
		return SQLITE_IOERR_FSTAT;
	*size = st.st_size;
	return SQLITE_OK;
}

/* What is behind the end reads as zeros, as sqlite3.h asks. */
static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	sqlite3_int64 size;
	int rc = file_size(f, &size);
	if (rc)
		return rc;
	sqlite3_int64 there = at < size ? size - at : 0;
	size_t got = there < n ? (size_t)there : (size_t)n;
	if (fs_pread_full(((struct descriptor *)f)->fd, p, got, at))
		return SQLITE_IOERR_READ;
	if (got == (size_t)n)
		return SQLITE_OK;
	memset((char *)p + got, 0, (size_t)n - got);
	return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	(void)f, (void)p, (void)n, (void)at;
	return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	(void)f, (void)size;
	return SQLITE_READONLY;
}

static int file_flags(sqlite3_file *f, int flags)
{
	(void)f, (void)flags;
	return SQLITE_OK;
}

static int file_reserved(sqlite3_file *f, int *reserved)
{
	(void)f;
	*reserved = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	(void)f, (void)op, (void)arg;
	return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *f)
{
	(void)f;
	return 0;
}

/* Nobody changes it: SQLite takes no locks and looks for neither journal nor WAL. */
static int file_kind(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods file_methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_flags,
	.xFileSize = file_size,
	.xLock = file_flags,
	.xUnlock = file_flags,
	.xCheckReservedLock = file_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector,
	.xDeviceCharacteristics = file_kind,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	(void)vfs;
	f->pMethods = NULL;
	if (!name || !(flags & SQLITE_OPEN_MAIN_DB))
		return SQLITE_CANTOPEN;
	((struct descriptor *)f)->fd = atoi(name);
	f->pMethods = &file_methods;
	if (out)
		*out = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs, (void)name, (void)sync;
	return SQLITE_READONLY;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs, (void)name, (void)flags;
	*out = 0;
	return SQLITE_OK;
}

static int vfs_full(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	snprintf(out, (size_t)n, "%s", name);
	return SQLITE_OK;
}

static int vfs_init(void)
{
	static sqlite3_vfs vfs;
	int rc = sqlite3_initialize();
	const sqlite3_vfs *system = sqlite3_vfs_find(NULL);
	if (rc || !system || sqlite3_vfs_find(VFS_NAME))
		return rc;
	vfs = *system; /* its clock, its random numbers */
	vfs.szOsFile = sizeof(struct descriptor);
	vfs.pNext = NULL;
	vfs.zName = VFS_NAME;
	vfs.xOpen = vfs_open;
	vfs.xDelete = vfs_delete;
	vfs.xAccess = vfs_access;
	vfs.xFullPathname = vfs_full;
	return sqlite3_vfs_register(&vfs, 0);
}

/* ---- the check ---- */

static int is_cancelled(void *ctx)
{
	const int *cancelled = ctx;
	return __atomic_load_n(cancelled, __ATOMIC_RELAXED);
}

static int failed(sqlite3 *db, int rc, struct err *e)
{
	if (rc == SQLITE_INTERRUPT)
		return err_set(e, ERR_CANCELLED, "the restore was stopped");
	if (rc == SQLITE_NOMEM)
		return err_nomem(e, "checking what was restored");
	return err_set(e,
		rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB || rc == SQLITE_ERROR ? ERR_DAMAGED : ERR_FAIL,
		"post-restore integrity check: %s", db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

/* Its first row is "ok", or the first finding. */
static int run_check(sqlite3 *db, enum integrity_mode mode, struct err *e)
{
	sqlite3_stmt *st = NULL;
	const char *sql =
		mode == INTEGRITY_FULL ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	const char *said = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
	int out = ERR_OK;
	if (rc != SQLITE_ROW)
		out = failed(db, rc & 0xff, e);
	else if (!said || strcmp(said, "ok") != 0)
		out =
			err_set(e, ERR_DAMAGED, "post-restore integrity check: %s", said ? said : "no answer");
	sqlite3_finalize(st);
	return out;
}

int integrity_check(int fd, enum integrity_mode mode, const int *cancelled, struct err *e)
{
	sqlite3 *db = NULL;
	char name[16];
	if (mode == INTEGRITY_NONE)
		return ERR_OK;
	snprintf(name, sizeof(name), "%d", fd);
	int rc = vfs_init();
	if (!rc)
		rc = sqlite3_open_v2(name, &db, SQLITE_OPEN_READONLY, VFS_NAME);
	if (!rc && cancelled)
		sqlite3_progress_handler(db, STEPS, is_cancelled, (void *)cancelled);
	rc = rc ? failed(db, rc & 0xff, e) : run_check(db, mode, e);
	sqlite3_close(db);
	return rc;
}
