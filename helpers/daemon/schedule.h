/*
 * The loop of a worker: one thread waits (inotify, descriptors of others, timers), a few threads
 * run the turns and the work of all databases.
 *
 * A database has at most one turn, one piece of work and one upkeep running at any time, and no
 * thread of its own. All functions are called from the thread that is in schedule_run (its
 * callbacks) or before it runs; callbacks come from that thread too, and must not block.
 *
 * The order within one round: events of files, descriptors, finished jobs, due turns and work, sync
 * requests, databases that leave, the hook.
 */
#ifndef DAEMON_SCHEDULE_H
#define DAEMON_SCHEDULE_H

#include "base/err.h"
#include "replicate/replicator.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_MAX 4096 /* databases */

struct schedule;

/* turn_threads run what must be quick, work_threads what may block for minutes; 0 = 2 and 4. */
int schedule_new(struct schedule **out, size_t turn_threads, size_t work_threads, struct err *e);

/* Closes all databases without shipping anything more, frees. Not from inside schedule_run. */
void schedule_free(struct schedule *s); /* NULL is fine */

/* ---- databases ---- */

/* Opens a replicator (cfg->watch and cfg->user are set here) and begins to run it. `id` is copied
 * and unique: ERR_EXISTS. Otherwise as replicator_open; ERR_FULL for too many. */
int schedule_add(
	struct schedule *s, const char *id, const struct replicator_config *cfg, struct err *e);

/* What is told of a database that has left, and may be added again; `last` is its last status,
 * `shipped` as schedule_shipped has it, of the moment when it was asked to leave. */
typedef void (*schedule_gone_fn)(
	void *ctx, const char *id, const struct replicator_status *last, bool shipped);

/* Ships what is there, for at most timeout_ms, then closes it and calls fn (NULL = nothing, or what
 * an earlier call named: a second one shortens the time). ERR_NOT_FOUND. */
int schedule_remove(struct schedule *s, const char *id, int64_t timeout_ms, schedule_gone_fn fn,
	void *ctx, struct err *e);

size_t schedule_count(const struct schedule *s);
/* The id of database i (0 … count − 1), in the order in which they were added; borrowed. */
const char *schedule_id(const struct schedule *s, size_t i);
void schedule_status(struct schedule *s, size_t i, struct replicator_status *out);
void schedule_measure(struct schedule *s, size_t i, struct replicator_measures *out);
/* Has anything run for it since this was asked last, or is running? If not, its status is the same.
 */
bool schedule_ran(struct schedule *s, size_t i);
const char *schedule_database(struct schedule *s, size_t i); /* path; borrowed */
/* For how long (us) the longest of the turns that run now has run, and of which database; 0 = none
 * does. A turn is a matter of milliseconds, and nobody else can move its pin meanwhile. */
int64_t schedule_longest_turn(const struct schedule *s, int64_t now_us, size_t *which);

/* ---- sync ---- */

/* code ERR_OK, ERR_UNREACHABLE after the timeout, or why it won't be; `why` is a sentence. With
 * ERR_OK it is "", or says which databases are not there yet. */
typedef void (*schedule_synced_fn)(void *ctx, int code, const char *why);

/* Ships all that was committed before the call in one database (id) or in all (NULL), and calls fn
 * once, later. if_there: a database that the app has not made yet is no failure; with all of them
 * it never is. ERR_NOT_FOUND, ERR_NOMEM (fn is not called then). */
int schedule_sync(struct schedule *s, const char *id, bool if_there, int64_t timeout_ms,
	schedule_synced_fn fn, void *ctx, struct err *e);

/* The same as soon as what was committed in a database has been read out of its WAL
 * (replicator_sync_captured); its upload follows as always. */
int schedule_capture(struct schedule *s, const char *id, int64_t timeout_ms, schedule_synced_fn fn,
	void *ctx, struct err *e);

/* As replicator_ask and replicator_asked, of database i. */
void schedule_ask(struct schedule *s, size_t i, unsigned what);
int schedule_asked(struct schedule *s, size_t i, struct err *e);

/* ---- the loop ---- */

/* Calls fn whenever fd is readable, closed or broken. The descriptor stays the caller's. ERR_NOMEM.
 */
int schedule_add_fd(struct schedule *s, int fd, void (*fn)(void *ctx), void *ctx, struct err *e);
void schedule_remove_fd(struct schedule *s, int fd);

/* Called at the end of each round, and no later than when it asked for: it returns the monotonic
 * time (us) of the next call that it needs, INT64_MAX = none. */
void schedule_set_hook(struct schedule *s, int64_t (*fn)(void *ctx, int64_t now_us), void *ctx);

/* Runs until it was stopped. */
void schedule_run(struct schedule *s);

/* Ships what is there in all databases, for at most timeout_ms; then schedule_run cancels what
 * still runs and returns. The databases stay for schedule_status, closed to everything else. A
 * second call shortens the time. */
void schedule_stop(struct schedule *s, int64_t timeout_ms);
bool schedule_stopping(const struct schedule *s);
/* After schedule_run: whether what database i had committed when schedule_stop was called is in its
 * replica; true where there is no database. What was committed later doesn't count: an app that
 * goes on writing never has nothing left. */
bool schedule_shipped(const struct schedule *s, size_t i);

#endif
