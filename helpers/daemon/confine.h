/*
 * What a child can reach of the file system, whoever's rights it has: a read-only system, the files
 * that name resolution and TLS read, its own folders, nothing else.
 *
 *   CONFINE_NAMESPACE   mount, process and IPC namespaces of its own: a small tmpfs, written once
 *                       and then read-only, with the rest bound into it. It sees no other process,
 *                       so it can't trace or signal one, and no folder or socket of the host.
 *   CONFINE_LANDLOCK    the same folders by Landlock rules, where namespaces can't be had (a daemon
 *                       in a container without CAP_SYS_ADMIN): other paths can be looked at with
 *                       stat(2), but not opened; other processes can't be traced. Other /proc files
 *                       than a process's secrets stay readable.
 *   CONFINE_NONE        neither: its user's rights are all that holds it.
 *
 * Both bind folders, not names: a folder that is replaced on the host, or mounted over, is not seen
 * by a child that runs. The daemon looks at device and inode of what it gave to each, and starts a
 * worker anew when they are others (supervise.h). Device and inode of what is bound are the same
 * inside and outside, so they may be compared (F10), and inotify works as outside.
 */
#ifndef DAEMON_CONFINE_H
#define DAEMON_CONFINE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum confine_kind { CONFINE_NONE, CONFINE_LANDLOCK, CONFINE_NAMESPACE };

enum confine_access {
	CONFINE_STORAGE, /* a database's folder: opened below its root, no symbolic link on the way */
	CONFINE_STATE,   /* a folder in one that is root's alone */
	CONFINE_REPLICA, /* a replica's folder: opened, and made if it is missing, with the rights of
						the child's user; left out where that can't be done */
	CONFINE_SOURCE,  /* the same for reading only, and never made */
	CONFINE_KEPT,    /* the same for reading and writing, and never made */
};

struct confine_folder {
	enum confine_access access;
	char *path; /* absolute; where it is seen */
	bool mount; /* CONFINE_STORAGE: as storage_look */
	dev_t dev;  /* CONFINE_STORAGE: what was judged; another folder at `path` is an error */
	ino_t ino;
};

/* The folders of one child. */
struct confine_folders {
	struct confine_folder *list;
	size_t n;
	const char *roots; /* borrowed; as storage_look */
};

/* Zeroes are an empty list. `path` is copied. ERR_NOMEM. */
int confine_add(
	struct confine_folders *f, enum confine_access access, const char *path, struct err *e);
int confine_add_storage(
	struct confine_folders *f, const char *path, bool mount, dev_t dev, ino_t ino, struct err *e);
/* The folder of a replica with a file URL; nothing for any other URL, or what is none (the child
 * will say so). ERR_NOMEM. */
int confine_add_replica(
	struct confine_folders *f, enum confine_access access, const char *url, struct err *e);
char *confine_replica_path(const char *url); /* that folder, a new string; NULL = none */
void confine_free(struct confine_folders *f);

/* What status says: "mount namespace", "landlock", "none". */
const char *confine_name(enum confine_kind kind);

/*
 * Which kind this machine can do, tried out once in a child of its own. `wanted`: "auto", the best
 * one; "namespace", "landlock", "none": that one or ERR_DENIED with the reason. as_self (no root):
 * namespaces are left out. ERR_USAGE: another word.
 */
int confine_choose(const char *wanted, bool as_self, enum confine_kind *out, struct err *e);

/*
 * Changes when the files that a child has of its own, or can't see replaced, do (resolv.conf, hosts
 * and the like; for Landlock also when they are other files with the same content): then it must be
 * started anew. Missing files count as empty. False: one could not be read now, or no memory; it
 * says nothing then.
 */
bool confine_system_digest(enum confine_kind kind, uint8_t out[32]);

/* Whether a file of this name, in a folder that confine_system_watch names, is one of these. */
bool confine_system_file(const char *name);
/* Calls fn for every folder in which such files are replaced: /etc, and where its links lead. */
void confine_system_watch(void (*fn)(void *ctx, const char *dir), void *ctx);

/* ---- in the child, before it becomes another user; one thread ---- */

struct confine {
	enum confine_kind kind;
	const struct confine_folders *folders; /* NULL = none */
	const char *program; /* which it will run; NULL = none that isn't the system's */
	uid_t uid;
	gid_t gid;
	bool as_self;
};

/* For clone(2). */
int confine_clone_flags(enum confine_kind kind);

/*
 * After that, as the user who starts it. *ruleset is for confine_restrict, -1 = nothing to restrict
 * any more. ERR_DATABASE: a storage folder is not the one that was judged. ERR_IO, ERR_NOMEM.
 */
int confine_enter(const struct confine *c, int *ruleset, struct err *e);

/* As the child's user, with no_new_privs; *ruleset is closed. */
int confine_restrict(int ruleset, struct err *e);

#endif
