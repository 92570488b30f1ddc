/* Files that tell root what to do: read only when nobody but their owner could have written them.
 */
#ifndef CONF_TRUSTED_H
#define CONF_TRUSTED_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

/*
 * Appends `<dir>/<name>` to out (initialised: its max is the limit). The last part is not followed
 * when it is a link; the file must be regular, belong to root or `owner`, and not be writable by
 * group or others. ERR_NOT_FOUND, ERR_DENIED with the reason, ERR_FULL when it is larger, ERR_IO,
 * ERR_NOMEM.
 */
int trusted_read_file(
	const char *dir, const char *name, uid_t owner, struct buf *out, struct err *e);

/* The same question for a folder that is there: belongs to root or `owner`, writable by nobody
 * else. ERR_DENIED with what is wrong and how to mend it, ERR_IO. */
int trusted_check_folder(const char *dir, uid_t owner, struct err *e);

#endif
