#include "daemon/control.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "daemon/control_socket.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define CONNECTION_MEMORY ((size_t)32 * 1024)
#define IDLE_SECONDS 60
#define REST_US 100000
#define STREAM_MAX ((size_t)1024 * 1024)
#define LAST_MAX \
	((size_t)64 * 1024) /* room for the line that tells the end, whoever reads slowly */

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

/* ---- life of a request ---- */

static struct control_request *request_new(
	struct control *c, struct MHD_Connection *connection, const char *path, const char *method)
{
	struct control_request *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->control = c;
	r->connection = connection;
	buf_init(&r->in, CONTROL_BODY_MAX);
	buf_init(&r->out, STREAM_MAX + LAST_MAX);
	r->method = strdup(method);
	r->path = strdup(path);
	if (!r->method || !r->path) {
		free(r->method);
		free(r->path);
		free(r);
		return NULL;
	}
	r->next = c->requests;
	if (r->next)
		r->next->prev = r;
	c->requests = r;
	return r;
}

static void request_free(struct control_request *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		r->control->requests = r->next;
	if (r->next)
		r->next->prev = r->prev;
	if (r->response)
		MHD_destroy_response(r->response);
	json_decref(r->body);
	buf_free(&r->in);
	buf_free(&r->out);
	free(r->method);
	free(r->path);
	free(r);
}

static int socket_of(const struct control_request *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info ? info->connect_fd : -1;
}

static void wake(struct control_request *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	epoll_ctl(r->control->epoll_fd, EPOLL_CTL_DEL, socket_of(r), NULL);
	MHD_resume_connection(r->connection);
}

/* Meanwhile only the end of the connection is asked for, which epoll tells whatever the events are.
 * Where it can't be asked for, it shows at the answer. */
static void sleep_until_woken(struct control_request *r)
{
	struct epoll_event hangup = {.events = 0, .data.ptr = r};
	r->suspended = true;
	MHD_suspend_connection(r->connection);
	epoll_ctl(r->control->epoll_fd, EPOLL_CTL_ADD, socket_of(r), &hangup);
}

static void client_gone(struct control_request *r)
{
	void (*gone)(void *) = r->gone;
	r->gone = NULL;
	if (gone && !r->over)
		gone(r->gone_ctx);
	r->over = true;
}

/* ---- answers ---- */

static struct MHD_Response *response_of(const json_t *answer)
{
	struct buf text;
	buf_init(&text, (size_t)16 * 1024 * 1024);
	if (json_append(&text, answer) != ERR_OK || buf_append(&text, "\n", 1) != ERR_OK) {
		buf_free(&text);
		return NULL;
	}
	struct MHD_Response *response =
		MHD_create_response_from_buffer(text.len, text.data, MHD_RESPMEM_MUST_COPY);
	buf_free(&text);
	if (response)
		MHD_add_response_header(response, "Content-Type", "application/json");
	return response;
}

void control_reply(struct control_request *r, unsigned status, json_t *answer)
{
	int rc = answer ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK)
		json_put_int(answer, "protocol", CONTROL_PROTOCOL, &rc);
	if (rc == ERR_OK)
		r->response = response_of(answer);
	json_decref(answer);
	if (!r->response) { /* out of memory: an answer that needs none */
		static char text[] = "{\"protocol\":1,\"error\":\"out of memory\",\"code\":1}\n";
		r->response =
			MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
	r->status = status;
	r->over = true;
	wake(r);
}

