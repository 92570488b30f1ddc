/*
 * AWS Signature Version 4, as a pure function: time is an input.
 * Source: "Authenticating Requests (AWS Signature Version 4)" in Amazon S3's API reference.
 */
#ifndef NET_SIGV4_H
#define NET_SIGV4_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define SIGV4_DATE_LEN 17 /* "20130524T000000Z" and its NUL */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
#define SIGV4_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_header {
	const char *name, *value;
};

struct sigv4_request {
	const char *method;
	const char *path; /* as it is sent: encoded, begins with '/', not normalised */
	const char
		*query; /* as it is sent: encoded, every name with its '=', in any order; may be "" */
	const struct sigv4_header *headers; /* all that are to be signed, Host and X-Amz-Date too */
	size_t n_headers;                   /* at most SIGV4_MAX_HEADERS */
	const char *payload_hash;           /* lower-case hex SHA-256, or SIGV4_UNSIGNED */
	const char *access_key_id, *secret_access_key;
	const char *region, *service;
	int64_t wall_ms;
};

#define SIGV4_MAX_HEADERS 24

/* The value of X-Amz-Date for a time. */
void sigv4_date(int64_t wall_ms, char out[SIGV4_DATE_LEN]);

/*
 * Appends the value of the Authorization header to `out`. When `canonical` is not NULL the
 * canonical request is appended to it, which is what a server shows when it disagrees. ERR_NOMEM,
 * ERR_FULL (a ceiling of a buffer or of query parameters), ERR_FAIL (more headers than fit, or
 * libcrypto failed).
 */
int sigv4_sign(
	const struct sigv4_request *r, struct buf *out, struct buf *canonical, struct err *e);

/*
 * Appends text as URIs in S3 are encoded: letters, digits, '-', '.', '_', '~' stay, all else is %XX
 * in upper case; '/' stays if keep_slash. ERR_NOMEM or ERR_FULL.
 */
int sigv4_encode(struct buf *out, const char *text, int keep_slash);

#endif
