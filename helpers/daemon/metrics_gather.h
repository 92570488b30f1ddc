/* A page of metrics, gathered from all processes when somebody asks for one. */
#ifndef DAEMON_METRICS_GATHER_H
#define DAEMON_METRICS_GATHER_H

#include "daemon/metrics_part.h"
#include "daemon/metrics_peers.h"

struct metrics_gather;

struct metrics_gather_config {
	struct metrics_peers *peers; /* borrowed */
	size_t index;                /* which process this is; all but the first only answer it */
	struct schedule *schedule;
	metrics_name_fn *name; /* may be NULL */
	void *ctx;             /* its */
	/* In the first process, when what was asked for is there, or has taken too long. */
	void (*ready)(void *ready_ctx);
	void *ready_ctx;
};

/* ERR_NOMEM. */
int metrics_gather_new(
	struct metrics_gather **out, const struct metrics_gather_config *cfg, struct err *e);
void metrics_gather_free(struct metrics_gather *g); /* NULL is fine; before the schedule */

/* False: the other processes were asked, `ready` will be called. True: it can be taken now. */
bool metrics_gather_begin(struct metrics_gather *g);

/* Appends the page, once it can be taken; what has not answered by now is missing in it. ERR_NOMEM,
 * ERR_FULL. */
int metrics_gather_take(struct metrics_gather *g, struct buf *out, struct err *e);

/* As metrics_look. */
int64_t metrics_gather_look(struct metrics_gather *g, int64_t now_us);

#endif
