/* litestreamd: supervisor, jobs and control socket in one loop of one thread. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "daemon/control.h"
#include "daemon/supervise.h"

struct daemon_config {
	struct supervisor_config supervisor;
	const char *socket;
	gid_t gid; /* whose members may use the socket and read the logs */
};

/*
 * Runs until SIGTERM or SIGINT; then stops every worker with a last sync and returns ERR_OK. SIGHUP
 * reads everything anew. Tells systemd (NOTIFY_SOCKET) READY=1 when the socket answers and workers
 * are being started: it waits for no network; WATCHDOG=1 as often as systemd asks; at the end how
 * long that may take. Fails only at the start.
 */
int daemon_run(const struct daemon_config *cfg, struct err *e);

#endif
