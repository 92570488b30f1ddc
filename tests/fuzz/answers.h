/*
 * A server whose answers are the fuzzer's bytes: it stands in the place of http_perform (the target
 * is linked with -Wl,--wrap=http_perform; Makefile and scripts/fuzz.sh do that for every target
 * that includes this).
 *
 * An answer is a status, lines of headers, an empty line and a body; a byte 0xff ends it:
 *
 *   200\netag: "1"\ncontent-length: 2\n\nok\xff404\n\n\xff
 *
 * Status 0 is a connection that breaks. Behind the last answer nobody is there any more.
 */
#ifndef TESTS_FUZZ_ANSWERS_H
#define TESTS_FUZZ_ANSWERS_H

#include "base/clock.h"
#include "net/http.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct {
	pthread_mutex_t lock; /* parts are sent by several threads */
	const uint8_t *p, *end;
	int64_t now_us;
	size_t asked;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void must(bool ok)
{
	if (!ok)
		abort();
}

/* ---- time that costs nothing ---- */

static int64_t fast_wall_ms(void)
{
	return INT64_C(1700000000000) + __atomic_load_n(&server.now_us, __ATOMIC_RELAXED) / 1000;
}

static int64_t fast_mono_us(void)
{
	return 1 + __atomic_load_n(&server.now_us, __ATOMIC_RELAXED);
}

static int64_t fast_boot_ms(void)
{
	return fast_mono_us() / 1000;
}

static void fast_sleep_us(int64_t us)
{
	must(us >= 0);
	__atomic_fetch_add(&server.now_us, us, __ATOMIC_RELAXED);
}

static inline void server_begin(const uint8_t *data, size_t size)
{
	static const struct clock_ops ops = {fast_wall_ms, fast_mono_us, fast_boot_ms, fast_sleep_us};
	clock_set_ops(&ops);
	server.p = data;
	server.end = data + size;
	server.now_us = 0;
	server.asked = 0;
}

/* ---- an answer ---- */

static const uint8_t *find_byte(const uint8_t *p, const uint8_t *end, uint8_t byte)
{
	const uint8_t *at = p < end ? memchr(p, byte, (size_t)(end - p)) : NULL;
	return at ? at : end;
}

/* Lines up to the empty one, as http.c keeps them: names in lower case. */
static const uint8_t *take_headers(struct http_response *r, const uint8_t *p, const uint8_t *end)
{
	while (p < end) {
		const uint8_t *line = p, *eol = find_byte(p, end, '\n');
		p = eol < end ? eol + 1 : end;
		if (eol == line)
			break;
		must(buf_append(&r->headers, line, (size_t)(eol - line)) == ERR_OK);
		must(buf_append(&r->headers, "\n", 1) == ERR_OK);
	}
	char length[32];
	r->content_length = -1;
	if (http_response_header(r, "content-length", length, sizeof(length)))
		r->content_length = llabs(atoll(length));
	return p;
}

static int give_body(const struct http_request *q, struct http_response *r, const uint8_t *p,
	size_t n, struct err *e)
{
	int rc = ERR_OK;
	bool good = r->status / 100 == 2;
	if (good && q->on_answer)
		rc = q->on_answer(q->ctx, r, e);
	if (rc)
		return rc;
	if (!good || !q->sink)
		return n > q->max_body || buf_append(&r->body, p, n)
				   ? err_set(e, ERR_DAMAGED, "the answer is too large")
				   : ERR_OK;
	for (size_t at = 0; !rc && at < n; at += 7)
		rc = q->sink(q->ctx, p + at, n - at < 7 ? n - at : 7, e);
	return rc;
}

static int answer(const struct http_request *q, struct http_response *r, bool *retryable,
	const uint8_t *p, const uint8_t *end, struct err *e)
{
	const uint8_t *line = p;
	p = find_byte(p, end, '\n');
	for (; line < p && *line >= '0' && *line <= '9' && r->status < 100; line++)
		r->status = r->status * 10 + *line - '0';
	*retryable = true;
	if (r->status < 200)
		return r->status = 0, err_set(e, ERR_UNREACHABLE, "the connection broke");
	p = take_headers(r, p < end ? p + 1 : end, end);
	return give_body(q, r, p, (size_t)(end - p), e);
}

int __wrap_http_perform(struct http_pool *pool, const struct http_request *q,
	struct http_response *r, bool *retryable, struct err *e);
int __wrap_http_perform(struct http_pool *pool, const struct http_request *q,
	struct http_response *r, bool *retryable, struct err *e)
{
	(void)pool;
	pthread_mutex_lock(&server.lock);
	const uint8_t *p = server.p, *end = find_byte(p, server.end, 0xff);
	server.p = end < server.end ? end + 1 : server.end;
	server.asked++;
	pthread_mutex_unlock(&server.lock);
	r->status = 0;
	r->content_length = -1;
	buf_reset(&r->body);
	buf_reset(&r->headers);
	*retryable = false;
	if (p >= server.end)
		return err_set(e, ERR_UNREACHABLE, "nobody is there");
	return answer(q, r, retryable, p, end, e);
}

#endif
