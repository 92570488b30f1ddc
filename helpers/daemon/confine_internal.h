/* What the parts of confine share: confine.c (lists, choice), confine_system.c (what of the system
 * a child gets), confine_mounts.c, confine_landlock.c. */
#ifndef DAEMON_CONFINE_INTERNAL_H
#define DAEMON_CONFINE_INTERNAL_H

#include "daemon/confine.h"

enum system_kind {
	SYSTEM_TREE,   /* a folder or file, read-only; a symbolic link is made again */
	SYSTEM_FILE,   /* a file that its owner replaces by renaming: a copy (namespace) */
	SYSTEM_DEVICE, /* read and written */
	SYSTEM_GIVEN,  /* named by somebody: links are followed */
};

struct system_part {
	const char *path;
	enum system_kind kind;
};

#define SYSTEM_PARTS_MAX 32
#define SYSTEM_FILE_MAX ((size_t)1024 * 1024)

/* The next part of what a child of this program gets, from *i = 0 on; false at the end. Those that
 * don't exist are among them. */
bool confine_system_next(const char *program, size_t *i, struct system_part *out);

/* An O_PATH descriptor of a folder, as its access says; -1 with ERR_OK: it is left out. */
int confine_open(
	const struct confine *c, const struct confine_folder *folder, int *fd, struct err *e);

int confine_mounts_enter(const struct confine *c, struct err *e);
int confine_landlock_make(const struct confine *c, int *ruleset, struct err *e);
/* Beside namespaces: no signals and abstract sockets to the outside, where the kernel has that
 * (ABI 6). *ruleset = -1 where it hasn't. */
void confine_landlock_scope(int *ruleset);
int confine_landlock_abi(void); /* 0 = none */

#endif
