/* restore-if-db-not-exists: databases that are not there are restored before replication begins. */
#ifndef CLI_MISSING_H
#define CLI_MISSING_H

#include "conf/config.h"

/*
 * Restores each database that is missing and shall be there, from the first of its replicas that
 * holds a backup. None does: the log warns, and that is no error, because a new app has none. Any
 * other trouble ends it: the restore's errors. SIGTERM and SIGINT: ERR_CANCELLED. Nothing else of
 * this process may be open or running.
 */
int missing_restore(const struct config *c, struct err *e);

/* Shall any be? */
bool missing_wanted(const struct config *c);

#endif
