#include "net/sigv4.h"

#include "base/digest.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/*
 * What is signed, line by line:
 *
 *   canonical request     METHOD, path, sorted query, each signed header as "name:value" in order
 * of names, an empty line, the names joined by ';', the payload's hash string to sign
 * "AWS4-HMAC-SHA256", date, scope, hex SHA-256 of the canonical request scope
 * DAY/REGION/SERVICE/aws4_request key                   HMAC of "aws4_request" under HMAC of the
 * service under HMAC of the region under HMAC of the day under "AWS4" + secret
 */

#define MAX_PARAMS 32

void sigv4_date(int64_t wall_ms, char out[SIGV4_DATE_LEN])
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;
	gmtime_r(&s, &tm);
	strftime(out, SIGV4_DATE_LEN, "%Y%m%dT%H%M%SZ", &tm);
}

int sigv4_encode(struct buf *out, const char *text, int keep_slash)
{
	int rc = ERR_OK;
	for (; *text && !rc; text++) {
		unsigned char c = (unsigned char)*text;
		/* Not isalnum: the locale must not change a signature. */
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash))
			rc = buf_append(out, &c, 1);
		else
			rc = buf_printf(out, "%%%02X", c);
	}
	return rc;
}

struct param {
	const char *text;
	size_t n;
};

/* By name, then by value, in byte order; '=' sorts before everything that a name may hold. */
static int compare_params(const void *a, const void *b)
{
	const struct param *x = a, *y = b;
	size_t xn = x->n, yn = y->n, n = xn < yn ? xn : yn;
	for (size_t i = 0; i < n; i++) {
		int cx = x->text[i] == '=' ? 0 : (unsigned char)x->text[i];
		int cy = y->text[i] == '=' ? 0 : (unsigned char)y->text[i];
		if (cx != cy)
			return cx - cy;
	}
	return xn < yn ? -1 : xn > yn;
}

static int append_query(struct buf *out, const char *query)
{
	struct param params[MAX_PARAMS] = {0};
	size_t count = 0;
	for (const char *p = query; *p;) {
		size_t n = strcspn(p, "&");
		if (count == MAX_PARAMS)
			return ERR_FULL;
		params[count++] = (struct param){p, n};
		p += n + (p[n] == '&');
	}
	qsort(params, count, sizeof(params[0]), compare_params);
	int rc = ERR_OK;
	for (size_t i = 0; i < count && !rc; i++) {
		if (i > 0)
			rc = buf_append(out, "&", 1);
		if (!rc)
			rc = buf_append(out, params[i].text, params[i].n);
		if (!rc && !memchr(params[i].text, '=', params[i].n))
			rc = buf_append(out, "=", 1);
	}
	return rc ? rc : buf_append(out, "\n", 1);
}

static int compare_headers(const void *a, const void *b)
{
	const struct sigv4_header *x = a, *y = b;
	return strcasecmp(x->name, y->name);
}

/* The value without spaces around it, and with one where there are several inside. */
static int append_trimmed(struct buf *out, const char *value)
{
	int rc = ERR_OK;
	bool pending = false, begun = false;
	for (; *value && !rc; value++) {
		if (*value == ' ' || *value == '\t') {
			pending = begun;
			continue;
		}
		if (pending)
			rc = buf_append(out, " ", 1);
		if (!rc)
			rc = buf_append(out, value, 1);
		pending = false;
		begun = true;
	}
	return rc;
}

static int append_lower(struct buf *out, const char *name)
{
	int rc = ERR_OK;
	for (; *name && !rc; name++) {
		char c = (char)(*name >= 'A' && *name <= 'Z' ? *name + ('a' - 'A') : *name);
		rc = buf_append(out, &c, 1);
	}
	return rc;
}

static int append_names(struct buf *out, const struct sigv4_header *h, size_t n)
{
	int rc = ERR_OK;
	for (size_t i = 0; i < n && !rc; i++) {
		if (i > 0)
			rc = buf_append(out, ";", 1);
		if (!rc)
			rc = append_lower(out, h[i].name);
	}
	return rc;
}

static int append_headers(struct buf *out, const struct sigv4_header *h, size_t n)
{
	int rc = ERR_OK;
	for (size_t i = 0; i < n && !rc; i++) {
		rc = append_lower(out, h[i].name);
		if (!rc)
			rc = buf_append(out, ":", 1);
		if (!rc)
			rc = append_trimmed(out, h[i].value);
		if (!rc)
			rc = buf_append(out, "\n", 1);
	}
	if (!rc)
		rc = buf_append(out, "\n", 1);
	return rc ? rc : append_names(out, h, n);
}

