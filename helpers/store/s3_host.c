#include "store/s3_host.h"

#include "net/profile.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define R2_DOMAIN ".r2.cloudflarestorage.com"

/* An endpoint without a region in its name gets `region`; base_path is what stands before keys. */
static const struct s3_provider_rule rules[] = {
	{S3_TIGRIS, "fly.storage.tigris.dev", 'n', "auto", "", true},
	{S3_TIGRIS, "t3.storage.dev", 'n', "auto", "", true},
	{S3_DIGITALOCEAN, ".digitaloceanspaces.com", 'r', "us-east-1", "", true},
	{S3_BACKBLAZE, ".backblazeb2.com", 's', "us-west-002", "", false},
	{S3_FILEBASE, "s3.filebase.com", 'n', "us-east-1", "", false},
	{S3_SCALEWAY, ".scw.cloud", 's', "fr-par", "", true},
	{S3_HETZNER, ".your-objectstorage.com", 'r', "fsn1", "", true},
	{S3_R2, R2_DOMAIN, 'p', "auto", "", false},
	{S3_SUPABASE, ".supabase.co", 'p', "us-east-1", "/storage/v1/s3", false},
	{S3_GOOGLE, "storage.googleapis.com", 'n', "auto", "", false},
	{S3_LINODE, ".linodeobjects.com", 'r', "us-east-1", "", false},
};

bool s3_ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && !strcasecmp(s + n - m, suffix);
}

const struct s3_provider_rule *s3_find_rule(const char *host)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const char *suffix = rules[i].suffix;
		if (s3_ends_with(host, suffix) || (*suffix == '.' && !strcasecmp(host, suffix + 1)))
			return &rules[i];
	}
	return NULL;
}

int s3_copy_field(
	char *out, size_t size, const char *text, size_t n, const char *what, struct err *e)
{
	if (n >= size)
		return err_set(e, ERR_USAGE, "the %s of the replica URL is too long", what);
	memcpy(out, text, n);
	out[n] = '\0';
	return ERR_OK;
}

int s3_copy_text(char *out, size_t size, const char *text, const char *what, struct err *e)
{
	return s3_copy_field(out, size, text, strlen(text), what, e);
}

/* Hosts that nobody has a certificate for are spoken to in plain HTTP. */
bool s3_is_private_host(const char *host)
{
	struct in_addr a;
	if (!strcasecmp(host, "localhost") || s3_ends_with(host, ".localhost") ||
		s3_ends_with(host, ".local"))
		return true;
	if (inet_pton(AF_INET, host, &a) != 1)
		return false;
	uint32_t ip = ntohl(a.s_addr);
	return ip >> 24 == 127 || ip >> 24 == 10 || ip >> 16 == 0xc0a8 || ip >> 20 == 0xac1 ||
		   ip >> 16 == 0xa9fe;
}

/* "[scheme://]host[:port][/path]" */
int s3_parse_endpoint(struct s3_target *t, const char *text, struct err *e)
{
	const char *p = text;
	bool scheme_given = true;
	if (!strncasecmp(p, "https://", 8))
		t->https = true, p += 8;
	else if (!strncasecmp(p, "http://", 7))
		t->https = false, p += 7;
	else if (strstr(p, "://"))
		return err_set(e, ERR_USAGE, "the endpoint is neither http:// nor https://");
	else
		scheme_given = false;
	size_t n = strcspn(p, "/?#");
	const char *colon = memchr(p, ':', n), *at = memchr(p, '@', n);
	size_t host_len = colon ? (size_t)(colon - p) : n;
	if (at || host_len == 0 || p[n] == '?' || p[n] == '#')
		return err_set(e, ERR_USAGE,
			"the endpoint has to be host, host:port or a URL like https://host:port, without user "
			"and query");
	for (size_t i = 0; i < host_len; i++)
		if (!isalnum((unsigned char)p[i]) && !strchr(".-_", p[i]))
			return err_set(
				e, ERR_USAGE, "the endpoint's host has a character that no host name has");
	if (colon) {
		char *end;
		long port = strtol(colon + 1, &end, 10);
		if (end != p + n || end == colon + 1 || port < 1 || port > 65535)
			return err_set(e, ERR_USAGE, "the endpoint's port is not a number from 1 to 65535");
		t->port = (int)port;
	}
	int rc = s3_copy_field(t->host, sizeof(t->host), p, host_len, "endpoint", e);
	if (!rc)
		rc = s3_copy_text(t->base_path, sizeof(t->base_path), p + n, "endpoint", e);
	if (rc)
		return rc;
	for (size_t k = strlen(t->base_path); k > 0 && t->base_path[k - 1] == '/'; k--)
		t->base_path[k - 1] = '\0';
	if (!scheme_given)
		t->https = !s3_is_private_host(t->host);
	return ERR_OK;
}

