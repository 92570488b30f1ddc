#include "net/sts.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "net/sigv4.h"
#include "net/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_MS 10000
#define ANSWER_MAX ((size_t)64 * 1024)
#define TOKEN_MAX ((size_t)20000) /* STS takes no longer ones */
#define BODY_MAX ((size_t)128 * 1024)
#define URL_MAX 700
#define FORM "application/x-www-form-urlencoded; charset=utf-8"

/* ---- where ---- */

struct address {
	char url[URL_MAX], host[300], path[300], region[64];
};

static bool is_region(const char *text)
{
	return *text && strlen(text) < 64 &&
		   !text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")];
}

/* The endpoint's parts: what is signed is what is sent. */
static int split(struct address *a, struct err *e)
{
	const char *rest = strstr(a->url, "://"), *path;
	bool http = strncmp(a->url, "http://", 7) == 0 || strncmp(a->url, "https://", 8) == 0;
	size_t n = http ? strcspn(rest + 3, "/") : 0;
	if (!http || n == 0 || n >= sizeof(a->host) || !keys_is_plain(a->url) ||
		strpbrk(a->url, "@?#") || strlen(path = rest + 3 + n) >= sizeof(a->path))
		return err_set(e, ERR_USAGE, "the endpoint of STS is not https://HOST[:PORT]");
	snprintf(a->host, sizeof(a->host), "%.*s", (int)n, rest + 3);
	snprintf(a->path, sizeof(a->path), "%s", *path ? path : "/");
	if (!*path)
		strcat(a->url, "/");
	return ERR_OK;
}

