#include "lib/pausevfs.h"

#include <sqlite3.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

struct shim {
	sqlite3_file base;
	sqlite3_file *real;
	bool wal, db;
};

static enum pause_point armed;
static void (*on_reached)(enum pause_point at);
static int64_t sync_us;
static bool wal_written, ckpt_held;
static sqlite3_vfs vfs;
static sqlite3_vfs *unix_vfs;

static void reach(enum pause_point at)
{
	if (armed != at)
		return;
	armed = PAUSE_NOWHERE;
	on_reached(at);
}

static void (*on_step)(const char *what);

#define STEP(what)         \
	do {                   \
		if (on_step)       \
			on_step(what); \
	} while (0)

/* Of files: "db", "wal", or what else there is (a rollback journal). */
#define STEP_ON(s, call) STEP((s)->wal ? call " wal" : (s)->db ? call " db" : call " other")

void pausevfs_steps(void (*step)(const char *what))
{
	on_step = step;
}

/* SQLite's locks in the -shm by their offset: WRITE, CKPT, RECOVER, READ0 to READ4. */
static const char *lock_step(int offset, int flags)
{
	static const char *const names[8][4] = {
#define NAMES(l) \
	{"unlock " l " shared", "unlock " l " exclusive", "lock " l " shared", "lock " l " exclusive"}
		NAMES("WRITE"),
		NAMES("CKPT"),
		NAMES("RECOVER"),
		NAMES("READ0"),
		NAMES("READ1"),
		NAMES("READ2"),
		NAMES("READ3"),
		NAMES("READ4"),
	};
	bool lock = flags & SQLITE_SHM_LOCK, exclusive = flags & SQLITE_SHM_EXCLUSIVE;
	return names[offset & 7][2 * lock + exclusive];
}

static sqlite3_file *real(sqlite3_file *f)
{
	return ((struct shim *)f)->real;
}

static int shim_close(sqlite3_file *f)
{
	STEP_ON((struct shim *)f, "close");
	return real(f)->pMethods->xClose(real(f));
}

static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 off)
{
	return real(f)->pMethods->xRead(real(f), p, n, off);
}

static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 off)
{
	struct shim *s = (struct shim *)f;
	if (s->wal)
		reach(PAUSE_WAL_WRITE);
	if (s->db)
		reach(PAUSE_DB_WRITE);
	wal_written = wal_written || s->wal;
	STEP_ON(s, "write");
	return s->real->pMethods->xWrite(s->real, p, n, off);
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	STEP_ON((struct shim *)f, "truncate");
	return real(f)->pMethods->xTruncate(real(f), size);
}

static int shim_sync(sqlite3_file *f, int flags)
{
	struct shim *s = (struct shim *)f;
	if (s->wal)
		reach(PAUSE_WAL_SYNC);
	STEP_ON(s, "sync");
	if (sync_us > 0)
		usleep((useconds_t)sync_us);
	return s->real->pMethods->xSync(s->real, flags);
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real(f)->pMethods->xFileSize(real(f), size);
}

static int shim_lock(sqlite3_file *f, int level)
{
	STEP_ON((struct shim *)f, "lock");
	return real(f)->pMethods->xLock(real(f), level);
}

static int shim_unlock(sqlite3_file *f, int level)
{
	STEP_ON((struct shim *)f, "unlock");
	return real(f)->pMethods->xUnlock(real(f), level);
}

static int shim_reserved(sqlite3_file *f, int *out)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int shim_control(sqlite3_file *f, int op, void *arg)
{
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int shim_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int shim_characteristics(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static int shim_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
	return real(f)->pMethods->xShmMap(real(f), region, size, extend, out);
}

static int shim_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	if (offset == 3 && flags == (SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE) && ckpt_held)
		reach(PAUSE_CKPT_STORED);
	STEP(lock_step(offset, flags));
	int rc = real(f)->pMethods->xShmLock(real(f), offset, n, flags);
	if (offset == 1 && rc == SQLITE_OK)
		ckpt_held = flags & SQLITE_SHM_LOCK;
	if (offset == 0 && rc == SQLITE_OK)
		wal_written = false;
	return rc;
}

static void shim_shm_barrier(sqlite3_file *f)
{
	if (wal_written)
		reach(PAUSE_PUBLISH);
	STEP("barrier");
	real(f)->pMethods->xShmBarrier(real(f));
}

static int shim_shm_unmap(sqlite3_file *f, int del)
{
	STEP(del ? "delete shm" : "unmap shm");
	return real(f)->pMethods->xShmUnmap(real(f), del);
}

static int shim_fetch(sqlite3_file *f, sqlite3_int64 off, int n, void **out)
{
	return real(f)->pMethods->xFetch(real(f), off, n, out);
}

static int shim_unfetch(sqlite3_file *f, sqlite3_int64 off, void *p)
{
	if (ckpt_held && off == 0 && !p)
		reach(PAUSE_CKPT_HEADER);
	return real(f)->pMethods->xUnfetch(real(f), off, p);
}

static const sqlite3_io_methods methods = {
	3,
	shim_close,
	shim_read,
	shim_write,
	shim_truncate,
	shim_sync,
	shim_size,
	shim_lock,
	shim_unlock,
	shim_reserved,
	shim_control,
	shim_sector,
	shim_characteristics,
	shim_shm_map,
	shim_shm_lock,
	shim_shm_barrier,
	shim_shm_unmap,
	shim_fetch,
	shim_unfetch,
};

static int shim_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	(void)v;
	struct shim *s = (struct shim *)f;
	s->real = (sqlite3_file *)(s + 1);
	s->wal = flags & SQLITE_OPEN_WAL;
	s->db = flags & SQLITE_OPEN_MAIN_DB;
	STEP_ON(s, "open");
	int rc = unix_vfs->xOpen(unix_vfs, name, s->real, flags, out);
	s->base.pMethods = s->real->pMethods ? &methods : NULL;
	return rc;
}

static int shim_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
	(void)v;
	STEP("delete wal");
	return unix_vfs->xDelete(unix_vfs, name, sync_dir);
}

void pausevfs_install(void (*reached)(enum pause_point at))
{
	on_reached = reached;
	unix_vfs = sqlite3_vfs_find("unix");
	vfs = *unix_vfs;
	vfs.zName = "pausing";
	vfs.szOsFile += (int)sizeof(struct shim);
	vfs.xOpen = shim_open;
	vfs.xDelete = shim_delete;
	sqlite3_vfs_register(&vfs, 1);
}

void pausevfs_arm(enum pause_point at)
{
	armed = at;
}

void pausevfs_slow_sync(int64_t us)
{
	sync_us = us;
}

enum pause_point pausevfs_point(const char *name)
{
	static const char *const names[] = {
		[PAUSE_NOWHERE] = "nowhere",
		[PAUSE_PUBLISH] = "publish",
		[PAUSE_CKPT_HEADER] = "ckpt-header",
		[PAUSE_CKPT_STORED] = "ckpt-stored",
		[PAUSE_DB_WRITE] = "db-write",
		[PAUSE_WAL_SYNC] = "wal-sync",
		[PAUSE_WAL_WRITE] = "wal-write",
	};
	for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++)
		if (strcmp(names[i], name) == 0)
			return (enum pause_point)i;
	return PAUSE_NOWHERE;
}
