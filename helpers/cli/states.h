/* Which databases there are on this machine, and where their local state is, without asking
 * anybody: for the commands that look at it from outside. */
#ifndef CLI_STATES_H
#define CLI_STATES_H

#include "cli/args.h"
#include "conf/config.h"

/* Borrowed for the call. */
struct state_place {
	const char *database; /* absolute path */
	const char *dir;      /* state folder */
	const char *name;     /* of the replica in the configuration; NULL: there is none */
	const char *url;      /* of the replica, may hold a secret; NULL, too */
	size_t index;         /* which replica it is: 0, 1 … */
};

typedef int states_fn(void *ctx, const struct state_place *s, struct err *e);

/* Each database of a configuration, those in its folders too; `relative` as in wanted.h, borrowed.
 * What fn returns ends it. A folder that isn't there has none. */
int states_databases(const struct config *c,
	int (*fn)(void *ctx, const struct config_database *db, const char *relative, struct err *e),
	void *ctx, struct err *e);

/* Each replica of each of them. */
int states_all(const struct config *c, states_fn *fn, void *ctx, struct err *e);

/*
 * The same of one database: as the configuration has it (as place_each, -replica chooses one of
 * several); one that no configuration names has the default folder, and after several URLs on the
 * command line others beside it. With -config it must be in there: ERR_USAGE.
 */
int states_of(struct args *a, const char *word, states_fn *fn, void *ctx, struct err *e);

#endif
