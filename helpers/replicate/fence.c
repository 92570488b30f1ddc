#include "replicate/fence.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void fence_name(const struct store *s, int level, uint64_t min_txid, uint64_t max_txid,
	char out[FENCE_NAME_SIZE])
{
	char folder[16], name[LTX_NAME_SIZE];
	store_level_prefix(s, level, folder);
	ltx_format_name(min_txid, max_txid, name);
	snprintf(out, FENCE_NAME_SIZE, "%s%s", folder, name);
}

bool fence_parse_name(const struct store *s, const char *name, struct ltx_file *out)
{
	for (out->level = 0; out->level < LTX_LEVELS; out->level++) {
		char prefix[16];
		store_level_prefix(s, out->level, prefix);
		size_t n = strlen(prefix);
		if (strncmp(name, prefix, n) == 0)
			return ltx_parse_name(name + n, &out->min_txid, &out->max_txid);
	}
	return false;
}

/* ---- F3 ---- */

struct bytes {
	uint8_t data[LTX_HEADER_SIZE];
	size_t n, max;
};

static int take_bytes(void *ctx, const void *p, size_t n, struct err *e)
{
	struct bytes *b = ctx;
	if (n > b->max - b->n)
		return err_set(e, ERR_DAMAGED, "the store sent more bytes than it was asked for");
	memcpy(b->data + b->n, p, n);
	b->n += n;
	return ERR_OK;
}

static int get_range(
	struct store *s, const char *name, uint64_t offset, size_t n, struct bytes *out, struct err *e)
{
	*out = (struct bytes){.max = n};
	int rc = store_get(s, name, offset, n, take_bytes, out, e);
	if (!rc && out->n != n)
		rc = err_set(e, ERR_DAMAGED, "the store sent %zu of %zu bytes of %s", out->n, n, name);
	return rc;
}

int fence_header(struct store *s, int level, uint64_t min_txid, uint64_t max_txid,
	struct ltx_header *out, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct bytes b;
	fence_name(s, level, min_txid, max_txid, name);
	int rc = get_range(s, name, 0, LTX_HEADER_SIZE, &b, e);
	return rc ? rc : ltx_header_decode(b.data, out, e);
}

int fence_same_at(struct store *s, int level, const struct frozen *f, bool *same, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	fence_name(s, level, f->header.min_txid, f->header.max_txid, name);
	struct store_object o = {0};
	struct bytes b;
	*same = false;
	int rc = store_head(s, name, &o, e);
	if (rc || o.size != f->size)
		return rc;
	rc = get_range(s, name, 0, sizeof(f->head), &b, e);
	if (rc || memcmp(b.data, f->head, sizeof(f->head)) != 0)
		return rc;
	rc = get_range(s, name, f->size - sizeof(f->tail), sizeof(f->tail), &b, e);
	if (rc)
		return rc;
	*same = memcmp(b.data, f->tail, sizeof(f->tail)) == 0;
	return ERR_OK;
}

int fence_same(struct store *s, const struct frozen *f, bool *same, struct err *e)
{
	return fence_same_at(s, 0, f, same, e);
}

/* ---- F4 ---- */

struct tail {
	uint64_t first;
	int count;
};

static int take_tail(void *ctx, const struct store_object *o, struct err *e)
{
	struct tail *t = ctx;
	uint64_t min, max;
	(void)e;
	if (!ltx_parse_name(o->name, &min, &max))
		return ERR_OK;
	if (t->count++ == 0)
		t->first = min;
	return ERR_OK;
}

int fence_tail(struct store *s, uint64_t settled, uint64_t *next, bool *more, struct err *e)
{
	char folder[16], after[LTX_NAME_SIZE];
	store_level_prefix(s, 0, folder);
	ltx_format_name(settled, settled, after);
	struct tail t = {0};
	int rc = store_list(s, folder, settled ? after : NULL, 2, take_tail, &t, e);
	*next = t.first;
	*more = t.count > 1;
	return rc;
}

/* ---- F11 ---- */

/* Puts `body` once more with the condition: 412 is what a store must say. */
static int put_again(
	struct store *s, const char *name, const struct buf *body, bool *weak, struct err *e)
{
	struct store_body b = {.data = body->len ? (const void *)body->data : "", .fd = -1};
	b.size = body->len;
	struct store_put_opts o = {.only_if_absent = true, .single = true};
	int rc = store_put(s, name, &b, &o, e);
	*weak = rc != ERR_CONDITION;
	if (rc == ERR_CONDITION || rc == ERR_UNSUPPORTED)
		return ERR_OK;
	return rc;
}

int fence_probe_object(struct store *s, bool *weak, bool *may_delete, struct err *e)
{
	uint64_t salt;
	fs_random(&salt, sizeof(salt));
	char name[64];
	snprintf(name, sizeof(name), "litestream-probe-%016" PRIx64, salt);
	struct store_body body = {.data = "", .fd = -1};
	struct store_put_opts opts = {.single = true};
	int rc = store_put(s, name, &body, &opts, e);
	if (rc)
		return rc;
	struct buf empty;
	buf_init(&empty, 1);
	rc = put_again(s, name, &empty, weak, e);
	/* Credentials that may not delete are a sound choice; the probe then stays. */
	const char *names[] = {name};
	struct store_delete_result gone;
	struct err ignored = ERR_INIT;
	int deleted = store_delete(s, names, 1, &gone, &ignored);
	if (deleted)
		log_debug("the probe %s was not deleted: %s", name, ignored.text);
	if (may_delete)
		*may_delete = deleted != ERR_DENIED;
	return rc;
}

int fence_probe(struct store *s, bool *weak, struct err *e)
{
	*weak = true;
	struct buf manifest;
	buf_init(&manifest, MANIFEST_MAX);
	struct err why = ERR_INIT;
	int rc = store_get_all(s, MANIFEST_NAME, &manifest, &why);
	if (!rc && manifest.len)
		rc = put_again(s, MANIFEST_NAME, &manifest, weak, e);
	else if (!rc || rc == ERR_NOT_FOUND || rc == ERR_FULL)
		rc = fence_probe_object(s, weak, NULL, e);
	else if (e)
		*e = why;
	buf_free(&manifest);
	return rc;
}
