/* What a replicator says of itself, as the messages and the control socket say it. */
#ifndef DAEMON_STATUS_MESSAGE_H
#define DAEMON_STATUS_MESSAGE_H

#include "proto/message.h"
#include "replicate/replicator.h"

/* Fills *m, all texts borrowed from id and *status. */
void status_message(
	const char *id, const struct replicator_status *status, struct message_status_database *m);

#endif
