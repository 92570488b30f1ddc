/* What the parts of a stand-alone control socket share: local.c (socket, requests that only look),
 * local_change.c (start, stop, register, unregister), local_sync.c. */
#ifndef DAEMON_LOCAL_INTERNAL_H
#define DAEMON_LOCAL_INTERNAL_H

#include "daemon/control.h"
#include "daemon/local.h"
#include "proto/request.h"

#include <stdint.h>

/* A stop or unregister that waits for the rest to be shipped. */
struct local_waiter {
	struct control_request *request; /* NULL: the client has gone */
	bool forget;                     /* unregister */
	struct local_waiter *next;
};

/* A database that was stopped, or is leaving the schedule. */
struct local_stopped {
	struct local *local;
	char *id;
	bool left;   /* the schedule has it no more */
	bool forget; /* and is to be forgotten then */
	struct replicator_status last;
	struct local_waiter *waiters;
	struct local_stopped *next;
};

struct local {
	struct schedule *schedule;
	struct control *control;
	const struct local_host *host;
	struct local_stopped *stopped;
	int64_t started_us, started_ms; /* monotonic, wall */
	int64_t due_us;                 /* when control_run must be called; monotonic */
	bool inside;                    /* control_run is on the stack: it must not be called again */
};

/* ---- local.c ---- */

/* The id of the database that a path means: by its name, by its real name (current/ of Capistrano),
 * or because it is the same file. A new string (free), with *known = false of a path that nobody
 * knows; NULL when out of memory. */
char *local_find(struct local *l, const char *path, bool *known);

bool local_scheduled(struct local *l, const char *id, size_t *i);
struct local_stopped *local_find_stopped(struct local *l, const char *id);

/* Lets answers out that were given outside of a request. */
void local_run(struct local *l);

void local_fail_unknown(struct control_request *q, const char *path);

/* ---- local_change.c ---- */

void local_start(struct local *l, struct control_request *q);
void local_stop(struct local *l, struct control_request *q);
void local_register(struct local *l, struct control_request *q);
void local_unregister(struct local *l, struct control_request *q);
/* Remembers it no more. */
void local_drop(struct local *l, struct local_stopped *p);

/* ---- local_sync.c ---- */

void local_sync(struct local *l, struct control_request *q);

#endif
