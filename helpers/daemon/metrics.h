/*
 * Metrics over HTTP, for Prometheus: `addr` of litestream.yml. docs/METRICS.md.
 *
 * The socket is opened before the processes are started, so that an address that can't be had is
 * known at once, and that a process that is started again has it still. The first process serves,
 * in its schedule's loop, without a thread; the others tell it their parts (metrics_peers.h). What
 * is told is collected when somebody asks: until then nothing runs.
 *
 * Clients are strangers. There are fewer than METRICS_CLIENTS of them at a time (where one more
 * comes the one that is there the longest goes), each for METRICS_CLIENT_SECONDS from its
 * connection to the end of its answer, with one request of at most 8 KiB. And pages are not made
 * faster than takes a tenth of one processor.
 */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "base/err.h"
#include "daemon/metrics_part.h"
#include "daemon/schedule.h"

#define METRICS_CLIENTS 16
#define METRICS_CLIENT_SECONDS 20

struct metrics_base;
struct metrics;

/* Listens at `addr` for `processes` processes, which are not started yet. ERR_USAGE, ERR_FAIL with
 * what to do, ERR_NOMEM. */
int metrics_base_new(struct metrics_base **out, const char *addr, size_t processes, struct err *e);
void metrics_base_free(struct metrics_base *b); /* NULL is fine; in each process */

/* In process `index`: serves, or tells the first one, while schedule_run runs. `name` may be NULL.
 * `b` is borrowed. ERR_NOMEM, ERR_FAIL. */
int metrics_new(struct metrics **out, struct metrics_base *b, size_t index, struct schedule *s,
	metrics_name_fn *name, void *ctx, struct err *e);
void metrics_free(struct metrics *m); /* NULL is fine; before the schedule */

/* To be called at the end of each round. Returns when to be called again at the latest (monotonic
 * us), INT64_MAX while there is no client. */
int64_t metrics_look(struct metrics *m, int64_t now_us);

#endif
