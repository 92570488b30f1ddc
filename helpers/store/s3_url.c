#include "store/s3_url.h"

#include "base/amount.h"
#include "base/digest.h"
#include "base/log.h"
#include "store/s3_host.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The endpoint of query, options or environment, where the host has not said it. */
static int apply_endpoint(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *endpoint = store_url_param(url, "endpoint");
	if (!endpoint && *t->host == '\0' && t->provider == S3_AWS)
		endpoint = s3_option_endpoint(opts);
	if (!endpoint || !*endpoint)
		return ERR_OK;
	t->port = 0;
	t->bucket_in_host = false;
	int rc = s3_parse_endpoint(t, endpoint, e);
	if (rc)
		return rc;
	bool aws =
		s3_ends_with(t->host, ".amazonaws.com") || s3_ends_with(t->host, ".amazonaws.com.cn");
	const struct s3_provider_rule *r = s3_find_rule(t->host);
	t->provider = r ? r->provider : aws ? S3_AWS : S3_OTHER;
	if (r && !*t->base_path)
		snprintf(t->base_path, sizeof(t->base_path), "%s", r->base_path);
	if (*t->region)
		return ERR_OK;
	/* The region is the last label before the suffix where the provider names its servers so. */
	if (r && (r->form == 'r' || r->form == 's') && strlen(t->host) > strlen(r->suffix)) {
		size_t n = strlen(t->host) - strlen(r->suffix);
		const char *dot = s3_last_dot(t->host, n), *from = dot ? dot + 1 : t->host;
		return s3_copy_field(
			t->region, sizeof(t->region), from, (size_t)(t->host + n - from), "region", e);
	}
	if (aws && !strncmp(t->host, "s3.", 3) && strstr(t->host, ".amazonaws.com") > t->host + 2) {
		size_t n = (size_t)(strstr(t->host, ".amazonaws.com") - t->host - 3);
		t->region_fixed = true;
		return s3_copy_field(t->region, sizeof(t->region), t->host + 3, n, "region", e);
	}
	snprintf(t->region, sizeof(t->region), "%s", r ? r->region : aws ? "" : "us-east-1");
	return ERR_OK;
}

/* Where whoever runs us is at home: there the bucket is looked for first. */
static const char *likely_region(const struct store_options *opts)
{
	const char *region = s3_from_env("AWS_REGION");
	if (!region)
		region = s3_from_env("AWS_DEFAULT_REGION");
	return region ? region : opts->profile_region;
}

static int apply_region(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *region = store_url_param(url, "region");
	bool said_by_host = t->region_fixed;
	if (!region && !said_by_host)
		region = opts->region && *opts->region ? opts->region : NULL;
	bool fixed = region != NULL;
	if (!region && !said_by_host && (t->provider == S3_AWS || t->provider == S3_OTHER))
		region = likely_region(opts);
	if (region && *region) {
		for (const char *p = region; *p; p++)
			if (!isalnum((unsigned char)*p) && !strchr("-_", *p))
				return err_set(e, ERR_USAGE, "the region has a character that no region has");
		t->region_fixed = fixed || said_by_host;
		int rc = s3_copy_text(t->region, sizeof(t->region), region, "region", e);
		if (rc)
			return rc;
	}
	if (!*t->region)
		snprintf(t->region, sizeof(t->region), "us-east-1");
	/* "" or the beginning that parse_aws_host left: AWS's host follows from the region. */
	if (t->provider == S3_AWS && !s3_ends_with(t->host, ".amazonaws.com") &&
		!s3_ends_with(t->host, ".amazonaws.com.cn")) {
		char name[sizeof(t->region)];
		memcpy(name, t->region, sizeof(name));
		s3_target_set_region(t, name);
	}
	return ERR_OK;
}

static int parse_bool(const char *name, const char *text, int *out, struct err *e)
{
	if (!strcasecmp(text, "true") || !strcmp(text, "1"))
		*out = 1;
	else if (!strcasecmp(text, "false") || !strcmp(text, "0"))
		*out = 0;
	else
		return err_set(e, ERR_USAGE,
			"query parameter '%s' of the replica URL is neither true nor false", name);
	return ERR_OK;
}

/* The URL's word, else the caller's, else what *out is by the provider's rule. */
static int apply_flag(const struct store_url *url, const char *name, enum store_choice preset,
	bool *out, struct err *e)
{
	if (preset != STORE_BY_RULE)
		*out = preset == STORE_ON;
	const char *text = store_url_param(url, name);
	int v = *out;
	int rc = text ? parse_bool(name, text, &v, e) : ERR_OK;
	*out = v;
	return rc;
}

