/*
 * The file that a restore writes, from nothing to its place. Inner part of restore.
 *
 * It has no name until it is whole where the file system can do that (O_TMPFILE), so that not even
 * kill -9 leaves something behind; elsewhere it is ".<name>.tmp-<random>" in the same folder.
 *
 * In place of a database that is there (in_place), that one and its -wal, -shm and -journal are
 * renamed aside first: conf/inplace.h.
 *
 * The folder may belong to somebody hostile, who exchanges it, or names in it, for links, FIFOs or
 * devices at any moment: it is opened once, names in it are never followed, and what isn't a
 * regular file isn't opened.
 */
#ifndef RESTORE_OUTPUT_H
#define RESTORE_OUTPUT_H

#include "base/err.h"
#include "base/folder.h"
#include "conf/inplace.h"
#include "restore/restore.h"

#include <stdbool.h>
#include <sys/types.h>

struct output {
	const struct restore_options *options; /* borrowed */
	const char *path;                      /* borrowed; for messages */
	struct folder folder;                  /* its folder, opened once: all is done in that one */
	const char *name;                      /* borrowed */
	struct folder_aside tmp;               /* its fd is -1: without a name */
	int fd;
	bool in_place;
	bool only_missing; /* in_place, but not of what has a byte in it */
	bool told_unsure;  /* that not all processes can be seen */
	uid_t uid;         /* of the database that is replaced, else of the folder */
	gid_t gid;
	mode_t mode;
	char stamp[INPLACE_STAMP_SIZE]; /* the old set is <path>.before-<stamp>; "" = there was none */
};

/*
 * Looks at the target, after an exchange that was interrupted was finished. ERR_EXISTS "cannot
 * restore, output path already exists: P" when P = path or one of its -wal, -shm, -journal is
 * there; in_place: ERR_DATABASE naming the process that has one of them open; only_missing:
 * ERR_EXISTS for a file that isn't empty. ERR_IO when its folder is missing, ERR_DATABASE when
 * it is not the one that options->folder names. `options` are
 * borrowed until then. output_free in every case.
 */
int output_init(struct output *o, const struct restore_options *options, struct err *e);

/* Opens a new empty file, read and write, into o->fd. */
int output_open(struct output *o, struct err *e);

/* Gives up what was opened and removes it. */
void output_discard(struct output *o);

/* Owner and mode, fsync. */
int output_settle(struct output *o, struct err *e);

/* Puts it in place, replacing nothing (ERR_EXISTS), and makes that durable. In place: asks once
 * more who has the old database open (ERR_DATABASE), and keeps all others out while it is
 * exchanged. */
int output_place(struct output *o, struct err *e);

void output_free(struct output *o); /* discards what was not placed */

#endif
