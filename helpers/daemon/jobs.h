/*
 * Children that do one thing as the owner of a database and end: check, restore. What they need
 * comes over their channel (credentials are never in arguments or environment), what they log on
 * standard error is told line by line. All from the daemon's one thread.
 */
#ifndef DAEMON_JOBS_H
#define DAEMON_JOBS_H

#include "base/err.h"
#include "daemon/child.h"
#include "daemon/pollset.h"
#include "proto/message.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct job;

struct job_events {
	void (*progress)(void *ctx, uint64_t done, uint64_t total); /* may be NULL */
	void (*log)(void *ctx, const char *line);                   /* may be NULL */
	/* A job asks who has its database open: ERR_OK, ERR_DATABASE. NULL: it may not ask. */
	int (*in_use)(void *ctx, struct err *e);
	/* Once, last: ERR_OK with what it found (borrowed, may be NULL), or why not. */
	void (*end)(void *ctx, const struct err *e, json_t *result);
	void *ctx;
};

struct jobs {
	const struct child_config *cfg;
	struct job *list;
};

void jobs_init(struct jobs *j, const struct child_config *cfg);
void jobs_free(struct jobs *j); /* kills what runs; ends are not told */

/*
 * Starts one as uid and gid, confined to the folders, which are borrowed for the call. `message` is
 * encoded before the call returns. timeout_ms: it is killed after that (0 = never). *out is for
 * job_cancel, until `end` was called.
 */
int job_start(struct jobs *j, uid_t uid, gid_t gid, const struct confine_folders *folders,
	const struct message_job *message, int64_t timeout_ms, const struct job_events *events,
	struct job **out, struct err *e);

pid_t job_pid(const struct job *job); /* 0: it has ended */

/* It is asked to stop, and killed if it doesn't within 10 s; nothing more is told. */
void job_cancel(struct job *job);

/* The same, but its end is told. */
void job_stop(struct job *job);

void jobs_prepare(struct jobs *j, struct pollset *p);
bool jobs_child_exited(struct jobs *j, pid_t pid, int status);
bool jobs_any(const struct jobs *j);
void jobs_cancel_all(struct jobs *j); /* each end is told as ERR_CANCELLED */

#endif
