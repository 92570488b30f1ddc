#include "store/s3.h"

#include "base/clock.h"
#include "net/xml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * ListObjectsV2, a page of up to 1000 keys a request:
 *
 *   <ListBucketResult>
 *     <EncodingType>url</EncodingType> <IsTruncated>true</IsTruncated>
 *     <NextContinuationToken>…</NextContinuationToken>
 *     <Contents><Key>…</Key><LastModified>…</LastModified><Size>…</Size></Contents> …
 *     <CommonPrefixes><Prefix>…/</Prefix></CommonPrefixes> …
 *   </ListBucketResult>
 *
 * With delimiter=/ only what is directly in the folder has a Contents, and each folder in it is a
 * CommonPrefixes.
 *
 * encoding-type=url, because XML can't hold every key. A page is read whole (bounded) before its
 * first object is given away, so a transfer that broke is repeated without giving anything twice.
 */

#define PAGE_KEYS 1000
/* Forty million keys. A server that always has one more page would hold us for ever. */
#define PAGES_MAX 40000
#define EMPTY_PAGES_MAX 1000 /* one after the other, without a single key */

struct listing {
	struct store *s;
	struct s3_call call;    /* of the page */
	struct buf full_prefix; /* of keys: the replica's and the asked one */
	const char *after;      /* relative */
	size_t max, given;
	bool flat; /* the folder alone, with a delimiter */
	store_list_fn fn;
	void *ctx;
	/* Of the page that is being parsed. */
	bool is_list, truncated, encoded;
	struct buf token, last_token;
	char key[XML_MAX_TEXT + 1];
	uint64_t size;
	int64_t modified_ms;
	bool has_key, has_size;
	size_t empty;    /* pages in a row that had no key */
	char last[1100]; /* the name given last: pages must go forward */
};

static int hex_digit(char c)
{
	return isdigit((unsigned char)c)    ? c - '0'
		   : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
										: -1;
}

static void url_decode(char *s, bool plus_is_space)
{
	char *out = s;
	for (; *s; s++) {
		if (*s == '%' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
			*out++ = (char)(hex_digit(s[1]) << 4 | hex_digit(s[2]));
			s += 2;
		} else {
			*out++ = *s == '+' && plus_is_space ? ' ' : *s;
		}
	}
	*out = '\0';
}

const char *s3_relative_key(char *key, const char *prefix, bool encoded)
{
	size_t n = strlen(prefix);
	if (encoded) {
		char raw[XML_MAX_TEXT + 1];
		snprintf(raw, sizeof(raw), "%s", key);
		url_decode(key, true);
		if (strncmp(key, prefix, n) != 0) {
			strcpy(key, raw);
			url_decode(key, false);
		}
	}
	return strncmp(key, prefix, n) ? NULL : key + n;
}

static const char *relative_name(struct listing *l)
{
	return s3_relative_key(l->key, buf_str(&l->full_prefix), l->encoded);
}

static int give(struct listing *l, struct err *e)
{
	if (!l->has_key || !l->has_size)
		return err_set(
			e, ERR_DAMAGED, "the listing of %s has an object without key or size", l->s->url);
	const char *name = relative_name(l);
	if (!name)
		return err_set(
			e, ERR_DAMAGED, "the listing of %s has a key that was not asked for", l->s->url);
	/* Foreign keys, folder markers, and what a server without start-after, or delimiter, lists. */
	if (!store_name_is_valid(name) || (l->flat && strchr(name, '/')) ||
		strcmp(name, l->after) <= 0 || (l->max && l->given >= l->max))
		return ERR_OK;
	if (l->given && strcmp(name, l->last) <= 0)
		return err_set(e, ERR_DAMAGED,
			"the listing of %s is not in byte order: '%.60s' after '%.60s'", l->s->url, name,
			l->last);
	snprintf(l->last, sizeof(l->last), "%s", name);
	struct store_object o = {.name = name, .size = l->size, .modified_ms = l->modified_ms};
	l->given++;
	return l->fn(l->ctx, &o, e);
}

