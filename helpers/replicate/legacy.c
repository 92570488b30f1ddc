#include "replicate/legacy.h"

#include "format/v3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 1000       /* as many as an S3 server deletes in one request */
#define NAME_MAX_S 1100 /* S3's longest key has 1024 bytes */

struct page {
	struct legacy_tally *tally;
	uint64_t last_generation;
	size_t seen, n; /* listed; of them Litestream's */
	char after[NAME_MAX_S];
	char names[PAGE][V3_NAME_SIZE];
	const char *list[PAGE];
	uint64_t sizes[PAGE];
	struct store_delete_result results[PAGE];
};

static void note(struct page *p, const struct store_object *o, const struct v3_file *f)
{
	struct legacy_tally *t = p->tally;
	/* Names come in order, so those of one generation together. */
	if (t->objects == 0 || f->generation != p->last_generation)
		t->generations++;
	p->last_generation = f->generation;
	t->objects++;
	t->bytes += o->size;
	if (t->oldest_ms == 0 || o->modified_ms < t->oldest_ms)
		t->oldest_ms = o->modified_ms;
	if (o->modified_ms > t->newest_ms)
		t->newest_ms = o->modified_ms;
}

static int take(void *ctx, const struct store_object *o, struct err *e)
{
	struct page *p = ctx;
	struct v3_file f;
	char name[NAME_MAX_S + sizeof(V3_PREFIX)];
	if (strlen(o->name) >= sizeof(p->after))
		return err_set(e, ERR_DAMAGED, "a name below %s is longer than any key", V3_PREFIX);
	strcpy(p->after, o->name);
	p->seen++;
	snprintf(name, sizeof(name), V3_PREFIX "%s", o->name);
	/* A name that is read and written again is the same: so nothing else is ever deleted. */
	if (!v3_parse_name(name, &f) || strcmp(v3_format_name(&f, p->names[p->n]), name) != 0) {
		p->tally->others++;
		return ERR_OK;
	}
	p->list[p->n] = p->names[p->n];
	p->sizes[p->n] = o->size;
	p->n++;
	note(p, o, &f);
	return ERR_OK;
}

static int next_page(struct store *s, struct page *p, struct err *e)
{
	p->n = p->seen = 0;
	return store_list(s, V3_PREFIX, p->after[0] ? p->after : NULL, PAGE, take, p, e);
}

static int delete_page(struct store *s, struct page *p, struct err *e)
{
	if (p->n == 0)
		return ERR_OK;
	for (size_t i = 0; i < p->n; i++)
		p->results[i].code = ERR_FAIL;
	int rc = store_delete(s, p->list, p->n, p->results, e);
	for (size_t i = 0; i < p->n; i++) {
		if (p->results[i].code != ERR_OK)
			continue;
		p->tally->deleted++;
		p->tally->deleted_bytes += p->sizes[i];
	}
	return rc;
}

static int walk(struct store *s, bool deletes, void (*progress)(void *ctx, uint64_t deleted_bytes),
	void *ctx, struct legacy_tally *out, struct err *e)
{
	*out = (struct legacy_tally){0};
	struct page *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "looking for what Litestream 0.3 left");
	p->tally = out;
	int rc;
	do {
		rc = next_page(s, p, e);
		if (rc == ERR_OK && deletes)
			rc = delete_page(s, p, e);
		if (progress)
			progress(ctx, out->deleted_bytes);
	} while (rc == ERR_OK && p->seen == PAGE);
	free(p);
	return rc;
}

int legacy_count(struct store *s, struct legacy_tally *out, struct err *e)
{
	return walk(s, false, NULL, NULL, out, e);
}

int legacy_delete(struct store *s, void (*progress)(void *ctx, uint64_t deleted_bytes), void *ctx,
	struct legacy_tally *out, struct err *e)
{
	return walk(s, true, progress, ctx, out, e);
}
