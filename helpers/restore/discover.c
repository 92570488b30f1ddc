#include "restore/discover.h"

#include "base/buf.h"
#include "base/thread.h"
#include "restore/restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAR_FOLDERS 16   /* looked into at a time */
#define FAR_REPLICAS 4   /* each of them lists ten levels at a time */
#define NEAR 2           /* where there is no round trip to wait for */
#define PATH_MAX_LEN 440 /* what is in a replica below it still has a name that a store takes */
#define ATTEMPTS 3

struct replica_folder {
	struct search *search;
	char *path; /* "" = the URL */
	int depth;
	char **children;
	size_t n_children, cap, seen;
	bool manifest, data;
	struct err err;
};

struct search {
	struct store *replicas, *self;
	struct replica_folder *folders; /* all of DISCOVER_FOLDERS_MAX: pointers to them stay good */
	size_t count;
	bool far, cut;
};

/* ---- one folder ---- */

/* "0000/" to "0009/", "ltx/"; of Litestream 0.3 "generations/". */
static bool is_data(const char *name)
{
	bool level = strncmp(name, "000", 3) == 0 && name[3] >= '0' && name[3] <= '9' &&
				 strcmp(name + 4, "/") == 0;
	return level || strcmp(name, "ltx/") == 0 || strcmp(name, "generations/") == 0;
}

/* "a" and "b/" are "a/b". */
static char *path_below(const char *path, const char *name)
{
	char *below;
	int n = asprintf(&below, "%s%s%.*s", path, *path ? "/" : "", (int)strcspn(name, "/"), name);
	return n < 0 ? NULL : below;
}

static int add_child(struct replica_folder *f, const char *name, struct err *e)
{
	if (f->n_children == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 16;
		char **children = realloc(f->children, cap * sizeof(*children));
		if (!children)
			return err_nomem(e, "looking for replicas");
		f->children = children;
		f->cap = cap;
	}
	f->children[f->n_children] = path_below(f->path, name);
	return f->children[f->n_children++] ? ERR_OK : err_nomem(e, "looking for replicas");
}

static int note_self(void *ctx, const struct store_object *o, struct err *e)
{
	struct replica_folder *f = ctx;
	(void)e;
	f->seen++;
	f->manifest = f->manifest || strcmp(o->name, MANIFEST_NAME) == 0;
	f->data = f->data || is_data(o->name);
	return ERR_OK;
}

static int note_child(void *ctx, const struct store_object *o, struct err *e)
{
	struct replica_folder *f = ctx;
	size_t n = strlen(o->name);
	f->seen++;
	return o->name[n - 1] == '/' && !is_data(o->name) ? add_child(f, o->name, e) : ERR_OK;
}

static int note_both(void *ctx, const struct store_object *o, struct err *e)
{
	((struct replica_folder *)ctx)->seen--; /* counted by each */
	note_self(ctx, o, e);
	return note_child(ctx, o, e);
}

static void look_into(void *arg)
{
	struct replica_folder *f = arg;
	struct search *s = f->search;
	char prefix[520];
	snprintf(prefix, sizeof(prefix), "%s%s", f->path, *f->path ? "/" : "");
	if (*f->path) {
		store_list_folder(s->replicas, prefix, DISCOVER_NAMES_MAX, note_both, f, &f->err);
	} else if (!store_list_folder(s->self, "", DISCOVER_NAMES_MAX, note_self, f, &f->err)) {
		f->seen = 0;
		store_list_folder(s->replicas, "", DISCOVER_NAMES_MAX, note_child, f, &f->err);
	}
}

/* ---- all folders, those of one depth at a time ---- */

static void add_folder(struct search *s, char *path, int depth)
{
	if (s->count == DISCOVER_FOLDERS_MAX || depth > DISCOVER_DEPTH_MAX ||
		strlen(path) > PATH_MAX_LEN) {
		s->cut = true;
		free(path);
		return;
	}
	s->folders[s->count++] =
		(struct replica_folder){.search = s, .path = path, .depth = depth, .err = ERR_INIT};
}

static int take_wave(struct search *s, size_t from, size_t to, struct err *e)
{
	for (size_t i = from; i < to; i++) {
		struct replica_folder *f = &s->folders[i];
		/* A folder that may not be read hides nothing else. */
		if (f->err.code != ERR_OK && (f->err.code != ERR_DENIED || i == 0)) {
			*e = f->err;
			return e->code;
		}
		s->cut = s->cut || f->seen >= DISCOVER_NAMES_MAX;
		for (size_t k = 0; k < f->n_children; k++)
			add_folder(s, f->children[k], f->depth + 1);
		f->n_children = 0;
	}
	return ERR_OK;
}

static int walk(struct search *s, struct err *e)
{
	struct pool *pool = NULL;
	size_t threads = s->far ? FAR_FOLDERS : NEAR;
	char *root = strdup("");
	if (!root)
		return err_nomem(e, "looking for replicas");
	add_folder(s, root, 0);
	int rc = pool_new(&pool, threads, threads, e);
	for (size_t from = 0; !rc && from < s->count;) {
		size_t to = s->count;
		for (size_t i = from; i < to; i++)
			pool_run(pool, look_into, &s->folders[i]);
		pool_wait(pool);
		rc = take_wave(s, from, to, e);
		from = to;
	}
	pool_free(pool);
	return rc;
}

/* ---- what a replica says ---- */

struct look {
	struct search *search;
	struct discovered *found;
	bool folder_error;
};

