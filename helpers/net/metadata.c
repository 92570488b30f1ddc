#include "net/metadata.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MAX ((size_t)64 * 1024)
#define TOKEN_MAX ((size_t)16 * 1024)
#define REQUEST_MS 2000             /* it is on the machine, or next to it */
#define UNDATED_MS (20 * 60 * 1000) /* an answer that doesn't say when it expires */
#define URL_MAX 1200

#define EC2 "http://169.254.169.254"
#define EC2_ROLES "/latest/meta-data/iam/security-credentials/"
/* Of a role's name (IAM's CreateRole). */
#define ROLE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-"
#define EC2_TTL "X-aws-ec2-metadata-token-ttl-seconds: 21600"
#define CONTAINER "http://169.254.170.2"

/* ---- one request ---- */

/* `header`: one line, or NULL. *text: the body, when the answer is 200. */
static int ask(struct http_pool *p, const char *method, const char *url, const char *header,
	struct http_response *r, struct err *e)
{
	bool again;
	const struct http_request q = {
		.method = method,
		.url = url,
		.headers = &header,
		.n_headers = header ? 1 : 0,
		.has_body = strcmp(method, "PUT") == 0,
		.data = "",
		.fd = -1,
		.timeout_ms = REQUEST_MS,
		.max_body = ANSWER_MAX,
	};
	return http_perform(p, &q, r, &again, e);
}

static int unexpected(int status, const char *what, struct err *e)
{
	bool later = status == 429 || status >= 500;
	return err_set(e, later ? ERR_UNREACHABLE : ERR_DENIED, "%s answered HTTP %d", what, status);
}

static int take_answer(struct iam_keys *keys, const struct http_response *r, struct err *e)
{
	int rc = iam_keys_read(keys, r->body.data, r->body.len, "Token", e);
	if (rc == ERR_OK && keys->expires_ms == KEYS_FOREVER)
		keys->expires_ms = clock_wall_ms() + UNDATED_MS;
	return rc;
}

/* The body may have been credentials or a session. */
static void forget(struct http_response *r)
{
	buf_wipe(&r->body);
	http_response_free(r);
}

/* ---- containers ---- */