static int apply_sizes(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *part = store_url_param(url, "part-size"),
			   *parallel = store_url_param(url, "concurrency");
	t->part_size = opts->part_size ? opts->part_size : S3_PART_SIZE_MIN;
	if (part && (!amount_size(part, &t->part_size) || t->part_size < S3_PART_SIZE_MIN ||
					t->part_size > S3_PART_SIZE_MAX))
		return err_set(e, ERR_USAGE,
			"query parameter 'part-size' of the replica URL is not a size from 5MiB to 5GiB");
	t->concurrency = opts->concurrency ? opts->concurrency : t->provider == S3_R2 ? 2 : 5;
	if (parallel) {
		char *end;
		unsigned long n = strtoul(parallel, &end, 10);
		if (!isdigit((unsigned char)*parallel) || *end || n < 1 || n > 64)
			return err_set(e, ERR_USAGE,
				"query parameter 'concurrency' of the replica URL is not a number from 1 to 64");
		t->concurrency = (unsigned)n;
	}
	return ERR_OK;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 44 digits that were checked, into 33 bytes of which the last one is padding. */
static void decode_base64(const char *text, uint8_t out[33])
{
	for (int i = 0; i < 44; i += 4) {
		uint32_t v = 0;
		for (int k = 0; k < 4; k++)
			v = v << 6 | (text[i + k] == '='
								 ? 0
								 : (uint32_t)(strchr(base64_digits, text[i + k]) - base64_digits));
		for (int k = 0; k < 3; k++)
			out[i / 4 * 3 + k] = (uint8_t)(v >> (16 - 8 * k));
	}
}

/* A URL is seen by whoever lists processes, so the key may come another way. NULL = none. */
static const char *customer_key(const struct store_url *url, const struct store_options *opts)
{
	const char *key = store_url_param(url, "sse-customer-key");
	if (!key)
		key = opts->sse_customer_key;
	if (!key && (key = getenv("LITESTREAM_SSE_CUSTOMER_KEY")) && !*key)
		key = NULL;
	return key;
}

/* Checks a customer's key and computes its MD5, which S3 wants beside it. */
static int apply_customer_key(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *key = customer_key(url, opts);
	const char *algorithm = store_url_param(url, "sse-customer-algorithm");
	const char *md5 = store_url_param(url, "sse-customer-key-md5");
	if (!key) {
		if (algorithm || md5)
			return err_set(e, ERR_USAGE,
				"the replica URL has sse-customer-…, but there is no sse-customer-key");
		return ERR_OK;
	}
	log_add_secret(key);
	if (strlen(key) != 44 || key[43] != '=' || strspn(key, base64_digits) != 43)
		return err_set(e, ERR_USAGE, "sse-customer-key is not the base64 form of 32 bytes");
	if (algorithm && strcmp(algorithm, "AES256") != 0)
		return err_set(e, ERR_USAGE, "sse-customer-algorithm can only be AES256");
	if (!t->https && !s3_is_private_host(t->host))
		return err_set(e, ERR_USAGE, "sse-customer-key is sent only over https");
	snprintf(t->sse_algorithm, sizeof(t->sse_algorithm), "AES256");
	snprintf(t->sse_key, sizeof(t->sse_key), "%s", key);
	if (md5)
		return s3_copy_text(t->sse_key_md5, sizeof(t->sse_key_md5), md5, "sse-customer-key-md5", e);
	uint8_t raw[33], digest[MD5_LEN];
	decode_base64(key, raw);
	if (digest_md5(raw, 32, digest))
		return err_set(e, ERR_FAIL, "libcrypto refuses MD5, which sse-customer-key needs");
	digest_base64(digest, sizeof(digest), t->sse_key_md5);
	return ERR_OK;
}

/* The URL's word, else the caller's; NULL = nobody's. */
static const char *said(const struct store_url *url, const char *name, const char *option)
{
	const char *value = store_url_param(url, name);
	return value ? value : option;
}

static int apply_class(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *class = said(url, "storage-class", opts->storage_class);
	for (const char *p = class ? class : ""; *p; p++)
		if (!isupper((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '_')
			return err_set(e, ERR_USAGE, "storage-class is not a name like STANDARD_IA");
	return class ? s3_copy_text(
					   t->storage_class, sizeof(t->storage_class), class, "storage-class", e)
				 : ERR_OK;
}

/* Encryption by the store. A key of its KMS says which kind; without one aws:kms is the bucket's or
 * the account's own key. */
static int apply_encryption(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *kind = said(url, "server-side-encryption", opts->server_side_encryption);
	const char *key = said(url, "sse-kms-key-id", opts->sse_kms_key_id);
	bool has_key = key && *key;
	if (kind && strcmp(kind, "AES256") != 0 && strcmp(kind, "aws:kms") != 0)
		return err_set(e, ERR_USAGE, "server-side-encryption can only be AES256 or aws:kms");
	if (has_key && kind && strcmp(kind, "aws:kms") != 0)
		return err_set(e, ERR_USAGE,
			"server-side-encryption AES256 has no key of a KMS: leave out sse-kms-key-id, or say "
			"aws:kms");
	if (!kind && has_key)
		kind = "aws:kms";
	if (kind && *t->sse_key)
		return err_set(e, ERR_USAGE,
			"sse-customer-key excludes server-side-encryption and sse-kms-key-id: the store "
			"encrypts either with a key of yours or with one of its own");
	snprintf(t->encryption, sizeof(t->encryption), "%s", kind ? kind : "");
	return has_key ? s3_copy_text(t->kms_key_id, sizeof(t->kms_key_id), key, "sse-kms-key-id", e)
				   : ERR_OK;
}

static int apply_headers(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	int rc = apply_class(t, url, opts, e);
	if (!rc)
		rc = apply_customer_key(t, url, opts, e);
	return rc ? rc : apply_encryption(t, url, opts, e);
}

/* May the bucket's name be a part of a host's? Old buckets have capitals and underscores, longer
 * names are no label either, and a dot would fall out of the certificate's wildcard. */
static bool fits_host(const struct s3_target *t)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
	size_t n = strlen(t->bucket);
	return n <= 63 && strspn(t->bucket, letters) == n && t->bucket[0] != '-' &&
		   t->bucket[n - 1] != '-' && !(t->https && strchr(t->bucket, '.'));
}

static int apply_flags(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const struct s3_provider_rule *r = s3_find_rule(t->host);
	bool virtual_host = t->provider == S3_AWS || (r && r->virtual_host);
	t->path_style = !t->bucket_in_host && !(virtual_host && fits_host(t));
	t->sign_payload = true;
	t->content_md5 = t->provider != S3_TIGRIS;
	t->tigris_consistent = t->provider == S3_TIGRIS;
	int rc = apply_flag(url, "force-path-style", opts->force_path_style, &t->path_style, e);
	if (!rc)
		rc = apply_flag(url, "sign-payload", opts->sign_payload, &t->sign_payload, e);
	if (!rc)
		rc = apply_flag(url, "require-content-md5", opts->require_content_md5, &t->content_md5, e);
	if (!rc)
		rc = apply_flag(
			url, "skip-verify", opts->skip_verify ? STORE_ON : STORE_BY_RULE, &t->skip_verify, e);
	if (t->bucket_in_host)
		t->path_style = false;
	return rc;
}

static int check_bucket(const struct s3_target *t, struct err *e)
{
	size_t n = strlen(t->bucket);
	if (n < 3 || n > 255)
		return err_set(
			e, ERR_USAGE, "'%.40s' can't be a bucket: its name has 3 to 63 letters", t->bucket);
	for (const char *p = t->bucket; *p; p++)
		if (*p == '.' && (p == t->bucket || p[1] == '.' || !p[1]))
			return err_set(
				e, ERR_USAGE, "'%.80s' can't be a bucket: a part of its name is empty", t->bucket);
	return ERR_OK;
}

int s3_target_parse(struct s3_target *out, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	static const char *const known[] = {"endpoint", "region", "force-path-style", "skip-verify",
		"sign-payload", "require-content-md5", "concurrency", "part-size", "storage-class",
		"server-side-encryption", "sse-customer-algorithm", "sse-customer-key",
		"sse-customer-key-md5", "sse-kms-key-id", NULL};
	*out = (struct s3_target){0};
	int rc = store_url_check_params(url, known, e);
	if (!rc)
		rc = s3_parse_host(out, url, opts, e);
	if (!rc)
		rc = check_bucket(out, e);
	if (!rc)
		rc = apply_endpoint(out, url, opts, e);
	if (!rc)
		rc = apply_region(out, url, opts, e);
	if (!rc)
		rc = apply_flags(out, url, opts, e);
	if (!rc)
		rc = apply_sizes(out, url, opts, e);
	out->root = opts->of_replicas && !*out->prefix;
	return rc ? rc : apply_headers(out, url, opts, e);
}

const char *s3_target_slash(const struct s3_target *t)
{
	return t->root ? "" : "/";
}

char *s3_target_display(const struct s3_target *t)
{
	char *out = NULL;
	char port[16] = "";
	if (t->port)
		snprintf(port, sizeof(port), ":%d", t->port);
	int n = t->provider == S3_AWS
				? asprintf(&out, "s3://%s/%s", t->bucket, t->prefix)
				: asprintf(&out, "s3://%s.%s%s/%s", t->bucket, t->host, port, t->prefix);
	if (n < 0)
		return NULL;
	while (n > 0 && out[n - 1] == '/')
		out[--n] = '\0';
	return out;
}
