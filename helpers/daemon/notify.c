#include "daemon/notify.h"

#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* sd_notify(3): the address is a path, or, beginning with '@', a name in the abstract space, whose
 * first byte is then 0 and whose length is part of it. */
void notify_manager(const char *state)
{
	const char *where = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (!where || (where[0] != '/' && where[0] != '@') || strlen(where) >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, where, strlen(where) + 1);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = '\0';
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(where));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
		sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&a, size) < 0)
		log_debug("cannot tell %s to the service manager: %s", state, strerror(errno));
	fs_close(fd);
}
