#include "store/s3_upload.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The token of an upload in parts:
 *
 *   <part size>\n <upload ID>\n { <part number> <ETag>\n }
 *
 * A part that is not in it, because its answer came after the last token, is sent again: then it
 * takes the place of the first one. One that is in it counts when ListParts shows it with the same
 * ETag and size:
 *
 *   <ListPartsResult>
 *     <IsTruncated>true</IsTruncated> <NextPartNumberMarker>1000</NextPartNumberMarker>
 *     <Part><PartNumber>1</PartNumber><ETag>"…"</ETag><Size>5242880</Size></Part> …
 *   </ListPartsResult>
 *
 * A token for each part would be a file made durable for each, which the app's own commits feel;
 * so it comes after 32 MiB or five seconds, whichever is first, and when the put ends.
 */

#define TOKEN_MAX ((size_t)2 << 20)
#define KEEP_BYTES ((uint64_t)32 << 20)
#define KEEP_US INT64_C(5000000)
#define PAGE_PARTS "1000"

/* ---- giving ---- */

/* A line of its own must hold it. */
static bool is_word(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= ' ')
			return false;
	return *text != '\0';
}

static int make_token(const struct s3_upload *u, struct buf *out)
{
	int rc = is_word(u->id) ? buf_printf(out, "%" PRIu64 "\n%s\n", u->part_size, u->id) : ERR_FAIL;
	for (size_t i = 0; i < u->n && !rc; i++)
		if (u->parts[i].up && is_word(u->parts[i].etag))
			rc = buf_printf(out, "%d %s\n", u->parts[i].number, u->parts[i].etag);
	return rc;
}

void s3_upload_keep(struct s3_upload *u, bool now)
{
	const struct store_resume *r = u->opts->resume;
	struct err e = ERR_INIT;
	struct buf token;
	if (!r || (!now && u->since_bytes < KEEP_BYTES && clock_mono_us() - u->kept_us < KEEP_US))
		return;
	buf_init(&token, TOKEN_MAX);
	int rc = make_token(u, &token);
	if (!rc)
		rc = r->keep(r->ctx, buf_str(&token), &e);
	buf_free(&token);
	if (rc)
		log_debug("%s/%s: its upload can't be gone on with after a crash: %s", u->s->url, u->name,
			e.text);
	u->kept = rc == ERR_OK;
	u->since_bytes = 0;
	u->kept_us = clock_mono_us();
}

/* ---- taking ---- */

/* Copies a line without its end; *text moves behind it. False: it is empty, too long, or the last
 * one and torn. */
static bool take_line(const char **text, char *out, size_t size)
{
	const char *end = strchr(*text, '\n');
	size_t n = end ? (size_t)(end - *text) : 0;
	if (n == 0 || n >= size)
		return false;
	memcpy(out, *text, n);
	out[n] = '\0';
	*text = end + 1;
	return true;
}

/* "12 "etag"" */
static bool take_part(struct s3_upload *u, const char *line)
{
	char *end;
	unsigned long number = strtoul(line, &end, 10);
	if (number == 0 || number > u->n || *end != ' ' || strlen(end + 1) >= sizeof(u->parts->etag))
		return false;
	strcpy(u->parts[number - 1].etag, end + 1);
	return true;
}

int s3_upload_take(struct s3_upload *u, struct err *e)
{
	char line[S3_UPLOAD_ID_SIZE], *end;
	const char *text = u->opts->resume ? u->opts->resume->token : NULL;
	if (!text || !take_line(&text, line, sizeof(line)))
		return ERR_OK;
	uint64_t size = strtoull(line, &end, 10);
	if (*end || size < S3_PART_SIZE_MIN || size > S3_MAX_SINGLE ||
		!take_line(&text, line, sizeof(line)))
		return ERR_OK;
	int rc = s3_upload_cut(u, size, e);
	if (rc)
		return rc;
	strcpy(u->id, line);
	u->kept = true;
	while (take_line(&text, line, sizeof(line)) && take_part(u, line))
		;
	return ERR_OK;
}

