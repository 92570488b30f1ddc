/* The Unix socket below HTTP: who may listen on it, and who speaks. */
#ifndef DAEMON_CONTROL_SOCKET_H
#define DAEMON_CONTROL_SOCKET_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Who may speak: root and our own user always, the group if the mode lets it write, anybody if it
 * lets others. */
struct control_socket_rule {
	gid_t gid;
	mode_t mode; /* 0660 */
};

/* Which file a socket is: another one may have its name later. */
struct control_socket_file {
	dev_t dev;
	ino_t ino;
};

/* A listening socket at `path`, with that mode and group (as far as we may change it). See
 * control_open. */
int control_socket_listen(const char *path, const struct control_socket_rule *rule, int *fd,
	struct control_socket_file *file, struct err *e);

/* Removes it, if the name is still its. */
void control_socket_remove(const char *path, const struct control_socket_file *file);

/* ERR_OK when the peer may speak, else ERR_DENIED. The kernel noted uid, gid and groups when the
 * peer connected, so nothing can have changed since. */
int control_socket_check_peer(int fd, const struct control_socket_rule *rule, struct err *e);

/* Is there no descriptor left for a client? `fd` is any open one. */
bool control_socket_starved(int fd);

#endif
