#include "net/http.h"

#include "base/clock.h"
#include "base/fs.h"
#include "net/http_pool.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_HEADERS ((size_t)64 * 1024)

/* One request under way: what the callbacks need. */
struct exchange {
	struct http_pool *pool;
	const struct http_request *request;
	struct http_response *r;
	struct err *e;
	CURL *curl;
	int rc; /* what a callback ended it with */
	bool answered;
	uint64_t sent;
	int64_t moved_us; /* when a byte last moved; 0 until connected */
	curl_off_t moved_bytes;
};

void http_response_init(struct http_response *r)
{
	*r = (struct http_response){.content_length = -1};
	buf_init(&r->body, 0);
	buf_init(&r->headers, MAX_HEADERS);
}

void http_response_free(struct http_response *r)
{
	buf_free(&r->body);
	buf_free(&r->headers);
}

static void response_reset(struct http_response *r, size_t max_body)
{
	r->status = 0;
	r->content_length = -1;
	r->body.max = max_body;
	buf_reset(&r->body);
	buf_reset(&r->headers);
}

bool http_response_header(const struct http_response *r, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);
	const char *p = buf_str(&r->headers);
	for (size_t line; (line = strcspn(p, "\n")) > 0; p += line + (p[line] == '\n')) {
		if (strncmp(p, name, n) != 0 || p[n] != ':')
			continue;
		p += n + 1 + strspn(p + n + 1, " ");
		snprintf(out, size, "%.*s", (int)strcspn(p, "\n"), p);
		return true;
	}
	if (size)
		out[0] = '\0';
	return false;
}

/* A header line, or the status line of the next answer (after a 1xx). */
static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	size_t n = size * count, end = n;
	if (n >= 5 && !strncasecmp(line, "HTTP/", 5)) {
		buf_reset(&x->r->headers);
		return n;
	}
	while (end > 0 && isspace((unsigned char)line[end - 1]))
		end--;
	const char *colon = memchr(line, ':', end);
	if (!colon)
		return n;
	/* libcurl before 7.84 passes it on; behind it nothing would be found any more. */
	if (memchr(line, '\0', end)) {
		x->rc = err_set(x->e, ERR_DAMAGED, "the answer has a header with a NUL byte");
		return 0;
	}
	for (char *p = line; p < colon; p++)
		*p = (char)tolower((unsigned char)*p);
	int rc = buf_append(&x->r->headers, line, end);
	if (!rc)
		rc = buf_append(&x->r->headers, "\n", 1);
	if (rc == ERR_FULL)
		rc = err_set(
			x->e, ERR_DAMAGED, "the answer's headers are longer than %zu bytes", MAX_HEADERS);
	else if (rc)
		err_nomem(x->e, "reading an answer");
	x->rc = rc;
	return rc ? 0 : n;
}

/* Learns the status and tells who asked for it. */
static int note_answer(struct exchange *x)
{
	long status = 0;
	curl_off_t length = -1;
	if (x->answered)
		return ERR_OK;
	x->answered = true;
	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(x->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	x->r->status = (int)status;
	x->r->content_length = length;
	if (status / 100 == 2 && x->request->on_answer)
		return x->request->on_answer(x->request->ctx, x->r, x->e);
	return ERR_OK;
}

static int keep_body(struct exchange *x, const void *p, size_t n)
{
	int rc = buf_append(&x->r->body, p, n);
	if (rc == ERR_FULL)
		return err_set(
			x->e, ERR_DAMAGED, "the answer is longer than %zu bytes", x->request->max_body);
	return rc ? err_nomem(x->e, "reading an answer") : ERR_OK;
}

static size_t on_body(char *p, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	size_t n = size * count;
	x->rc = note_answer(x);
	if (!x->rc && x->request->sink && x->r->status / 100 == 2)
		x->rc = x->request->sink(x->request->ctx, p, n, x->e);
	else if (!x->rc)
		x->rc = keep_body(x, p, n);
	return x->rc ? 0 : n;
}

static size_t on_read(char *p, size_t size, size_t count, void *ctx)
{
	struct exchange *x = ctx;
	const struct http_request *q = x->request;
	uint64_t left = q->size - x->sent;
	size_t n = size * count < left ? size * count : (size_t)left;
	if (n == 0)
		return 0;
	if (q->data) {
		memcpy(p, (const char *)q->data + x->sent, n);
	} else if (fs_pread_full(q->fd, p, n, (off_t)(q->offset + x->sent))) {
		x->rc = err_errno(x->e, ERR_IO, errno, "cannot read the file that is being sent");
		return CURL_READFUNC_ABORT;
	}
	x->sent += n;
	return n;
}

/* libcurl goes back to the start when a kept connection turns out to be dead. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct exchange *x = ctx;
	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > x->request->size)
		return CURL_SEEKFUNC_FAIL;
	x->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static int on_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct exchange *x = ctx;
	(void)ip, (void)local_ip, (void)port, (void)local_port;
	x->moved_us = clock_mono_us();
	return CURL_PREREQFUNC_OK;
}

/* Called when something moved and about every second otherwise. */
static int on_progress(
	void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct exchange *x = ctx;
	(void)down_total, (void)up_total;
	if (http_pool_is_cancelled(x->pool) && !x->request->ignore_cancel) {
		x->rc = err_set(x->e, ERR_CANCELLED, "the request was stopped on request");
		return 1;
	}
	if (x->moved_us == 0)
		return 0;
	int64_t now = clock_mono_us(), stall_ms = x->pool->config.stall_timeout_ms;
	if (down + up != x->moved_bytes) {
		x->moved_bytes = down + up;
		x->moved_us = now;
	}
	if (stall_ms <= 0 || now - x->moved_us < stall_ms * 1000)
		return 0;
	x->rc =
		err_set(x->e, ERR_UNREACHABLE, "no byte came or went for %.1f s", (double)stall_ms / 1000);
	return 1;
}

static void set_body(struct exchange *x)
{
	const struct http_request *q = x->request;
	CURL *c = x->curl;
	if (!q->has_body) {
		if (!strcmp(q->method, "HEAD"))
			curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
		else
			curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
		return;
	}
	if (!strcmp(q->method, "POST")) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->size);
	} else {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->size);
	}
	curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(c, CURLOPT_READDATA, x);
	curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
}

