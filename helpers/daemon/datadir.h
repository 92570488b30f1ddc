/* The daemon's data folder: desired/, secrets/, state/ and their owners (docs/CONTROL.md). */
#ifndef DAEMON_DATADIR_H
#define DAEMON_DATADIR_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Makes what is missing: the folder itself (0711 owner), desired and secrets (0700 owner), state
 * (0711, ours). What is there must belong to whom it should and be writable by nobody else:
 * ERR_DENIED. With as_self everything is ours.
 */
int datadir_prepare(const char *data_dir, uid_t owner, bool as_self, struct err *e);

/* One daemon per state folder: ERR_AGAIN when another has it. Closing *fd lets go. */
int datadir_lock(const char *state_dir, int *fd, struct err *e);

/* Makes state/<id> (0700, uid:gid), or checks that the one that is there belongs to uid. */
int datadir_state(
	const char *state_dir, const char *id, uid_t uid, gid_t gid, bool as_self, struct err *e);

/* Whether the folder's modification time is another than *mtime_ns, which is set to it. */
bool datadir_changed(const char *dir, int64_t *mtime_ns);

/*
 * The replica of database `id` was deleted: until its state is forgotten no worker gets it, which
 * would upload everything again. A file of root's in state/; 0, or ERR_IO, ERR_NOMEM.
 */
int datadir_mark_purged(const char *state_dir, const char *id, struct err *e);
bool datadir_is_purged(const char *state_dir, const char *id);
void datadir_unmark_purged(const char *state_dir, const char *id);

#endif
