/*
 * One process for each further replica of a database: POSIX locks are a process's, and closing any
 * descriptor of a database drops them all, so two followers of one database can't share a process.
 *
 * The caller has no threads and no database open. It stays the one who starts the processes, passes
 * SIGTERM and SIGINT on, starts again what dies (after 1 s, 2 s, … a minute) and ends when all
 * have. When it is killed they are, too.
 */
#ifndef CLI_REPLICAS_H
#define CLI_REPLICAS_H

#include "base/err.h"
#include "cli/app.h"

#include <stddef.h>

/* What process `index` does; its error ends it. In the process, signals are as they were. */
typedef int replicas_fn(void *ctx, size_t index, struct err *e);

struct replicas_how {
	bool once;                /* who has ended is not started again; interrupted is ERR_CANCELLED */
	struct app *app;          /* to run beside; when it ends all end. NULL: none */
	bool (*ready)(void *ctx); /* may the app begin? */
};

/* Runs n of them. The worst of their errors, by code; the processes have logged them. Or why the
 * app could not be started. */
int replicas_run(
	size_t n, replicas_fn *fn, void *ctx, const struct replicas_how *how, struct err *e);

#endif
