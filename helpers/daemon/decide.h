/*
 * POST /decide: a person's word on a database that is `replaced` (accept) or `fenced` (takeover).
 * Its worker carries it out once; nothing of it is written down, so that no later start repeats it.
 */
#ifndef DAEMON_DECIDE_H
#define DAEMON_DECIDE_H

#include "daemon/routes.h"

/* Answers the request, at once or when the worker has begun anew with the database. */
void decide_start(struct routes *r, struct control_request *q);

#endif
