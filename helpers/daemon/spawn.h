/*
 * Starting a child that has nothing of ours but what it needs: another user without supplementary
 * groups and capabilities (root, too), no way to new privileges, no core file, only the files that
 * confine.h lets it have, an environment of its own, and four descriptors: /dev/null, /dev/null,
 * its log, and the channel (number 3). The caller must have one thread only.
 */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include "base/err.h"
#include "daemon/confine.h"

#include <stdbool.h>
#include <sys/types.h>

#define SPAWN_CHANNEL_FD 3

struct spawn {
	const char *const *argv; /* argv[0] is the path of the program; NULL at the end */
	uid_t uid;
	gid_t gid;
	bool as_self; /* stay who we are (tests without root); uid must be ours */
	int log_fd;   /* becomes its standard error; stays the caller's */
	enum confine_kind confinement;
	const struct confine_folders *folders;
};

/*
 * *channel is our end of the stream socket. What fails in the child is said on log_fd, and it ends
 * with 126. ERR_DENIED: uid is not ours with as_self. ERR_IO.
 */
int spawn_child(const struct spawn *s, pid_t *pid, int *channel, struct err *e);

/* For the child, before it reads anything: nobody but root can look into it or trace it (exec
 * undoes what its parent would set), and it writes no core file. */
void spawn_protect_self(void);

/* As many descriptors as the hard limit allows: the usual soft one, 1024, is few for a thousand
 * databases. Nothing here uses select(2). */
void spawn_raise_descriptors(void);

#endif
