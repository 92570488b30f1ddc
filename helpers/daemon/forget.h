/* Removing the local state of a database that is registered no more. */
#ifndef DAEMON_FORGET_H
#define DAEMON_FORGET_H

#include "base/err.h"
#include "daemon/supervise.h"

/*
 * Removes state/<id>; one that isn't there is success. ERR_USAGE: no id. ERR_FAIL: a desired file
 * still names it. ERR_AGAIN: a worker still has it. ERR_IO. The caller has read the desired files
 * anew. Nothing in the replica is touched.
 */
int forget_state(const struct supervisor *s, const char *id, struct err *e);

#endif
