/* The socket that metrics are served on. */
#ifndef DAEMON_METRICS_LISTEN_H
#define DAEMON_METRICS_LISTEN_H

#include "base/err.h"

#include <stddef.h>

#define METRICS_URL_MAX 320

/*
 * Listens at `addr` (conf/address.h): without a host on all of this machine's addresses, of both
 * families where it has both. `url` gets "http://127.0.0.1:9090/metrics", with the port that it
 * came to. ERR_USAGE (no address), ERR_FAIL with what to do.
 */
int metrics_listen(const char *addr, int *fd, char url[METRICS_URL_MAX], struct err *e);

#endif
