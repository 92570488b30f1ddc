/*
 * A database that restore -f keeps up to date has two files beside it:
 *
 *   X-txid       the TXID that it is at, as text: Litestream's, for whoever wants to know
 *   .X-follow    what the next restore -f needs (restore/follow_state.h)
 *
 * It is somebody else's copy: who writes to it, or replicates it, has a copy no more.
 */
#ifndef CONF_FOLLOWED_H
#define CONF_FOLLOWED_H

#include "base/err.h"
#include "base/folder.h"

/* The names of both, of the database `name`. New strings (free), NULL when out of memory. */
char *followed_txid_name(const char *name);
char *followed_state_name(const char *name);

/* ERR_DATABASE when X-txid is there, with what to do: before X is replicated. ERR_NOMEM. */
int followed_refuse(const char *database, struct err *e);

/* Removes both: another database is in its place. */
void followed_forget(const struct folder *in, const char *name);

#endif