static void use_rule(struct s3_target *t, const struct s3_provider_rule *r, const char *region)
{
	t->provider = r->provider;
	t->https = true;
	snprintf(t->base_path, sizeof(t->base_path), "%s", r->base_path);
	snprintf(t->region, sizeof(t->region), "%s", region ? region : r->region);
}

/* Whether a label is an R2 account: 32 hexadecimal digits. */
static bool is_r2_account(const char *label, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)label[i]))
			return false;
	return n == 32;
}

const char *s3_from_env(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

const char *s3_option_endpoint(const struct store_options *opts)
{
	if (opts->endpoint && *opts->endpoint)
		return opts->endpoint;
	const char *v = s3_from_env("LITESTREAM_S3_ENDPOINT");
	if (v || profile_ignores_endpoints())
		return v;
	v = s3_from_env("AWS_ENDPOINT_URL_S3");
	if (!v)
		v = s3_from_env("AWS_ENDPOINT_URL");
	return v ? v : opts->profile_endpoint;
}

/*
 * bucket.ACCOUNT[.eu|.fedramp].r2.cloudflarestorage.com, or without the account: that one then
 * comes from the endpoint or LITESTREAM_R2_ACCOUNT_ID.
 */
static int parse_r2(struct s3_target *t, const struct store_url *url,
	const struct s3_provider_rule *r, const struct store_options *opts, struct err *e)
{
	size_t n = strlen(url->host) - strlen(R2_DOMAIN);
	const char *labels = url->host, *dot;
	use_rule(t, r, NULL);
	for (const char *p = labels; p < labels + n; p = dot + 1) {
		dot = memchr(p, '.', (size_t)(labels + n - p));
		size_t len = dot ? (size_t)(dot - p) : (size_t)(labels + n - p);
		if (is_r2_account(p, len)) {
			if (p == labels)
				return err_set(e, ERR_USAGE,
					"the replica URL names an R2 account but no bucket: write "
					"s3://BUCKET.ACCOUNT.r2.cloudflarestorage.com/path");
			int rc = s3_copy_field(
				t->bucket, sizeof(t->bucket), labels, (size_t)(p - labels - 1), "bucket", e);
			return rc ? rc : s3_copy_text(t->host, sizeof(t->host), p, "host", e);
		}
		if (!dot)
			break;
	}
	int rc = s3_copy_field(t->bucket, sizeof(t->bucket), labels, n, "bucket", e);
	const char *endpoint = store_url_param(url, "endpoint"),
			   *account = s3_from_env("LITESTREAM_R2_ACCOUNT_ID");
	if (!endpoint)
		endpoint = s3_option_endpoint(opts);
	if (rc || endpoint)
		return rc ? rc : s3_parse_endpoint(t, endpoint, e);
	if (!account)
		return err_set(e, ERR_USAGE,
			"s3://%s names no R2 account: write s3://%s.ACCOUNT_ID.r2.cloudflarestorage.com/…, or "
			"set "
			"the endpoint to https://ACCOUNT_ID.r2.cloudflarestorage.com, or set "
			"LITESTREAM_R2_ACCOUNT_ID",
			url->host, t->bucket);
	if (!is_r2_account(account, strlen(account)))
		return err_set(
			e, ERR_USAGE, "LITESTREAM_R2_ACCOUNT_ID is not an R2 account: 32 hexadecimal digits");
	snprintf(t->host, sizeof(t->host), "%s" R2_DOMAIN, account);
	return ERR_OK;
}

/* The dot before the last label of text[0..n), or NULL. */
const char *s3_last_dot(const char *text, size_t n)
{
	while (n > 0 && text[n - 1] != '.')
		n--;
	return n > 0 ? text + n - 1 : NULL;
}

static int parse_provider_host(struct s3_target *t, const struct store_url *url,
	const struct s3_provider_rule *r, const struct store_options *opts, struct err *e)
{
	const char *host = url->host;
	if (strlen(host) <= strlen(r->suffix))
		return err_set(e, ERR_USAGE,
			"the replica URL names the server %s but no bucket: write s3://BUCKET.%s/path", host,
			host);
	if (r->provider == S3_R2)
		return parse_r2(t, url, r, opts, e);
	size_t n = strlen(host) - strlen(r->suffix); /* of what stands before the suffix */
	const char *server = host + n, *region = NULL;
	char region_text[64] = "";
	if (r->form == 'n') {
		if (host[n - 1] != '.')
			return err_set(e, ERR_USAGE, "unknown S3 server '%s' in the replica URL", host);
		n--;
	} else {
		const char *dot = s3_last_dot(host, n);
		if (!dot)
			return err_set(e, ERR_USAGE,
				"the replica URL names the server %s but no bucket: write s3://BUCKET.%s/path",
				host, host);
		server = dot + 1;
		if (r->form != 'p') {
			int rc = s3_copy_field(region_text, sizeof(region_text), dot + 1,
				(size_t)(host + n - dot - 1), "region", e);
			if (rc)
				return rc;
			region = region_text;
		}
		n = (size_t)(dot - host);
		if (r->form == 's') {
			if (n < 4 || strncasecmp(dot - 3, ".s3", 3) != 0)
				return err_set(e, ERR_USAGE,
					"unknown S3 server '%s' in the replica URL: s3://BUCKET.s3.REGION%s/path was "
					"expected",
					host, r->suffix);
			n -= 3;
			server = dot - 2;
		}
	}
	use_rule(t, r, region);
	t->region_fixed = region != NULL;
	int rc = s3_copy_field(t->bucket, sizeof(t->bucket), host, n, "bucket", e);
	return rc ? rc : s3_copy_text(t->host, sizeof(t->host), server, "host", e);
}

void s3_target_set_region(struct s3_target *t, const char *region)
{
	char old[sizeof(t->host)];
	snprintf(t->region, sizeof(t->region), "%s", region);
	if (t->provider != S3_AWS || t->bucket_in_host)
		return;
	memcpy(old, t->host, sizeof(old));
	snprintf(t->host, sizeof(t->host), "s3%s.%s.amazonaws.com%s",
		strstr(old, ".dualstack.") ? ".dualstack" : "", region,
		!strncmp(region, "cn-", 3) ? ".cn" : "");
}

/* bucket.s3.amazonaws.com, bucket.s3.REGION.amazonaws.com, bucket.s3-REGION.amazonaws.com, each
 * also with ".dualstack" behind the "s3" and with ".cn" at the end. */
static int parse_aws_host(struct s3_target *t, const char *host, struct err *e)
{
	const char *s3 = NULL;
	for (const char *p = host; (p = strstr(p, ".s3")); p++)
		if (p[3] == '.' || p[3] == '-')
			s3 = p;
	if (!s3)
		return err_set(e, ERR_USAGE,
			"the replica URL names the server %s but no bucket: write s3://BUCKET/path or "
			"s3://BUCKET.s3.REGION.amazonaws.com/path",
			host);
	const char *region = s3 + 4, *end = strstr(s3, ".amazonaws.com");
	bool dual = !strncmp(region, "dualstack.", 10);
	if (dual)
		region += 10;
	int rc = s3_copy_field(t->bucket, sizeof(t->bucket), host, (size_t)(s3 - host), "bucket", e);
	if (rc)
		return rc;
	/* The rest of the name follows from the region, which may not be known yet. */
	snprintf(t->host, sizeof(t->host), "s3%s.", dual ? ".dualstack." : "");
	if (end < region) /* bucket.s3.amazonaws.com */
		return ERR_OK;
	rc = s3_copy_field(t->region, sizeof(t->region), region, (size_t)(end - region), "region", e);
	t->region_fixed = true;
	return rc;
}

/* What may become a part of a host name. */
static bool is_label(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-')
			return false;
	return n > 0 && n < 64;
}

/*
 * arn:PARTITION:s3:REGION:ACCOUNT:accesspoint with the name after '/' (then it is the first part of
 * the URL's path) or ':'. The access point has a host of its own; the rest of the path is the key.
 */
static int parse_arn(struct s3_target *t, const struct store_url *url, struct err *e)
{
	char text[512], *field[7] = {0}, *save = text;
	int n = 0;
	snprintf(text, sizeof(text), "%s", url->host);
	while (n < 7 && save)
		field[n++] = strsep(&save, ":");
	const char *name = n == 7 ? field[6] : url->path;
	size_t name_len = strcspn(name, "/");
	if (n < 6 || strcmp(field[2], "s3") != 0 || strcmp(field[5], "accesspoint") != 0 ||
		!*field[4] || name_len == 0)
		return err_set(e, ERR_USAGE,
			"the replica URL's ARN is not arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME");
	if (!*field[3])
		return err_set(e, ERR_USAGE,
			"multi-Region access points can't be used: their requests need another signature; name "
			"the access point of one region");
	if (!is_label(name, name_len) || !is_label(field[3], strlen(field[3])) ||
		!is_label(field[4], strlen(field[4])))
		return err_set(e, ERR_USAGE,
			"the region, account or name in the replica URL's ARN has a character that none has");
	const char *key = name + name_len + (name[name_len] == '/');
	snprintf(t->region, sizeof(t->region), "%s", field[3]);
	snprintf(t->bucket, sizeof(t->bucket), "%.*s-%s", (int)(name_len < 63 ? name_len : 63), name,
		field[4]);
	snprintf(t->host, sizeof(t->host), "%s.s3-accesspoint.%s.amazonaws.com%s", t->bucket, t->region,
		!strcmp(field[1], "aws-cn") ? ".cn" : "");
	t->region_fixed = t->bucket_in_host = true;
	return s3_copy_text(t->prefix, sizeof(t->prefix), n == 7 ? url->path : key, "path", e);
}

/* bucket.host:port and bucket.localhost: a server of one's own, in plain HTTP, path style. */
static int parse_own_host(struct s3_target *t, const struct store_url *url, struct err *e)
{
	const char *dot = strchr(url->host, '.');
	if (!dot || dot == url->host || !dot[1])
		return err_set(e, ERR_USAGE,
			"the replica URL names the server %s but no bucket: write s3://BUCKET.%s:%d/path",
			url->host, url->host, url->port ? url->port : 9000);
	t->provider = S3_OTHER;
	t->https = false;
	t->port = url->port;
	snprintf(t->region, sizeof(t->region), "us-east-1");
	int rc = s3_copy_field(
		t->bucket, sizeof(t->bucket), url->host, (size_t)(dot - url->host), "bucket", e);
	return rc ? rc : s3_copy_text(t->host, sizeof(t->host), dot + 1, "host", e);
}

int s3_parse_host(struct s3_target *t, const struct store_url *url,
	const struct store_options *opts, struct err *e)
{
	const char *host = url->host;
	if (!*host || *host == '.')
		return err_set(e, ERR_USAGE, "the replica URL has no bucket: write s3://BUCKET/path");
	t->provider = S3_AWS;
	t->https = true;
	if (!strncmp(host, "arn:", 4))
		return parse_arn(t, url, e);
	int rc = s3_copy_text(t->prefix, sizeof(t->prefix), url->path, "path", e);
	if (rc)
		return rc;
	const struct s3_provider_rule *r = url->port ? NULL : s3_find_rule(host);
	if (r)
		return parse_provider_host(t, url, r, opts, e);
	if (!url->port &&
		(s3_ends_with(host, ".amazonaws.com") || s3_ends_with(host, ".amazonaws.com.cn")))
		return parse_aws_host(t, host, e);
	if (url->port || s3_ends_with(host, ".localhost") || !strcasecmp(host, "localhost"))
		return parse_own_host(t, url, e);
	return s3_copy_text(t->bucket, sizeof(t->bucket), host, "bucket", e);
}
