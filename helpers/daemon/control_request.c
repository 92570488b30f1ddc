/* A request to the control socket: its life, its answer, its stream of lines. */
#include "daemon/control_internal.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define STREAM_MAX ((size_t)1024 * 1024)
#define LAST_MAX \
	((size_t)64 * 1024) /* room for the line that tells the end, whoever reads slowly */

/* ---- life of a request ---- */

struct control_request *control_request_new(
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

void control_request_free(struct control_request *r)
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

int control_request_socket(const struct control_request *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info ? info->connect_fd : -1;
}

void control_request_wake(struct control_request *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	epoll_ctl(r->control->epoll_fd, EPOLL_CTL_DEL, control_request_socket(r), NULL);
	MHD_resume_connection(r->connection);
}

void control_request_sleep(struct control_request *r)
{
	struct epoll_event hangup = {.events = 0, .data.ptr = r};
	r->suspended = true;
	MHD_suspend_connection(r->connection);
	epoll_ctl(r->control->epoll_fd, EPOLL_CTL_ADD, control_request_socket(r), &hangup);
}

void control_request_gone(struct control_request *r)
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
	control_request_wake(r);
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
		control_request_sleep(r);
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
	control_request_wake(r);
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
	control_request_wake(r);
}

void control_stream_end(struct control_request *r)
{
	r->stream_ended = true;
	r->over = true;
	control_request_wake(r);
}

/* ---- what a handler asks ---- */

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
