#include "daemon/control_internal.h"

#include "base/clock.h"
#include "base/json.h"
#include "daemon/httpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define CONNECTION_MEMORY ((size_t)32 * 1024)
#define IDLE_SECONDS 60
#define REST_US 100000

/* ---- what MHD calls ---- */

static void parse_and_handle(struct control_request *r)
{
	struct err e = ERR_INIT;
	r->handled = true;
	if (r->in.len > 0 &&
		json_parse_object(r->in.data, r->in.len, "the request", &r->body, &e) != ERR_OK) {
		control_fail(r, &e);
		return;
	}
	r->control->cfg.handle(r->control->cfg.ctx, r);
}

static enum MHD_Result take_upload(struct control_request *r, const char *data, size_t *n)
{
	if (!r->response && buf_append(&r->in, data, *n) != ERR_OK) {
		struct err e = ERR_INIT;
		err_set(&e, ERR_USAGE, "the request is larger than %d bytes", CONTROL_BODY_MAX);
		r->handled = true;
		control_fail(r, &e);
	}
	*n = 0;
	return MHD_YES;
}

static enum MHD_Result queue(struct control_request *r)
{
	struct MHD_Response *response = r->response;
	r->response = NULL;
	enum MHD_Result ok = MHD_queue_response(r->connection, r->status, response);
	MHD_destroy_response(response); /* MHD has its own reference */
	return ok;
}

/* It came while the last ones are answered: nobody would handle it. */
static void refuse(struct control_request *r)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_CANCELLED, "litestream is stopping");
	r->handled = true;
	control_fail(r, &e);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size, void **req)
{
	struct control *c = cls;
	struct control_request *r = *req;
	(void)version;
	if (!r) {
		r = *req = control_request_new(c, connection, url, method);
		if (!r)
			return MHD_NO;
		struct err e = ERR_INIT;
		if (control_socket_check_peer(control_request_socket(r), &c->rule, &e) != ERR_OK) {
			r->handled = true;
			control_fail(r, &e);
			return queue(r);
		}
		return MHD_YES;
	}
	if (*upload_size > 0)
		return take_upload(r, upload, upload_size);
	if (!r->handled && c->closing)
		refuse(r);
	else if (!r->handled)
		parse_and_handle(r);
	if (r->response)
		return queue(r);
	if (r->over) /* its client has gone: MHD closes, and another one has the place */
		return MHD_NO;
	control_request_sleep(r);
	return MHD_YES;
}

static void on_completed(
	void *cls, struct MHD_Connection *connection, void **req, enum MHD_RequestTerminationCode why)
{
	struct control_request *r = *req;
	(void)cls, (void)connection, (void)why;
	if (!r)
		return;
	control_request_gone(r);
	control_request_free(r);
	*req = NULL;
}

/* ---- open and close ---- */

static int start_daemon(struct control *c, struct err *e)
{
	/* The logger comes first: MHD may already speak while it reads the rest. */
	c->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		NULL, NULL, on_access, c, MHD_OPTION_EXTERNAL_LOGGER, httpd_log, "control socket",
		MHD_OPTION_LISTEN_SOCKET, c->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, c, MHD_OPTION_END);
	if (!c->daemon)
		return err_set(e, ERR_FAIL, "cannot serve HTTP on %s", c->socket);
	c->listen_fd = -1; /* MHD closes it */
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(c->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct epoll_event readable = {.events = EPOLLIN, .data.ptr = NULL};
	if (!info || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &readable) != 0)
		return err_errno(e, ERR_FAIL, errno, "cannot wait for clients on %s", c->socket);
	c->mhd_fd = info->epoll_fd;
	return ERR_OK;
}

int control_open(struct control **out, const struct control_config *cfg, struct err *e)
{
	*out = NULL;
	struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return err_nomem(e, "opening the control socket");
	c->cfg = *cfg;
	c->rule = (struct control_socket_rule){cfg->gid, cfg->mode};
	c->listen_fd = -1;
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	c->socket = strdup(cfg->socket);
	int rc = c->socket ? ERR_OK : err_nomem(e, "opening the control socket");
	if (rc == ERR_OK && c->epoll_fd < 0)
		rc = err_errno(e, ERR_IO, errno, "epoll");
	if (rc == ERR_OK)
		rc = control_socket_listen(cfg->socket, &c->rule, &c->listen_fd, &c->file, e);
	if (rc == ERR_OK)
		rc = start_daemon(c, e);
	if (rc != ERR_OK) {
		control_close(c);
		return rc;
	}
	*out = c;
	return ERR_OK;
}

static void answer_the_last(struct control *c)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_CANCELLED, "litestream is stopping");
	for (struct control_request *r = c->requests, *next; r; r = next) {
		next = r->next;
		bool waiting = r->handled && !r->over;
		if (waiting && r->streaming) {
			r->stream_ended = true;
			control_request_gone(r);
		} else if (waiting) {
			void (*gone)(void *) = r->gone;
			r->gone = NULL;
			if (gone)
				gone(r->gone_ctx);
			control_fail(r, &e);
		}
		control_request_wake(r);
	}
}

void control_close(struct control *c)
{
	if (!c)
		return;
	c->closing = true;
	if (c->daemon) {
		answer_the_last(c);
		/* MHD forbids to stop it with suspended connections: one turn resumes and answers. */
		for (int i = 0; i < 4; i++)
			MHD_run(c->daemon);
		MHD_stop_daemon(c->daemon);
		control_socket_remove(c->socket, &c->file);
	}
	if (c->listen_fd >= 0)
		close(c->listen_fd);
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	free(c->socket);
	free(c);
}

int control_fd(const struct control *c)
{
	return c->epoll_fd;
}

/* A client that can't be accepted for want of descriptors stays readable: without a rest we would
 * turn round and round. */
static void rest(struct control *c, bool begin)
{
	struct epoll_event wanted = {.events = begin ? 0 : EPOLLIN, .data.ptr = NULL};
	if (begin || c->rest_until_us)
		epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->mhd_fd, &wanted);
	c->rest_until_us = begin ? clock_mono_us() + REST_US : 0;
}

int control_timeout_ms(struct control *c)
{
	unsigned long long ms;
	if (c->rest_until_us) {
		int64_t left_us = c->rest_until_us - clock_mono_us();
		return left_us > 0 ? (int)(left_us / 1000 + 1) : 0;
	}
	if (MHD_get_timeout(c->daemon, &ms) != MHD_YES)
		return -1;
	return ms > 60000 ? 60000 : (int)ms;
}

/* MHD learns of it when it goes on with the connection; no request is freed before that. */
static void look_for_gone(struct control *c)
{
	struct epoll_event events[CONNECTIONS_MAX + 1];
	int n = epoll_wait(c->epoll_fd, events, CONNECTIONS_MAX + 1, 0);
	for (int i = 0; i < n; i++) {
		struct control_request *r = events[i].data.ptr;
		if (!r || !r->suspended)
			continue;
		control_request_gone(r);
		control_request_wake(r);
	}
}

void control_run(struct control *c)
{
	look_for_gone(c);
	if (clock_mono_us() < c->rest_until_us)
		return;
	MHD_run(c->daemon);
	rest(c, control_socket_starved(c->epoll_fd));
}
