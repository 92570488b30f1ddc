/*
 * Looking, as root, at a database that a user named: where it is, whose it is, without being led
 * elsewhere by a symbolic link. Nothing is opened for reading or writing.
 */
#ifndef DAEMON_STORAGE_H
#define DAEMON_STORAGE_H

#include "base/err.h"
#include "base/folder.h"

#include <stdbool.h>
#include <sys/types.h>

struct storage_answer {
	bool exists; /* the database file */
	bool empty;  /* it has 0 bytes */
	uid_t uid;   /* of the file, or of the folder while there is none */
	gid_t gid;
	uid_t folder_uid;
	gid_t folder_gid;
	dev_t folder_dev; /* which folder that was */
	ino_t folder_ino;
};

/*
 * `roots` are absolute folders separated by ':'; storage_dir must be below one of them, or, where
 * `mount` says that the plugin found it to be a mount of the app, anywhere. Below the root no
 * symbolic link is followed (openat2: RESOLVE_NO_SYMLINKS and RESOLVE_BENEATH; the root itself may
 * be reached through links, as in Dokku's own Docker image). The file, where there is one, must be
 * regular and have one link.
 * ERR_USAGE: a name that can't be, or a folder elsewhere. ERR_DATABASE: no such folder, a link on
 * the way, not a regular file, more links. ERR_IO, ERR_NOMEM.
 */
int storage_look(const char *roots, const char *storage_dir, const char *file, bool mount,
	struct storage_answer *out, struct err *e);

/* The folder alone, by the same rules: an O_PATH descriptor of it. */
int storage_open(const char *roots, const char *storage_dir, bool mount, int *fd, struct err *e);

/* The folder that was looked at, opened once more to look at names in it; ERR_DATABASE when another
 * one has its place. folder_close in every case. */
int storage_again(const char *roots, const char *storage_dir, bool mount,
	const struct storage_answer *was, struct folder *out, struct err *e);

/* For tests: as on a kernel without openat2. */
extern bool storage_walk_only;

#endif