static int give_folder(struct listing *l, const char *text, struct err *e)
{
	strcpy(l->key, text); /* xml.h's bound is key's size */
	l->empty = 0;
	const char *name = relative_name(l);
	size_t n = name ? strlen(name) : 0;
	if (!l->flat || n < 2 || name[n - 1] != '/' || l->given >= l->max)
		return ERR_OK;
	l->key[strlen(l->key) - 1] = '\0';
	bool valid = store_name_is_valid(name) && !strchr(name, '/');
	l->key[strlen(l->key)] = '/';
	struct store_object o = {.name = name};
	l->given += valid;
	return valid ? l->fn(l->ctx, &o, e) : ERR_OK;
}

static int parse_size(const char *text, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(text, &end, 10);
	/* What no file can have must not be added up with others. */
	return isdigit((unsigned char)*text) && !*end && !errno && *out <= INT64_MAX ? 0 : -1;
}

static int on_object_field(struct listing *l, const char *field, const char *text, struct err *e)
{
	if (!strcmp(field, "Key")) {
		strcpy(l->key, text); /* xml.h's bound is key's size */
		l->has_key = true;
		l->empty = 0;
	} else if (!strcmp(field, "Size")) {
		if (parse_size(text, &l->size))
			return err_set(
				e, ERR_DAMAGED, "the listing of %s has a size that can't be one", l->s->url);
		l->has_size = true;
	} else if (!strcmp(field, "LastModified")) {
		if (clock_parse_rfc3339(text, &l->modified_ms))
			l->modified_ms = 0;
	}
	return ERR_OK;
}

static int on_begin(void *ctx, const char *path, struct err *e)
{
	struct listing *l = ctx;
	(void)e;
	if (!strcmp(path, "ListBucketResult"))
		l->is_list = true;
	else if (!strcmp(path, "ListBucketResult/Contents"))
		l->has_key = l->has_size = false, l->modified_ms = 0;
	return ERR_OK;
}

static int on_end(void *ctx, const char *path, const char *text, struct err *e)
{
	static const char root[] = "ListBucketResult/", contents[] = "Contents/";
	struct listing *l = ctx;
	if (strncmp(path, root, sizeof(root) - 1) != 0)
		return ERR_OK;
	path += sizeof(root) - 1;
	if (!strncmp(path, contents, sizeof(contents) - 1))
		return on_object_field(l, path + sizeof(contents) - 1, text, e);
	if (!strcmp(path, "Contents"))
		return give(l, e);
	if (!strcmp(path, "CommonPrefixes/Prefix"))
		return give_folder(l, text, e);
	if (!strcmp(path, "IsTruncated"))
		l->truncated = !strcmp(text, "true");
	else if (!strcmp(path, "EncodingType"))
		l->encoded = !strcmp(text, "url");
	else if (!strcmp(path, "NextContinuationToken")) {
		buf_reset(&l->token);
		return buf_append_str(&l->token, text) ? err_nomem(e, "listing") : ERR_OK;
	}
	return ERR_OK;
}

/*
 * Some servers write EncodingType behind the Contents that it is about, so it is looked for before
 * anything is given away.
 */
static int on_end_first(void *ctx, const char *path, const char *text, struct err *e)
{
	struct listing *l = ctx;
	(void)e;
	if (!strcmp(path, "ListBucketResult/EncodingType"))
		l->encoded = !strcmp(text, "url");
	return ERR_OK;
}

static int parse_page(struct listing *l, struct err *e)
{
	const struct buf *body = &l->call.r.body;
	struct xml_handler first = {.begin = on_begin, .end = on_end_first, .ctx = l};
	struct xml_handler second = {.begin = on_begin, .end = on_end, .ctx = l};
	l->is_list = l->truncated = l->encoded = false;
	buf_reset(&l->last_token);
	if (l->token.len && buf_append(&l->last_token, l->token.data, l->token.len))
		return err_nomem(e, "listing");
	buf_reset(&l->token);
	int rc = xml_parse(body->data, body->len, &first, e);
	if (rc)
		return err_wrap(e, "cannot list %s: the answer is not S3's", l->s->url);
	if (!l->is_list)
		return err_set(e, ERR_DAMAGED,
			"cannot list %s: the answer is no listing of S3's; is the endpoint right, is a proxy "
			"in between?",
			l->s->url);
	rc = xml_parse(body->data, body->len, &second, e);
	if (!rc && l->truncated && l->token.len == 0)
		return err_set(
			e, ERR_DAMAGED, "cannot list %s: the listing goes on, but not where", l->s->url);
	if (!rc && l->truncated && !strcmp(buf_str(&l->token), buf_str(&l->last_token)))
		return err_set(e, ERR_DAMAGED, "cannot list %s: the listing goes in circles", l->s->url);
	return rc;
}

