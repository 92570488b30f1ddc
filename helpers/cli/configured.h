/*
 * The databases of litestream.yml, or of the command line, in one process: each with its replica
 * number `index` (the first is 0), those of folders too, and what is found there later.
 */
#ifndef CLI_CONFIGURED_H
#define CLI_CONFIGURED_H

#include "cli/config_file.h"
#include "conf/options.h"
#include "daemon/local.h"
#include "daemon/schedule.h"

#include <stdint.h>

struct configured;

/* How many processes the configuration takes: as many as a database has replicas. 0: it names no
 * database. */
size_t configured_processes(const struct config *c);

/* One database, one replica: what can't go on ends the program. */
bool configured_alone(const struct config *c);

/* `c` and `a` are borrowed until configured_free. ERR_NOMEM. */
int configured_new(
	struct configured **out, const struct config *c, size_t index, struct args *a, struct err *e);
void configured_free(struct configured *g); /* NULL is fine; before the schedule is freed */

/*
 * Adds all databases to the schedule. One that can't be opened (its state folder is in use, …) is
 * tried again every 10 s, where it isn't the only one; with -once it is noted. ERR_USAGE,
 * ERR_NOMEM.
 */
int configured_start(struct configured *g, struct schedule *s, struct err *e);

/* To be called at the end of each round: looks for databases that came or went. Returns when to be
 * called again at the latest (monotonic us). */
int64_t configured_look(struct configured *g, int64_t now_us);

/* For the control socket; borrowed. */
const struct local_host *configured_host(struct configured *g);

/* Did anything come over the control socket? */
bool configured_has_registered(const struct configured *g);

/* With -once: the worst of what could not be added; code ERR_OK: all were. */
const struct err *configured_failed(const struct configured *g);

/* The name of the replica of a database by its id, which is the path; NULL. The first argument is a
 * struct configured. */
const char *configured_replica_name(void *g, const char *id);

/* litestream databases without a URL: prints path and replicas of each. */
int configured_list(struct args *a, bool json, struct err *e);

#endif
