/*
 * A check, a look, a restore or a clean-up, asked for over the control socket, done by a job as the
 * owner of the database. Where a worker has the database that is to be restored, its app's workers
 * are stopped first and started again after.
 */
#ifndef DAEMON_OPERATION_H
#define DAEMON_OPERATION_H

#include "daemon/routes.h"
#include "proto/message.h"

/* Answers the request, at once or later. */
void operation_start(struct routes *r, struct control_request *q, enum job_kind kind);

#endif
