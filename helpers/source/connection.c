#include "source/connection.h"

#include "base/clock.h"
#include "base/fs.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#define SPIN_STEP_US 50
/* Writers without a pause leave the lock free for a microsecond at a time: asleep we never meet it.
 * Who never sleeps, though, is the first to wait for a processor. */
#define SPIN_HOT_US 200
/* A read only ever waits for somebody who recovers the wal-index: a moment. */
#define READ_SPIN_US 2000

static pthread_once_t configured = PTHREAD_ONCE_INIT;

static void configure(void)
{
	/* Refused (and harmless) when somebody initialised SQLite before. */
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 128, 16);
	sqlite3_initialize();
}

int connection_library_init(struct err *e)
{
	pthread_once(&configured, configure);
	if (sqlite3_libversion_number() < 3033000)
		return err_set(e, ERR_UNSUPPORTED,
			"this program runs with SQLite %s; it needs 3.33 or newer (package libsqlite3-0)",
			sqlite3_libversion());
	return ERR_OK;
}

static struct connection *connection_of(sqlite3_file *file)
{
	return (struct connection *)((char *)file->pMethods - offsetof(struct connection, hooked));
}

static int note_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	struct connection *c = connection_of(file);
	int rc = c->real->xShmLock(file, offset, n, flags);
	bool one_mark = offset >= CONNECTION_LOCK_READ && n == 1 && (flags & SQLITE_SHM_SHARED);
	if (rc == SQLITE_OK && one_mark)
		c->mark = flags & SQLITE_SHM_LOCK ? offset - CONNECTION_LOCK_READ : CONNECTION_NO_MARK;
	return rc;
}

static int spin(void *ctx, int calls)
{
	(void)calls;
	struct connection *c = ctx;
	if (clock_mono_us() >= c->spin_until_us)
		return 0;
	clock_sleep_us(SPIN_STEP_US);
	return 1;
}

static void set_up(struct connection *c)
{
	int on = 1;
	sqlite3_busy_handler(c->db, spin, c);
	sqlite3_wal_autocheckpoint(c->db, 0);
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_file_control(c->db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
	sqlite3_file_control(c->db, "main", SQLITE_FCNTL_FILE_POINTER, &c->file);
}

static void hook(struct connection *c)
{
	c->real = c->file->pMethods;
	c->hooked = *c->real;
	c->hooked.xShmLock = note_shm_lock;
	c->file->pMethods = &c->hooked;
}

int connection_open(struct connection *c, const char *path, struct err *e)
{
	memset(c, 0, sizeof(*c));
	c->mark = CONNECTION_NO_MARK;
	int rc = sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc != SQLITE_OK) {
		rc = connection_error(c, rc, "cannot open", e);
		connection_close(c);
		return rc;
	}
	set_up(c);
	if (!c->file || !c->file->pMethods || c->file->pMethods->iVersion < 2) {
		connection_close(c);
		return err_set(e, ERR_DATABASE, "%s: SQLite has no shared memory for it here", path);
	}
	hook(c);
	if (sqlite3_db_readonly(c->db, "main") == 1) {
		connection_close(c);
		return err_set(e, ERR_DATABASE,
			"%s may not be written by this user: following a WAL needs write permission for the "
			"database and its folder",
			path);
	}
	return ERR_OK;
}

static int lock_shared(struct connection *c, int mark, int flag)
{
	return c->real->xShmLock(c->file, CONNECTION_LOCK_READ + mark, 1, flag | SQLITE_SHM_SHARED);
}

static void end_bare(struct connection *c)
{
	if (!c->bare)
		return;
	lock_shared(c, c->mark, SQLITE_SHM_UNLOCK);
	c->bare = false;
	c->mark = CONNECTION_NO_MARK;
}

void connection_close(struct connection *c)
{
	end_bare(c);
	sqlite3_finalize(c->read); /* ends its transaction too; NULL is fine */
	sqlite3_close_v2(c->db);
	c->read = NULL;
	c->db = NULL;
	c->file = NULL;
	c->mark = CONNECTION_NO_MARK;
}

/* The statement is kept: a pin is renewed dozens of times a second, and parsing costs more than the
 * rest of it. It depends on no schema, so nothing that an app does makes it stale. */
