#include "store/mem.h"

#include "base/clock.h"
#include "base/fs.h"
#include "store/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object {
	struct object *next; /* by name, in byte order */
	char *name;
	void *data; /* NULL when size is 0 */
	uint64_t size;
	int64_t modified_ms, timestamp_ms;
};

struct area {
	struct area *next;
	char *name;
	struct object *first;
};

/* One lock for everything: tests need certainty, not speed. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct area *areas;

static struct area *find_area(const char *name)
{
	struct area *a = areas;
	while (a && strcmp(a->name, name) != 0)
		a = a->next;
	return a;
}

static struct area *make_area(const char *name)
{
	struct area *a = calloc(1, sizeof(*a));
	if (a)
		a->name = strdup(name);
	if (!a || !a->name) {
		free(a);
		return NULL;
	}
	a->next = areas;
	areas = a;
	return a;
}

static void free_object(struct object *o)
{
	free(o->name);
	free(o->data);
	free(o);
}

static void free_area(struct area *a)
{
	while (a->first) {
		struct object *o = a->first;
		a->first = o->next;
		free_object(o);
	}
	free(a->name);
	free(a);
}

void store_mem_forget(const char *name)
{
	pthread_mutex_lock(&lock);
	for (struct area **p = &areas; *p;) {
		struct area *a = *p;
		if (name && strcmp(a->name, name) != 0) {
			p = &a->next;
			continue;
		}
		*p = a->next;
		free_area(a);
	}
	pthread_mutex_unlock(&lock);
}

static int mem_open(
	struct store *s, const struct store_url *url, const struct store_options *opts, struct err *e)
{
	(void)opts;
	if (!*url->host || *url->path || url->port)
		return err_set(e, ERR_USAGE, "a store in memory is called mem://name");
	int rc = store_url_check_params(url, NULL, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&lock);
	struct area *a = find_area(url->host);
	if (!a)
		a = make_area(url->host);
	pthread_mutex_unlock(&lock);
	s->impl = a;
	return a ? ERR_OK : err_nomem(e, "opening a store");
}

static void mem_close(struct store *s)
{
	(void)s; /* the objects stay */
}

/* Where the object is or would be put in. */
static struct object **find_slot(struct area *a, const char *name)
{
	struct object **p = &a->first;
	while (*p && strcmp((*p)->name, name) < 0)
		p = &(*p)->next;
	return p;
}

static struct object *find_object(struct area *a, const char *name)
{
	struct object *o = *find_slot(a, name);
	return o && !strcmp(o->name, name) ? o : NULL;
}

static struct object *new_object(const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	struct object *o = calloc(1, sizeof(*o));
	if (!o) {
		err_nomem(e, "storing an object");
		return NULL;
	}
	o->name = strdup(name);
	o->size = body->size;
	o->data = body->size ? malloc(body->size) : NULL;
	o->modified_ms = clock_wall_ms();
	o->timestamp_ms = opts->timestamp_ms > 0 ? opts->timestamp_ms : 0;
	int rc = o->name && (o->data || !body->size) ? ERR_OK : err_nomem(e, "storing an object");
	if (!rc && body->size && body->data)
		memcpy(o->data, body->data, body->size);
	else if (!rc && body->size && fs_pread_full(body->fd, o->data, body->size, (off_t)body->offset))
		rc = err_errno(e, ERR_IO, errno, "cannot read what is to be stored as %s", name);
	if (!rc)
		return o;
	free_object(o);
	return NULL;
}

static int mem_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	struct err own;
	if (!e)
		e = &own;
	store_begin(s, STORE_N_PUT);
	struct object *o = new_object(name, body, opts, e);
	if (!o)
		return e->code;
	pthread_mutex_lock(&lock);
	struct object **slot = find_slot(s->impl, name), *old = *slot;
	bool exists = old && !strcmp(old->name, name);
	int rc = ERR_OK;
	if (exists && opts->only_if_absent) {
		rc = err_set(e, ERR_CONDITION, "%s/%s exists already", s->url, name);
		old = o; /* the new one goes */
	} else {
		o->next = exists ? old->next : old;
		*slot = o;
		old = exists ? old : NULL;
	}
	if (old)
		free_object(old);
	pthread_mutex_unlock(&lock);
	if (!rc)
		store_count_bytes(s, STORE_N_PUT, body->size);
	return rc;
}

