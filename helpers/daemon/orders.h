/* What a worker is told at its start: made of the desired state and the credentials of its app. */
#ifndef DAEMON_ORDERS_H
#define DAEMON_ORDERS_H

#include "daemon/supervise.h"

#include <jansson.h>

/*
 * The config message for a worker: the databases of its app that belong to its uid and that have
 * been judged well, with the credentials as they are now. ctx is the struct supervisor. *out is a
 * new object with secrets in it. Errors of secrets_read, ERR_NOMEM, ERR_FAIL when the app is gone.
 */
int orders_make(void *ctx, struct child *c, json_t **out, struct err *e);

/*
 * What that worker may see: the folders, state folders and file replicas of the same databases.
 * ERR_NOMEM, ERR_FAIL when the app is gone.
 */
int orders_folders(void *ctx, const struct child *c, struct confine_folders *out, struct err *e);

/* SHA-256 of the message, of which folders those are, and of what else a confined child has as it
 * was at its start: another one means that the worker must be started anew. */
int orders_digest(struct supervisor *s, struct child *c, uint8_t out[32], struct err *e);

#endif