static int step_read(struct connection *c)
{
	int rc = SQLITE_OK;
	if (!c->read)
		rc = sqlite3_prepare_v3(
			c->db, "PRAGMA user_version", -1, SQLITE_PREPARE_PERSISTENT, &c->read, NULL);
	return rc == SQLITE_OK ? sqlite3_step(c->read) : rc;
}

int connection_begin_read(struct connection *c, struct err *e)
{
	c->spin_until_us = clock_mono_us() + READ_SPIN_US;
	int rc = step_read(c);
	if (rc == SQLITE_ROW && c->mark != CONNECTION_NO_MARK)
		return ERR_OK;
	int code = rc == SQLITE_ROW ? err_set(e, ERR_AGAIN, "%s is not in WAL mode any more",
									  sqlite3_db_filename(c->db, "main"))
								: connection_error(c, rc, "cannot read", e);
	connection_end_read(c);
	return code;
}

bool connection_take_write(struct connection *c, int64_t spin_us)
{
	int64_t now_us = clock_mono_us(), until_us = now_us + spin_us, rest_us = now_us + SPIN_HOT_US;
	while (!connection_try_lock(c, CONNECTION_LOCK_WRITE)) {
		now_us = clock_mono_us();
		if (now_us >= until_us)
			return false;
		if (now_us >= rest_us) {
			clock_sleep_us(SPIN_STEP_US);
			rest_us = clock_mono_us() + SPIN_HOT_US;
		}
	}
	return true;
}

void connection_end_read(struct connection *c)
{
	end_bare(c);
	sqlite3_reset(c->read); /* what it returns is about the last step */
}

bool connection_move_to(struct connection *c, const struct shm *m, int k, uint32_t frame)
{
	if (k == c->mark || lock_shared(c, k, SQLITE_SHM_LOCK) != SQLITE_OK)
		return false;
	/* Under the lock nobody gives it another value. */
	if (shm_read_mark(m, k) != frame) {
		lock_shared(c, k, SQLITE_SHM_UNLOCK);
		return false;
	}
	connection_end_read(c);
	c->mark = k;
	c->bare = true;
	return true;
}

int connection_checkpoint(struct connection *c)
{
	c->spin_until_us = 0;
	return sqlite3_wal_checkpoint_v2(c->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

sqlite3_file *connection_wal(const struct connection *c)
{
	sqlite3_file *wal = NULL;
	int rc = sqlite3_file_control(c->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
	return rc == SQLITE_OK && wal && wal->pMethods ? wal : NULL;
}

bool connection_try_lock(struct connection *c, int lock)
{
	int flags = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
	return c->real->xShmLock(c->file, lock, 1, flags) == SQLITE_OK;
}

void connection_unlock(struct connection *c, int lock)
{
	c->real->xShmLock(c->file, lock, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}

void connection_clean_on_close(struct connection *c)
{
	int off = 0;
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	sqlite3_file_control(c->db, "main", SQLITE_FCNTL_PERSIST_WAL, &off);
}

static int code_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return ERR_AGAIN;
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ERR_DATABASE;
	default:
		return ERR_IO;
	}
}

/* A file that could not be opened because the system had no room for it: nothing is wrong with it.
 */
static bool out_of_means(const struct connection *c, int rc)
{
	return (rc & 0xff) == SQLITE_CANTOPEN && c->db && fs_may_pass(sqlite3_system_errno(c->db));
}

int connection_error(struct connection *c, int rc, const char *what, struct err *e)
{
	const char *path = c->db ? sqlite3_db_filename(c->db, "main") : NULL;
	const char *hint = "";
	if (out_of_means(c, rc))
		return err_errno(e, ERR_IO, sqlite3_system_errno(c->db), "%s %s: SQLite says %s [%d]", what,
			path ? path : "the database", sqlite3_errmsg(c->db), rc);
	if ((rc & 0xff) == SQLITE_NOTADB)
		hint = " (it is not a SQLite database, or it is encrypted)";
	else if ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY)
		hint = " (this user must be able to write the file, its folder and its -wal and -shm)";
	return err_set(e, (enum err_code)code_of(rc), "%s %s: SQLite says %s [%d]%s", what,
		path ? path : "the database", c->db ? sqlite3_errmsg(c->db) : sqlite3_errstr(rc), rc, hint);
}
