/* The loop of `litestream replicate`: one process, its databases, until a signal comes. */
#ifndef CLI_REPLICATE_RUN_H
#define CLI_REPLICATE_RUN_H

#include "cli/app.h"
#include "cli/args.h"
#include "conf/config.h"
#include "cli/once.h"
#include "daemon/heartbeat.h"
#include "daemon/metrics.h"

struct replicate_run {
	/* Set by the caller: */
	const struct config *config;
	size_t index; /* of the replica that this process has of each database */
	bool alone;   /* one database with one replica: what can't go on ends the program */
	struct heartbeat_notes *notes;     /* NULL: no heartbeat */
	struct app *app;                   /* what is run beside; NULL: nothing is */
	bool *ready;                       /* set when an app may begin; NULL: nobody asks */
	struct metrics_base *metrics_base; /* NULL: no metrics */

	/* Its own: */
	struct schedule *schedule;
	struct local *local; /* the control socket, NULL without -socket */
	int signal_fd;
	bool was_ready;
	struct once *once; /* with -once */
	int64_t shutdown_ms;
	int code; /* why it ended by itself */
	char why[1024];
	struct configured *configured;
	struct heartbeat *heartbeat; /* NULL: nobody wants to hear */
	struct metrics *metrics;
};
/* Replicates until it is told to stop, or until one database alone can't go on: its error. */
int replicate_run(struct replicate_run *run, struct args *a, struct err *e);

/* All that the configuration names (or the command line: conf/config.h), in as many processes as it
 * takes. Frees it. */
int replicate_configured(struct args *a, struct config *c, struct err *e);

/* Few arenas and an early trim: a quiet database must not keep a busy moment's memory. */
void replicate_tune_memory(void);

#endif