static int canonical_request(
	const struct sigv4_request *r, const struct sigv4_header *sorted, struct buf *out)
{
	int rc = buf_printf(out, "%s\n%s\n", r->method, r->path);
	if (!rc)
		rc = append_query(out, r->query);
	if (!rc)
		rc = append_headers(out, sorted, r->n_headers);
	return rc ? rc : buf_printf(out, "\n%s", r->payload_hash);
}

static int chain(uint8_t key[SHA256_LEN], const char *text)
{
	uint8_t next[SHA256_LEN];
	if (digest_hmac_sha256(key, SHA256_LEN, text, strlen(text), next))
		return -1;
	memcpy(key, next, SHA256_LEN);
	return 0;
}

static int signing_key(const struct sigv4_request *r, const char *day, uint8_t key[SHA256_LEN])
{
	char first[600];
	int n = snprintf(first, sizeof(first), "AWS4%s", r->secret_access_key);
	if (n < 0 || (size_t)n >= sizeof(first))
		return -1;
	int rc = digest_hmac_sha256(first, (size_t)n, day, strlen(day), key);
	explicit_bzero(first, sizeof(first));
	return rc || chain(key, r->region) || chain(key, r->service) || chain(key, "aws4_request") ? -1
																							   : 0;
}

/* The signature in hex over the canonical request. */
static int signature(const struct sigv4_request *r, const struct buf *canonical, const char *date,
	const char *scope, char out[SHA256_HEX_LEN])
{
	uint8_t hash[SHA256_LEN], key[SHA256_LEN];
	char hex[SHA256_HEX_LEN], to_sign[512], day[9];
	if (digest_sha256(canonical->data, canonical->len, hash))
		return -1;
	digest_hex(hash, sizeof(hash), hex);
	int n = snprintf(to_sign, sizeof(to_sign), "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, hex);
	if (n < 0 || (size_t)n >= sizeof(to_sign))
		return -1;
	snprintf(day, sizeof(day), "%.8s", date);
	int rc = signing_key(r, day, key);
	if (!rc)
		rc = digest_hmac_sha256(key, sizeof(key), to_sign, (size_t)n, hash);
	explicit_bzero(key, sizeof(key));
	if (rc)
		return -1;
	digest_hex(hash, sizeof(hash), out);
	return 0;
}

static int append_authorization(const struct sigv4_request *r, const struct sigv4_header *sorted,
	const struct buf *canonical, struct buf *out, struct err *e)
{
	char date[SIGV4_DATE_LEN], scope[256], sig[SHA256_HEX_LEN];
	sigv4_date(r->wall_ms, date);
	int n = snprintf(scope, sizeof(scope), "%.8s/%s/%s/aws4_request", date, r->region, r->service);
	if (n < 0 || (size_t)n >= sizeof(scope) || signature(r, canonical, date, scope, sig))
		return err_set(
			e, ERR_FAIL, "cannot sign a request: libcrypto failed or a field is too long");
	int rc = buf_printf(
		out, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", r->access_key_id, scope);
	if (!rc)
		rc = append_names(out, sorted, r->n_headers);
	return rc ? rc : buf_printf(out, ", Signature=%s", sig);
}

int sigv4_sign(const struct sigv4_request *r, struct buf *out, struct buf *canonical, struct err *e)
{
	struct sigv4_header sorted[SIGV4_MAX_HEADERS] = {0};
	if (r->n_headers > SIGV4_MAX_HEADERS)
		return err_set(e, ERR_FAIL, "cannot sign a request with %zu headers", r->n_headers);
	if (r->n_headers)
		memcpy(sorted, r->headers, r->n_headers * sizeof(sorted[0]));
	qsort(sorted, r->n_headers, sizeof(sorted[0]), compare_headers);
	struct buf own;
	buf_init(&own, 64 * 1024);
	int rc = canonical_request(r, sorted, &own);
	if (!rc && canonical)
		rc = buf_append(canonical, own.data, own.len);
	if (!rc)
		rc = append_authorization(r, sorted, &own, out, e);
	if (rc == ERR_NOMEM)
		err_nomem(e, "signing a request");
	else if (rc == ERR_FULL)
		err_set(e, ERR_FULL, "cannot sign a request: it is too long");
	buf_free(&own);
	return rc;
}
