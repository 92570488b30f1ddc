#include "store/s3_upload.h"

#include "base/clock.h"
#include "net/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * ListMultipartUploads:
 *
 *   <ListMultipartUploadsResult>
 *     <EncodingType>url</EncodingType> <IsTruncated>true</IsTruncated>
 *     <NextKeyMarker>…</NextKeyMarker> <NextUploadIdMarker>…</NextUploadIdMarker>
 *     <Upload><Key>…</Key><UploadId>…</UploadId><Initiated>…</Initiated></Upload> …
 *   </ListMultipartUploadsResult>
 *
 * Those of a page that are chosen are noted first, then aborted, then the next page is asked for.
 */

#define PAGE_UPLOADS "100"
#define PAGES_MAX 100 /* what is behind them comes with a later call */

struct uploads_page {
	struct store *s;
	struct buf full_prefix; /* of keys: the replica's and the asked one */
	struct buf chosen;      /* name NUL id NUL … */
	size_t root;            /* so much of a key is the replica's URL */
	bool (*choose)(void *ctx, const struct store_unfinished *u);
	void *ctx;
	bool is_result, truncated, encoded;
	char next_key[XML_MAX_TEXT + 1], next_id[S3_UPLOAD_ID_SIZE];
	int64_t now_ms; /* the server's */
	/* Of the upload that is being parsed. */
	char key[XML_MAX_TEXT + 1], id[S3_UPLOAD_ID_SIZE];
	int64_t begun_ms;
};

static int take(struct uploads_page *p, struct err *e)
{
	const char *name = s3_relative_key(p->key, buf_str(&p->full_prefix), p->encoded);
	if (!name || !*p->id)
		return ERR_OK;
	name = p->key + p->root;
	struct store_unfinished u = {.name = name, .age_ms = -1};
	if (p->now_ms && p->begun_ms)
		u.age_ms = p->now_ms > p->begun_ms ? p->now_ms - p->begun_ms : 0;
	if (!store_name_is_valid(name) || !p->choose(p->ctx, &u))
		return ERR_OK;
	if (buf_append(&p->chosen, name, strlen(name) + 1) ||
		buf_append(&p->chosen, p->id, strlen(p->id) + 1))
		return err_nomem(e, "looking for unfinished uploads");
	return ERR_OK;
}

static int on_begin(void *ctx, const char *path, struct err *e)
{
	struct uploads_page *p = ctx;
	(void)e;
	if (!strcmp(path, "ListMultipartUploadsResult"))
		p->is_result = true;
	if (!strcmp(path, "ListMultipartUploadsResult/Upload")) {
		p->key[0] = p->id[0] = '\0';
		p->begun_ms = 0;
	}
	return ERR_OK;
}

/* What stands behind or before the uploads. */
static int on_end_first(void *ctx, const char *path, const char *text, struct err *e)
{
	struct uploads_page *p = ctx;
	(void)e;
	if (!strcmp(path, "ListMultipartUploadsResult/IsTruncated"))
		p->truncated = !strcmp(text, "true");
	else if (!strcmp(path, "ListMultipartUploadsResult/EncodingType"))
		p->encoded = !strcmp(text, "url");
	else if (!strcmp(path, "ListMultipartUploadsResult/NextKeyMarker"))
		strcpy(p->next_key, text); /* xml.h's bound is its size */
	else if (!strcmp(path, "ListMultipartUploadsResult/NextUploadIdMarker"))
		snprintf(p->next_id, sizeof(p->next_id), "%s", text);
	return ERR_OK;
}

static int on_end(void *ctx, const char *path, const char *text, struct err *e)
{
	struct uploads_page *p = ctx;
	if (!strcmp(path, "ListMultipartUploadsResult/Upload"))
		return take(p, e);
	if (!strcmp(path, "ListMultipartUploadsResult/Upload/Key"))
		strcpy(p->key, text);
	else if (!strcmp(path, "ListMultipartUploadsResult/Upload/UploadId"))
		snprintf(p->id, sizeof(p->id), "%s", text);
	else if (!strcmp(path, "ListMultipartUploadsResult/Upload/Initiated") &&
			 clock_parse_rfc3339(text, &p->begun_ms))
		p->begun_ms = 0;
	return ERR_OK;
}

