/*
 * The file that a restore writes, from nothing to its place. Inner part of restore.
 *
 * It has no name until it is whole where the file system can do that (O_TMPFILE), so that not even
 * kill -9 leaves something behind; elsewhere it is ".<name>.tmp-<random>" in the same folder.
 */
#ifndef RESTORE_OUTPUT_H
#define RESTORE_OUTPUT_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct output {
	const char *path; /* borrowed */
	char *dir;
	char *tmp; /* NULL: without a name */
	int fd;
	uid_t uid; /* of the folder */
	gid_t gid;
	mode_t mode;
};

/*
 * Looks at the target. ERR_EXISTS "cannot restore, output path already exists: P" when P = path or
 * one of its -wal, -shm, -journal is there; ERR_IO when its folder is missing. Changes nothing.
 * output_free in every case.
 */
int output_init(struct output *o, const char *path, struct err *e);

/* Opens a new empty file, read and write, into o->fd. */
int output_open(struct output *o, struct err *e);

/* Gives up what was opened and removes it. */
void output_discard(struct output *o);

/* Owner and mode as the folder's, fsync. */
int output_settle(struct output *o, struct err *e);

/* Puts it in place, replacing nothing (ERR_EXISTS), and makes that durable. */
int output_place(struct output *o, struct err *e);

void output_free(struct output *o); /* discards what was not placed */

#endif
