#include "store/s3.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/chain.h"
#include "net/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 10000
#define STALL_TIMEOUT_MS 30000
#define REQUEST_TIMEOUT_MS ((int64_t)60 * 60 * 1000) /* F4: a signed request is over by then */
#define MAX_ATTEMPTS 8

/* Litestream's own name for it in the object's metadata. */
#define TIMESTAMP_HEADER "x-amz-meta-litestream-timestamp"

static const char *first_of(const char *option, const char *name, const char *other)
{
	const char *v = option && *option ? option : getenv(name);
	if (!v || !*v)
		v = getenv(other);
	return v && *v ? v : NULL;
}

static int copy_secret(char **out, const char *text)
{
	*out = text ? strdup(text) : NULL;
	if (text && !*out)
		return ERR_NOMEM;
	if (text)
		log_add_secret(text);
	return ERR_OK;
}

static int keep_words(struct s3 *s3, const struct chain_words *w, struct err *e)
{
	s3->access_key_id = strdup(w->access_key_id);
	if (!s3->access_key_id || copy_secret(&s3->secret_access_key, w->secret_access_key) ||
		copy_secret(&s3->session_token, w->session_token))
		return err_nomem(e, "opening a store");
	return ERR_OK;
}

/* Both keys of the caller, else both of the environment, unless a profile wants these for assuming
 * a role. Empty: there are none. */
static int find_words(struct chain_words *w, const struct store_options *opts, struct err *e)
{
	const char *id = opts->access_key_id, *secret = opts->secret_access_key;
	bool has_id = id && *id, has_secret = secret && *secret, wanted = false;
	*w = (struct chain_words){id, secret, opts->session_token};
	if (has_id != has_secret)
		return err_set(e, ERR_DENIED, "the credentials are half there: the %s is missing",
			has_id ? "secret access key" : "access key ID");
	if (has_id) {
		if (w->session_token && !*w->session_token)
			w->session_token = NULL;
		return ERR_OK;
	}
	int rc = chain_environment(w, e);
	if (!rc && w->access_key_id && opts->use_iam == STORE_BY_RULE)
		rc = chain_wants_environment(&wanted, e);
	if (wanted)
		*w = (struct chain_words){0};
	return rc;
}

/* Nobody gave keys: who is asked for some that change. */
static int find_source(struct s3 *s3, const struct store_options *opts, struct err *e)
{
	const char *said = getenv("LITESTREAM_USE_IAM");
	bool role = opts->use_iam == STORE_ON || (said && !strcmp(said, "true"));
	if (opts->use_iam == STORE_OFF)
		return err_set(e, ERR_DENIED,
			"there are none: set LITESTREAM_ACCESS_KEY_ID and LITESTREAM_SECRET_ACCESS_KEY (with "
			"Dokku: dokku litestream:auth)");
	s3->use_iam = true;
	s3->source = role ? IAM_ROLE : IAM_CHAIN;
	return role ? ERR_OK : chain_check(e);
}

static int read_credentials(
	struct s3 *s3, const struct store_options *opts, const char *url, struct err *e)
{
	struct chain_words words = {0};
	int rc = opts->use_iam == STORE_ON ? ERR_OK : find_words(&words, opts, e);
	if (!rc)
		rc = words.access_key_id ? keep_words(s3, &words, e) : find_source(s3, opts, e);
	return rc && rc != ERR_NOMEM ? err_wrap(e, "no credentials for %s", url) : rc;
}

/* A header's value must not smuggle in another header. */
static int check_credentials(const struct s3 *s3, struct err *e)
{
	const char *all[] = {s3->access_key_id, s3->secret_access_key, s3->session_token};
	for (size_t i = 0; i < 3; i++)
		for (const char *p = all[i] ? all[i] : ""; *p; p++)
			if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
				return err_set(e, ERR_USAGE,
					"the credentials have a space, a line end or a letter that no key has in them");
	return ERR_OK;
}