static int make_query(const struct uploads_page *p, struct buf *q)
{
	int rc = s3_add_param(q, "uploads", "");
	if (!rc)
		rc = s3_add_param(q, "encoding-type", "url");
	if (!rc)
		rc = s3_add_param(q, "max-uploads", PAGE_UPLOADS);
	if (!rc)
		rc = s3_add_param(q, "prefix", buf_str(&p->full_prefix));
	if (!rc && *p->next_key)
		rc = s3_add_param(q, "key-marker", p->next_key);
	if (!rc && *p->next_id)
		rc = s3_add_param(q, "upload-id-marker", p->next_id);
	return rc;
}

static int parse_page(struct uploads_page *p, const struct s3_call *c, struct err *e)
{
	struct xml_handler first = {.begin = on_begin, .end = on_end_first, .ctx = p};
	struct xml_handler second = {.begin = on_begin, .end = on_end, .ctx = p};
	char date[64], last[sizeof(p->next_key)], last_id[sizeof(p->next_id)];
	strcpy(last, p->next_key);
	strcpy(last_id, p->next_id);
	p->is_result = p->truncated = p->encoded = false;
	p->next_key[0] = p->next_id[0] = '\0';
	http_response_header(&c->r, "date", date, sizeof(date));
	p->now_ms = s3_parse_http_date(date);
	int rc = xml_parse(c->r.body.data, c->r.body.len, &first, e);
	if (!rc && !p->is_result)
		rc = err_set(e, ERR_DAMAGED, "the answer is not S3's");
	if (!rc && p->encoded)
		s3_relative_key(p->next_key, "", true);
	if (!rc && p->truncated && !strcmp(p->next_key, last) && !strcmp(p->next_id, last_id))
		rc = err_set(e, ERR_DAMAGED, "the list goes in circles");
	if (!rc)
		rc = xml_parse(c->r.body.data, c->r.body.len, &second, e);
	return rc ? err_wrap(e, "cannot look for unfinished uploads in %s", p->s->url) : ERR_OK;
}

static int list_page(struct uploads_page *p, struct err *e)
{
	struct s3_call c;
	struct buf q;
	buf_init(&q, 32768);
	s3_call_init(&c, "GET", NULL, "look for unfinished uploads in", STORE_N_LIST);
	int rc = make_query(p, &q) ? err_nomem(e, "looking for unfinished uploads") : ERR_OK;
	c.query = buf_str(&q);
	if (!rc)
		rc = s3_perform(p->s, &c, e);
	if (!rc)
		rc = parse_page(p, &c, e);
	s3_call_free(&c);
	buf_free(&q);
	return rc;
}

static int abort_chosen(struct uploads_page *p, size_t *n, struct err *e)
{
	int rc = ERR_OK;
	const char *at = buf_str(&p->chosen), *end = at + p->chosen.len;
	while (!rc && at < end) {
		const char *name = at, *id = name + strlen(name) + 1;
		rc = s3_upload_abort(p->s, name, id, false, e);
		*n += rc == ERR_OK;
		at = id + strlen(id) + 1;
	}
	buf_reset(&p->chosen);
	return rc;
}

int s3_end_unfinished(struct store *s, const char *prefix,
	bool (*chosen)(void *ctx, const struct store_unfinished *u), void *ctx, size_t *n,
	struct err *e)
{
	const struct s3 *s3 = s->impl;
	struct uploads_page *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "looking for unfinished uploads");
	p->s = s;
	p->choose = chosen;
	p->ctx = ctx;
	buf_init(&p->full_prefix, 4096);
	buf_init(&p->chosen, (size_t)256 << 10);
	int rc = s3_append_key(&p->full_prefix, &s3->target, prefix)
				 ? err_nomem(e, "looking for unfinished uploads")
				 : ERR_OK;
	p->root = p->full_prefix.len - strlen(prefix);
	for (int pages = 0; !rc && pages < PAGES_MAX && (pages == 0 || p->truncated); pages++) {
		rc = list_page(p, e);
		if (!rc)
			rc = abort_chosen(p, n, e);
	}
	buf_free(&p->full_prefix);
	buf_free(&p->chosen);
	free(p);
	return rc;
}