static int find_address(struct address *a, const struct sts_place *place, struct err *e)
{
	const char *region = place->region && *place->region ? place->region : NULL;
	int n;
	if (region && !is_region(region))
		return err_set(e, ERR_DENIED, "\"%.60s\" is no region in which STS could be asked", region);
	snprintf(a->region, sizeof(a->region), "%s", region ? region : "us-east-1");
	if (place->endpoint && *place->endpoint)
		n = snprintf(a->url, URL_MAX, "%s", place->endpoint);
	else if (region)
		n = snprintf(a->url, URL_MAX, "https://sts.%s.amazonaws.com%s", region,
			strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	else
		n = snprintf(a->url, URL_MAX, "https://sts.amazonaws.com");
	if (n < 0 || n >= URL_MAX - 1)
		return err_set(e, ERR_USAGE, "the endpoint of STS is too long");
	return split(a, e);
}

/* ---- what is asked ---- */

static int add(struct buf *body, const char *name, const char *value)
{
	int rc = buf_printf(body, "&%s=", name);
	return rc ? rc : sigv4_encode(body, value, 0);
}

static int begin_body(struct buf *body, const char *action, const struct sts_role *r, struct err *e)
{
	buf_init(body, BODY_MAX);
	/* All of it at once: growing would leave pieces behind that nobody wipes. */
	int rc = buf_reserve(body, BODY_MAX);
	if (!rc)
		rc = buf_printf(body, "Action=%s&Version=2011-06-15", action);
	if (!rc)
		rc = add(body, "RoleArn", r->arn);
	if (!rc)
		rc = add(body, "RoleSessionName", r->session_name ? r->session_name : "litestream");
	if (!rc && r->seconds)
		rc = add(body, "DurationSeconds", r->seconds);
	return rc ? err_nomem(e, "asking STS") : ERR_OK;
}

static int add_token(struct buf *body, const char *file, struct err *e)
{
	struct buf token;
	struct err why = ERR_INIT;
	buf_init(&token, TOKEN_MAX);
	int rc = buf_reserve(&token, TOKEN_MAX);
	if (!rc)
		rc = fs_read_file(file, &token, &why);
	while (rc == ERR_OK && token.len > 0 && strchr("\r\n", token.data[token.len - 1]))
		token.data[--token.len] = '\0';
	if (rc == ERR_NOMEM)
		err_nomem(e, "asking STS");
	else if (rc != ERR_OK)
		rc = err_set(e, ERR_DENIED, "the web identity's token can't be read: %.500s", why.text);
	else if (!keys_is_plain(buf_str(&token)) || strlen(buf_str(&token)) != token.len)
		rc = err_set(e, ERR_DENIED, "the file %.300s holds no web identity's token", file);
	else if (add(body, "WebIdentityToken", buf_str(&token)))
		rc = err_nomem(e, "asking STS");
	buf_wipe(&token);
	return rc;
}

/* The Authorization header's line. */
static int sign(const struct address *a, const struct sigv4_header *headers, size_t n,
	const struct buf *body, const struct iam_keys *by, int64_t now, struct buf *line, struct err *e)
{
	uint8_t digest[SHA256_LEN];
	char hash[SHA256_HEX_LEN];
	struct sigv4_request q = {
		.method = "POST",
		.path = a->path,
		.query = "",
		.headers = headers,
		.n_headers = n,
		.payload_hash = hash,
		.access_key_id = by->access_key_id,
		.secret_access_key = by->secret_access_key,
		.region = a->region,
		.service = "sts",
		.wall_ms = now,
	};
	if (digest_sha256(body->data, body->len, digest))
		return err_set(e, ERR_FAIL, "cannot sign a request: libcrypto failed");
	digest_hex(digest, sizeof(digest), hash);
	if (buf_append_str(line, "Authorization: "))
		return err_nomem(e, "asking STS");
	return sigv4_sign(&q, line, NULL, e);
}

#define LINES 5

/* `by` NULL: unsigned. */
static int send(struct http_pool *p, const struct address *a, const struct buf *body,
	const struct iam_keys *by, struct http_response *r, struct err *e)
{
	char date[SIGV4_DATE_LEN], host[320], dated[40];
	char token[KEYS_WORD_MAX + 32] = "";
	int64_t now = clock_wall_ms();
	const char *lines[LINES] = {host, "Content-Type: " FORM, dated};
	size_t n = 3;
	struct buf line;
	bool again;
	sigv4_date(now, date);
	snprintf(host, sizeof(host), "Host: %s", a->host);
	snprintf(dated, sizeof(dated), "X-Amz-Date: %s", date);
	struct sigv4_header headers[4] = {
		{"Host", a->host}, {"Content-Type", FORM}, {"X-Amz-Date", date}};
	if (by && by->session_token) {
		headers[n] = (struct sigv4_header){"X-Amz-Security-Token", by->session_token};
		snprintf(token, sizeof(token), "X-Amz-Security-Token: %s", by->session_token);
		lines[n++] = token;
	}
	buf_init(&line, 2048);
	int rc = by ? sign(a, headers, n, body, by, now, &line, e) : ERR_OK;
	if (by)
		lines[n++] = buf_str(&line);
	const struct http_request q = {.method = "POST",
		.url = a->url,
		.headers = lines,
		.n_headers = n,
		.has_body = true,
		.data = body->data,
		.fd = -1,
		.size = body->len,
		.timeout_ms = REQUEST_MS,
		.max_body = ANSWER_MAX};
	if (!rc)
		rc = http_perform(p, &q, r, &again, e);
	explicit_bzero(token, sizeof(token));
	buf_free(&line);
	return rc;
}

/* ---- what is answered ---- */

struct answer {
	struct iam_keys keys;
	char *id, *secret, *token, *expiration;
	char code[64], message[300];
};

static bool ends_in(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);
	return n >= m && strcmp(path + n - m, end) == 0;
}

static int on_element(void *ctx, const char *path, const char *text, struct err *e)
{
	struct answer *a = ctx;
	char **to = ends_in(path, "/Credentials/AccessKeyId")       ? &a->id
				: ends_in(path, "/Credentials/SecretAccessKey") ? &a->secret
				: ends_in(path, "/Credentials/SessionToken")    ? &a->token
				: ends_in(path, "/Credentials/Expiration")      ? &a->expiration
																: NULL;
	if (ends_in(path, "Error/Code"))
		xml_copy_line(a->code, sizeof(a->code), text);
	else if (ends_in(path, "Error/Message"))
		xml_copy_line(a->message, sizeof(a->message), text);
	if (!to)
		return ERR_OK;
	keys_wipe(to);
	return (*to = strdup(text)) ? ERR_OK : err_nomem(e, "reading credentials");
}