/* A copy of the range, so that the sink runs without the lock. */
static int copy_range(struct store *s, const char *name, uint64_t offset, uint64_t length,
	void **out, uint64_t *n, struct err *e)
{
	struct object *o = find_object(s->impl, name);
	if (!o)
		return err_set(e, ERR_NOT_FOUND, "%s/%s is not there", s->url, name);
	if ((offset > 0 && offset >= o->size) || length > o->size - offset)
		return err_set(e, ERR_DAMAGED, "%s/%s has %" PRIu64 " bytes: byte %" PRIu64 " is not there",
			s->url, name, o->size, length ? offset + length - 1 : offset);
	*n = length ? length : o->size - offset;
	*out = malloc(*n ? *n : 1);
	if (!*out)
		return err_nomem(e, "reading an object");
	if (*n)
		memcpy(*out, (char *)o->data + offset, *n);
	return ERR_OK;
}

static int mem_get(struct store *s, const char *name, uint64_t offset, uint64_t length,
	store_sink sink, void *ctx, struct err *e)
{
	void *copy = NULL;
	uint64_t n = 0;
	store_begin(s, STORE_N_GET);
	pthread_mutex_lock(&lock);
	int rc = copy_range(s, name, offset, length, &copy, &n, e);
	pthread_mutex_unlock(&lock);
	if (!rc && n)
		rc = sink(ctx, copy, n, e);
	if (!rc)
		store_count_bytes(s, STORE_N_GET, n);
	free(copy);
	return rc;
}

static int mem_head(struct store *s, const char *name, struct store_object *out, struct err *e)
{
	store_begin(s, STORE_N_HEAD);
	pthread_mutex_lock(&lock);
	struct object *o = find_object(s->impl, name);
	if (o) {
		out->size = o->size;
		out->modified_ms = o->modified_ms;
		out->timestamp_ms = o->timestamp_ms;
	}
	pthread_mutex_unlock(&lock);
	return o ? ERR_OK : err_set(e, ERR_NOT_FOUND, "%s/%s is not there", s->url, name);
}

/* The next object below prefix after `after` (relative to it), its relative name copied. */
static bool next_object(
	struct area *a, const char *prefix, const char *after, struct store_object *out, char name[513])
{
	size_t n = strlen(prefix);
	pthread_mutex_lock(&lock);
	struct object *o = a->first;
	while (o && (strncmp(o->name, prefix, n) != 0 || strcmp(o->name + n, after) <= 0))
		o = o->next;
	if (o) {
		strcpy(name, o->name + n);
		*out = (struct store_object){.name = name, .size = o->size, .modified_ms = o->modified_ms};
	}
	pthread_mutex_unlock(&lock);
	return o != NULL;
}

static int mem_list(struct store *s, const char *prefix, const char *after, size_t max,
	store_list_fn fn, void *ctx, struct err *e)
{
	char last[513], name[513];
	int rc = ERR_OK;
	store_begin(s, STORE_N_LIST);
	snprintf(last, sizeof(last), "%s", after);
	for (size_t given = 0; !rc && (!max || given < max); given++) {
		struct store_object o;
		if (!next_object(s->impl, prefix, last, &o, name))
			break;
		rc = fn(ctx, &o, e);
		memcpy(last, name, sizeof(last));
	}
	return rc;
}

static int mem_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	char last[514] = "", name[513];
	int rc = ERR_OK;
	store_begin(s, STORE_N_LIST);
	for (size_t given = 0; !rc && given < max; given++) {
		struct store_object o;
		if (!next_object(s->impl, prefix, last, &o, name))
			break;
		char *slash = strchr(name, '/');
		if (slash) {
			slash[1] = '\0';
			o = (struct store_object){.name = name};
		}
		rc = fn(ctx, &o, e);
		/* All names in a folder sort before its own with what is behind every letter. */
		snprintf(last, sizeof(last), "%s%s", name, slash ? "~" : "");
	}
	return rc;
}

static int mem_del(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	(void)e;
	store_begin(s, STORE_N_DELETE);
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < n; i++) {
		struct object **slot = find_slot(s->impl, names[i]), *o = *slot;
		if (o && !strcmp(o->name, names[i])) {
			*slot = o->next;
			free_object(o);
		}
		results[i].code = ERR_OK;
	}
	pthread_mutex_unlock(&lock);
	return ERR_OK;
}

const struct store_driver store_mem_driver = {
	.caps = {.layout = STORE_LAYOUT_LTX,
		.conditional_put = true,
		.deletes_batch = true,
		.scheme = "mem"},
	.open = mem_open,
	.close = mem_close,
	.put = mem_put,
	.get = mem_get,
	.head = mem_head,
	.list = mem_list,
	.list_folder = mem_list_folder,
	.del = mem_del,
};
