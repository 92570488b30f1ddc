/* The loop of `litestream replicate`: one process, its databases, until a signal comes. */
#ifndef CLI_REPLICATE_RUN_H
#define CLI_REPLICATE_RUN_H

#include "cli/args.h"
#include "conf/config.h"
#include "daemon/heartbeat.h"

struct replicate_run {
	struct schedule *schedule;
	struct local *local; /* the control socket, NULL without -socket */
	struct args *args;
	int signal_fd;
	int64_t stopped_us; /* when the last signal came */
	int64_t shutdown_ms;
	bool alone; /* one database: what can't go on ends the program */
	int code;   /* why it ended by itself */
	char why[1024];

	/* Without arguments: */
	const struct config *config;
	size_t index; /* of the replica that this process has of each database */
	struct configured *configured;
	struct heartbeat *heartbeat; /* NULL: nobody wants to hear */
	struct heartbeat_notes *notes;
};
/* Replicates until it is told to stop, or until one database alone can't go on: its error. The
 * caller sets `alone`, and what is said without arguments; the rest is its own. */
int replicate_run(struct replicate_run *run, struct args *a, struct err *e);

/* Without arguments: all that the configuration names, in as many processes as it takes. */
int replicate_configured(struct args *a, struct err *e);

/* Few arenas and an early trim: a quiet database must not keep a busy moment's memory. */
void replicate_tune_memory(void);

#endif
