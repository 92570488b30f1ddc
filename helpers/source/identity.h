/*
 * Which files are open, and are they still the ones that the paths name?
 *
 * A database that was replaced (cp, mv, rm) while we are connected must never be written by us: our
 * checkpoint would write frames of the old database into the new one. So device, inode and link
 * count of the path, -wal and -shm are compared in each turn and before each checkpoint.
 */
#ifndef SOURCE_IDENTITY_H
#define SOURCE_IDENTITY_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/* When a file was last written and how long it is. */
struct identity_stamp {
	struct timespec mtime, ctime;
	off_t size;
};

struct identity_file {
	dev_t dev;
	ino_t ino;
};

struct identity {
	struct identity_file db, wal, shm;
};

struct identity_paths {
	char *db, *wal, *shm;
};

int identity_paths_init(struct identity_paths *p, const char *db, struct err *e);
void identity_paths_free(struct identity_paths *p);

/*
 * Is this a file that we may follow? A regular file with one link, not reached through a symbolic
 * link as its last part, on a file system with working locks and shared memory: NFS, SMB, FUSE, 9p
 * and the like are refused (ERR_DATABASE) unless any_filesystem; an overlay is warned of. So is
 * what restore -f follows (conf/followed.h). A missing file is ERR_NOT_FOUND; its folder's file
 * system is checked then too.
 */
int identity_check_path(const char *path, bool any_filesystem, struct err *e);

/* Notes what the three paths name now. ERR_AGAIN when one of them is missing. */
int identity_take(struct identity *id, const struct identity_paths *p, struct err *e);

enum identity_change { IDENTITY_SAME, IDENTITY_REPLACED, IDENTITY_GONE };

/* Compares; fills reason (a sentence) when they are not the same, and *db (may be NULL) with the
 * database file's stamp. */
enum identity_change identity_compare(const struct identity *id, const struct identity_paths *p,
	struct identity_stamp *db, char *reason, size_t n);

void identity_stamp_of(const struct stat *st, struct identity_stamp *out);

/* Same size and time of the last write (the inode's change time only where `strict`). */
bool identity_stamp_equal(
	const struct identity_stamp *a, const struct identity_stamp *b, bool strict);

#endif
