/*
 * One JSON object a line over a stream socket, between the daemon and its children.
 *
 * A channel owns its descriptor, never blocks when that is non-blocking, and bounds what it holds:
 * a line has at most LINE_MAX bytes, and at most as much waits to be sent.
 */
#ifndef PROTO_LINE_H
#define PROTO_LINE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>

#define PROTO_LINE_MAX (4 * 1024 * 1024)

struct channel {
	int fd; /* -1 = closed */
	struct buf in, out;
	size_t in_used; /* bytes of `in` that were taken as lines */
	bool eof;       /* the peer closed, or the connection broke */
};

/* Takes over fd and makes it non-blocking. */
void channel_init(struct channel *c, int fd);
void channel_close(struct channel *c); /* closes and wipes what it held; may be called twice */

/* Reads what is there. ERR_OK (look at eof), ERR_FULL when a line is too long, ERR_NOMEM. */
int channel_read(struct channel *c, struct err *e);

/*
 * The next whole line as a new object (json_decref). ERR_OK, ERR_AGAIN when there is none,
 * ERR_USAGE when it is no object, ERR_NOMEM. The line is gone in each case but ERR_AGAIN.
 */
int channel_next(struct channel *c, json_t **out, struct err *e);

/* Queues one object as a line and sends what can be sent. ERR_FULL when the peer doesn't read,
 * ERR_NOMEM. A broken connection is seen as eof, here ERR_OK. */
int channel_send(struct channel *c, const json_t *message, struct err *e);

/* Sends what waits. Poll for writing while channel_pending. */
void channel_flush(struct channel *c);
bool channel_pending(const struct channel *c);

/* The same, waiting up to timeout_ms for all to be sent. False when it was not. */
bool channel_drain(struct channel *c, int timeout_ms);

#endif
