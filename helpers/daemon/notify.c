#include "daemon/notify.h"

#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

/* A number of the environment; -1 when there is none. */
static int64_t number_of(const char *name)
{
	const char *text = getenv(name);
	char *end;
	if (!text || *text < '0' || *text > '9')
		return -1;
	errno = 0;
	int64_t n = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' ? n : -1;
}

int64_t notify_watchdog_us(void)
{
	int64_t us = number_of("WATCHDOG_USEC");
	if (us <= 0 || (getenv("WATCHDOG_PID") && number_of("WATCHDOG_PID") != getpid()))
		return 0;
	return us > 1 ? us / 2 : 1;
}

void notify_stopping(int64_t ms)
{
	char state[80];
	snprintf(state, sizeof(state), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, ms * 1000);
	notify_manager(state);
}
