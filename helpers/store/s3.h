/*
 * The S3 store's inside: one opened store, and one call to the server with its retries.
 *
 *   s3.c            the driver: open, put, head
 *   s3_get.c        get: ranges, and transfers that break
 *   s3_request.c    a request: address, headers, signature, sending, retries
 *   s3_error.c      what an answer that isn't 2xx means; s3_absent.c  a 403 that means 404
 *   s3_list.c       ListObjectsV2
 *   s3_delete.c     DeleteObjects and DeleteObject
 *   s3_multipart.c  uploads in parts; s3_resume.c  one that an earlier put left
 *   s3_unfinished.c ListMultipartUploads
 *   s3_versions.c   GetBucketVersioning
 *   s3_url.c, s3_host.c  where the bucket is
 */
#ifndef STORE_S3_H
#define STORE_S3_H

#include "base/digest.h"
#include "net/http.h"
#include "net/iam.h"
#include "net/sigv4.h"
#include "store/driver.h"
#include "store/retry.h"
#include "store/s3_url.h"

#include <pthread.h>

#define S3_MAX_SINGLE ((uint64_t)5 << 30) /* S3's bound for one PutObject and for one part */
#define S3_ANSWER_MAX ((size_t)8 << 20)   /* of a list or of any other document */
#define S3_MAX_HEADERS 12                 /* that a call adds */

struct s3 {
	pthread_mutex_t lock; /* for target.region and what follows from it */
	struct s3_target target;
	bool use_iam;           /* the keys change (net/iam.h); the three below are NULL then */
	enum iam_source source; /* of those */
	char *access_key_id, *secret_access_key, *session_token; /* the token may be NULL */
	struct http_pool *http;
	int max_attempts;
	int64_t request_timeout_ms;
	int64_t first_answer_ms;        /* 0 = as long as the retries take */
	_Atomic int64_t first_asked_us; /* when it was asked for the first time; 0 = not yet */
	atomic_bool answered;           /* at least once, whatever */
	atomic_bool no_batch_delete;    /* the server answered that it has none */
};

/* What the server said when it refused. Empty strings where it said nothing. */
struct s3_refusal {
	char code[64], message[256], region[64], endpoint[200];
	bool is_document; /* the body was an S3 error document */
};

struct s3_call {
	/* What is asked. Strings are borrowed. */
	const char *method;
	const char *name;  /* object, NULL = the bucket itself */
	const char *query; /* encoded, every name with '='; "" = none */
	struct sigv4_header headers[S3_MAX_HEADERS];
	size_t n_headers;
	const struct store_body *body; /* NULL = none */
	const char *doing;             /* for messages: "store", "read", "list", "delete" */
	enum store_counter counter;
	bool conditional; /* If-None-Match: 412 means ERR_CONDITION, 501 ERR_UNSUPPORTED */
	bool last_words;  /* once, quickly, also after a cancel */
	http_answer_fn on_answer;
	http_sink sink;
	void *ctx;
	/* What came back. */
	struct http_response r;
	struct s3_refusal refusal;
	/* Kept between attempts. */
	char payload_hash[SHA256_HEX_LEN];
};

/* Sets what every call needs; s3_call_free frees the answer. */
void s3_call_init(struct s3_call *c, const char *method, const char *name, const char *doing,
	enum store_counter counter);
void s3_call_free(struct s3_call *c);
void s3_call_header(struct s3_call *c, const char *name, const char *value);

/* Server-side encryption with a customer's key, for everything that touches an object's bytes. */
void s3_call_customer_key(struct s3_call *c, const struct s3_target *t);

/* Retries as this store is configured. */
void s3_retry_init(struct store *s, struct retry *r);

/*
 * Sends the call once. ERR_OK is a 2xx answer. *again says that another attempt may succeed, not
 * before *after_ms.
 */
int s3_attempt(struct store *s, struct s3_call *c, const struct retry *retry, bool *again,
	int64_t *after_ms, struct err *e);

/* Sends it until it succeeds or can't. */
int s3_perform(struct store *s, struct s3_call *c, struct err *e);

/*
 * Turns an answer that isn't 2xx into a code and a sentence, and says whether to try again. Follows
 * a hint at the bucket's region when nobody fixed one.
 */
int s3_explain(struct store *s, struct s3_call *c, bool *again, int64_t *after_ms, struct err *e);

/* Reads an error document; what it is not leaves *out empty. */
void s3_parse_refusal(const void *body, size_t n, struct s3_refusal *out);

/* "s3://bucket/prefix/name" or, for name NULL, the URL, for messages. */
void s3_describe(const struct store *s, const char *name, char *out, size_t size);

/* The key of an object: prefix + "/" + name. ERR_NOMEM or ERR_FULL. */
int s3_append_key(struct buf *out, const struct s3_target *t, const char *name);

/* The name below the prefix in a listed key, which is decoded in place (room: XML_MAX_TEXT and a
 * NUL), or NULL. AWS writes a space as '+' in encoded keys, others don't and leave a '+' as it is:
 * what fits the prefix is right. */
const char *s3_relative_key(char *key, const char *prefix, bool encoded);

/* Appends "name=value", encoded, with a '&' before all but the first. ERR_NOMEM or ERR_FULL. */
int s3_add_param(struct buf *q, const char *name, const char *value);

/* Appends text escaped for XML; ERR_NOMEM or ERR_FULL. */
int s3_append_xml(struct buf *out, const char *text);

/* Every S3 server answers a stored object with its ETag; who does not is none: ERR_DAMAGED. */
int s3_require_etag(const struct store *s, const struct s3_call *c, struct err *e);

/* After a GET or HEAD of an object that ended with `rc`: ERR_NOT_FOUND where that is ERR_DENIED,
 * but the object's folder can be listed, and it is not there (one request more); else `rc` and *e
 * as they are. */
int s3_denied_or_absent(struct store *s, const struct s3_call *c, int rc, struct err *e);

int s3_get(struct store *s, const char *name, uint64_t offset, uint64_t length, store_sink sink,
	void *ctx, struct err *e);
int s3_put_parts(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e);
int s3_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e);
int s3_list(struct store *s, const char *prefix, const char *after, size_t max, store_list_fn fn,
	void *ctx, struct err *e);
int s3_delete(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e);
int s3_versioned(struct store *s, bool *versioned, struct err *e);
int s3_end_unfinished(struct store *s, const char *prefix,
	bool (*chosen)(void *ctx, const struct store_unfinished *u), void *ctx, size_t *n,
	struct err *e);
int s3_head(struct store *s, const char *name, struct store_object *out, struct err *e);

/* Headers that an object is made with: timestamp, storage class, encryption. `timestamp` has room
 * for the value and must live as long as the call. */
void s3_object_headers(struct s3_call *c, const struct s3_target *t,
	const struct store_put_opts *opts, char timestamp[40]);

/* "Fri, 20 Nov 2026 12:00:00 GMT" to ms; 0 when it is something else. */
int64_t s3_parse_http_date(const char *text);

#endif
