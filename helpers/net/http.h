/*
 * HTTP/1.1 requests on libcurl: connections that are kept alive and shared, bounded answers,
 * time-outs for connecting, stalling and the whole request, cancelling. No retries, no redirects,
 * no "Expect: 100-continue", no chunked uploads: a body has a length.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_pool;

struct http_config {
	int64_t connect_timeout_ms; /* DNS, TCP and TLS */
	int64_t stall_timeout_ms;   /* no byte moved for so long; at least a second */
	const char *ca_file;        /* PEM instead of the system's; NULL: the system's */
	bool skip_verify;           /* accept any certificate */
	const char *user_agent;
};

/* Strings of `config` are copied. ERR_NOMEM, or ERR_USAGE when ca_file can't be read. */
int http_pool_new(struct http_pool **out, const struct http_config *config, struct err *e);

/*
 * A pool with the settings of another, which must outlive it: cancelled when that one is. But it
 * accepts no certificate that can't be verified, whatever the other does: for what a server of data
 * must not learn. ERR_NOMEM.
 */
int http_pool_strict(struct http_pool **out, struct http_pool *of, struct err *e);

/* NULL is fine; no request may be under way. */
void http_pool_free(struct http_pool *p);

/* Ends requests under way within a second, and all to come, with ERR_CANCELLED. */
void http_pool_cancel(struct http_pool *p);
bool http_pool_is_cancelled(struct http_pool *p);

/*
 * Closes connections that nobody used for HTTP_IDLE_MS. Returns after how many ms there may be more
 * to close of those that this pool used last, or -1 when there is none.
 */
int64_t http_pool_tidy(struct http_pool *p);

#define HTTP_IDLE_MS 60000
#define HTTP_MAX_IDLE 8 /* in the whole process: its pools share them */

struct http_response {
	int status;             /* 0 until there is an answer */
	int64_t content_length; /* -1 = not said */
	struct buf body;        /* what was not given to a sink, at most max_body */
	struct buf headers;     /* "name: value\n", names in lower case, at most 64 KiB */
};

/* The value of a header (name in lower case) into out, cut to size. False when there is none. */
bool http_response_header(const struct http_response *r, const char *name, char *out, size_t size);

/* Called once before the first byte of a 2xx body is given, and also when that body is empty. Not
 * ERR_OK ends the request with that code. */
typedef int (*http_answer_fn)(void *ctx, const struct http_response *r, struct err *e);
typedef int (*http_sink)(void *ctx, const void *p, size_t n, struct err *e);

struct http_request {
	const char *method;
	const char *url;            /* complete and encoded; sent as it is */
	const char *const *headers; /* "Name: value", all that are sent but Content-Length */
	size_t n_headers;
	/* The body: memory, or n bytes of a regular file from an offset (pread). */
	bool has_body;
	const void *data;
	int fd;
	uint64_t offset, size;
	int64_t timeout_ms; /* of the whole request, 0 = none */
	size_t max_body;    /* of the answer; more than that is ERR_DAMAGED */
	http_answer_fn on_answer;
	http_sink sink; /* takes 2xx bodies; NULL: kept in response.body */
	void *ctx;
	bool ignore_cancel; /* for the last words after a cancel */
};

void http_response_init(struct http_response *r);
void http_response_free(struct http_response *r);

/*
 * Sends a request and reads the answer. `r` must be initialised and is emptied first. ERR_OK
 * whatever the status. Otherwise ERR_UNREACHABLE  no connection, broken, stalled, timed out;
 * *retryable says whether a second attempt makes sense (a certificate that isn't trusted doesn't
 * get better) ERR_DAMAGED      not HTTP, or more than max_body ERR_IO           the body's file
 * can't be read ERR_CANCELLED, ERR_NOMEM, or what on_answer or sink returned Text names host and
 * port, not the path.
 */
int http_perform(struct http_pool *p, const struct http_request *request, struct http_response *r,
	bool *retryable, struct err *e);

#endif
