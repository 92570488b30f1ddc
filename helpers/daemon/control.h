/*
 * The control socket: HTTP/1.1 with JSON on a Unix socket, in whoever's event loop.
 *
 * Nothing here blocks and there is no thread: the owner polls control_fd and calls control_run. A
 * handler may answer at once, later, or with a stream of lines. Who speaks is asked of the kernel
 * (SO_PEERCRED, SO_PEERGROUPS): root, the user that the program runs as, and whom the mode names.
 * Requests have at most CONTROL_BODY_MAX bytes of body and there are at most 64 at a time.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#define CONTROL_BODY_MAX (64 * 1024)
#define CONTROL_PROTOCOL 1

struct control;
struct control_request; /* lives until it is answered and its client has gone */

struct control_config {
	const char *socket; /* path; its folder must be there */
	gid_t gid;          /* the socket's group */
	mode_t mode;        /* who may speak, as control_socket_rule has it */
	void (*handle)(void *ctx, struct control_request *r);
	void *ctx;
};

/*
 * Listens. A socket that nobody answers on is replaced, one that answers is ERR_AGAIN ("already
 * runs"), anything else ERR_EXISTS. ERR_IO, ERR_NOMEM, ERR_USAGE (path too long for a socket).
 */
int control_open(struct control **out, const struct control_config *cfg, struct err *e);

/* Answers what is under way with ERR_CANCELLED, closes, removes the socket. NULL is fine. */
void control_close(struct control *c);

int control_fd(const struct control *c);   /* readable: call control_run */
int control_timeout_ms(struct control *c); /* call it after this at the latest; -1 = never */
void control_run(struct control *c);

/* ---- a request, for the handler; strings are borrowed ---- */

const char *control_method(const struct control_request *r);                 /* "GET" */
const char *control_path(const struct control_request *r);                   /* "/status" */
const char *control_query(const struct control_request *r, const char *key); /* NULL = absent */
const json_t *control_body(const struct control_request *r);                 /* NULL = no body */

/* Takes `answer` (NULL = out of memory) and puts "protocol" in. The request is over. */
void control_reply(struct control_request *r, unsigned status, json_t *answer);

/* {"protocol":1,"error":…,"code":exit code}. The request is over. */
void control_fail(struct control_request *r, const struct err *e);
/* The same with more members: `details`, an object that is taken; NULL = none. */
void control_fail_with(struct control_request *r, const struct err *e, json_t *details);
/* The same with another HTTP status than the one that goes with the code. */
#define CONTROL_WRONG_METHOD 405
#define CONTROL_CONFLICT 409
void control_fail_as(
	struct control_request *r, unsigned status, const struct err *e, json_t *details);

/* A stream of lines: begin, lines (each taken), end: then the request is over. A client that does
 * not read loses the stream, and `gone` is called. */
void control_stream_begin(struct control_request *r);
void control_stream_line(struct control_request *r, json_t *line);
void control_stream_end(struct control_request *r);

/* Called once, when the client has gone before the request was over; after it r is no more. */
void control_on_gone(struct control_request *r, void (*gone)(void *ctx), void *ctx);

#endif
