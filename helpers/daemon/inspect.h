/* Looking at a database file from outside, without opening it with SQLite and without a trace. */
#ifndef DAEMON_INSPECT_H
#define DAEMON_INSPECT_H

#include "base/err.h"

#include <stdbool.h>

struct inspect_answer {
	bool exists;
	bool empty;               /* 0 bytes: SQLite takes it for a new database */
	const char *journal_mode; /* "wal", "rollback", or "" while there is nothing */
};

/*
 * ERR_OK also when there is no file, if the folder can be written (a database's -wal and -shm are
 * made beside it). ERR_DATABASE: not SQLite or encrypted, WAL2, no permission for the file or its
 * folder, or a process holds it in exclusive locking mode.
 */
int inspect_database(const char *path, struct inspect_answer *out, struct err *e);

/* The same without the seconds that a lock is given to go away: held in exclusive locking mode is
 * not noticed. */
int inspect_at_once(const char *path, struct inspect_answer *out, struct err *e);

#endif
