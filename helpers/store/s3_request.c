#include "store/s3.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * How a request looks: method, one address that is signed exactly as it is sent, Host, X-Amz-Date,
 * X-Amz-Content-Sha256 and the call's own headers, all of them signed. A body has its length: no
 * aws-chunked, no trailers, no Expect (each of those has broken with some provider).
 */

#define URL_MAX ((size_t)16 * 1024)
#define HASH_CHUNK ((size_t)64 * 1024)
#define LAST_WORDS_MS 5000

void s3_call_init(struct s3_call *c, const char *method, const char *name, const char *doing,
	enum store_counter counter)
{
	*c = (struct s3_call){
		.method = method, .name = name, .query = "", .doing = doing, .counter = counter};
	http_response_init(&c->r);
}

void s3_call_free(struct s3_call *c)
{
	http_response_free(&c->r);
}

void s3_call_header(struct s3_call *c, const char *name, const char *value)
{
	if (c->n_headers < S3_MAX_HEADERS)
		c->headers[c->n_headers++] = (struct sigv4_header){name, value};
}

void s3_call_customer_key(struct s3_call *c, const struct s3_target *t)
{
	if (!*t->sse_key)
		return;
	s3_call_header(c, "x-amz-server-side-encryption-customer-algorithm", t->sse_algorithm);
	s3_call_header(c, "x-amz-server-side-encryption-customer-key", t->sse_key);
	s3_call_header(c, "x-amz-server-side-encryption-customer-key-MD5", t->sse_key_md5);
}

void s3_describe(const struct store *s, const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s", s->url, name ? "/" : "", name ? name : "");
}

int s3_append_key(struct buf *out, const struct s3_target *t, const char *name)
{
	return buf_printf(out, "%s%s%s", t->prefix, s3_target_slash(t), name);
}

/* Host and path as they are signed and sent. */
struct address {
	char host[700]; /* with the port where it isn't the scheme's own */
	struct buf path;
	struct buf url;
};

static void address_free(struct address *a)
{
	buf_free(&a->path);
	buf_free(&a->url);
}

static int append_object_path(struct address *a, const struct s3_target *t, const char *name)
{
	int rc = buf_append(&a->path, "/", 1);
	if (!rc && *t->prefix)
		rc = sigv4_encode(&a->path, t->prefix, 1);
	if (!rc)
		rc = buf_append_str(&a->path, s3_target_slash(t));
	return rc ? rc : sigv4_encode(&a->path, name, 1);
}

static int make_address(struct address *a, const struct s3_target *t, const struct s3_call *c)
{
	char port[16] = "";
	bool in_host = !t->path_style && !t->bucket_in_host;
	buf_init(&a->path, URL_MAX);
	buf_init(&a->url, URL_MAX);
	if (t->port && t->port != (t->https ? 443 : 80))
		snprintf(port, sizeof(port), ":%d", t->port);
	snprintf(a->host, sizeof(a->host), "%s%s%s%s", in_host ? t->bucket : "", in_host ? "." : "",
		t->host, port);
	int rc = buf_append_str(&a->path, t->base_path);
	if (!rc && t->path_style) {
		rc = buf_append(&a->path, "/", 1);
		if (!rc)
			rc = sigv4_encode(&a->path, t->bucket, 0);
	}
	if (!rc && c->name)
		rc = append_object_path(a, t, c->name);
	else if (!rc && !t->path_style)
		rc = buf_append(&a->path, "/", 1);
	if (!rc)
		rc = buf_printf(&a->url, "%s://%s%s%s%s", t->https ? "https" : "http", a->host,
			buf_str(&a->path), *c->query ? "?" : "", c->query);
	return rc;
}

static int hash_file(const struct store_body *b, struct sha256 *h, struct err *e)
{
	uint8_t *chunk = malloc(HASH_CHUNK);
	if (!chunk)
		return err_nomem(e, "hashing what is sent");
	int rc = ERR_OK;
	for (uint64_t done = 0; done < b->size && !rc;) {
		size_t n = b->size - done < HASH_CHUNK ? (size_t)(b->size - done) : HASH_CHUNK;
		if (fs_pread_full(b->fd, chunk, n, (off_t)(b->offset + done)))
			rc = err_errno(e, ERR_IO, errno, "cannot read the file that is to be sent");
		else
			sha256_update(h, chunk, n);
		done += n;
	}
	free(chunk);
	return rc;
}

