/* What each request of docs/CONTROL.md does in the daemon. */
#ifndef DAEMON_ROUTES_H
#define DAEMON_ROUTES_H

#include "daemon/control.h"
#include "daemon/jobs.h"
#include "daemon/supervise.h"

struct operation;

struct routes {
	struct supervisor *supervisor;
	struct jobs *jobs;
	struct operation *operations; /* checks and restores under way */
};

void routes_init(struct routes *r, struct supervisor *s, struct jobs *j);
void routes_free(struct routes *r); /* after jobs_free and control_close */

/* The control server's handler; ctx is the struct routes. */
void routes_handle(void *ctx, struct control_request *request);

/* ERR_NOT_FOUND with a sentence. */
int routes_no_such_app(const char *app, struct err *e);

/* Starts restores whose workers have ended meanwhile, frees what is over. Before each poll. */
void routes_prepare(struct routes *r);

#endif
