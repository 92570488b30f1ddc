/*
 * One worker process, seen from the daemon: started, heard, asked, restarted when it ends without
 * being told to, killed when it stays silent.
 *
 *              child_want                 hello, config sent          first status
 *   STOPPED ───────────────▶ STARTING ───────────────────────────▶ ───────────────▶ RUNNING
 *      ▲                      │   ▲                                                   │
 *      │ ended, unwanted      │   └──── WAITING ◀── ended unasked (backoff) ───────────┤
 *      └──────────────────────┴────────────────── STOPPING ◀── child_want / child_stop ┘
 *
 * All from the daemon's one thread.
 */
#ifndef DAEMON_CHILD_H
#define DAEMON_CHILD_H

#include "base/err.h"
#include "daemon/confine.h"
#include "daemon/heldup.h"
#include "daemon/pollset.h"
#include "proto/line.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child;

/* What all children have in common; lives as long as any of them. Strings are borrowed. */
struct child_config {
	const char *program; /* path of `litestream` */
	const char *log_dir;
	gid_t log_gid;
	const char *log_level; /* "info" */
	bool run_as_self;
	enum confine_kind confinement;
	int64_t watchdog_ms; /* silence after which it is killed, or having been stopped by a signal */
	int64_t backoff_min_ms, backoff_max_ms;
	int64_t shutdown_ms; /* told to the worker; killed a margin later */
	/* Makes the config message when a worker has started: credentials are read then, and kept by
	 * nobody. A new object in *out, or an error that becomes the child's trouble. */
	int (*make)(void *ctx, struct child *c, json_t **out, struct err *e);
	/* What a worker that is about to start may see; freed by the caller in every case. */
	int (*folders)(void *ctx, const struct child *c, struct confine_folders *out, struct err *e);
	void *ctx;
};

enum child_state {
	CHILD_STOPPED,
	CHILD_STARTING,
	CHILD_RUNNING,
	CHILD_STOPPING,
	CHILD_WAITING, /* for the end of the backoff */
};

/* ERR_OK may have a text: which databases are not there yet. */
typedef void (*child_done_fn)(void *ctx, const struct err *result);

struct child {
	struct child *next; /* the owner's list */
	const struct child_config *cfg;
	char app[64];
	uid_t uid;
	gid_t gid;
	enum child_state state;
	bool wanted;
	bool named;         /* scratch for the owner */
	uint8_t digest[32]; /* of the config that it got, or will get: the owner's */
	pid_t pid;          /* 0 = none */
	struct channel channel;
	int log_fd;
	int64_t started_us;
	int64_t seen_us; /* the watchdog counts from here: the last message, or when it promised one */
	int64_t stopped_us; /* since when a signal (SIGSTOP, …) has it stopped; 0 = it has not */
	int64_t look_us;    /* it is silent, but was held up: looked at again then */
	struct heldup held_up;
	bool late; /* it was silent for too long when the last turn began */
	int64_t kill_at_us, next_start_us, backoff_ms;
	uint64_t restarts; /* ends that nobody asked for */
	char trouble[300]; /* how it ended last, or why it can't start; "" = well */
	bool configured, has_status;
	struct message_status status; /* what it said last of each; empty before has_status */
	struct message_bye bye;       /* what the last worker said at its end; empty since a start */
	struct child_ask *asks;
	uint64_t next_ask;
};

struct child *child_new(
	const struct child_config *cfg, const char *app, uid_t uid, gid_t gid, struct err *e);

/* Frees; the process, if there is one, is killed. Waiting syncs are told. */
void child_free(struct child *c);

/* It shall run, with the config of this moment: started, or stopped and started anew. */
void child_want(struct child *c);

/* It shall end: last sync, up to shutdown_ms. */
void child_stop(struct child *c);

/* Says what to wait for, and does what is due: start, kill. */
void child_prepare(struct child *c, struct pollset *p);

/* Its process was stopped by a signal, or goes on. */
void child_stopped(struct child *c, bool stopped);

/* Its process ended with this wait status. */
void child_exited(struct child *c, int status);

/*
 * Asks for a sync of one database (id or path; NULL = all); if_there as in schedule.h. done is
 * called once, later or before the call returns, with ERR_OK or why not; never after
 * child_ask_cancel. A worker that starts, or is started anew with other settings, is asked when it
 * runs; one that is to be started again after it failed is not waited for (ERR_FAIL). Returns a
 * ticket for that, 0 when done was called.
 */
uint64_t child_sync(struct child *c, const char *database, bool if_there, int64_t timeout_ms,
	child_done_fn done, void *ctx);

/* The same for a person's word on one database: replication begins anew with it, once. ERR_FAIL:
 * the database is in no state that asks for it, or another file stands there than was `seen` (NULL:
 * any will do). */
uint64_t child_decide(struct child *c, const char *database, bool takeover, const char *seen,
	child_done_fn done, void *ctx);

void child_ask_cancel(struct child *c, uint64_t ticket);

/* Whether the last worker ended before everything of that database (a path) was uploaded. */
bool child_left_unshipped(const struct child *c, const char *database);

/* "running", "starting", "restarting", "stopping", "stopped". */
const char *child_state_name(const struct child *c);

#endif
