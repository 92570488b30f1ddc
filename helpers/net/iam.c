#include "net/iam.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)64 * 1024)
#define TOKEN_MAX ((size_t)16 * 1024)
#define REQUEST_MS 2000 /* it is on the machine, or next to it */
#define RENEW_MS (5 * 60 * 1000)
#define UNDATED_MS (15 * 60 * 1000) /* an answer that doesn't say when it expires */
#define CALM_US INT64_C(60000000)   /* between two attempts while the old ones hold */
#define PAUSE_US INT64_C(1000000)   /* and while there are none */
#define WAIT_MS 200                 /* how often who waits looks whether he was cancelled */
#define URL_MAX 1200

#define EC2 "http://169.254.169.254"
#define EC2_ROLES "/latest/meta-data/iam/security-credentials/"
/* Of a role's name (IAM's CreateRole). */
#define ROLE_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+=,.@_-"
#define EC2_TTL "X-aws-ec2-metadata-token-ttl-seconds: 21600"
#define CONTAINER "http://169.254.170.2"

/* The set of this process. All of it under the lock but the asking itself. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	bool asking;
	struct iam_keys keys; /* access_key_id NULL = none */
	int64_t expires_ms;   /* wall time */
	int64_t asked_us;     /* monotonic time of the last attempt; 0 = none */
	bool doubted;         /* a server said that it has expired */
	struct err failure;   /* of the last attempt; code 0 = it went well */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};

/* ---- strings ---- */

static const char *from_env(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void iam_keys_free(struct iam_keys *k)
{
	wipe(&k->access_key_id);
	wipe(&k->secret_access_key);
	wipe(&k->session_token);
}

static int copy_keys(struct iam_keys *out, const struct iam_keys *from, struct err *e)
{
	*out = (struct iam_keys){
		.access_key_id = strdup(from->access_key_id),
		.secret_access_key = strdup(from->secret_access_key),
		.session_token = from->session_token ? strdup(from->session_token) : NULL,
	};
	bool whole = out->access_key_id && out->secret_access_key &&
				 (out->session_token || !from->session_token);
	if (!whole)
		iam_keys_free(out);
	return whole ? ERR_OK : err_nomem(e, "copying credentials");
}

/* What goes into a header must not smuggle in another one. */
static bool is_plain(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
			return false;
	return *text != '\0';
}

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

/* ---- what is answered ---- */

static int take_text(char **out, const json_t *object, const char *key, struct err *e)
{
	const char *text = json_text(object, key);
	if (!is_plain(text) || strlen(text) > 4096)
		return err_set(e, ERR_DAMAGED, "the credentials that were answered have no usable %s", key);
	*out = strdup(text);
	return *out ? ERR_OK : err_nomem(e, "reading credentials");
}

static int take_fields(
	struct iam_keys *keys, int64_t *expires_ms, const json_t *object, struct err *e)
{
	const char *code = json_text(object, "Code"), *message = json_text(object, "Message");
	const char *expiration = json_text(object, "Expiration");
	if (*code && strcmp(code, "Success") != 0)
		return err_set(
			e, ERR_DENIED, "the answer was %.64s%s%.200s", code, *message ? ": " : "", message);
	int rc = take_text(&keys->access_key_id, object, "AccessKeyId", e);
	if (rc == ERR_OK)
		rc = take_text(&keys->secret_access_key, object, "SecretAccessKey", e);
	if (rc == ERR_OK && *json_text(object, "Token"))
		rc = take_text(&keys->session_token, object, "Token", e);
	if (rc == ERR_OK && *expiration && clock_parse_rfc3339(expiration, expires_ms) != 0)
		rc = err_set(
			e, ERR_DAMAGED, "the credentials that were answered expire at \"%.40s\"", expiration);
	if (rc == ERR_OK && !*expiration)
		*expires_ms = clock_wall_ms() + UNDATED_MS + RENEW_MS;
	return rc;
}

static int take_answer(
	struct iam_keys *keys, int64_t *expires_ms, const struct http_response *r, struct err *e)
{
	json_t *object = NULL;
	int rc = json_parse_object(r->body.data, r->body.len, "the answer", &object, e);
	if (rc != ERR_OK)
		return rc == ERR_NOMEM ? rc
							   : err_set(e, ERR_DAMAGED, "what was answered is no credentials");
	rc = take_fields(keys, expires_ms, object, e);
	json_decref(object);
	return rc;
}

/* ---- containers ---- */

bool iam_in_container(void)
{
	return from_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") ||
		   from_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
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
	const char *relative = from_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *full = from_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	int n = relative ? snprintf(url, URL_MAX, CONTAINER "%s", relative)
					 : snprintf(url, URL_MAX, "%s", full);
	bool good = n > 0 && n < URL_MAX && is_plain(url) && !strchr(url, '@') &&
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
	const char *file = from_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = from_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
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
		if (n < 0 || (size_t)n >= size || !is_plain(out + strlen("Authorization: ")))
			rc = err_set(e, ERR_USAGE, "the token of %s can't be one",
				file ? file : "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	}
	buf_wipe(&text);
	return rc;
}

static int ask_container(
	struct http_pool *p, struct iam_keys *keys, int64_t *expires_ms, struct err *e)
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
		rc = r.status == 200 ? take_answer(keys, expires_ms, &r, e) : unexpected(r.status, url, e);
	explicit_bzero(header, sizeof(header));
	http_response_free(&r);
	return rc;
}

/* ---- EC2 ---- */

static int ec2_base(char base[URL_MAX], struct err *e)
{
	const char *other = from_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *off = from_env("AWS_EC2_METADATA_DISABLED");
	if (off && strcasecmp(off, "true") == 0)
		return err_set(e, ERR_USAGE,
			"AWS_EC2_METADATA_DISABLED keeps us from asking the machine for its role's "
			"credentials");
	int n = snprintf(base, URL_MAX, "%s", other ? other : EC2);
	bool http = strncmp(base, "http://", 7) == 0 || strncmp(base, "https://", 8) == 0;
	if (n >= URL_MAX - 300 || !http || !is_plain(base) || strpbrk(base, "@?#"))
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
	else if (rc == ERR_OK && (!is_plain(buf_str(&r.body)) || r.body.len > 4000))
		rc = err_set(e, ERR_DAMAGED, "what answers at %s is no instance metadata service", base);
	if (rc == ERR_OK)
		snprintf(header, 4200, "X-aws-ec2-metadata-token: %s", buf_str(&r.body));
	http_response_free(&r);
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
	http_response_free(&r);
	return rc;
}

static int ask_ec2(struct http_pool *p, struct iam_keys *keys, int64_t *expires_ms, struct err *e)
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
				 ? take_answer(keys, expires_ms, &r, e)
				 : unexpected(r.status, "the instance metadata service, asked for credentials,", e);
	if (rc != ERR_OK)
		err_wrap(e, "role %s", role);
	http_response_free(&r);
	return rc;
}

