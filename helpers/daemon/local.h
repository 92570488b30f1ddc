/*
 * The control socket of a stand-alone `litestream replicate`: Litestream's requests (start, stop,
 * register, unregister, sync, txid, list, info) and our /status, in the schedule's own loop.
 * docs/SOCKET.md has them.
 *
 * A database is in the schedule, or it was stopped and is remembered here, or the host knows of it
 * and can't open it now. Its id is its absolute path.
 */
#ifndef DAEMON_LOCAL_H
#define DAEMON_LOCAL_H

#include "base/err.h"
#include "daemon/schedule.h"

#include <stdint.h>
#include <sys/types.h>

struct local;

/* Who has put the databases into the schedule. All are called from the schedule's thread. */
struct local_host {
	/* The URL of its replica, for answers; borrowed. NULL: that database is unknown. */
	const char *(*replica)(void *ctx, const char *id);
	/* Puts it into the schedule again, after it has left; errors as schedule_add. */
	int (*start)(void *ctx, const char *id, struct err *e);
	/* It is stopped: don't put it into the schedule before `start`. */
	void (*hold)(void *ctx, const char *id);
	/* A new one, into the schedule: `path` is absolute and none that is known. ERR_USAGE for the
	 * URL, ERR_DATABASE, and as schedule_add. Nothing is left of it after a failure. */
	int (*add)(void *ctx, const char *path, const char *url, struct err *e);
	/* It is replicated no more; it isn't in the schedule. */
	void (*forget)(void *ctx, const char *id);
	void *ctx;
};

struct local_config {
	struct schedule *schedule;
	const char *socket;
	mode_t mode;                   /* of the socket's file, our own group: who may speak */
	const struct local_host *host; /* must stay as long as the socket */
};

/* Listens, and serves while schedule_run runs. Errors as control_open. */
int local_open(struct local **out, const struct local_config *cfg, struct err *e);

/* To be called at the end of each round: what no descriptor tells (clients that have been silent
 * for too long, the end of a time without descriptors). Returns when to be called again at the
 * latest (monotonic us). */
int64_t local_look(struct local *l, int64_t now_us);

/* After schedule_run, before schedule_free; removes the socket. NULL is fine. */
void local_close(struct local *l);

#endif