/* Once for all attempts: F1 says that they send the same bytes. */
static int hash_payload(const struct s3_target *t, struct s3_call *c, struct err *e)
{
	uint8_t digest[SHA256_LEN];
	int rc = ERR_OK;
	if (*c->payload_hash)
		return ERR_OK;
	if (!c->body || c->body->size == 0) {
		strcpy(c->payload_hash, SIGV4_EMPTY_SHA256);
		return ERR_OK;
	}
	if (!t->sign_payload) {
		strcpy(c->payload_hash, SIGV4_UNSIGNED);
		return ERR_OK;
	}
	struct sha256 *h = sha256_new();
	if (!h)
		return err_nomem(e, "hashing what is sent");
	if (c->body->data)
		sha256_update(h, c->body->data, c->body->size);
	else
		rc = hash_file(c->body, h, e);
	if (rc) {
		sha256_free(h);
		return rc;
	}
	sha256_final(h, digest);
	digest_hex(digest, sizeof(digest), c->payload_hash);
	return ERR_OK;
}

/* All headers of a request, as pairs to sign and as lines to send. */
struct header_set {
	struct sigv4_header pairs[SIGV4_MAX_HEADERS];
	size_t n;
	char date[SIGV4_DATE_LEN];
	char *lines[SIGV4_MAX_HEADERS + 1];
	size_t n_lines;
};

static void header_set_free(struct header_set *h)
{
	for (size_t i = 0; i < h->n_lines; i++)
		free(h->lines[i]);
}

static int add_line(struct header_set *h, const char *name, const char *value)
{
	char *line = NULL;
	if (asprintf(&line, "%s: %s", name, value) < 0)
		return ERR_NOMEM;
	h->lines[h->n_lines++] = line;
	return ERR_OK;
}

static void collect_headers(struct header_set *h, const struct iam_keys *keys,
	const struct s3_target *t, const struct s3_call *c, const char *host, int64_t now)
{
	sigv4_date(now, h->date);
	h->pairs[h->n++] = (struct sigv4_header){"Host", host};
	h->pairs[h->n++] = (struct sigv4_header){"x-amz-content-sha256", c->payload_hash};
	h->pairs[h->n++] = (struct sigv4_header){"x-amz-date", h->date};
	if (keys->session_token)
		h->pairs[h->n++] = (struct sigv4_header){"x-amz-security-token", keys->session_token};
	if (t->tigris_consistent)
		h->pairs[h->n++] = (struct sigv4_header){"X-Tigris-Consistent", "true"};
	for (size_t i = 0; i < c->n_headers; i++)
		h->pairs[h->n++] = c->headers[i];
}

static int sign(struct header_set *h, const struct iam_keys *keys, const struct s3_target *t,
	const struct s3_call *c, const struct address *a, int64_t now, struct err *e)
{
	struct sigv4_request q = {
		.method = c->method,
		.path = buf_str(&a->path),
		.query = c->query,
		.headers = h->pairs,
		.n_headers = h->n,
		.payload_hash = c->payload_hash,
		.access_key_id = keys->access_key_id,
		.secret_access_key = keys->secret_access_key,
		.region = t->region,
		.service = "s3",
		.wall_ms = now,
	};
	struct buf authorization;
	buf_init(&authorization, 4096);
	int rc = sigv4_sign(&q, &authorization, NULL, e);
	if (!rc && add_line(h, "Authorization", buf_str(&authorization)))
		rc = err_nomem(e, "signing a request");
	buf_free(&authorization);
	for (size_t i = 0; i < h->n && !rc; i++)
		if (add_line(h, h->pairs[i].name, h->pairs[i].value))
			rc = err_nomem(e, "signing a request");
	return rc;
}

static int send_request(struct store *s, struct s3_call *c, const struct address *a,
	const struct header_set *h, int64_t timeout_ms, bool *again, struct err *e)
{
	struct s3 *s3 = s->impl;
	bool body = c->body || !strcmp(c->method, "PUT") || !strcmp(c->method, "POST");
	struct http_request q = {
		.method = c->method,
		.url = buf_str(&a->url),
		.headers = (const char *const *)h->lines,
		.n_headers = h->n_lines,
		.has_body = body,
		.data = c->body ? c->body->data : NULL,
		.fd = c->body ? c->body->fd : -1,
		.offset = c->body ? c->body->offset : 0,
		.size = c->body ? c->body->size : 0,
		.timeout_ms = timeout_ms,
		.max_body = S3_ANSWER_MAX,
		.on_answer = c->on_answer,
		.sink = c->sink,
		.ctx = c->ctx,
		.ignore_cancel = c->last_words,
	};
	int rc = http_perform(s3->http, &q, &c->r, again, e);
	if (!rc && c->r.status / 100 == 2 && c->body)
		store_count_bytes(s, c->counter, c->body->size);
	return rc;
}

static void note_asked(struct s3 *s3)
{
	int64_t none = 0;
	atomic_compare_exchange_strong(&s3->first_asked_us, &none, clock_mono_us());
}

/* Somebody who waits wants to know sooner that nobody is there than a replicator does, which has
 * all the time in the world. */
static bool is_silent(struct s3 *s3)
{
	return s3->first_answer_ms > 0 && !atomic_load(&s3->answered) &&
		   clock_mono_us() - atomic_load(&s3->first_asked_us) >= s3->first_answer_ms * 1000;
}