/* ---- the set of the process ---- */

static bool holds(int64_t ahead_ms)
{
	return shared.keys.access_key_id && clock_wall_ms() + ahead_ms < shared.expires_ms;
}

/* Under the lock: is there nothing to ask for now? *rc is then the answer. */
static bool is_settled(int *rc, struct err *e)
{
	int64_t since = shared.asked_us ? clock_mono_us() - shared.asked_us : INT64_MAX;
	bool ours = shared.keys.access_key_id && !shared.doubted;
	*rc = ERR_OK;
	if (ours && holds(RENEW_MS))
		return true;
	if (ours && holds(0) && (shared.asking || since < CALM_US))
		return true;
	if (!shared.asking && shared.failure.code != ERR_OK && since < PAUSE_US) {
		if (e)
			*e = shared.failure;
		*rc = (int)shared.failure.code;
		return true;
	}
	return false;
}

/* Waits until whoever asks has an answer, for WAIT_MS. */
static void wait_for_answer(void)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += WAIT_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&shared.asked, &shared.lock, &until);
}

static void replace(struct iam_keys *keys, int64_t expires_ms)
{
	log_forget_secret(shared.keys.secret_access_key);
	log_forget_secret(shared.keys.session_token);
	iam_keys_free(&shared.keys);
	shared.keys = *keys;
	shared.expires_ms = expires_ms;
	shared.doubted = false;
	memset(keys, 0, sizeof(*keys));
	log_add_secret(shared.keys.secret_access_key);
	log_add_secret(shared.keys.session_token);
}

/* Lets go of the lock while it asks. What it could not get is no failure while the old ones hold.
 */
static int renew(struct http_pool *p, struct err *e)
{
	struct iam_keys keys = {0};
	struct err why = ERR_INIT;
	int64_t expires_ms = 0;
	shared.asking = true;
	shared.asked_us = clock_mono_us();
	pthread_mutex_unlock(&shared.lock);
	int rc = iam_in_container() ? ask_container(p, &keys, &expires_ms, &why)
								: ask_ec2(p, &keys, &expires_ms, &why);
	pthread_mutex_lock(&shared.lock);
	shared.asking = false;
	if (rc == ERR_OK)
		replace(&keys, expires_ms);
	else
		err_wrap(&why, "cannot get the credentials of this machine's IAM role");
	/* Who was cancelled says nothing about the next one. */
	if (rc == ERR_CANCELLED)
		shared.asked_us = 0;
	shared.failure = rc == ERR_CANCELLED ? (struct err)ERR_INIT : why;
	pthread_cond_broadcast(&shared.asked);
	iam_keys_free(&keys);
	if (rc != ERR_OK && rc != ERR_CANCELLED && holds(0)) {
		log_warn("%s; the old ones hold for %lld s more", why.text,
			(long long)(shared.expires_ms - clock_wall_ms()) / 1000);
		return ERR_OK;
	}
	if (rc != ERR_OK && e)
		*e = why;
	return rc;
}

int iam_get(struct http_pool *p, struct iam_keys *out, struct err *e)
{
	int rc;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&shared.lock);
	while (!is_settled(&rc, e)) {
		if (!shared.asking) {
			rc = renew(p, e);
			break;
		}
		wait_for_answer();
		if (http_pool_is_cancelled(p)) {
			rc = err_set(e, ERR_CANCELLED, "the request was stopped on request");
			break;
		}
	}
	if (rc == ERR_OK)
		rc = copy_keys(out, &shared.keys, e);
	pthread_mutex_unlock(&shared.lock);
	return rc;
}

bool iam_expired(const char *access_key_id)
{
	pthread_mutex_lock(&shared.lock);
	bool same = shared.keys.access_key_id && !strcmp(shared.keys.access_key_id, access_key_id);
	bool fresh = shared.asked_us && clock_mono_us() - shared.asked_us < CALM_US;
	/* Another one than we have now: there is something newer to try with. */
	bool again = !same || !fresh;
	if (same && !fresh)
		shared.doubted = true;
	pthread_mutex_unlock(&shared.lock);
	return again;
}

void iam_reset(void)
{
	pthread_mutex_lock(&shared.lock);
	iam_keys_free(&shared.keys);
	shared.expires_ms = shared.asked_us = 0;
	shared.doubted = false;
	shared.failure = (struct err)ERR_INIT;
	pthread_mutex_unlock(&shared.lock);
}