/* Headers of ours, and the removal of those that libcurl adds by itself. NULL when out of memory.
 */
static struct curl_slist *make_headers(const struct http_request *q)
{
	static const char *const unwanted[] = {
		"Expect:", "Accept:", "Transfer-Encoding:", "Content-Type:"};
	struct curl_slist *list = NULL;
	for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]) + q->n_headers; i++) {
		const char *h = i < q->n_headers ? q->headers[i] : unwanted[i - q->n_headers];
		if (i >= q->n_headers) {
			bool ours = false;
			for (size_t k = 0; k < q->n_headers; k++)
				ours |= !strncasecmp(q->headers[k], h, strlen(h));
			if (ours)
				continue;
		}
		struct curl_slist *longer = curl_slist_append(list, h);
		if (!longer) {
			curl_slist_free_all(list);
			return NULL;
		}
		list = longer;
	}
	return list;
}

/* Not one that libcurl makes of itself. */
static bool is_custom(const struct http_request *q)
{
	return q->has_body ? strcmp(q->method, "POST") != 0
					   : strcmp(q->method, "HEAD") != 0 && strcmp(q->method, "GET") != 0;
}

/* False when out of memory, which only strings need. */
static bool set_request(struct exchange *x, struct curl_slist *headers)
{
	CURL *c = x->curl;
	bool whole = curl_easy_setopt(c, CURLOPT_URL, x->request->url) == CURLE_OK;
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)x->request->timeout_ms);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, x);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	set_body(x);
	if (is_custom(x->request))
		whole &= curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, x->request->method) == CURLE_OK;
	return whole;
}

static int transport_error(struct exchange *x, CURLcode code, const char *detail, bool *retryable)
{
	const char *why = detail && *detail ? detail : curl_easy_strerror(code);
	*retryable = true;
	switch (code) {
	case CURLE_OUT_OF_MEMORY:
		*retryable = false;
		return err_nomem(x->e, "making a request");
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		*retryable = false;
		return err_set(x->e, ERR_UNREACHABLE,
			"the server's certificate is not trusted (%s); if it is signed by an authority of your "
			"own, name its file in SSL_CERT_FILE",
			why);
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		*retryable = false;
		if (x->r->headers.len == 0 && code == CURLE_UNSUPPORTED_PROTOCOL && x->moved_us)
			return err_set(x->e, ERR_DAMAGED, "what answers there does not speak HTTP (%s)", why);
		return err_set(
			x->e, ERR_USAGE, "the server's address is not one that can be asked (%s)", why);
	case CURLE_WEIRD_SERVER_REPLY:
		return err_set(x->e, ERR_DAMAGED, "what answers there does not speak HTTP (%s)", why);
	default:
		return err_set(x->e, ERR_UNREACHABLE, "%s", why);
	}
}

static int run(struct exchange *x, bool *retryable)
{
	char detail[CURL_ERROR_SIZE] = "";
	curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, detail);
	CURLcode code = curl_easy_perform(x->curl);
	curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, NULL);
	if (x->rc) {
		*retryable = x->rc == ERR_UNREACHABLE;
		return x->rc;
	}
	if (code == CURLE_OK)
		return note_answer(x);
	/* A server that refuses early closes while we still send: its answer counts. */
	if (code == CURLE_SEND_ERROR && x->answered && x->r->status >= 300)
		return ERR_OK;
	return transport_error(x, code, detail, retryable);
}

int http_perform(struct http_pool *p, const struct http_request *request, struct http_response *r,
	bool *retryable, struct err *e)
{
	*retryable = false;
	response_reset(r, request->max_body);
	if (http_pool_is_cancelled(p) && !request->ignore_cancel)
		return err_set(e, ERR_CANCELLED, "the request was stopped on request");
	struct exchange x = {.pool = p, .request = request, .r = r, .e = e};
	struct curl_slist *headers = make_headers(request);
	if (headers)
		x.curl = http_pool_take(p, request->url);
	if (!x.curl) {
		curl_slist_free_all(headers);
		return err_nomem(e, "making a request");
	}
	int rc = set_request(&x, headers) ? run(&x, retryable) : err_nomem(e, "making a request");
	http_pool_give_back(p, x.curl, request->url);
	curl_slist_free_all(headers);
	return rc;
}
