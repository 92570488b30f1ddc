/*
 * One SQLite connection of a source, and what we need from it beyond SQL: SQLite's own handles of
 * the files, its shared-memory locks, and which read mark its transaction holds.
 *
 * The read mark is learned by interception: the connection's sqlite3_io_methods are copied, and in
 * the copy xShmLock is replaced by a function that calls the original and takes a note. (Both the
 * methods and the file pointer are public: SQLITE_FCNTL_FILE_POINTER, sqlite3_io_methods. A shared
 * lock on shm lock 3 + k is read mark k: src/wal.c, "WAL_READ_LOCK".)
 *
 * Every connection has its automatic checkpoint off, keeps the WAL on close and does not checkpoint
 * on close; it never runs SQL that parses the schema, because a newer app's schema may hold syntax
 * that our library does not know.
 */
#ifndef SOURCE_CONNECTION_H
#define SOURCE_CONNECTION_H

#include "base/err.h"
#include "source/shm.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* The shared-memory locks (walindex format, "WAL locks"). Read mark k is lock 3 + k. */
#define CONNECTION_LOCK_WRITE 0
#define CONNECTION_LOCK_CHECKPOINT 1
#define CONNECTION_LOCK_READ 3
#define CONNECTION_NO_MARK (-1)

struct connection {
	sqlite3 *db;
	sqlite3_stmt *read; /* while it stands on its row a read transaction is open */
	sqlite3_file *file; /* SQLite's handle of the database file */
	const sqlite3_io_methods *real;
	sqlite3_io_methods hooked; /* what file->pMethods points to; must not move */
	int mark;                  /* the read mark that is held, or CONNECTION_NO_MARK */
	bool bare;                 /* it is held without a transaction: connection_move_to */
	int64_t spin_until_us;     /* the busy handler gives up then (monotonic) */
};

/* Once for the process: small page caches, no memory statistics. ERR_UNSUPPORTED when the SQLite
 * that is linked is older than 3.33 (it can't recover a wal-index that is being read). */
int connection_library_init(struct err *e);

/* Opens for reading and writing; `c` must stay where it is until connection_close. ERR_DATABASE for
 * a database that may not be written. Nothing is read yet. */
int connection_open(struct connection *c, const char *path, struct err *e);

/* Ends what is being read and closes; the WAL stays. A connection that never opened, or twice, is
 * fine. */
void connection_close(struct connection *c);

/*
 * Begins a read transaction: c->mark is its read mark then. No BEGIN: the transaction of a
 * statement lasts until it is reset (https://sqlite.org/lang_transaction.html, "implicit
 * transaction"), and this one stands on its only row until then. On any failure nothing is open any
 * more. ERR_AGAIN when busy; otherwise as connection_error.
 */
int connection_begin_read(struct connection *c, struct err *e);

/*
 * Takes the WRITE lock itself, without a transaction: nobody can commit until connection_unlock(c,
 * CONNECTION_LOCK_WRITE). Tries for spin_us, at first without a pause; false when somebody else
 * keeps it.
 */
bool connection_take_write(struct connection *c, int64_t spin_us);

/* Ends it, or lets the bare mark go; where there is none, nothing. */
void connection_end_read(struct connection *c);

/*
 * Exchanges the read mark that c holds for mark k, which SQLite lets nobody choose: takes its lock
 * shared, and ends the transaction if k still has the value `frame` then (`m`: where that is read).
 * The lock is all that a read mark is for others. False: nothing has changed.
 */
bool connection_move_to(struct connection *c, const struct shm *m, int k, uint32_t frame);

/* A PASSIVE checkpoint; waits for nobody. SQLite's result code: SQLITE_BUSY when a checkpoint of
 * somebody else's is running. */
int connection_checkpoint(struct connection *c);

/* The WAL's handle; NULL before the first read. */
sqlite3_file *connection_wal(const struct connection *c);

/* Takes one shm lock exclusively without waiting; true when it was free. Release it at once. */
bool connection_try_lock(struct connection *c, int lock);
void connection_unlock(struct connection *c, int lock);

/* From now on closing this connection, when it is the last one, checkpoints what is left and
 * removes -wal and -shm, as an app's last close does. */
void connection_clean_on_close(struct connection *c);

/* Turns SQLite's result into one of ours, with a sentence: "<what> <path>: <SQLite's message>". */
int connection_error(struct connection *c, int rc, const char *what, struct err *e);

#endif