static int take_keys(const struct answer *a, struct iam_keys *out, struct err *e)
{
	int64_t expires_ms;
	if (!a->id || !a->secret || !a->token || !a->expiration)
		return err_set(e, ERR_DAMAGED, "the answer has no temporary credentials in it");
	if (clock_parse_rfc3339(a->expiration, &expires_ms) != 0)
		return err_set(e, ERR_DAMAGED, "the credentials expire at \"%.40s\"", a->expiration);
	int rc = iam_keys_set(out, a->id, a->secret, a->token, e);
	if (rc == ERR_OK)
		out->expires_ms = expires_ms;
	return rc;
}

static int refused(int status, const struct answer *a, struct err *e)
{
	static const char *const later[] = {
		"Throttling", "ThrottlingException", "IDPCommunicationError", "ServiceUnavailable"};
	bool passes = status == 408 || status == 429 || status >= 500;
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		passes |= strcmp(a->code, later[i]) == 0;
	return err_set(e, passes ? ERR_UNREACHABLE : ERR_DENIED, "it answered HTTP %d%s%s%s%s", status,
		*a->code ? " " : "", a->code, *a->message ? ": " : "", a->message);
}

static int read_answer(const struct http_response *r, struct iam_keys *out, struct err *e)
{
	struct answer a = {0};
	struct err why = ERR_INIT;
	struct xml_handler h = {.end = on_element, .ctx = &a};
	int rc = xml_parse(r->body.data, r->body.len, &h, &why);
	if (rc == ERR_NOMEM)
		err_nomem(e, "reading credentials");
	else if (r->status != 200)
		rc = refused(r->status, &a, e);
	else if (rc != ERR_OK)
		rc = err_set(e, ERR_DAMAGED, "what answers there is no STS (%.200s)", why.text);
	else
		rc = take_keys(&a, out, e);
	keys_wipe(&a.id);
	keys_wipe(&a.secret);
	keys_wipe(&a.token);
	free(a.expiration);
	return rc;
}

/* ---- both ---- */

static int ask(struct http_pool *p, const struct sts_place *place, const struct sts_role *role,
	struct buf *body, const struct iam_keys *by, struct iam_keys *out, struct err *e)
{
	struct address a;
	struct http_response r;
	int rc = find_address(&a, place, e);
	if (rc)
		return rc;
	http_response_init(&r);
	rc = send(p, &a, body, by, &r, e);
	if (!rc)
		rc = read_answer(&r, out, e);
	if (rc && rc != ERR_CANCELLED && rc != ERR_NOMEM)
		err_wrap(e, "STS at %.200s, asked for the role %.200s", a.host, role->arn);
	buf_wipe(&r.body);
	http_response_free(&r);
	return rc;
}

/* A word that goes to STS as it is: it judges it; but it is one line. */
static int check_role(const struct sts_role *r, struct err *e)
{
	const char *const words[] = {r->arn, r->session_name, r->external_id, r->seconds};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i] && (!keys_is_plain(words[i]) || strlen(words[i]) > 2048))
			return err_set(e, ERR_DENIED,
				"the role's %s can't be one: it is empty, too long, or has blanks in it",
				i == 0   ? "ARN"
				: i == 1 ? "session name"
				: i == 2 ? "external ID"
						 : "duration in seconds");
	return ERR_OK;
}

int sts_assume(struct http_pool *p, const struct sts_place *place, const struct sts_role *role,
	const struct iam_keys *by, struct iam_keys *out, struct err *e)
{
	struct buf body = {0};
	*out = (struct iam_keys){0};
	int rc = check_role(role, e);
	if (!rc)
		rc = begin_body(&body, "AssumeRole", role, e);
	if (!rc && role->external_id && add(&body, "ExternalId", role->external_id))
		rc = err_nomem(e, "asking STS");
	if (!rc)
		rc = ask(p, place, role, &body, by, out, e);
	buf_wipe(&body);
	return rc;
}

int sts_assume_by_token(struct http_pool *p, const struct sts_place *place,
	const struct sts_role *role, const char *token_file, struct iam_keys *out, struct err *e)
{
	struct buf body = {0};
	*out = (struct iam_keys){0};
	int rc = check_role(role, e);
	if (!rc)
		rc = begin_body(&body, "AssumeRoleWithWebIdentity", role, e);
	if (!rc)
		rc = add_token(&body, token_file, e);
	if (!rc)
		rc = ask(p, place, role, &body, NULL, out, e);
	buf_wipe(&body);
	return rc;
}
