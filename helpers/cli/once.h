/* `litestream replicate -once`: what is committed at the start is shipped, and that was it. */
#ifndef CLI_ONCE_H
#define CLI_ONCE_H

#include "base/err.h"
#include "daemon/schedule.h"

struct once;

/*
 * Of all databases of the schedule: a sync; then, with `snapshot`, a snapshot of that state, and
 * with `retain` a look at what may be deleted. What is due of the upkeep is done, too, where
 * something was uploaded: who replicates by -once alone has a tidy replica. `patience_ms`: how long
 * a store may be out of reach before that is the answer. ERR_NOMEM, ERR_NOT_FOUND.
 */
int once_new(struct once **out, struct schedule *s, bool snapshot, bool retain, int64_t patience_ms,
	struct err *e);
void once_free(struct once *o); /* NULL is fine; after the schedule */

/* To be called at the end of each round. True: all is done. */
bool once_look(struct once *o, int64_t now_us, int64_t *next_us);

/* ERR_OK, or the worst that happened; each is in the log. */
int once_outcome(const struct once *o, struct err *e);

#endif
