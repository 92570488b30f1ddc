#include "store/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 *   /path                                     a folder
 *   scheme://[host[:port]][/path][?name=value&…]
 * Path and query are percent-encoded; a '+' is a plus. A user part ("user:password@") belongs to no
 * scheme that we have. The host of "s3://arn:aws:s3:…:accesspoint/name" has colons in it: there the
 * path begins at the first slash as everywhere, and no port is looked for.
 */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place. Bytes below space would end up in keys and messages: refused. */
static int percent_decode(char *s, const char *what, struct err *e)
{
	char *out = s;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '%') {
			int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
			if (lo < 0)
				return err_set(e, ERR_USAGE,
					"the %s of the replica URL has a '%%' that two hexadecimal digits don't follow",
					what);
			c = (unsigned char)(hi << 4 | lo);
			s += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return err_set(
				e, ERR_USAGE, "the %s of the replica URL has a control character in it", what);
		*out++ = (char)c;
	}
	*out = '\0';
	return ERR_OK;
}

/* Drops empty and "." parts in place; keeps one slash in front when keep_root. */
static int clean_path(char *path, bool keep_root, struct err *e)
{
	char *in = path, *out = path;
	if (keep_root)
		in++, out++;
	bool first = true;
	while (*in) {
		size_t n = strcspn(in, "/");
		if (n == 2 && !memcmp(in, "..", 2))
			return err_set(e, ERR_USAGE, "the path of the replica URL has '..' in it");
		if (n > 0 && !(n == 1 && *in == '.')) {
			if (!first)
				*out++ = '/';
			memmove(out, in, n);
			out += n;
			first = false;
		}
		in += n + (in[n] == '/');
	}
	*out = '\0';
	return ERR_OK;
}

static int split_query(struct store_url *u, char *query, struct err *e)
{
	for (char *next; query && *query; query = next) {
		next = strchr(query, '&');
		if (next)
			*next++ = '\0';
		if (!*query)
			continue;
		if (u->n_params == STORE_URL_PARAMS)
			return err_set(e, ERR_USAGE, "the replica URL has more than %d query parameters",
				STORE_URL_PARAMS);
		char *value = strchr(query, '=');
		if (value)
			*value++ = '\0';
		else
			value = query + strlen(query);
		int rc = percent_decode(query, "query", e);
		if (!rc)
			rc = percent_decode(value, "query", e);
		if (rc)
			return rc;
		u->params[u->n_params++] = (struct store_url_param){query, value};
	}
	return ERR_OK;
}

/* Cuts ":9000" off the host. */
static int split_port(struct store_url *u, char *host, struct err *e)
{
	char *colon = strchr(host, ':');
	if (!colon || !strncmp(host, "arn:", 4))
		return ERR_OK;
	char *end;
	long port = strtol(colon + 1, &end, 10);
	if (!isdigit((unsigned char)colon[1]) || *end || port < 1 || port > 65535)
		return err_set(e, ERR_USAGE, "the port of the replica URL is not a number from 1 to 65535");
	*colon = '\0';
	u->port = (int)port;
	return ERR_OK;
}

static int check_host(const char *host, struct err *e)
{
	if (strchr(host, '@'))
		return err_set(e, ERR_USAGE,
			"the replica URL has a user or password in it ('@'): give credentials by "
			"configuration or environment, never in the URL");
	for (const char *p = host; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(".-_:", *p))
			return err_set(e, ERR_USAGE,
				"the bucket or host of the replica URL has a character that is not a letter, "
				"digit, "
				"'.', '-' or '_'");
	return ERR_OK;
}

/* `rest` is what follows "scheme://". */
static int split_rest(struct store_url *u, char *rest, struct err *e)
{
	char *query = strchr(rest, '?');
	if (query)
		*query++ = '\0';
	if (strchr(rest, '#'))
		return err_set(e, ERR_USAGE,
			"the replica URL has a '#' in it: write %%23 where it belongs to the path");
	char *path = strchr(rest, '/');
	/* The host needs its end where the path's first slash is: shift it one to the left. */
	size_t host_len = path ? (size_t)(path - rest) : strlen(rest);
	char *host = rest - 1;
	memmove(host, rest, host_len);
	host[host_len] = '\0';
	if (!path)
		path = rest + host_len;
	u->host = host;
	u->path = path;
	int rc = check_host(host, e);
	if (!rc)
		rc = split_port(u, host, e);
	if (!rc)
		rc = percent_decode(path, "path", e);
	if (!rc)
		rc = clean_path(path, *path == '/' && !strcmp(u->scheme, "file"), e);
	return rc ? rc : split_query(u, query, e);
}

static int parse_plain_path(struct store_url *u, struct err *e)
{
	u->scheme = "file";
	u->host = "";
	u->path = u->memory;
	for (const char *p = u->memory; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(e, ERR_USAGE, "the path of the replica has a control character in it");
	return clean_path(u->memory, true, e);
}

int store_url_parse(struct store_url *out, const char *text, struct err *e)
{
	*out = (struct store_url){.scheme = "", .host = "", .path = ""};
	if (strlen(text) > STORE_URL_MAX)
		return err_set(e, ERR_USAGE, "the replica URL is longer than %d bytes", STORE_URL_MAX);
	if (!*text)
		return err_set(e, ERR_USAGE, "the replica URL is empty");
	out->memory = strdup(text);
	if (!out->memory)
		return err_nomem(e, "reading the replica URL");
	if (*text == '/')
		return parse_plain_path(out, e);
	char *sep = strstr(out->memory, "://");
	if (!sep)
		return err_set(e, ERR_USAGE,
			"the replica is neither a URL (s3://bucket/path) nor an absolute path: it begins with "
			"'%.20s'",
			text);
	*sep = '\0';
	for (char *p = out->memory; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("+-.", *p))
			return err_set(
				e, ERR_USAGE, "what stands before '://' in the replica URL is no scheme");
		*p = (char)tolower((unsigned char)*p);
	}
	out->scheme = out->memory;
	return split_rest(out, sep + 3, e);
}

void store_url_free(struct store_url *u)
{
	free(u->memory);
	*u = (struct store_url){.scheme = "", .host = "", .path = ""};
}

/* "part-size", "partSize" and, for what has digits or abbreviations in it, any case: hyphens don't
 * count and neither does case. */
static bool same_param(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (*a == '-')
			a++;
		while (*b == '-')
			b++;
		if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return false;
		if (!*a)
			return true;
	}
}

const char *store_url_param(const struct store_url *u, const char *name)
{
	for (size_t i = 0; i < u->n_params; i++)
		if (same_param(u->params[i].name, name))
			return u->params[i].value;
	return NULL;
}

int store_url_check_params(const struct store_url *u, const char *const *known, struct err *e)
{
	for (size_t i = 0; i < u->n_params; i++) {
		bool found = false;
		for (size_t k = 0; known && known[k] && !found; k++)
			found = same_param(u->params[i].name, known[k]);
		if (!found)
			return err_set(e, ERR_USAGE,
				"unknown query parameter '%.40s' in the replica URL %s://%s: docs/URLS.md lists "
				"them all",
				u->params[i].name, u->scheme, u->host);
		for (size_t k = 0; k < i; k++)
			if (same_param(u->params[i].name, u->params[k].name))
				return err_set(e, ERR_USAGE,
					"query parameter '%.40s' stands twice in the replica URL %s://%s",
					u->params[i].name, u->scheme, u->host);
	}
	return ERR_OK;
}
