#include "store/s3.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/xml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/*
 * <Error><Code>NoSuchKey</Code><Message>…</Message>…</Error>. Some errors add <Region> or
 * <Endpoint>; HEAD has no body, there x-amz-bucket-region may help.
 */

static int on_error_element(void *ctx, const char *path, const char *text, struct err *e)
{
	struct s3_refusal *r = ctx;
	(void)e;
	if (!strcmp(path, "Error/Code"))
		xml_copy_line(r->code, sizeof(r->code), text);
	else if (!strcmp(path, "Error/Message"))
		xml_copy_line(r->message, sizeof(r->message), text);
	else if (!strcmp(path, "Error/Region"))
		xml_copy_line(r->region, sizeof(r->region), text);
	else if (!strcmp(path, "Error/Endpoint"))
		xml_copy_line(r->endpoint, sizeof(r->endpoint), text);
	else if (!strcmp(path, "Error"))
		r->is_document = true;
	return ERR_OK;
}

void s3_parse_refusal(const void *body, size_t n, struct s3_refusal *out)
{
	struct err ignored;
	struct xml_handler h = {.end = on_error_element, .ctx = out};
	*out = (struct s3_refusal){0};
	if (xml_parse(body, n, &h, &ignored))
		out->is_document = false;
}

int64_t s3_parse_http_date(const char *text)
{
	struct tm tm = {0};
	/* Not %a and %b of strptime: they follow the locale. */
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char month[4];
	if (sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year,
			&tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	const char *at = strlen(month) == 3 ? strstr(months, month) : NULL;
	if (!at || (at - months) % 3)
		return 0;
	tm.tm_mon = (int)(at - months) / 3;
	tm.tm_year -= 1900;
	return (int64_t)timegm(&tm) * 1000;
}

/* One way a server refuses: a code in the document (NULL = any) or a status (0 = any). */
struct rule {
	int status;
	const char *code;
	enum err_code rc;
	bool again;
	const char *advice;
};

/* The first rule that fits counts. */
static const struct rule rules[] = {
	{0, "NoSuchBucket", ERR_FAIL, false, "the bucket does not exist: create it, or mend the URL"},
	{0, "SignatureDoesNotMatch", ERR_DENIED, false, "check the secret access key and the region"},
	{0, "InvalidAccessKeyId", ERR_DENIED, false, "check the access key ID"},
	{0, "ExpiredToken", ERR_DENIED, false, "the temporary credentials have expired"},
	{0, "InvalidToken", ERR_DENIED, false, "check the session token"},
	{0, "TokenRefreshRequired", ERR_DENIED, false, "the temporary credentials have expired"},
	{0, "QuotaExceeded", ERR_DENIED, false, "the bucket's or user's quota is used up"},
	{0, "InvalidBucketName", ERR_FAIL, false, "mend the bucket's name in the URL"},
	{0, "RequestTimeout", ERR_UNREACHABLE, true, NULL},
	{0, "SlowDown", ERR_UNREACHABLE, true, NULL},
	{0, "InternalError", ERR_UNREACHABLE, true, NULL},
	{0, "BadDigest", ERR_UNREACHABLE, true, "the data was changed on its way"},
	{0, "XAmzContentSHA256Mismatch", ERR_UNREACHABLE, true, "the data was changed on its way"},
	{0, "EntityTooLarge", ERR_FAIL, false, "it is too large for one request"},
	{401, NULL, ERR_DENIED, false, "check the credentials"},
	{403, NULL, ERR_DENIED, false, "check the credentials and what they are allowed"},
	{404, NULL, ERR_NOT_FOUND, false, NULL},
	{408, NULL, ERR_UNREACHABLE, true, NULL},
	{409, NULL, ERR_UNREACHABLE, true, NULL},
	{416, NULL, ERR_DAMAGED, false, "the object is shorter than it should be"},
	{429, NULL, ERR_UNREACHABLE, true, NULL},
	{500, NULL, ERR_UNREACHABLE, true, NULL},
	{502, NULL, ERR_UNREACHABLE, true, NULL},
	{503, NULL, ERR_UNREACHABLE, true, NULL},
	{504, NULL, ERR_UNREACHABLE, true, NULL},
	{501, NULL, ERR_UNSUPPORTED, false, NULL},
	{405, NULL, ERR_UNSUPPORTED, false, NULL},
};

static const struct rule *find_rule(int status, const char *code)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if ((!rules[i].status || rules[i].status == status) &&
			(!rules[i].code || !strcmp(rules[i].code, code)))
			return &rules[i];
	return NULL;
}

/* "the server answered 403 AccessDenied: Access Denied." */
static void say_answer(const struct s3_call *c, char *out, size_t size)
{
	const struct s3_refusal *f = &c->refusal;
	snprintf(out, size, "the server answered %d%s%s%s%s", c->r.status, *f->code ? " " : "", f->code,
		*f->message ? ": " : "", f->message);
	size_t n = strlen(out);
	if (n > 0 && out[n - 1] == '.')
		out[n - 1] = '\0';
}

/* How far our clock is from the server's, when that is what it complains about. */
static int explain_skew(
	const struct s3_call *c, const char *what, const char *answer, struct err *e)
{
	char date[64];
	http_response_header(&c->r, "date", date, sizeof(date));
	int64_t server = s3_parse_http_date(date), off = clock_wall_ms() - server;
	if (!server)
		return err_set(e, ERR_UNREACHABLE, "cannot %s %s: this host's clock is wrong, set it (%s)",
			c->doing, what, answer);
	int64_t minutes = (llabs(off) + 30000) / 60000;
	return err_set(e, ERR_UNREACHABLE,
		"cannot %s %s: this host's clock is %lld minute%s %s the server's, set it (%s)", c->doing,
		what, (long long)minutes, minutes == 1 ? "" : "s", off > 0 ? "ahead of" : "behind", answer);
}