bool metadata_has_container(void)
{
	return keys_from_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
		   keys_from_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

/* In plain HTTP only what is on this machine may learn the token: loopback, and the addresses of
 * ECS's and EKS's agents. */
static bool may_be_asked(const char *url)
{
	static const char *const near[] = {"127.", "localhost:", "localhost/", "[::1]",
		"169.254.170.2/", "169.254.170.2:", "169.254.170.23/", "169.254.170.23:", "[fd00:ec2::23]"};
	if (strncmp(url, "https://", 8) == 0)
		return true;
	for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
		if (strncmp(url, "http://", 7) == 0 && strncmp(url + 7, near[i], strlen(near[i])) == 0)
			return true;
	return false;
}

static int container_url(char url[URL_MAX], struct err *e)
{
	const char *relative = keys_from_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = keys_from_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	int n = relative ? snprintf(url, URL_MAX, CONTAINER "%s", relative)
					 : snprintf(url, URL_MAX, "%s", full);
	bool good = n > 0 && n < URL_MAX && keys_is_plain(url) && !strchr(url, '@') &&
				(relative ? *relative == '/' : may_be_asked(url));
	return good ? ERR_OK
				: err_set(e, ERR_USAGE,
					  "%s is not an address that credentials can be asked from: https, or http on "
					  "this "
					  "machine",
					  relative ? "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
							   : "AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

/* "Authorization: …" into out, "" where there is no token. The file is read each time: what it
 * holds is exchanged while we run. */
static int container_header(char *out, size_t size, struct err *e)
{
	const char *file = keys_from_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = keys_from_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct buf text;
	int rc = ERR_OK;
	buf_init(&text, TOKEN_MAX);
	if (file)
		rc = fs_read_file(file, &text, e);
	else if (token)
		rc = buf_append_str(&text, token) ? err_set(e, ERR_USAGE, "the token is too long") : ERR_OK;
	while (rc == ERR_OK && text.len > 0 && strchr("\r\n", text.data[text.len - 1]))
		text.len--;
	*out = '\0';
	if (rc == ERR_OK && (file || token)) {
		int n = snprintf(out, size, "Authorization: %.*s", (int)text.len, (const char *)text.data);
		if (n < 0 || (size_t)n >= size || !keys_is_plain(out + strlen("Authorization: ")))
			rc = err_set(e, ERR_USAGE, "the token of %s can't be one",
				file ? file : "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	}
	buf_wipe(&text);
	return rc;
}

int metadata_ask_container(struct http_pool *p, struct iam_keys *keys, struct err *e)
{
	char url[URL_MAX], header[TOKEN_MAX + 32];
	struct http_response r;
	int rc = container_url(url, e);
	if (rc == ERR_OK)
		rc = container_header(header, sizeof(header), e);
	if (rc != ERR_OK)
		return rc;
	http_response_init(&r);
	rc = ask(p, "GET", url, *header ? header : NULL, &r, e);
	if (rc == ERR_OK)
		rc = r.status == 200 ? take_answer(keys, &r, e) : unexpected(r.status, url, e);
	explicit_bzero(header, sizeof(header));
	forget(&r);
	return rc;
}

/* ---- EC2 ---- */

bool metadata_is_disabled(void)
{
	const char *off = keys_from_env("AWS_EC2_METADATA_DISABLED");
	return off && strcasecmp(off, "true") == 0;
}

static int ec2_base(char base[URL_MAX], struct err *e)
{
	const char *other = keys_from_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	if (metadata_is_disabled())
		return err_set(e, ERR_USAGE,
			"AWS_EC2_METADATA_DISABLED keeps us from asking the machine for its role's "
			"credentials");
	int n = snprintf(base, URL_MAX, "%s", other ? other : EC2);
	bool http = strncmp(base, "http://", 7) == 0 || strncmp(base, "https://", 8) == 0;
	if (n >= URL_MAX - 300 || !http || !keys_is_plain(base) || strpbrk(base, "@?#"))
		return err_set(e, ERR_USAGE, "AWS_EC2_METADATA_SERVICE_ENDPOINT is not http://HOST[:PORT]");
	while (n > 0 && base[n - 1] == '/')
		base[--n] = '\0';
	return ERR_OK;
}

/* The session token, as the header that goes with each question. */
static int ec2_session(struct http_pool *p, const char *base, char header[4200], struct err *e)
{
	char url[URL_MAX + 32];
	struct http_response r;
	snprintf(url, sizeof(url), "%s/latest/api/token", base);
	http_response_init(&r);
	int rc = ask(p, "PUT", url, EC2_TTL, &r, e);
	if (rc == ERR_UNREACHABLE)
		err_wrap(e,
			"the instance metadata service does not answer; is this an EC2 instance, and, in a "
			"container, is the metadata's hop limit 2?");
	else if (rc == ERR_OK && r.status != 200)
		rc =
			unexpected(r.status, "the instance metadata service, asked for a session (IMDSv2),", e);
	else if (rc == ERR_OK && (!keys_is_plain(buf_str(&r.body)) || r.body.len > 4000))
		rc = err_set(e, ERR_DAMAGED, "what answers at %s is no instance metadata service", base);
	if (rc == ERR_OK)
		snprintf(header, 4200, "X-aws-ec2-metadata-token: %s", buf_str(&r.body));
	forget(&r);
	return rc;
}

/* The name of the role: the first line of a list that has one. */
static int ec2_role(
	struct http_pool *p, const char *base, const char *header, char role[128], struct err *e)
{
	char url[URL_MAX + 128];
	struct http_response r;
	snprintf(url, sizeof(url), "%s" EC2_ROLES, base);
	http_response_init(&r);
	int rc = ask(p, "GET", url, header, &r, e);
	if (rc == ERR_OK && r.status == 404)
		rc =
			err_set(e, ERR_DENIED, "this EC2 instance has no IAM role: attach an instance profile");
	else if (rc == ERR_OK && r.status != 200)
		rc = unexpected(r.status, "the instance metadata service, asked for its role,", e);
	if (rc == ERR_OK) {
		int n =
			snprintf(role, 128, "%.*s", (int)strcspn(buf_str(&r.body), "\r\n"), buf_str(&r.body));
		if (n == 0 || n >= 128 || role[strspn(role, ROLE_LETTERS)])
			rc = err_set(
				e, ERR_DAMAGED, "the instance metadata service names no role that can be one");
	}
	forget(&r);
	return rc;
}

int metadata_ask_ec2(struct http_pool *p, struct iam_keys *keys, struct err *e)
{
	char base[URL_MAX], header[4200], role[128], url[URL_MAX + 256];
	struct http_response r;
	int rc = ec2_base(base, e);
	if (rc == ERR_OK)
		rc = ec2_session(p, base, header, e);
	if (rc == ERR_OK)
		rc = ec2_role(p, base, header, role, e);
	if (rc != ERR_OK)
		return rc;
	http_response_init(&r);
	snprintf(url, sizeof(url), "%s" EC2_ROLES "%s", base, role);
	rc = ask(p, "GET", url, header, &r, e);
	if (rc == ERR_OK)
		rc = r.status == 200
				 ? take_answer(keys, &r, e)
				 : unexpected(r.status, "the instance metadata service, asked for credentials,", e);
	if (rc != ERR_OK)
		err_wrap(e, "role %s", role);
	forget(&r);
	return rc;
}
