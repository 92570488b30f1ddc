/* What the parts of a schedule share: schedule.c (databases and the loop), schedule_jobs.c (turns
 * and work on the pools), schedule_sync.c (requests that wait for tickets). */
#ifndef DAEMON_SCHEDULE_INTERNAL_H
#define DAEMON_SCHEDULE_INTERNAL_H

#include "base/thread.h"
#include "daemon/schedule.h"

#include <poll.h>
#include <pthread.h>

#define SCHEDULE_NEWS_US 100000 /* so late the waiting thread may hear that a job ended */

struct entry {
	struct schedule *owner;
	struct replicator *r;
	char *id;

	/* under schedule.lock */
	/* monotonic us; INT64_MAX = not before something happens */
	int64_t turn_due, work_due, upkeep_due;
	bool turn_running, work_running, upkeep_running;
	bool turn_again; /* something happened while the turn ran */
	bool ran;        /* anything, since schedule_ran was asked */
	bool closed;     /* runs nothing any more */

	int64_t turn_since_us; /* when the turn that runs began, 0 = none does; atomic */

	/* the waiting thread's */
	bool leaving;
	uint64_t ticket;
	int64_t leave_by;
	schedule_gone_fn gone;
	void *gone_ctx;
};

struct request {
	struct entry *entry;
	uint64_t ticket;
};

/* One schedule_sync: a ticket for each database. */
struct syncing {
	struct request *list;
	size_t count;
	bool if_there; /* what the app has not made yet is no failure */
	bool capture;  /* that it is read is enough */
	int64_t deadline;
	schedule_synced_fn fn;
	void *ctx;
	struct syncing *next;
};

struct watched_fd {
	int fd;
	void (*fn)(void *ctx);
	void *ctx;
};

struct schedule {
	pthread_mutex_t lock;    /* of the entries' times and flags, and of writing `count`; never held
								across a blocking call */
	pthread_cond_t happened; /* to a database whose turn naps (monotonic) */
	struct entry **entries;
	size_t count, cap;
	struct source_watch *watch;
	struct pool *turns, *works, *upkeeps;
	size_t n_turns; /* threads of `turns` */
	int wake_fd;

	/* under lock: what tells a job whether the waiting thread must be woken */
	int64_t sleeps_until; /* 0 = it looks at all before it sleeps again */
	bool asked;           /* somebody waits for what jobs bring about: a sync, a leaving database */
	uint64_t jobs;        /* that ended */
	int64_t job_us;       /* when the last one did */

	/* the waiting thread's */
	uint64_t seen_jobs, trimmed_jobs; /* `jobs` when this round began, and at the last trim */
	int64_t trimmed_us;
	size_t n_leaving;

	struct syncing *syncing;
	struct watched_fd *fds;
	size_t n_fds;
	struct pollfd *polls;
	int64_t (*hook)(void *ctx, int64_t now_us);
	void *hook_ctx;
	int64_t hook_due;
	bool stopping;
};

/* ---- schedule_jobs.c ---- */

/* Wakes the waiting thread. */
void schedule_wake(struct schedule *s);

/* Gives memory back that a busy time has left, once some seconds were quiet. When to call again;
 * INT64_MAX = nothing has run since. */
int64_t schedule_trim(struct schedule *s, int64_t now);

/* The monotonic time that is wait_us from now; never past INT64_MAX. */
int64_t schedule_after(int64_t wait_us);

/* *due = other, if that is earlier. */
void schedule_earlier(int64_t *due, int64_t other);

/* Queues the turn and the work that are due. Lock held. */
void schedule_start_due(struct entry *en, int64_t now);

/* A turn as soon as possible. */
void schedule_ask_turn(struct entry *en);

/* ---- schedule_sync.c ---- */

/* Answers requests that are done, failed or too late. */
void schedule_check_syncing(struct schedule *s, int64_t now);

/* A database goes away: who waits for it is answered now. */
void schedule_end_syncing_of(struct schedule *s, const struct entry *en);

/* Forgets all requests without an answer. */
void schedule_forget_syncing(struct schedule *s);

struct entry *schedule_find(const struct schedule *s, const char *id);

#endif
