/*
 * What a person asked for: a job, and what has to be done around it. Inner part of operation.c,
 * where it runs, and operation_plan.c, which says what stands in its way and clears it.
 */
#ifndef DAEMON_OPERATION_INTERNAL_H
#define DAEMON_OPERATION_INTERNAL_H

#include "daemon/operation.h"
#include "daemon/storage.h"
#include "proto/request.h"

struct operation {
	struct operation *next;
	struct routes *routes;
	struct control_request *request; /* NULL: its client has gone, or has its answer */
	enum job_kind kind;
	bool over, streaming;
	bool live; /* verify: a worker follows the database */
	struct request_target target;
	struct storage_answer storage;
	uid_t uid; /* who it is done as */
	gid_t gid;
	char *path;
	char paused[64]; /* the app whose workers wait for us; "" = none */
	char held[128];  /* the database that has no worker because of us; "" = none */
	pid_t waits_for; /* the worker that had it, and when that began; 0 = none */
	int64_t waits_since_us;
	char *state_dir; /* NULL = leave no state behind */
	struct job *job; /* NULL: not started yet, or ended */
};

/* In place only when nobody has the old file open. Asked once more by the job, before it renames
 * anything: it can't see everybody. */
int operation_check_unused(struct operation *o, struct err *e);

/* What each kind needs before its job: the state folder, workers that let go. `target`, `storage`,
 * `path` and `uid` are known. */
int operation_plan_restore(struct operation *o, struct err *e);
int operation_plan_verify(struct operation *o, struct err *e);
int operation_plan_purge(struct operation *o, struct err *e);

/* Nobody's older backups are touched unless the newer ones are well. */
int operation_check_well(const struct operation *o, struct err *e);

/* Is it about a database of workers, which have to let go first? Have they? */
bool operation_waits(const struct operation *o);
bool operation_is_ready(const struct operation *o);

/* It is over: what waits for it goes on. */
void operation_let_go(struct operation *o);

#endif
