/*
 * SQLite's own look at a restored database that has no name yet: PRAGMA quick_check or
 * integrity_check, through a VFS that reads one descriptor and nothing else. Nothing is written, no
 * -wal or -shm made.
 */
#ifndef RESTORE_INTEGRITY_H
#define RESTORE_INTEGRITY_H

#include "base/err.h"

enum integrity_mode { INTEGRITY_NONE, INTEGRITY_QUICK, INTEGRITY_FULL };

/*
 * Checks the database in `fd` (stays the caller's). ERR_DAMAGED "post-restore integrity check: …"
 * with the first finding, also for a schema that the SQLite that is linked doesn't understand.
 * ERR_CANCELLED when *cancelled (may be NULL) became 1, ERR_NOMEM, ERR_FAIL.
 */
int integrity_check(int fd, enum integrity_mode mode, const int *cancelled, struct err *e);

#endif
