/* What the parts of configured.h share: configured.c (databases of the configuration) and
 * registered.c (what the control socket does with them). */
#ifndef CLI_CONFIGURED_INTERNAL_H
#define CLI_CONFIGURED_INTERNAL_H

#include "cli/configured.h"
#include "cli/folders.h"
#include "cli/wanted.h"

/* A database that came over the control socket, as if the configuration had it. */
struct registered {
	struct config_database database;
	struct config_replica replica;
	char *path, *url;
};

struct one {
	struct wanted wanted;
	bool added;       /* or stopped by a person: not to be added */
	int64_t retry_us; /* when it is tried again, if not */
	size_t folder;    /* number of the configuration's database it was found in … */
	char *relative;   /* … and where there; NULL: it is in the configuration itself */
	bool seen;        /* by the scan that is going on */
	bool off;         /* unregistered: here only so that no scan finds it anew */
	struct registered *registered; /* NULL: the configuration's */
};

struct configured {
	const struct config *config;
	size_t index;
	struct args *args;
	struct schedule *schedule;
	struct one **list;
	size_t count, cap;
	struct folders *folders;
	size_t scanning;   /* the folder that is */
	bool once;         /* nothing is tried again */
	struct err failed; /* then: the worst of what could not be added */
	bool registered;   /* something came over the control socket */
	struct local_host host;
};

/* Puts it into the schedule. `words`: with what the command line says for once (-takeover,
 * -accept). Errors as schedule_add. */
int configured_add(struct configured *g, struct one *o, bool words, struct err *e);

/* Its place in the list; frees it when there is none. ERR_NOMEM. */
int configured_keep(struct configured *g, struct one *o, struct err *e);
void configured_free_one(struct one *o);

/* ---- registered.c ---- */

void configured_free_registered(struct one *o);

#endif