/* The keys of this attempt: borrowed, or such as change (*own, to be freed). *again: asking for
 * those may succeed later. */
static int take_keys(struct store *s, const struct s3_call *c, struct iam_keys *keys,
	struct iam_keys *own, bool *again, struct err *e)
{
	struct s3 *s3 = s->impl;
	struct err why = ERR_INIT;
	char what[600];
	*keys = (struct iam_keys){s3->access_key_id, s3->secret_access_key, s3->session_token, 0};
	if (!s3->use_iam)
		return ERR_OK;
	int rc = iam_get(s3->http, s3->source, own, &why);
	*keys = *own;
	if (rc == ERR_OK)
		return rc;
	if (rc == ERR_CANCELLED)
		return store_cancelled_error(s, e);
	s3_describe(s, c->name, what, sizeof(what));
	*again = rc == ERR_UNREACHABLE && !is_silent(s3);
	return err_set(e, (enum err_code)rc, "cannot %s %s: %s", c->doing, what, why.text);
}

/* Keys that change and that the server takes for expired: other ones, once. */
static bool has_newer_keys(
	const struct s3 *s3, const struct s3_call *c, const struct iam_keys *keys)
{
	static const char *const codes[] = {"ExpiredToken", "TokenRefreshRequired", "InvalidToken"};
	bool about_them = false;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		about_them |= strcmp(c->refusal.code, codes[i]) == 0;
	return s3->use_iam && about_them && iam_expired(s3->source, keys->access_key_id);
}

int s3_attempt(struct store *s, struct s3_call *c, const struct retry *retry, bool *again,
	int64_t *after_ms, struct err *e)
{
	struct s3 *s3 = s->impl;
	struct s3_target *t = malloc(sizeof(*t));
	struct address a = {0};
	struct header_set h = {0};
	struct iam_keys keys = {0}, own = {0};
	int64_t now = clock_wall_ms(), left = retry_left_ms(retry);
	*again = false;
	*after_ms = 0;
	if (!t)
		return err_nomem(e, "making a request");
	pthread_mutex_lock(&s3->lock);
	*t = s3->target;
	pthread_mutex_unlock(&s3->lock);
	int rc = make_address(&a, t, c) ? err_nomem(e, "making a request") : hash_payload(t, c, e);
	note_asked(s3);
	if (!rc)
		rc = take_keys(s, c, &keys, &own, again, e);
	if (!rc) {
		collect_headers(&h, &keys, t, c, a.host, now);
		rc = sign(&h, &keys, t, c, &a, now, e);
	}
	if (!rc) {
		int64_t began = store_begin(s, c->counter);
		rc = send_request(s, c, &a, &h, left, again, e);
		if (c->r.status)
			atomic_store(&s3->answered, true);
		if (!rc && c->r.status / 100 != 2) {
			rc = s3_explain(s, c, again, after_ms, e);
			*again = *again || has_newer_keys(s3, c, &keys);
		} else if (rc == ERR_UNREACHABLE ||
				   (c->r.status == 0 && (rc == ERR_DAMAGED || rc == ERR_USAGE))) {
			char what[600];
			s3_describe(s, c->name, what, sizeof(what));
			err_wrap(e, "cannot %s %s at %s", c->doing, what, a.host);
			if (rc == ERR_UNREACHABLE && *again && is_silent(s3))
				*again = false;
		} else if (rc == ERR_CANCELLED) {
			store_cancelled_error(s, e);
		}
		store_end(s, c->counter, began, c->r.status ? c->refusal.code : NULL, rc);
	}
	header_set_free(&h);
	address_free(&a);
	iam_keys_free(&own);
	free(t);
	return rc;
}

static bool is_cancelled(void *ctx)
{
	return store_is_cancelled(ctx);
}

void s3_retry_init(struct store *s, struct retry *r)
{
	struct s3 *s3 = s->impl;
	retry_init(r, s3->max_attempts, s3->request_timeout_ms, is_cancelled, s);
}

int s3_perform(struct store *s, struct s3_call *c, struct err *e)
{
	struct retry retry;
	s3_retry_init(s, &retry);
	if (c->last_words)
		retry_init(&retry, 1, LAST_WORDS_MS, NULL, NULL);
	for (;;) {
		bool again;
		int64_t after_ms;
		int rc = s3_attempt(s, c, &retry, &again, &after_ms, e);
		if (!rc || !again)
			return rc;
		log_debug("attempt %d: %s", retry.attempts + 1, e ? e->text : "failed");
		if (!retry_pause(&retry, after_ms))
			return store_is_cancelled(s) && !c->last_words ? store_cancelled_error(s, e) : rc;
		store_count(s, STORE_N_RETRIES, 1);
	}
}
