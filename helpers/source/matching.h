/*
 * Databases in a folder by their names: for a process that replicates some of them already.
 *
 * A folder that is watched tells of names that come and go, not of what is written.
 *
 * No file that the caller knows is opened: closing a descriptor of a database drops the locks that
 * SQLite has on it in this process. Of the others the header is read.
 */
#ifndef SOURCE_MATCHING_H
#define SOURCE_MATCHING_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define MATCHING_DEPTH 8
#define MATCHING_ENTRIES 100000

struct matching {
	const char *dir;     /* links in it are followed, below it they are passed over */
	const char *pattern; /* of names, as the shell matches them; hidden files only if it says so */
	bool recursive;

	/* `relative` is the path in dir, borrowed for the call. */
	bool (*known)(void *ctx, const char *relative);
	int (*found)(void *ctx, const char *relative, struct err *e); /* a database that isn't known */
	void *ctx;
	int watch_fd; /* an inotify instance to which each folder is added before it is read; -1: none
				   */

	size_t entries;
	size_t undecided; /* files that match, and are too small to be a database yet */
	bool cut;         /* there is more than MATCHING_ENTRIES or deeper */
};

/* Does the name say that the file belongs to a database (-wal, -shm, -journal), or was one before a
 * restore (NAME.before-TIME)? */
bool matching_is_companion(const char *name);

/* Goes through the folder once. ERR_NOT_FOUND when it isn't there, ERR_DENIED, ERR_IO, ERR_NOMEM,
 * or what `found` returned. */
int matching_scan(struct matching *m, struct err *e);

#endif
