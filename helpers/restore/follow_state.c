#include "restore/follow_state.h"

#include "base/fs.h"
#include "base/json.h"
#include "conf/followed.h"
#include "format/ltx.h"
#include "format/ltxset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define STATE_MAX ((size_t)8 << 10)
#define TXID_TEXT_MAX 64

void follow_state_free(struct follow_state *s)
{
	free(s->replica);
	*s = (struct follow_state){0};
}

/* ---- reading ---- */

static bool take_hex(char *text, uint64_t *v)
{
	bool ok = text && ltx_parse_txid(text, v);
	free(text);
	return ok;
}

static int read_point(const json_t *object, struct follow_point *p, const char *what, struct err *e)
{
	char *txid = NULL, *checksum = NULL, *page1 = NULL;
	uint64_t counter = 0, n_page = 0, page_size = 0;
	const struct json_field fields[] = {
		{"txid", JSON_FIELD_TEXT, false, &txid, 16},
		{"checksum", JSON_FIELD_TEXT, false, &checksum, 16},
		{"page1", JSON_FIELD_TEXT, false, &page1, 16},
		{"counter", JSON_FIELD_COUNT, false, &counter, UINT32_MAX},
		{"pages", JSON_FIELD_COUNT, false, &n_page, UINT32_MAX},
		{"page_size", JSON_FIELD_COUNT, false, &page_size, 65536},
	};
	int rc = json_read_fields(object, fields, sizeof(fields) / sizeof(fields[0]), what, e);
	bool ok = take_hex(txid, &p->txid);
	ok &= take_hex(checksum, &p->checksum);
	ok &= take_hex(page1, &p->page1);
	p->counter = (uint32_t)counter;
	p->n_page = (uint32_t)n_page;
	p->page_size = (uint32_t)page_size;
	if (!rc && (!ok || !p->txid || !p->n_page || !ltx_valid_page_size(p->page_size)))
		rc = err_set(e, ERR_USAGE, "%s: a value can't be", what);
	return rc;
}

static int read_state(
	const struct buf *text, const char *what, struct follow_state *s, struct err *e)
{
	json_t *root = NULL, *now = NULL, *next = NULL;
	uint64_t version = 0;
	const struct json_field fields[] = {
		{"version", JSON_FIELD_COUNT, false, &version, VERSION},
		{"replica", JSON_FIELD_TEXT, false, &s->replica, 4096},
		{"now", JSON_FIELD_OBJECT, false, &now, 0},
		{"next", JSON_FIELD_OBJECT, true, &next, 0},
	};
	int rc = json_parse_object(text->data, text->len, what, &root, e);
	if (!rc)
		rc = json_read_fields(root, fields, sizeof(fields) / sizeof(fields[0]), what, e);
	if (!rc)
		rc = read_point(now, &s->now, what, e);
	if (!rc && next)
		rc = read_point(next, &s->next, what, e);
	json_decref(root);
	return rc == ERR_USAGE ? (int)(e->code = ERR_DATABASE) : rc;
}

int follow_state_load(
	const struct folder *in, const char *name, struct follow_state *s, struct err *e)
{
	struct buf text;
	*s = (struct follow_state){0};
	char *file = followed_state_name(name);
	if (!file)
		return err_nomem(e, "following a replica");
	buf_init(&text, STATE_MAX);
	int rc = folder_read_file(in, file, &text, e);
	if (rc == ERR_FULL)
		rc = err_set(e, ERR_DATABASE, "%s/%s is larger than it can be", in->path, file);
	if (!rc)
		rc = read_state(&text, file, s, e);
	buf_free(&text);
	free(file);
	return rc;
}

/* ---- writing ---- */

/* As folder_replace_file, but by way of one name, so that what a killed one left isn't left twice:
 * there is one follower at a time. */
static int replace(
	const struct folder *in, const char *name, const void *data, size_t n, struct err *e)
{
	char *aside;
	if (asprintf(&aside, "%s.tmp", name) < 0)
		return err_nomem(e, "following a replica");
	folder_unlink(in, aside);
	int fd = folder_create(in, aside);
	int failed = fd < 0 || fchmod(fd, 0644) || fs_write_full(fd, data, n) || fs_fsync(fd) ||
				 folder_rename(in, aside, name) || folder_sync(in);
	int rc = failed
				 ? err_errno(e, fs_error_code(errno), errno, "cannot write %s/%s", in->path, name)
				 : ERR_OK;
	if (failed && fd >= 0)
		folder_unlink(in, aside);
	fs_close(fd);
	free(aside);
	return rc;
}

static void put_point(json_t *root, const char *key, const struct follow_point *p, int *rc)
{
	json_t *object = json_object();
	json_put(object, "txid", json_sprintf("%016" PRIx64, p->txid), rc);
	json_put(object, "checksum", json_sprintf("%016" PRIx64, p->checksum), rc);
	json_put(object, "page1", json_sprintf("%016" PRIx64, p->page1), rc);
	json_put_int(object, "counter", p->counter, rc);
	json_put_int(object, "pages", p->n_page, rc);
	json_put_int(object, "page_size", p->page_size, rc);
	json_put(root, key, object, rc);
}

int follow_state_save(
	const struct folder *in, const char *name, const struct follow_state *s, struct err *e)
{
	struct buf text;
	int rc = ERR_OK;
	char *file = followed_state_name(name);
	json_t *root = json_object();
	buf_init(&text, STATE_MAX);
	json_put_int(root, "version", VERSION, &rc);
	json_put_text(root, "replica", s->replica, &rc);
	put_point(root, "now", &s->now, &rc);
	if (s->next.txid)
		put_point(root, "next", &s->next, &rc);
	if (!rc)
		rc = json_append_lines(&text, root);
	if (rc || !file)
		rc = err_nomem(e, "following a replica");
	else
		rc = replace(in, file, text.data, text.len, e);
	buf_free(&text);
	json_decref(root);
	free(file);
	return rc;
}

/* ---- Litestream's file ---- */

int follow_txid_load(const struct folder *in, const char *name, uint64_t *txid, struct err *e)
{
	struct buf text;
	*txid = 0;
	char *file = followed_txid_name(name), word[TXID_TEXT_MAX + 1];
	if (!file)
		return err_nomem(e, "following a replica");
	buf_init(&text, TXID_TEXT_MAX);
	int rc = folder_read_file(in, file, &text, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		rc = ERR_OK;
	} else if (rc == ERR_FULL || !rc) {
		const char *begin = buf_str(&text) + strspn(buf_str(&text), " \t\r\n");
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(begin, " \t\r\n"), begin);
		if (rc || !ltx_parse_txid(word, txid) || !*txid)
			rc = err_set(e, ERR_DATABASE, "%s/%s holds no TXID", in->path, file);
	}
	buf_free(&text);
	free(file);
	return rc;
}

int follow_txid_save(const struct folder *in, const char *name, uint64_t txid, struct err *e)
{
	char text[20];
	char *file = followed_txid_name(name);
	if (!file)
		return err_nomem(e, "following a replica");
	snprintf(text, sizeof(text), "%016" PRIx64 "\n", txid);
	int rc = replace(in, file, text, strlen(text), e);
	free(file);
	return rc;
}