static int open_http(struct s3 *s3, const struct store_options *opts, struct err *e)
{
	struct http_config config = {
		.connect_timeout_ms =
			opts->connect_timeout_ms ? opts->connect_timeout_ms : CONNECT_TIMEOUT_MS,
		.stall_timeout_ms = opts->stall_timeout_ms ? opts->stall_timeout_ms : STALL_TIMEOUT_MS,
		.ca_file = first_of(opts->ca_file, "AWS_CA_BUNDLE", "SSL_CERT_FILE"),
		.skip_verify = opts->skip_verify || s3->target.skip_verify,
		.user_agent = "litestream-dokku/" LITESTREAM_VERSION,
	};
	return http_pool_new(&s3->http, &config, e);
}

static void free_s3(struct s3 *s3)
{
	http_pool_free(s3->http);
	pthread_mutex_destroy(&s3->lock);
	free(s3->access_key_id);
	keys_wipe(&s3->secret_access_key);
	keys_wipe(&s3->session_token);
	free(s3);
}

/* Where the bucket is, which a profile may say too, if somebody runs us who has some. */
static int find_target(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	struct store_options own = *opts;
	struct profile f = {0};
	char *endpoint = NULL;
	bool said;
	struct err why = ERR_INIT;
	int rc = ERR_OK;
	if (opts->use_iam == STORE_BY_RULE)
		rc = profile_load(profile_chosen(&said), &f, &why);
	if (!rc)
		rc = profile_endpoint(&f, "s3", &endpoint, &why);
	/* Who has keys can do without; who has none hears of it when these are looked for. */
	if (rc && rc != ERR_NOMEM) {
		log_warn("%s: region and endpoint are not read from there", why.text);
		rc = ERR_OK;
	} else if (rc) {
		err_nomem(e, "opening a store");
	}
	own.profile_region = f.region;
	own.profile_endpoint = endpoint;
	if (!rc)
		rc = s3_target_parse(t, url, &own, e);
	free(endpoint);
	profile_free(&f);
	return rc;
}

static int s3_open(
	struct store *s, const struct store_url *url, const struct store_options *opts, struct err *e)
{
	struct s3 *s3 = calloc(1, sizeof(*s3));
	if (!s3)
		return err_nomem(e, "opening a store");
	pthread_mutex_init(&s3->lock, NULL);
	s3->max_attempts = opts->max_attempts > 0 ? opts->max_attempts : MAX_ATTEMPTS;
	s3->first_answer_ms = opts->first_answer_ms;
	s3->request_timeout_ms =
		opts->request_timeout_ms ? opts->request_timeout_ms : REQUEST_TIMEOUT_MS;
	char *display = NULL;
	int rc = find_target(&s3->target, url, opts, e);
	if (!rc && !(display = s3_target_display(&s3->target)))
		rc = err_nomem(e, "opening a store");
	if (!rc)
		rc = read_credentials(s3, opts, display, e);
	if (!rc)
		rc = check_credentials(s3, e);
	if (!rc)
		rc = open_http(s3, opts, e);
	if (rc) {
		free(display);
		free_s3(s3);
		return rc;
	}
	free(s->url);
	s->url = display;
	s->impl = s3;
	/* B2 answers 501, Google has headers of its own for it. */
	s->caps.conditional_put =
		s3->target.provider != S3_BACKBLAZE && s3->target.provider != S3_GOOGLE;
	return ERR_OK;
}

static void s3_close(struct store *s)
{
	free_s3(s->impl);
}

static void s3_cancel(struct store *s)
{
	http_pool_cancel(((struct s3 *)s->impl)->http);
}

static int64_t s3_tidy(struct store *s)
{
	return http_pool_tidy(((struct s3 *)s->impl)->http);
}

