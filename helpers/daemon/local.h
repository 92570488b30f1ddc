/*
 * The control socket of a stand-alone `litestream replicate -socket PATH`: info, list, status and
 * sync, as litestreamd answers them, in the schedule's own loop.
 */
#ifndef DAEMON_LOCAL_H
#define DAEMON_LOCAL_H

#include "base/err.h"
#include "daemon/schedule.h"

struct local;

/*
 * Listens at `socket` (0660, our own group) and serves while schedule_run runs. `replica` tells the
 * URL of a database by its id, for answers; it may be NULL. Errors as control_open.
 */
int local_open(struct local **out, struct schedule *s, const char *socket,
	const char *(*replica)(void *ctx, const char *id), void *ctx, struct err *e);

/* After schedule_run, before schedule_free; removes the socket. NULL is fine. */
void local_close(struct local *l);

#endif
