/*
 * Descriptors of database files that must not be closed, and the locks that other processes hold.
 *
 * POSIX drops all of a process's locks on a file when any of its descriptors of that file is
 * closed, so a stray open and close of a database would silently drop the locks of SQLite's
 * connections to it: the pin would be gone. Each database therefore has one descriptor of ours,
 * opened before SQLite opens the file and closed after SQLite's last connection, counted over all
 * sources of the process.
 *
 * SQLite's locks on the database file are ranges behind 1 GiB (src/os_unix.c, "PENDING_BYTE"):
 * a connection that has read holds a read lock in the SHARED range as long as it is open in WAL
 * mode; an exclusive one holds a write lock there.
 */
#ifndef SOURCE_DBFILE_H
#define SOURCE_DBFILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dbfile;

/* Opens, or takes part in, the one descriptor of this file. ERR_NOT_FOUND, ERR_DATABASE (no
 * permission, a symbolic link, not a regular file), ERR_NOMEM. */
int dbfile_open(struct dbfile **out, const char *path, struct err *e);

/* After SQLite's connections are closed. NULL is fine. */
void dbfile_close(struct dbfile *f);

int dbfile_fd(const struct dbfile *f); /* for reading and fstat; never close it */

/* Is another source of this process on the same file? */
bool dbfile_shared(const struct dbfile *f);

enum dbfile_lock { DBFILE_UNLOCKED, DBFILE_SHARED, DBFILE_EXCLUSIVE, DBFILE_UNKNOWN };

/* The strongest lock that another process holds on the SHARED range; *pid = whose (0 = not
 * visible from here). This process's own locks don't count. */
enum dbfile_lock dbfile_foreign_lock(const struct dbfile *f, pid_t *pid);

/*
 * Who holds one of the eight shm locks (source/connection.h), asked through a descriptor of the
 * -shm: asking takes nothing and disturbs nobody. SHM locks are bytes 120 to 127 (src/os_unix.c,
 * "UNIX_SHM_BASE").
 */
enum dbfile_lock dbfile_foreign_shm_lock(const struct dbfile *shm, int lock, pid_t *pid);

/* dbfile_foreign_lock by path; opens a descriptor only when this process has none of that file. */
enum dbfile_lock dbfile_foreign_lock_path(const char *path, pid_t *pid);

#endif
