/*
 * A worker: all databases of one app and owner, told what to do by litestreamd over a channel. The
 * inside of daemon/child.h.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include "base/err.h"

/*
 * Says hello on fd, takes the config, replicates until it is told to stop, fd ends, or SIGTERM or
 * SIGINT comes; ships what is left within the shutdown timeout, says which databases have something
 * unshipped, returns ERR_OK. A database that can't be replicated is told in the status and tried
 * again now and then: the others go on.
 */
int worker_run(int fd, struct err *e);

#endif