static bool is_region(const char *text)
{
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_')
			return false;
	return *text != '\0';
}

/* Takes the region that the server names, unless somebody fixed another. True: try again there. */
static bool adopt_region(struct s3 *s3, const char *region)
{
	pthread_mutex_lock(&s3->lock);
	bool adopt = !s3->target.region_fixed && strcmp(s3->target.region, region) != 0;
	if (adopt) {
		s3_target_set_region(&s3->target, region);
		log_info("s3://%s is in region %s", s3->target.bucket, region);
	}
	/* Another thread may have adopted it since this request was signed. */
	bool same = !s3->target.region_fixed && !strcmp(s3->target.region, region);
	pthread_mutex_unlock(&s3->lock);
	return adopt || same;
}

static bool is_about_region(const struct s3_call *c)
{
	return c->r.status == 301 || c->r.status == 307 ||
		   !strcmp(c->refusal.code, "AuthorizationHeaderMalformed") ||
		   !strcmp(c->refusal.code, "IllegalLocationConstraintException");
}

/* 301 PermanentRedirect, 307, 400 AuthorizationHeaderMalformed: the bucket is elsewhere. */
static int explain_region(struct store *s, struct s3_call *c, const char *what, const char *answer,
	bool *again, struct err *e)
{
	char region[64];
	snprintf(region, sizeof(region), "%s", c->refusal.region);
	if (!is_region(region))
		http_response_header(&c->r, "x-amz-bucket-region", region, sizeof(region));
	if (is_region(region)) {
		*again = adopt_region(s->impl, region);
		return err_set(e, ERR_FAIL,
			"cannot %s %s: the bucket is in region %s; say so (region=%s) and check the endpoint "
			"(%s)",
			c->doing, what, region, region, answer);
	}
	if (*c->refusal.endpoint)
		return err_set(e, ERR_FAIL, "cannot %s %s: the bucket is at the endpoint %s (%s)", c->doing,
			what, c->refusal.endpoint, answer);
	return err_set(e, ERR_FAIL,
		"cannot %s %s: the bucket is in another region or at another endpoint (%s)", c->doing, what,
		answer);
}

static int64_t retry_after_ms(const struct http_response *r)
{
	char text[32];
	if (!http_response_header(r, "retry-after", text, sizeof(text)))
		return 0;
	long seconds = strtol(text, NULL, 10);
	return seconds > 0 && seconds < 3600 ? seconds * 1000 : 0;
}

/* An answer with a body that is no document of S3's. Some servers refuse in plain text. */
static bool is_stranger(const struct s3_call *c)
{
	char type[80];
	if (c->refusal.is_document || c->r.body.len == 0)
		return false;
	http_response_header(&c->r, "content-type", type, sizeof(type));
	return strcasestr(type, "html") || (c->r.status != 401 && c->r.status != 403);
}

/* A proxy, a login page, another kind of server. */
static int explain_stranger(const struct s3_call *c, const char *what, struct err *e)
{
	char type[80];
	http_response_header(&c->r, "content-type", type, sizeof(type));
	return err_set(e, ERR_DAMAGED,
		"cannot %s %s: the answer (%d, %s) is not S3's; is the endpoint right, is a proxy in "
		"between?",
		c->doing, what, c->r.status, *type ? type : "of no type");
}

static int explain_by_rule(const struct s3_call *c, const struct rule *rule, const char *what,
	const char *answer, struct err *e)
{
	enum err_code rc = rule ? rule->rc : c->r.status >= 500 ? ERR_UNREACHABLE : ERR_FAIL;
	const char *advice = rule ? rule->advice : NULL;
	if (rc == ERR_NOT_FOUND && strcmp(c->method, "GET") != 0 && strcmp(c->method, "HEAD") != 0)
		rc = ERR_FAIL;
	if (rc == ERR_UNSUPPORTED && c->conditional)
		advice = "the server can't store only if absent";
	return err_set(e, rc, "cannot %s %s: %s%s%s", c->doing, what, answer, advice ? "; " : "",
		advice ? advice : "");
}

int s3_explain(struct store *s, struct s3_call *c, bool *again, int64_t *after_ms, struct err *e)
{
	char what[600], answer[400];
	int status = c->r.status;
	s3_parse_refusal(c->r.body.data, c->r.body.len, &c->refusal);
	s3_describe(s, c->name, what, sizeof(what));
	say_answer(c, answer, sizeof(answer));
	*again = false;
	if (!strcmp(c->refusal.code, "RequestTimeTooSkewed"))
		return explain_skew(c, what, answer, e);
	if (is_about_region(c))
		return explain_region(s, c, what, answer, again, e);
	if (status == 412)
		return err_set(e, c->conditional ? ERR_CONDITION : ERR_FAIL, "%s exists already", what);
	const struct rule *rule = find_rule(status, c->refusal.code);
	*again = rule ? rule->again : status >= 500 && status != 505;
	*after_ms = *again ? retry_after_ms(&c->r) : 0;
	if (!*again && is_stranger(c))
		return explain_stranger(c, what, e);
	return explain_by_rule(c, rule, what, answer, e);
}