static unsigned http_status(int code)
{
	switch (code) {
	case ERR_USAGE:
		return MHD_HTTP_BAD_REQUEST;
	case ERR_NOT_FOUND:
		return MHD_HTTP_NOT_FOUND;
	case ERR_DENIED:
		return MHD_HTTP_FORBIDDEN;
	case ERR_EXISTS:
	case ERR_FENCED:
		return MHD_HTTP_CONFLICT;
	case ERR_AGAIN:
	case ERR_CANCELLED:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	case ERR_UNREACHABLE:
		return MHD_HTTP_GATEWAY_TIMEOUT;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

void control_fail(struct control_request *r, const struct err *e)
{
	control_fail_with(r, e, NULL);
}

void control_fail_with(struct control_request *r, const struct err *e, json_t *details)
{
	control_fail_as(r, http_status(e->code), e, details);
}

void control_fail_as(
	struct control_request *r, unsigned status, const struct err *e, json_t *details)
{
	json_t *answer = details ? details : json_object();
	int rc = answer ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK)
		json_put_text(answer, "error", e->text[0] ? e->text : err_name(e->code), &rc);
	if (rc == ERR_OK)
		json_put_int(answer, "code", err_exit_code(e->code), &rc);
	if (rc != ERR_OK) {
		json_decref(answer);
		answer = NULL;
	}
	control_reply(r, status, answer);
}

/* ---- streams ---- */

static ssize_t stream_read(void *arg, uint64_t pos, char *to, size_t max)
{
	struct control_request *r = arg;
	(void)pos;
	if (r->over && !r->stream_ended) /* its client has gone */
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (r->out.len == 0 && r->stream_ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (r->out.len == 0) {
		sleep_until_woken(r);
		return 0;
	}
	size_t n = r->out.len < max ? r->out.len : max;
	memcpy(to, r->out.data, n);
	memmove(r->out.data, r->out.data + n, r->out.len - n);
	r->out.len -= n;
	return (ssize_t)n;
}

void control_stream_begin(struct control_request *r)
{
	r->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, r, NULL);
	if (!r->response) {
		struct err e = ERR_INIT;
		err_nomem(&e, "answering");
		control_fail(r, &e);
		return;
	}
	MHD_add_response_header(r->response, "Content-Type", "application/x-ndjson");
	r->streaming = true;
	r->status = MHD_HTTP_OK;
	wake(r);
}

void control_stream_line(struct control_request *r, json_t *line)
{
	size_t before = r->out.len;
	bool last = json_object_get(line, "exit") != NULL;
	int rc = !line ? ERR_NOMEM : before > STREAM_MAX && !last ? ERR_FULL : ERR_OK;
	if (rc == ERR_OK)
		rc = json_append(&r->out, line);
	if (rc == ERR_OK)
		rc = buf_append(&r->out, "\n", 1);
	json_decref(line);
	if (rc != ERR_OK) /* a line less of progress or log */
		r->out.len = before;
	wake(r);
}

void control_stream_end(struct control_request *r)
{
	r->stream_ended = true;
	r->over = true;
	wake(r);
}

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

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size, void **req)
{
	struct control *c = cls;
	struct control_request *r = *req;
	(void)version;
	if (!r) {
		r = *req = request_new(c, connection, url, method);
		if (!r)
			return MHD_NO;
		struct err e = ERR_INIT;
		if (control_socket_check_peer(socket_of(r), &c->rule, &e) != ERR_OK) {
			r->handled = true;
			control_fail(r, &e);
			return queue(r);
		}
		return MHD_YES;
	}
	if (*upload_size > 0)
		return take_upload(r, upload, upload_size);
	if (!r->handled)
		parse_and_handle(r);
	if (r->response)
		return queue(r);
	if (r->over) /* its client has gone: MHD closes, and another one has the place */
		return MHD_NO;
	sleep_until_woken(r);
	return MHD_YES;
}

static void on_completed(
	void *cls, struct MHD_Connection *connection, void **req, enum MHD_RequestTerminationCode why)
{
	struct control_request *r = *req;
	(void)cls, (void)connection, (void)why;
	if (!r)
		return;
	client_gone(r);
	request_free(r);
	*req = NULL;
}

static void on_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_log(void *cls, const char *fmt, va_list ap)
{
	char text[512];
	(void)cls;
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("control socket: %s", text);
}

/* ---- open and close ---- */

static int start_daemon(struct control *c, struct err *e)
{
	/* The logger comes first: MHD may already speak while it reads the rest. */
	c->daemon =
		MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
			NULL, on_access, c, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET,
			c->listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
			MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT,
			(unsigned)IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED, on_completed, c, MHD_OPTION_END);
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
			client_gone(r);
		} else if (waiting) {
			void (*gone)(void *) = r->gone;
			r->gone = NULL;
			if (gone)
				gone(r->gone_ctx);
			control_fail(r, &e);
		}
		wake(r);
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
	if (c->rest_until_us)
		return REST_US / 1000;
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
		client_gone(r);
		wake(r);
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

const char *control_method(const struct control_request *r)
{
	return r->method;
}

const char *control_path(const struct control_request *r)
{
	return r->path;
}

const char *control_query(const struct control_request *r, const char *key)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, key);
}

const json_t *control_body(const struct control_request *r)
{
	return r->body;
}

void control_on_gone(struct control_request *r, void (*gone)(void *ctx), void *ctx)
{
	r->gone = gone;
	r->gone_ctx = ctx;
}
