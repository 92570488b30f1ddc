/*
 * Who has a database open? Asked before its file is exchanged. Two ways, because neither knows all:
 *
 *   SQLite's locks   every connection in WAL mode holds one on the file and one on the -shm, and a
 *                    transaction in any mode does. Seen across users, not an idle connection in a
 *                    rollback mode.
 *   /proc            every descriptor of every process that we may look into: as root all of them,
 *                    otherwise our own user's.
 */
#ifndef SOURCE_HOLDERS_H
#define SOURCE_HOLDERS_H

#include "base/err.h"
#include "base/folder.h"

#include <stdbool.h>
#include <sys/types.h>

struct holders_lock {
	int db_fd, shm_fd;
};

/*
 * Takes the locks that every user of the database needs, so that none begins until
 * holders_unlock. ERR_DATABASE naming the process when one has it in use, and for a link or what is
 * no file. Missing files need no lock. This process must have no SQLite connection to it.
 * holders_unlock in every case.
 */
int holders_lock(struct holders_lock *l, const struct folder *in, const char *name, struct err *e);
void holders_unlock(struct holders_lock *l);

/*
 * Looks for descriptors of the database, its -wal, -shm and -journal in all other processes but
 * those for which `ignore` says true (may be NULL). ERR_DATABASE naming the first that has one.
 * *unsure = there were processes that we may not look into. ERR_IO without /proc, ERR_NOMEM.
 */
int holders_find(const struct folder *in, const char *name, bool (*ignore)(void *ctx, pid_t pid),
	void *ctx, bool *unsure, struct err *e);

#endif
