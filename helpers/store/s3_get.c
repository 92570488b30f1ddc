#include "store/s3.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * A get may take several requests: what broke is asked for again from the byte where it broke.
 * Every answer is checked before its first byte is passed on: the same ETag as the first one's (an
 * object that was replaced meanwhile is not spliced), the range that was asked for, the length it
 * must have.
 */
struct download {
	struct store *s;
	struct s3_call *call;
	uint64_t offset, length; /* length 0: to the end, until the first answer has told it */
	uint64_t done;
	bool known;  /* length is what will come */
	bool ranged; /* this request asked for a range */
	char etag[128];
	char range[64];
	store_sink sink;
	void *ctx;
};

static int wrong_answer(const struct download *d, const char *why, struct err *e)
{
	char what[600];
	s3_describe(d->s, d->call->name, what, sizeof(what));
	return err_set(e, ERR_DAMAGED, "cannot read %s: %s", what, why);
}

/* "bytes 5-9/10" for what was asked. */
static int check_range(struct download *d, const struct http_response *r, struct err *e)
{
	char text[80];
	uint64_t from, to;
	int n = 0;
	http_response_header(r, "content-range", text, sizeof(text));
	if (sscanf(text, "bytes %" SCNu64 "-%" SCNu64 "%n", &from, &to, &n) != 2 || n == 0 || to < from)
		return wrong_answer(d, "the answer does not say which range it is", e);
	if (from != d->offset + d->done)
		return wrong_answer(d, "the answer is another range than the one asked for", e);
	if (!d->known) {
		d->length = to - d->offset + 1;
		d->known = true;
	}
	if (to != d->offset + d->length - 1)
		return wrong_answer(d, "the object is shorter than it should be", e);
	return ERR_OK;
}

static int check_answer(void *ctx, const struct http_response *r, struct err *e)
{
	struct download *d = ctx;
	char etag[sizeof(d->etag)];
	if (!http_response_header(r, "etag", etag, sizeof(etag)))
		return s3_require_etag(d->s, d->call, e);
	if (*d->etag && strcmp(etag, d->etag) != 0)
		return wrong_answer(d, "it was replaced while it was read", e);
	memcpy(d->etag, etag, sizeof(etag));
	if (d->ranged && r->status == 206)
		return check_range(d, r, e);
	if (d->ranged)
		return wrong_answer(d, "the server ignores ranges", e);
	if (r->content_length < 0)
		return wrong_answer(d, "the answer does not say how long it is", e);
	d->length = (uint64_t)r->content_length;
	d->known = true;
	return ERR_OK;
}

static int pass_on(void *ctx, const void *p, size_t n, struct err *e)
{
	struct download *d = ctx;
	if (n > d->length - d->done)
		return wrong_answer(d, "the answer is longer than it said", e);
	int rc = d->sink(d->ctx, p, n, e);
	if (!rc)
		d->done += n;
	return rc;
}

static int download_once(
	struct download *d, const struct retry *retry, bool *again, int64_t *after_ms, struct err *e)
{
	struct s3_call *c = d->call;
	uint64_t from = d->offset + d->done;
	c->n_headers = 0;
	d->ranged = from > 0 || d->length > 0;
	if (d->ranged && d->length)
		snprintf(d->range, sizeof(d->range), "bytes=%" PRIu64 "-%" PRIu64, from,
			d->offset + d->length - 1);
	else
		snprintf(d->range, sizeof(d->range), "bytes=%" PRIu64 "-", from);
	if (d->ranged)
		s3_call_header(c, "Range", d->range);
	s3_call_customer_key(c, &((struct s3 *)d->s->impl)->target);
	int rc = s3_attempt(d->s, c, retry, again, after_ms, e);
	if (!rc && d->done < d->length) {
		*again = true;
		store_count_error(d->s, STORE_N_GET, NULL, ERR_UNREACHABLE);
		rc = err_set(
			e, ERR_UNREACHABLE, "cannot read %s/%s: the answer ended early", d->s->url, c->name);
	}
	return rc;
}

int s3_get(struct store *s, const char *name, uint64_t offset, uint64_t length, store_sink sink,
	void *ctx, struct err *e)
{
	struct s3_call c;
	struct retry retry;
	struct download d = {.s = s,
		.call = &c,
		.offset = offset,
		.length = length,
		.known = length > 0,
		.sink = sink,
		.ctx = ctx};
	s3_call_init(&c, "GET", name, "read", STORE_N_GET);
	c.on_answer = check_answer;
	c.sink = pass_on;
	c.ctx = &d;
	s3_retry_init(s, &retry);
	int rc;
	for (;;) {
		bool again;
		int64_t after_ms;
		uint64_t before = d.done;
		rc = download_once(&d, &retry, &again, &after_ms, e);
		/* All came, and only the end of the connection was not as it should be. */
		if (rc == ERR_UNREACHABLE && d.known && d.done == d.length && d.done > 0)
			rc = ERR_OK;
		if (!rc || !again)
			break;
		if (d.done > before)
			retry_progress(&retry);
		if (!retry_pause(&retry, after_ms)) {
			rc = store_is_cancelled(s) ? store_cancelled_error(s, e) : rc;
			break;
		}
		store_count(s, STORE_N_RETRIES, 1);
	}
	store_count_bytes(s, STORE_N_GET, d.done);
	rc = s3_denied_or_absent(s, &c, rc, e);
	s3_call_free(&c);
	return rc;
}