int s3_add_param(struct buf *q, const char *name, const char *value)
{
	int rc = buf_printf(q, "%s%s=", q->len ? "&" : "", name);
	return rc ? rc : sigv4_encode(q, value, 0);
}

static int make_query(struct listing *l, struct buf *q)
{
	char keys[16];
	size_t left = l->max ? l->max - l->given : PAGE_KEYS;
	snprintf(keys, sizeof(keys), "%zu", left < PAGE_KEYS ? left : (size_t)PAGE_KEYS);
	buf_reset(q);
	int rc = s3_add_param(q, "list-type", "2");
	if (!rc)
		rc = s3_add_param(q, "encoding-type", "url");
	if (!rc)
		rc = s3_add_param(q, "max-keys", keys);
	if (!rc)
		rc = s3_add_param(q, "prefix", buf_str(&l->full_prefix));
	if (!rc && l->flat)
		rc = s3_add_param(q, "delimiter", "/");
	if (!rc && l->token.len)
		return s3_add_param(q, "continuation-token", buf_str(&l->token));
	if (!rc && *l->after) {
		struct buf after;
		buf_init(&after, 4096);
		rc = buf_printf(&after, "%s%s", buf_str(&l->full_prefix), l->after);
		if (!rc)
			rc = s3_add_param(q, "start-after", buf_str(&after));
		buf_free(&after);
	}
	return rc;
}

static int list_page(struct listing *l, struct buf *q, struct err *e)
{
	struct s3_call *c = &l->call;
	if (make_query(l, q))
		return err_nomem(e, "listing");
	s3_call_init(c, "GET", NULL, "list", STORE_N_LIST);
	c->query = buf_str(q);
	int rc = s3_perform(l->s, c, e);
	/* The bucket itself was asked for: what is not there is the bucket. */
	if (rc == ERR_NOT_FOUND)
		rc = ERR_FAIL;
	if (e && rc == ERR_FAIL)
		e->code = ERR_FAIL;
	if (!rc)
		rc = parse_page(l, e);
	if (!rc)
		store_count_bytes(l->s, STORE_N_LIST, c->r.body.len);
	s3_call_free(c);
	return rc;
}

/* Foreign names are in no count: so that a folder of nothing else has an end too. */
static bool wants_more(const struct listing *l, size_t pages)
{
	if (!l->truncated || (l->max && l->given >= l->max))
		return false;
	return !l->flat || pages <= l->max / PAGE_KEYS;
}

static int list_all(const struct listing *what, const char *prefix, struct err *e)
{
	const struct s3 *s3 = what->s->impl;
	struct buf query;
	struct listing *l = calloc(1, sizeof(*l));
	if (!l)
		return err_nomem(e, "listing");
	*l = *what;
	buf_init(&query, 16384);
	buf_init(&l->token, XML_MAX_TEXT);
	buf_init(&l->last_token, XML_MAX_TEXT);
	buf_init(&l->full_prefix, 4096);
	int rc = s3_append_key(&l->full_prefix, &s3->target, prefix) ? err_nomem(e, "listing")
																 : list_page(l, &query, e);
	for (size_t pages = 1; !rc && wants_more(l, pages); pages++)
		rc = pages < PAGES_MAX && l->empty++ < EMPTY_PAGES_MAX
				 ? list_page(l, &query, e)
				 : err_set(e, ERR_DAMAGED, "the listing of %s has no end", what->s->url);
	buf_free(&l->full_prefix);
	buf_free(&l->token);
	buf_free(&l->last_token);
	buf_free(&query);
	free(l);
	return rc;
}

int s3_list(struct store *s, const char *prefix, const char *after, size_t max, store_list_fn fn,
	void *ctx, struct err *e)
{
	return list_all(
		&(struct listing){.s = s, .after = after, .max = max, .fn = fn, .ctx = ctx}, prefix, e);
}

int s3_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	return list_all(
		&(struct listing){.s = s, .after = "", .max = max, .flat = true, .fn = fn, .ctx = ctx},
		prefix, e);
}
