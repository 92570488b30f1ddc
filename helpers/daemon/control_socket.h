/* The Unix socket below HTTP: who may listen on it, and who speaks. */
#ifndef DAEMON_CONTROL_SOCKET_H
#define DAEMON_CONTROL_SOCKET_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* A listening socket at `path`, 0660, group `gid` (as far as we may change it). See control_open.
 */
int control_socket_listen(const char *path, gid_t gid, int *fd, struct err *e);

/* ERR_OK when the peer is root, our own user, or in the group; else ERR_DENIED. The kernel noted
 * uid, gid and groups when the peer connected, so nothing can have changed since. */
int control_socket_check_peer(int fd, gid_t gid, struct err *e);

/* Is there no descriptor left for a client? `fd` is any open one. */
bool control_socket_starved(int fd);

#endif