static void read_manifest(struct store *s, struct discovered *d)
{
	struct err why = ERR_INIT;
	struct buf text;
	buf_init(&text, MANIFEST_MAX);
	int rc = store_get_all(s, MANIFEST_NAME, &text, &why);
	if (!rc)
		rc = manifest_read(text.data, text.len, &d->manifest, &why);
	if (rc == ERR_NOT_FOUND)
		d->has_manifest = false;
	else if (rc)
		snprintf(d->manifest_error, sizeof(d->manifest_error), "%.*s",
			(int)sizeof(d->manifest_error) - 1, why.text);
	buf_free(&text);
}

/* Where somebody still writes, a file that was listed may be gone the moment after. */
static void read_state(struct store *s, struct discovered *d)
{
	const struct restore_options options = {.dry_run = true};
	struct restore_result result;
	int rc = ERR_NOT_FOUND;
	for (int i = 0; i < ATTEMPTS && rc == ERR_NOT_FOUND; i++) {
		err_clear(&d->err);
		rc = restore_run(s, &options, &result, &d->err);
		restore_plan_free(&result.plan);
	}
	if (rc == ERR_OK) {
		d->txid = result.txid;
		d->timestamp_ms = result.timestamp_ms;
		d->bytes = result.bytes;
	}
}

static void look_at(void *arg)
{
	struct look *l = arg;
	struct discovered *d = l->found;
	struct store *own = NULL, *s = l->search->self;
	if (l->folder_error)
		return;
	if (*d->path) {
		if (store_open_folder(&own, l->search->replicas, d->path, &d->err))
			return;
		s = own;
	}
	if (d->has_manifest)
		read_manifest(s, d);
	read_state(s, d);
	store_close(own);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct discovered *)a)->path, ((const struct discovered *)b)->path);
}

/* The folders that are replicas, or that could not be read. */
static int choose(struct search *s, struct discovery *out, struct err *e)
{
	size_t n = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct replica_folder *f = &s->folders[i];
		n += f->manifest || f->data || f->err.code;
	}
	out->list = calloc(n ? n : 1, sizeof(*out->list));
	if (!out->list)
		return err_nomem(e, "looking for replicas");
	for (size_t i = 0; i < s->count; i++) {
		struct replica_folder *f = &s->folders[i];
		if (!f->manifest && !f->data && !f->err.code)
			continue;
		struct discovered *d = &out->list[out->count++];
		d->path = f->path;
		d->has_manifest = f->manifest;
		d->err = f->err;
		f->path = NULL;
	}
	qsort(out->list, out->count, sizeof(*out->list), by_path);
	return ERR_OK;
}

/* A folder that is called as ours are, with nothing of ours in it, is none. */
static void drop_strangers(struct discovery *out)
{
	size_t kept = 0;
	for (size_t i = 0; i < out->count; i++) {
		struct discovered *d = &out->list[i];
		if (d->has_manifest || d->err.code != ERR_NO_BACKUP)
			out->list[kept++] = *d;
		else
			free(d->path);
	}
	out->count = kept;
}

static int look_at_all(struct search *s, struct discovery *out, struct err *e)
{
	struct pool *pool = NULL;
	size_t threads = s->far ? FAR_REPLICAS : NEAR;
	struct look *looks = calloc(out->count ? out->count : 1, sizeof(*looks));
	int rc = looks ? pool_new(&pool, threads, threads, e) : err_nomem(e, "looking for replicas");
	for (size_t i = 0; !rc && i < out->count; i++) {
		looks[i] = (struct look){s, &out->list[i], out->list[i].err.code != ERR_OK};
		pool_run(pool, look_at, &looks[i]);
	}
	pool_free(pool); /* waits */
	free(looks);
	if (!rc)
		drop_strangers(out);
	return rc;
}

/* ---- all of it ---- */

static void search_free(struct search *s)
{
	for (size_t i = 0; i < s->count; i++) {
		for (size_t k = 0; k < s->folders[i].n_children; k++)
			free(s->folders[i].children[k]);
		free(s->folders[i].children);
		free(s->folders[i].path);
	}
	free(s->folders);
}

static void cut_off(struct discovery *out)
{
	while (out->count > DISCOVER_REPLICAS_MAX) {
		free(out->list[--out->count].path);
		out->cut = true;
	}
}

int discover(struct store *replicas, struct store *self, struct discovery *out, struct err *e)
{
	const char *scheme = store_capabilities(replicas)->scheme;
	struct search s = {.replicas = replicas, .self = self};
	memset(out, 0, sizeof(*out));
	s.far = strcmp(scheme, "file") != 0 && strcmp(scheme, "mem") != 0;
	s.folders = calloc(DISCOVER_FOLDERS_MAX, sizeof(*s.folders));
	int rc = s.folders ? walk(&s, e) : err_nomem(e, "looking for replicas");
	if (!rc)
		rc = choose(&s, out, e);
	out->cut = s.cut;
	if (!rc)
		cut_off(out);
	if (!rc)
		rc = look_at_all(&s, out, e);
	search_free(&s);
	return rc;
}

void discovery_free(struct discovery *d)
{
	for (size_t i = 0; i < d->count; i++)
		free(d->list[i].path);
	free(d->list);
	d->list = NULL;
	d->count = 0;
}

int discover_open(struct store **replicas, struct store **self, const char *url,
	const struct store_options *opts, struct err *e)
{
	struct store_options below = opts ? *opts : (struct store_options){0};
	below.of_replicas = true;
	*replicas = *self = NULL;
	int rc = store_open(replicas, url, &below, e);
	if (!rc)
		rc = store_open(self, url, opts, e);
	if (!rc)
		return ERR_OK;
	store_close(*replicas);
	*replicas = NULL;
	return rc;
}
