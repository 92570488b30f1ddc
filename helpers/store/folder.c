/* store_open_folder: a folder of another store as a store of its own, for reading. */
#include "store/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 1100 /* both parts have at most 512 */

struct folder {
	struct store *base;
	char path[513]; /* "apps/my-app/" */
};

static const char *below(const struct store *s, const char *name, char out[NAME_SIZE])
{
	const struct folder *f = s->impl;
	snprintf(out, NAME_SIZE, "%s%s", f->path, name);
	return out;
}

static struct store *base_of(const struct store *s)
{
	return ((const struct folder *)s->impl)->base;
}

static void folder_close(struct store *s)
{
	free(s->impl);
}

static int read_only(const struct store *s, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "%s was opened for reading", s->url);
}

static int folder_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	(void)name, (void)body, (void)opts;
	return read_only(s, e);
}

static int folder_get(struct store *s, const char *name, uint64_t offset, uint64_t length,
	store_sink sink, void *ctx, struct err *e)
{
	char full[NAME_SIZE];
	return store_get(base_of(s), below(s, name, full), offset, length, sink, ctx, e);
}

static int folder_head(struct store *s, const char *name, struct store_object *out, struct err *e)
{
	char full[NAME_SIZE];
	int rc = store_head(base_of(s), below(s, name, full), out, e);
	out->name = name;
	return rc;
}

static int folder_list(struct store *s, const char *prefix, const char *after, size_t max,
	store_list_fn fn, void *ctx, struct err *e)
{
	char full[NAME_SIZE];
	return store_list(base_of(s), below(s, prefix, full), after, max, fn, ctx, e);
}

static int folder_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	char full[NAME_SIZE];
	return store_list_folder(base_of(s), below(s, prefix, full), max, fn, ctx, e);
}

static int folder_del(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = ERR_OK;
	(void)names;
	for (size_t i = 0; i < n; i++)
		rc = store_delete_note(rc, &results[i], read_only(s, &why), &why, e);
	return rc;
}

/* It is in no list of schemes: no URL opens it. */
static const struct store_driver driver = {
	.close = folder_close,
	.put = folder_put,
	.get = folder_get,
	.head = folder_head,
	.list = folder_list,
	.list_folder = folder_list_folder,
	.del = folder_del,
};

int store_open_folder(struct store **out, struct store *base, const char *path, struct err *e)
{
	*out = NULL;
	if (!store_name_is_valid(path))
		return err_set(e, ERR_USAGE, "'%.80s' can't be a folder of %s", path, base->url);
	struct store *s = calloc(1, sizeof(*s));
	struct folder *f = calloc(1, sizeof(*f));
	size_t size = strlen(base->url) + strlen(path) + 2;
	char *url = malloc(size);
	if (!s || !f || !url) {
		free(s);
		free(f);
		free(url);
		return err_nomem(e, "opening a folder of a store");
	}
	snprintf(f->path, sizeof(f->path), "%s/", path);
	snprintf(url, size, "%s/%s", base->url, path);
	f->base = base;
	*s = (struct store){.driver = &driver, .caps = base->caps, .url = url, .impl = f};
	*out = s;
	return ERR_OK;
}
