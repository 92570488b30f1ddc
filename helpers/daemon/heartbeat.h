/*
 * A URL that is asked for now and then for as long as all is replicated, so that somebody else can
 * notice when it no longer is.
 *
 * All: each database is being replicated, and what was captured is in the store or younger than the
 * interval. Where several processes replicate, each notes for itself when that was last so, in
 * memory that they share, and the first one asks if all have noted it lately.
 */
#ifndef DAEMON_HEARTBEAT_H
#define DAEMON_HEARTBEAT_H

#include "base/err.h"
#include "daemon/schedule.h"

#include <stddef.h>
#include <stdint.h>

struct heartbeat;
struct heartbeat_notes;

/* Before the processes are started. ERR_NOMEM. */
int heartbeat_notes_new(struct heartbeat_notes **out, size_t processes, struct err *e);
void heartbeat_notes_free(struct heartbeat_notes *n); /* NULL is fine; in each process */

/* In process `index`, of a schedule that it looks at. `url` and `notes` are borrowed. */
int heartbeat_new(struct heartbeat **out, const char *url, int64_t interval_ms,
	struct heartbeat_notes *notes, size_t index, struct schedule *s, struct err *e);
void heartbeat_free(struct heartbeat *h); /* NULL is fine; before the schedule */

/* To be called at the end of each round. Returns when to be called again at the latest (monotonic
 * us). Requests are made by a thread of its own, at most 30 s long; a failure is logged. */
int64_t heartbeat_look(struct heartbeat *h, int64_t now_us);

#endif
