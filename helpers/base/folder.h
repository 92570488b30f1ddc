/*
 * A folder that somebody else may write in, worked in by its descriptor: it is opened once, and
 * what is done then is done in that very folder, whatever becomes of its path. A name is one part,
 * without a slash; where it is a symbolic link the link itself is meant, never what it leads to.
 *
 * Calls go through base/fs.h's table. Those without `struct err` return 0, or -1 with errno.
 */
#ifndef BASE_FOLDER_H
#define BASE_FOLDER_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

struct folder {
	int fd;     /* -1: not open */
	char *path; /* as it was named when it was opened: for messages */
};

#define FOLDER_NONE ((struct folder){.fd = -1})

/*
 * Opens what `path` names, links in it followed: whoever names it means that. folder_close in every
 * case. ERR_NOT_FOUND: there is none, or something else; ERR_IO, ERR_NOMEM.
 */
int folder_open(struct folder *f, const char *path, struct err *e);

/* The folder that a file is to be made in. As folder_open, but ERR_IO naming both where there is
 * none; `doing` says what for when memory is out. */
int folder_open_of(struct folder *f, const char *file, const char *doing, struct err *e);

/* The folder of this name in another one; made (0700, durable) where `make` and it is missing.
 * ERR_NOT_FOUND, ERR_DATABASE for a link or what is no folder, ERR_IO, ERR_NOMEM. */
int folder_open_in(
	struct folder *f, const struct folder *in, const char *name, bool make, struct err *e);

void folder_close(struct folder *f);

/* Is it still the one with these numbers? ERR_DATABASE if not. */
int folder_check(const struct folder *f, dev_t dev, ino_t ino, struct err *e);

/* Looks at the name itself. */
int folder_stat(const struct folder *f, const char *name, struct stat *st);

/*
 * Opens a regular file; for anything else (a link, FIFO, device) errno = ELOOP, and nothing that it
 * stands for is opened, not even for a moment, where there is a /proc. Never waits for a FIFO.
 */
int folder_open_file(const struct folder *f, const char *name, int flags);

/* A new file, for reading and writing, mode 0600: EEXIST where there is anything. */
int folder_create(const struct folder *f, const char *name);

/* A new file without a name, as folder_create; EOPNOTSUPP where the file system has none. */
int folder_create_unnamed(const struct folder *f);

/* The same, or one that had a name for a moment. */
int folder_create_scratch(const struct folder *f);

/* Gives that one its name: EEXIST. Needs /proc. */
int folder_link_fd(const struct folder *f, int fd, const char *name);

int folder_rename(const struct folder *f, const char *from, const char *to);
int folder_rename_new(const struct folder *f, const char *from, const char *to); /* EEXIST */
int folder_unlink(const struct folder *f, const char *name);
int folder_remove_tree(const struct folder *f, const char *name); /* fs_remove_tree */
int folder_sync(const struct folder *f); /* also 0 where the file system can't */

/*
 * A file that is written aside and then takes the place of `name`: folder_aside opens it,
 * folder_replace fsyncs, closes and renames it and fsyncs the folder. A caller that gives up says
 * so (folder_replace_not). On failure the old file is as it was and the new one gone; except that,
 * when only the folder's fsync failed, the new file is there but may not survive a loss of power.
 */
struct folder_aside {
	int fd;
	bool renamed; /* only the folder's fsync was left to do */
	char name[256 + 32];
};
int folder_aside(struct folder_aside *a, const struct folder *f, const char *name, mode_t mode);
int folder_replace(struct folder_aside *a, const struct folder *f, const char *name);
void folder_replace_not(struct folder_aside *a, const struct folder *f);

/* A whole file in that way. ERR_FULL, ERR_IO. */
int folder_replace_file(const struct folder *f, const char *name, const void *data, size_t n,
	mode_t mode, struct err *e);

/* Appends the whole of a regular file to out, as fs_read_file. */
int folder_read_file(const struct folder *f, const char *name, struct buf *out, struct err *e);

#endif
