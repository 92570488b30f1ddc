/* What the parts of the control socket share: control.c (the socket and MHD), control_request.c
 * (requests, answers, streams). */
#ifndef DAEMON_CONTROL_INTERNAL_H
#define DAEMON_CONTROL_INTERNAL_H

#include "base/buf.h"
#include "daemon/control.h"
#include "daemon/control_socket.h"

#include <microhttpd.h>
#include <stdint.h>

struct control {
	struct MHD_Daemon *daemon;
	struct control_config cfg;
	char *socket;
	struct control_socket_rule rule;
	struct control_socket_file file;
	int listen_fd;
	int epoll_fd; /* MHD's own, and the connections of suspended requests, of which MHD hears
					 nothing */
	struct control_request *requests; /* those that wait for an answer, or stream */
	bool closing;
	int mhd_fd;
	int64_t rest_until_us; /* 0 = none */
};

struct control_request {
	struct control *control;
	struct MHD_Connection *connection;
	struct control_request *next, *prev;
	char *method, *path;
	struct buf in;
	json_t *body;
	struct MHD_Response *response; /* set: to be queued */
	unsigned status;
	bool handled, suspended, over;
	bool streaming, stream_ended;
	struct buf out; /* of the stream */
	void (*gone)(void *);
	void *gone_ctx;
};

/* In the control's list until it is freed. NULL when out of memory. */
struct control_request *control_request_new(
	struct control *c, struct MHD_Connection *connection, const char *path, const char *method);
void control_request_free(struct control_request *r);

int control_request_socket(const struct control_request *r); /* -1 = none */

/* MHD asks it nothing until it is woken. Meanwhile only the end of the connection is asked for,
 * which epoll tells whatever the events are. Where it can't be asked for, it shows at the answer.
 */
void control_request_sleep(struct control_request *r);
void control_request_wake(struct control_request *r);

/* The handler hears that its client has gone, once, unless the request was over. */
void control_request_gone(struct control_request *r);

#endif