void s3_object_headers(struct s3_call *c, const struct s3_target *t,
	const struct store_put_opts *opts, char timestamp[40])
{
	if (opts->timestamp_ms > 0) {
		clock_format_rfc3339(opts->timestamp_ms, timestamp);
		/* RFC3339Nano, which Litestream writes, has no zeros at the end of the fraction. */
		char *end = timestamp + strlen(timestamp) - 1;
		while (end[-1] == '0')
			end--;
		if (end[-1] == '.')
			end--;
		strcpy(end, "Z");
		s3_call_header(c, TIMESTAMP_HEADER, timestamp);
	}
	if (*t->storage_class)
		s3_call_header(c, "x-amz-storage-class", t->storage_class);
	if (*t->encryption)
		s3_call_header(c, "x-amz-server-side-encryption", t->encryption);
	if (*t->kms_key_id)
		s3_call_header(c, "x-amz-server-side-encryption-aws-kms-key-id", t->kms_key_id);
	s3_call_customer_key(c, t);
}

int s3_require_etag(const struct store *s, const struct s3_call *c, struct err *e)
{
	char etag[128], what[600];
	if (http_response_header(&c->r, "etag", etag, sizeof(etag)))
		return ERR_OK;
	s3_describe(s, c->name, what, sizeof(what));
	return err_set(e, ERR_DAMAGED,
		"cannot %s %s: the answer (%d) has no ETag, so it is not S3's; is the endpoint right, is a "
		"proxy "
		"in between?",
		c->doing, what, c->r.status);
}

static int put_single(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	const struct s3 *s3 = s->impl;
	char timestamp[40];
	struct s3_call c;
	s3_call_init(&c, "PUT", name, "store", STORE_N_PUT);
	c.body = body;
	c.conditional = opts->only_if_absent;
	s3_call_header(&c, "Content-Type", "application/octet-stream");
	if (c.conditional)
		s3_call_header(&c, "If-None-Match", "*");
	s3_object_headers(&c, &s3->target, opts, timestamp);
	int rc = s3_perform(s, &c, e);
	if (!rc)
		rc = s3_require_etag(s, &c, e);
	s3_call_free(&c);
	return rc;
}

static int s3_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	const struct s3 *s3 = s->impl;
	if (body->size > S3_MAX_SINGLE && opts->single)
		return err_set(e, ERR_FAIL,
			"cannot store %s/%s: %" PRIu64 " bytes are more than one request takes", s->url, name,
			body->size);
	if (body->size > s3->target.part_size && !opts->single)
		return s3_put_parts(s, name, body, opts, e);
	return put_single(s, name, body, opts, e);
}

int s3_head(struct store *s, const char *name, struct store_object *out, struct err *e)
{
	char text[128];
	struct s3_call c;
	s3_call_init(&c, "HEAD", name, "find", STORE_N_HEAD);
	s3_call_customer_key(&c, &((struct s3 *)s->impl)->target);
	int rc = s3_perform(s, &c, e);
	if (!rc)
		rc = s3_require_etag(s, &c, e);
	if (!rc && c.r.content_length < 0)
		rc = err_set(
			e, ERR_DAMAGED, "the answer for %s/%s does not say how long it is", s->url, name);
	if (!rc) {
		out->size = (uint64_t)c.r.content_length;
		http_response_header(&c.r, "last-modified", text, sizeof(text));
		out->modified_ms = s3_parse_http_date(text);
		if (!http_response_header(&c.r, TIMESTAMP_HEADER, text, sizeof(text)) ||
			clock_parse_rfc3339(text, &out->timestamp_ms))
			out->timestamp_ms = 0;
	}
	rc = s3_denied_or_absent(s, &c, rc, e);
	s3_call_free(&c);
	return rc;
}

const struct store_driver store_s3_driver = {
	.caps = {.layout = STORE_LAYOUT_HEX,
		.conditional_put = true,
		.deletes_batch = true,
		.scheme = "s3"},
	.open = s3_open,
	.close = s3_close,
	.put = s3_put,
	.get = s3_get,
	.head = s3_head,
	.list = s3_list,
	.list_folder = s3_list_folder,
	.del = s3_delete,
	.versioned = s3_versioned,
	.end_unfinished = s3_end_unfinished,
	.tidy = s3_tidy,
	.cancel = s3_cancel,
};
