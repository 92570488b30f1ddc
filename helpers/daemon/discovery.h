/*
 * Which replicas lie below a URL, asked for over the control socket, found out by a job that has no
 * rights of its own: what it reads, anybody may have written.
 */
#ifndef DAEMON_DISCOVERY_H
#define DAEMON_DISCOVERY_H

#include "daemon/routes.h"

/* Answers the request, at once or later. */
void discovery_start(struct routes *r, struct control_request *q);

#endif
