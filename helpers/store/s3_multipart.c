#include "store/s3_upload.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "net/xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * An upload in parts: CreateMultipartUpload gives an upload ID, every part is a PUT whose ETag is
 * kept, CompleteMultipartUpload names them all and makes the object appear at once. It answers 200
 * before it is done, so an error can be inside. What fails is aborted, or its parts would be paid
 * for.
 *
 * The condition: If-None-Match stands on Complete, where AWS and R2 honour it. Some servers ignore
 * it there (radosgw before 2025), so the object is looked for right before. That narrows the race
 * and does not close it: what must never be overwritten is put with `single`.
 *
 * With a store_resume what failed for a reason that passes is left as it is, and gone on with
 * (s3_resume.c).
 */

#define MAX_PARTS 10000
#define MIB ((uint64_t)1 << 20)

struct created {
	char *id;
	size_t size;
	bool is_result;
};

static int on_created(void *ctx, const char *path, const char *text, struct err *e)
{
	struct created *c = ctx;
	if (strcmp(path, "InitiateMultipartUploadResult/UploadId") != 0)
		return ERR_OK;
	if (!*text || strlen(text) >= c->size)
		return err_set(e, ERR_DAMAGED, "the upload's ID is empty or too long");
	strcpy(c->id, text);
	return ERR_OK;
}

static int create_upload(struct s3_upload *u, struct err *e)
{
	const struct s3 *s3 = u->s->impl;
	struct created created = {.id = u->id, .size = sizeof(u->id)};
	struct xml_handler h = {.end = on_created, .ctx = &created};
	char timestamp[40];
	struct s3_call c;
	s3_call_init(&c, "POST", u->name, "store", STORE_N_PUT);
	c.query = "uploads=";
	s3_call_header(&c, "Content-Type", "application/octet-stream");
	s3_object_headers(&c, &s3->target, u->opts, timestamp);
	int rc = s3_perform(u->s, &c, e);
	char date[64];
	http_response_header(&c.r, "date", date, sizeof(date));
	u->begun_ms = s3_parse_http_date(date);
	if (!rc && (xml_parse(c.r.body.data, c.r.body.len, &h, e) || !*u->id))
		rc = err_set(e, ERR_DAMAGED,
			"cannot store %s/%s: the answer names no upload, so it is not S3's", u->s->url,
			u->name);
	s3_call_free(&c);
	return rc;
}

/* "partNumber=1&uploadId=…" or "uploadId=…" (part 0). */
static int make_query(const struct s3_upload *u, int part, struct buf *q)
{
	int rc = part ? buf_printf(q, "partNumber=%d&", part) : ERR_OK;
	if (!rc)
		rc = buf_append_str(q, "uploadId=");
	return rc ? rc : sigv4_encode(q, u->id, 0);
}

static bool is_forgotten(const struct s3_call *c)
{
	return !strcmp(c->refusal.code, "NoSuchUpload");
}

static int send_part(struct s3_part *p, struct err *e)
{
	struct s3_upload *u = p->u;
	struct buf q;
	struct s3_call c;
	buf_init(&q, 8192);
	s3_call_init(&c, "PUT", u->name, "store a part of", STORE_N_PUT);
	c.body = &p->body;
	s3_call_customer_key(&c, &((struct s3 *)u->s->impl)->target);
	int rc = make_query(u, p->number, &q) ? err_nomem(e, "sending a part") : ERR_OK;
	c.query = buf_str(&q);
	if (!rc)
		rc = s3_perform(u->s, &c, e);
	bool forgotten = rc && is_forgotten(&c);
	if (!rc && !http_response_header(&c.r, "etag", p->etag, sizeof(p->etag)))
		rc = err_set(e, ERR_DAMAGED,
			"cannot store %s/%s: the answer to part %d has no ETag, so it is not "
			"S3's",
			u->s->url, u->name, p->number);
	s3_call_free(&c);
	buf_free(&q);
	pthread_mutex_lock(&u->lock);
	u->forgotten = u->forgotten || forgotten;
	pthread_mutex_unlock(&u->lock);
	return rc;
}

/* Lock held. */
static void note_part(struct s3_part *p, int rc, const struct err *why)
{
	struct s3_upload *u = p->u;
	if (!rc) {
		p->up = true;
		u->since_bytes += p->body.size;
		s3_upload_keep(u, false);
	} else if (!u->rc) {
		u->rc = rc;
		u->e = *why;
	}
}

static void part_job(void *arg)
{
	struct s3_part *p = arg;
	struct s3_upload *u = p->u;
	struct err why = ERR_INIT;
	pthread_mutex_lock(&u->lock);
	int rc = u->rc;
	pthread_mutex_unlock(&u->lock);
	if (rc)
		return;
	rc = send_part(p, &why);
	pthread_mutex_lock(&u->lock);
	note_part(p, rc, &why);
	pthread_mutex_unlock(&u->lock);
}