/* ---- looking ---- */

struct parts_page {
	struct s3_upload *u;
	bool is_result, truncated;
	int next; /* marker of the next page */
	/* Of the part that is being parsed. */
	int number;
	uint64_t size;
	char etag[128];
};

static void take_listed(struct parts_page *p)
{
	struct s3_upload *u = p->u;
	if (p->number < 1 || (size_t)p->number > u->n)
		return;
	struct s3_part *part = &u->parts[p->number - 1];
	part->up = *part->etag && strcmp(part->etag, p->etag) == 0 && part->body.size == p->size;
}

static int on_begin(void *ctx, const char *path, struct err *e)
{
	struct parts_page *p = ctx;
	(void)e;
	if (!strcmp(path, "ListPartsResult"))
		p->is_result = true;
	if (!strcmp(path, "ListPartsResult/Part")) {
		p->number = 0;
		p->size = 0;
		p->etag[0] = '\0';
	}
	return ERR_OK;
}

static int on_end(void *ctx, const char *path, const char *text, struct err *e)
{
	struct parts_page *p = ctx;
	(void)e;
	if (!strcmp(path, "ListPartsResult/Part/PartNumber"))
		p->number = atoi(text);
	else if (!strcmp(path, "ListPartsResult/Part/Size"))
		p->size = strtoull(text, NULL, 10);
	else if (!strcmp(path, "ListPartsResult/Part/ETag"))
		snprintf(p->etag, sizeof(p->etag), "%s", text);
	else if (!strcmp(path, "ListPartsResult/Part"))
		take_listed(p);
	else if (!strcmp(path, "ListPartsResult/IsTruncated"))
		p->truncated = !strcmp(text, "true");
	else if (!strcmp(path, "ListPartsResult/NextPartNumberMarker"))
		p->next = atoi(text);
	return ERR_OK;
}

static int make_query(const struct s3_upload *u, int marker, struct buf *q)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", marker);
	int rc = s3_add_param(q, "max-parts", PAGE_PARTS);
	if (!rc && marker)
		rc = s3_add_param(q, "part-number-marker", number);
	return rc ? rc : s3_add_param(q, "uploadId", u->id);
}

static int parse_page(struct parts_page *p, const struct s3_call *c, struct err *e)
{
	struct s3_upload *u = p->u;
	struct xml_handler h = {.begin = on_begin, .end = on_end, .ctx = p};
	int before = p->next;
	char date[64];
	p->truncated = false;
	int rc = xml_parse(c->r.body.data, c->r.body.len, &h, e);
	if (rc)
		return err_wrap(e, "cannot look at the parts of %s/%s", u->s->url, u->name);
	if (!p->is_result || (p->truncated && p->next <= before))
		return err_set(e, ERR_DAMAGED,
			"cannot look at the parts of %s/%s: the answer is no list of S3's", u->s->url, u->name);
	http_response_header(&c->r, "date", date, sizeof(date));
	u->begun_ms = s3_parse_http_date(date); /* it is completed after this moment */
	return ERR_OK;
}

static int list_page(struct parts_page *p, struct err *e)
{
	struct s3_upload *u = p->u;
	struct s3_call c;
	struct buf q;
	buf_init(&q, 8192);
	s3_call_init(&c, "GET", u->name, "look at the parts of", STORE_N_LIST);
	int rc = make_query(u, p->next, &q) ? err_nomem(e, "looking at an upload") : ERR_OK;
	c.query = buf_str(&q);
	if (!rc)
		rc = s3_perform(u->s, &c, e);
	if (!rc)
		rc = parse_page(p, &c, e);
	s3_call_free(&c);
	buf_free(&q);
	return rc;
}

int s3_upload_verify(struct s3_upload *u, struct err *e)
{
	struct parts_page p = {.u = u};
	int rc;
	do {
		rc = list_page(&p, e);
	} while (!rc && p.truncated);
	return rc;
}
