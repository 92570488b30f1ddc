#include "store/s3.h"

#include "net/xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * DeleteObjects takes up to 1000 keys:
 *
 *   <Delete><Object><Key>…</Key></Object> … </Delete>
 *
 * and answers each of them (it isn't asked to be quiet):
 *
 *   <DeleteResult> <Deleted><Key>…</Key></Deleted>
 *                  <Error><Key>…</Key><Code>AccessDenied</Code><Message>…</Message></Error> …
 * </DeleteResult>
 *
 * A 200 alone proves nothing: a key that isn't in the answer counts as not deleted.
 */

#define BATCH 1000
#define UNANSWERED (-1)

struct batch {
	struct store *s;
	const char *const *names;
	struct store_delete_result *results;
	size_t n, next; /* answers mostly come in the order of the request */
	bool is_result;
	char key[XML_MAX_TEXT + 1], code[64], message[128];
};

int s3_append_xml(struct buf *out, const char *text)
{
	int rc = ERR_OK;
	for (; *text && !rc; text++) {
		unsigned char c = (unsigned char)*text;
		const char *entity = c == '&'   ? "&amp;"
							 : c == '<' ? "&lt;"
							 : c == '>' ? "&gt;"
							 : c == '"' ? "&quot;"
										: NULL;
		rc = entity ? buf_append_str(out, entity) : buf_append(out, text, 1);
	}
	return rc;
}

static bool key_is(const struct batch *b, size_t i)
{
	const struct s3 *s3 = b->s->impl;
	size_t n = strlen(s3->target.prefix);
	return !strncmp(b->key, s3->target.prefix, n) && b->key[n] == '/' &&
		   !strcmp(b->key + n + 1, b->names[i]);
}

static void note(struct batch *b, bool failed)
{
	for (size_t k = 0; k < b->n; k++) {
		size_t i = (b->next + k) % b->n;
		if (!key_is(b, i))
			continue;
		b->next = i + 1;
		struct store_delete_result *r = &b->results[i];
		if (!failed || !strcmp(b->code, "NoSuchKey")) {
			r->code = ERR_OK;
			r->text[0] = '\0';
			return;
		}
		store_count_error(b->s, STORE_N_DELETE, b->code, ERR_FAIL);
		r->code = !strcmp(b->code, "AccessDenied") ? ERR_DENIED : ERR_FAIL;
		if (!strcmp(b->code, "InternalError") || !strcmp(b->code, "SlowDown"))
			r->code = ERR_UNREACHABLE;
		snprintf(r->text, sizeof(r->text), "cannot delete %.60s: %.40s: %.36s", b->names[i],
			b->code, b->message);
		return;
	}
}

static int on_begin(void *ctx, const char *path, struct err *e)
{
	struct batch *b = ctx;
	(void)e;
	if (!strcmp(path, "DeleteResult"))
		b->is_result = true;
	else if (!strcmp(path, "DeleteResult/Deleted") || !strcmp(path, "DeleteResult/Error"))
		b->key[0] = b->code[0] = b->message[0] = '\0';
	return ERR_OK;
}

static int on_end(void *ctx, const char *path, const char *text, struct err *e)
{
	struct batch *b = ctx;
	(void)e;
	if (!strcmp(path, "DeleteResult/Deleted/Key") || !strcmp(path, "DeleteResult/Error/Key"))
		strcpy(b->key, text); /* xml.h's bound is key's size */
	else if (!strcmp(path, "DeleteResult/Error/Code"))
		snprintf(b->code, sizeof(b->code), "%s", text);
	else if (!strcmp(path, "DeleteResult/Error/Message"))
		snprintf(b->message, sizeof(b->message), "%s", text);
	else if (!strcmp(path, "DeleteResult/Deleted"))
		note(b, false);
	else if (!strcmp(path, "DeleteResult/Error"))
		note(b, true);
	return ERR_OK;
}

static int make_body(const struct batch *b, struct buf *out)
{
	const struct s3 *s3 = b->s->impl;
	int rc = buf_append_str(out, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (size_t i = 0; i < b->n && !rc; i++) {
		rc = buf_append_str(out, "<Object><Key>");
		if (!rc)
			rc = s3_append_xml(out, s3->target.prefix);
		if (!rc)
			rc = buf_append(out, "/", 1);
		if (!rc)
			rc = s3_append_xml(out, b->names[i]);
		if (!rc)
			rc = buf_append_str(out, "</Key></Object>");
	}
	return rc ? rc : buf_append_str(out, "</Delete>");
}

/* Content-MD5: AWS and others refuse DeleteObjects without it; Tigris wants none. */
static int set_md5(struct s3_call *c, const struct buf *body, char out[32], struct err *e)
{
	uint8_t digest[MD5_LEN];
	if (digest_md5(body->data, body->len, digest))
		return err_set(e, ERR_FAIL,
			"libcrypto refuses MD5, which S3 demands for deletions: set require-content-md5=false "
			"if "
			"your server doesn't");
	digest_base64(digest, sizeof(digest), out);
	s3_call_header(c, "Content-MD5", out);
	return ERR_OK;
}

static int send_batch(struct batch *b, const struct buf *text, struct err *e)
{
	const struct s3 *s3 = b->s->impl;
	struct store_body body = {.data = text->data, .fd = -1, .size = text->len};
	struct xml_handler h = {.begin = on_begin, .end = on_end, .ctx = b};
	char md5[32];
	struct s3_call c;
	s3_call_init(&c, "POST", NULL, "delete from", STORE_N_DELETE);
	c.query = "delete=";
	c.body = &body;
	s3_call_header(&c, "Content-Type", "application/xml");
	int rc = s3->target.content_md5 ? set_md5(&c, text, md5, e) : ERR_OK;
	if (!rc)
		rc = s3_perform(b->s, &c, e);
	if (!rc && xml_parse(c.r.body.data, c.r.body.len, &h, e))
		rc = err_wrap(e, "cannot delete from %s: the answer is not S3's", b->s->url);
	else if (!rc && !b->is_result)
		rc = err_set(e, ERR_DAMAGED,
			"cannot delete from %s: the answer is XML, but no list of what "
			"became of each",
			b->s->url);
	s3_call_free(&c);
	return rc;
}

/* A code of the whole batch for every key in it. */
static int fail_batch(struct batch *b, int code, const struct err *why, struct err *e)
{
	int first = ERR_OK;
	for (size_t i = 0; i < b->n; i++)
		first = store_delete_note(first, &b->results[i], code, why, e);
	return first;
}

static int collect(struct batch *b, struct err *e)
{
	int first = ERR_OK;
	for (size_t i = 0; i < b->n; i++) {
		struct store_delete_result *r = &b->results[i];
		if (r->code == UNANSWERED) {
			r->code = ERR_DAMAGED;
			snprintf(r->text, sizeof(r->text),
				"cannot delete %.70s: the server's answer leaves it out", b->names[i]);
		}
		if (r->code && !first)
			first = err_set(e, (enum err_code)r->code, "%s/: %s", b->s->url, r->text);
	}
	return first;
}

static int delete_batch(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	struct err why = ERR_INIT;
	struct buf text;
	struct batch *b = calloc(1, sizeof(*b));
	if (!b) {
		int first = ERR_OK;
		err_nomem(&why, "deleting");
		for (size_t i = 0; i < n; i++)
			first = store_delete_note(first, &results[i], ERR_NOMEM, &why, e);
		return first;
	}
	*b = (struct batch){.s = s, .names = names, .results = results, .n = n};
	buf_init(&text, (size_t)4 << 20);
	for (size_t i = 0; i < n; i++)
		results[i].code = UNANSWERED;
	int rc = make_body(b, &text) ? err_nomem(&why, "deleting") : send_batch(b, &text, &why);
	rc = rc ? fail_batch(b, rc, &why, e) : collect(b, e);
	buf_free(&text);
	free(b);
	return rc;
}

static int delete_one(struct store *s, const char *name, struct err *e)
{
	struct s3_call c;
	s3_call_init(&c, "DELETE", name, "delete", STORE_N_DELETE);
	int rc = s3_perform(s, &c, e);
	if (c.r.status == 404 && strcmp(c.refusal.code, "NoSuchBucket") != 0 &&
		(c.refusal.is_document || c.r.body.len == 0))
		rc = ERR_OK;
	s3_call_free(&c);
	return rc;
}

static int delete_singly(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	int first = ERR_OK;
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		int rc = delete_one(s, names[i], &why);
		first = store_delete_note(first, &results[i], rc, &why, e);
	}
	return first;
}

int s3_delete(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	struct s3 *s3 = s->impl;
	int first = ERR_OK;
	for (size_t done = 0; done < n;) {
		struct err why = ERR_INIT;
		size_t part = n - done < BATCH ? n - done : BATCH;
		int rc;
		if (part == 1 || atomic_load(&s3->no_batch_delete)) {
			rc = delete_singly(s, names + done, part, results + done, &why);
		} else {
			rc = delete_batch(s, names + done, part, results + done, &why);
			if (rc == ERR_UNSUPPORTED) {
				atomic_store(&s3->no_batch_delete, true);
				continue;
			}
		}
		if (rc && !first)
			first = err_set(e, (enum err_code)rc, "%s", why.text);
		done += part;
	}
	return first;
}