/* All parts that are not up, a few at a time. */
static int send_parts(struct s3_upload *u, struct err *e)
{
	const struct s3 *s3 = u->s->impl;
	struct pool *pool;
	size_t threads = s3->target.concurrency < u->n ? s3->target.concurrency : u->n;
	int rc = pool_new(&pool, threads, threads, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < u->n; i++)
		if (!u->parts[i].up)
			pool_run(pool, part_job, &u->parts[i]);
	pool_free(pool);
	if (u->rc)
		return err_set(e, (enum err_code)u->rc, "%s", u->e.text);
	return ERR_OK;
}

static int make_completion(const struct s3_upload *u, struct buf *out)
{
	int rc = buf_append_str(
		out, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (size_t i = 0; i < u->n && !rc; i++) {
		rc = buf_printf(out, "<Part><PartNumber>%d</PartNumber><ETag>", u->parts[i].number);
		if (!rc)
			rc = s3_append_xml(out, u->parts[i].etag);
		if (!rc)
			rc = buf_append_str(out, "</ETag></Part>");
	}
	return rc ? rc : buf_append_str(out, "</CompleteMultipartUpload>");
}

static int on_completed(void *ctx, const char *path, const char *text, struct err *e)
{
	(void)text, (void)e;
	if (!strcmp(path, "CompleteMultipartUploadResult"))
		((struct created *)ctx)->is_result = true;
	return ERR_OK;
}

/* The answer is 200: is it also a success? An error inside is as one of status 500. */
static int check_completion(struct s3_upload *u, struct s3_call *c, bool *again, struct err *e)
{
	struct created done = {0};
	struct xml_handler h = {.end = on_completed, .ctx = &done};
	*again = false;
	if (!xml_parse(c->r.body.data, c->r.body.len, &h, e) && done.is_result)
		return ERR_OK;
	s3_parse_refusal(c->r.body.data, c->r.body.len, &c->refusal);
	if (!c->refusal.is_document)
		return err_set(e, ERR_DAMAGED,
			"cannot store %s/%s: the answer to the completed upload is not S3's", u->s->url,
			u->name);
	int64_t after_ms;
	c->r.status = !strcmp(c->refusal.code, "PreconditionFailed") ? 412 : 500;
	return s3_explain(u->s, c, again, &after_ms, e);
}

/*
 * The upload is unknown: an earlier attempt (libcurl makes one of its own when a kept connection is
 * dead) completed it and its answer was lost, or somebody aborted it. An object of this size that
 * is not older than the upload tells which. With a condition the caller compares it himself.
 */
static int after_lost_answer(struct s3_upload *u, uint64_t size, bool conditional, struct err *e)
{
	struct store_object o = {0};
	struct err ignored = ERR_INIT;
	if (!s3_head(u->s, u->name, &o, &ignored)) {
		if (conditional)
			return err_set(e, ERR_CONDITION, "%s/%s exists already", u->s->url, u->name);
		if (o.size == size && o.modified_ms >= u->begun_ms)
			return ERR_OK;
	}
	return e ? (int)e->code : ERR_FAIL;
}

static int complete_call(struct s3_upload *u, struct s3_call *c, uint64_t size, struct err *e)
{
	struct retry retry;
	s3_retry_init(u->s, &retry);
	for (;;) {
		bool again;
		int64_t after_ms;
		int rc = s3_attempt(u->s, c, &retry, &again, &after_ms, e);
		if (!rc)
			rc = check_completion(u, c, &again, e);
		if (rc && !again && is_forgotten(c)) {
			u->forgotten = true;
			return after_lost_answer(u, size, c->conditional, e);
		}
		if (!rc || !again)
			return rc;
		if (!retry_pause(&retry, after_ms))
			return store_is_cancelled(u->s) ? store_cancelled_error(u->s, e) : rc;
		store_count(u->s, STORE_N_RETRIES, 1);
	}
}

static int complete_upload(struct s3_upload *u, uint64_t size, bool only_if_absent, struct err *e)
{
	struct buf text, q;
	struct s3_call c;
	buf_init(&text, (size_t)8 << 20);
	buf_init(&q, 8192);
	s3_call_init(&c, "POST", u->name, "store", STORE_N_PUT);
	int rc = make_completion(u, &text) || make_query(u, 0, &q)
				 ? err_nomem(e, "completing an upload")
				 : ERR_OK;
	struct store_body body = {.data = text.data, .fd = -1, .size = text.len};
	c.body = &body;
	c.query = buf_str(&q);
	c.conditional = only_if_absent;
	s3_call_header(&c, "Content-Type", "application/xml");
	if (only_if_absent)
		s3_call_header(&c, "If-None-Match", "*");
	if (!rc)
		rc = complete_call(u, &c, size, e);
	s3_call_free(&c);
	buf_free(&q);
	buf_free(&text);
	return rc;
}

int s3_upload_abort(
	struct store *s, const char *name, const char *id, bool last_words, struct err *e)
{
	struct buf q;
	struct s3_call c;
	buf_init(&q, 8192);
	s3_call_init(&c, "DELETE", name, "abort the upload of", STORE_N_DELETE);
	c.last_words = last_words;
	int rc = s3_add_param(&q, "uploadId", id) ? err_nomem(e, "aborting an upload") : ERR_OK;
	c.query = buf_str(&q);
	if (!rc)
		rc = s3_perform(s, &c, e);
	if (rc && c.r.status == 404)
		rc = ERR_OK;
	s3_call_free(&c);
	buf_free(&q);
	return rc;
}

/* What goes wrong here has no consequence but the parts' cost. */
static void give_up(struct s3_upload *u, const char *id)
{
	struct err e = ERR_INIT;
	if (s3_upload_abort(u->s, u->name, id, true, &e))
		log_warn("%s; its parts stay in the bucket until they are found there a day later, or a "
				 "lifecycle rule removes them",
			e.text);
}

int s3_upload_cut(struct s3_upload *u, uint64_t part_size, struct err *e)
{
	const struct store_body *body = u->body;
	/* More than 10000 parts are not allowed: then they are larger, in whole MiB. */
	if (body->size / MAX_PARTS >= part_size)
		part_size = (body->size / MAX_PARTS / MIB + 1) * MIB;
	free(u->parts);
	u->part_size = part_size;
	u->n = (size_t)((body->size + part_size - 1) / part_size);
	u->parts = calloc(u->n, sizeof(*u->parts));
	if (!u->parts)
		return err_nomem(e, "cutting an upload into parts");
	for (size_t i = 0; i < u->n; i++) {
		uint64_t from = i * part_size;
		struct s3_part *p = &u->parts[i];
		p->u = u;
		p->number = (int)i + 1;
		p->body = (struct store_body){
			.data = body->data ? (const char *)body->data + from : NULL,
			.fd = body->fd,
			.offset = body->offset + from,
			.size = body->size - from < part_size ? body->size - from : part_size,
		};
	}
	return ERR_OK;
}

static int look_before(struct s3_upload *u, struct err *e)
{
	struct store_object o;
	int rc = s3_head(u->s, u->name, &o, e);
	if (rc == ERR_NOT_FOUND)
		return ERR_OK;
	return rc ? rc : err_set(e, ERR_CONDITION, "%s/%s exists already", u->s->url, u->name);
}

/* What an earlier put left can't be gone on with: it is forgotten, or may not be looked at. */
static bool is_begun_anew(int code)
{
	return code == ERR_NOT_FOUND || code == ERR_DENIED || code == ERR_UNSUPPORTED ||
		   code == ERR_FAIL;
}

/* The old upload is given up when there is a new one: should that be refused as well, the caller
 * still has his token. */
static int begin_anew(struct s3_upload *u, bool forgotten, struct err *e)
{
	char old[S3_UPLOAD_ID_SIZE];
	strcpy(old, u->id);
	u->id[0] = '\0';
	int rc = s3_upload_cut(u, ((struct s3 *)u->s->impl)->target.part_size, e);
	if (!rc)
		rc = create_upload(u, e);
	if (!rc && *old && !forgotten)
		give_up(u, old);
	if (!rc)
		s3_upload_keep(u, true);
	return rc;
}

static int begin(struct s3_upload *u, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = *u->id ? s3_upload_verify(u, &why) : ERR_NOT_FOUND;
	if (is_begun_anew(rc)) {
		if (*u->id)
			log_info("%s; its upload begins anew", why.text);
		return begin_anew(u, rc == ERR_NOT_FOUND, e);
	}
	if (rc)
		*e = why;
	return rc;
}

/* Failed for a reason that passes: the parts stay, for the caller has a token of all of them. */
static bool stays(struct s3_upload *u, int code)
{
	static const int passing[] = {
		ERR_UNREACHABLE, ERR_CANCELLED, ERR_DENIED, ERR_DAMAGED, ERR_IO, ERR_FULL, ERR_NOMEM};
	bool passes = false;
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		passes |= code == passing[i];
	if (!u->opts->resume || !passes || u->forgotten)
		return false;
	if (u->since_bytes)
		s3_upload_keep(u, true);
	return u->kept;
}

static void finish(struct s3_upload *u, int code)
{
	const struct store_resume *r = u->opts->resume;
	struct err ignored = ERR_INIT;
	if (code && (!*u->id || stays(u, code)))
		return;
	if (code)
		give_up(u, u->id);
	if (r && r->keep(r->ctx, NULL, &ignored))
		log_debug("%s", ignored.text);
}

static int put_parts(struct s3_upload *u, struct err *e)
{
	bool conditional = u->opts->only_if_absent;
	int rc = s3_upload_take(u, e);
	if (!rc && conditional)
		rc = look_before(u, e);
	if (!rc)
		rc = begin(u, e);
	if (!rc)
		rc = send_parts(u, e);
	if (!rc && conditional)
		rc = look_before(u, e);
	return rc ? rc : complete_upload(u, u->body->size, conditional, e);
}

int s3_put_parts(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	struct s3_upload *u = calloc(1, sizeof(*u));
	if (!u)
		return err_nomem(e, "cutting an upload into parts");
	u->s = s;
	u->name = name;
	u->body = body;
	u->opts = opts;
	u->kept_us = clock_mono_us();
	pthread_mutex_init(&u->lock, NULL);
	int rc = put_parts(u, e);
	finish(u, rc);
	pthread_mutex_destroy(&u->lock);
	free(u->parts);
	free(u);
	return rc;
}
