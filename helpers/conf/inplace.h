/*
 * A database exchanged for a restored one, together with its -wal, -shm and -journal, so that a
 * crash at any moment leaves the old set, or the new file, or an intent from which whoever comes
 * next (restore, replicate) makes one of the two. Of a database X in the same folder:
 *
 *   X.before-<time>, X.before-<time>-wal …   the old set; it stays
 *   .X.restoring                             the intent: names and inodes, locked by who is at it
 *   .X.restored-<time>                       the new file, whole and fsynced, until it is X
 *
 * The steps, each durable before the next: intent; name of the new file; X renamed, then -wal, -shm
 * and -journal; the new file renamed to X; intent removed. So a new file never appears beside an
 * old -wal. What a crash in between leaves is settled by what is at X then:
 *
 *   the old file     nothing was renamed yet: back. The new file is removed.
 *   nothing          forward: the rest is renamed, the new file becomes X. (Back, if that is gone.)
 *   the new file     the intent is removed.
 *   another file     made by somebody in between: refused, a person must say which one is meant.
 */
#ifndef CONF_INPLACE_H
#define CONF_INPLACE_H

#include "base/err.h"
#include "base/folder.h"

#include <stdbool.h>

#define INPLACE_STAMP_SIZE 32 /* of "20261121T153000Z", with the NUL */

/*
 * Puts a new file, whole and fsynced, in the place of the database `name` in an opened folder and
 * what belongs to that (any of the four may be missing). The new file is `fd`, which has no name,
 * or has the name `tmp` in that folder, beginning with ".<name>.". The old set is then
 * <name>.before-<stamp>; stamp is "" when there was nothing. On failure (ERR_IO, ERR_NOMEM;
 * ERR_DATABASE: somebody made or exchanged a file meanwhile) everything is as before and the new
 * file is gone; if not even that succeeded the intent stays. The caller has seen to it that nobody
 * has the database open. Whatever others do to names in the folder meanwhile: nothing outside of it
 * is touched, and no link followed.
 */
int inplace_exchange(const struct folder *in, const char *name, int fd, const char *tmp,
	char stamp[INPLACE_STAMP_SIZE], struct err *e);

/*
 * Finishes what a crash left of an exchange, forward or back, and says so in the log. ERR_OK also
 * when there was nothing. ERR_AGAIN: somebody is at it now. ERR_DATABASE: another file is there;
 * with `drop` that one is kept, what is left of the old set is put with the rest of it, and the new
 * file removed. ERR_IO, ERR_NOMEM.
 */
int inplace_recover(const char *path, bool drop, struct err *e);
int inplace_recover_in(const struct folder *in, const char *name, bool drop, struct err *e);

#endif
