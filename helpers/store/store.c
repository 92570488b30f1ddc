#include "store/driver.h"

#include "base/buf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct store_driver *const drivers[] = {
	&store_file_driver,
	&store_s3_driver,
	&store_mem_driver,
	&store_fault_driver,
};

static const struct store_options default_options;

static const struct store_driver *find_driver(const char *scheme)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (!strcmp(drivers[i]->caps.scheme, scheme))
			return drivers[i];
	return NULL;
}

/* The default display form; drivers with more to say replace it. */
static char *plain_url(const struct store_url *u)
{
	size_t n = strlen(u->scheme) + strlen(u->host) + strlen(u->path) + 8;
	char *url = malloc(n);
	if (url)
		snprintf(url, n, "%s://%s%s%s", u->scheme, u->host, *u->path && *u->path != '/' ? "/" : "",
			u->path);
	return url;
}

static int open_parsed(
	struct store **out, const struct store_url *u, const struct store_options *opts, struct err *e)
{
	const struct store_driver *driver = find_driver(u->scheme);
	if (!driver)
		return err_set(e, ERR_USAGE,
			"unknown scheme '%.20s' in the replica URL: s3://bucket/path, file:///path and /path "
			"are known",
			u->scheme);
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e, "opening a store");
	s->driver = driver;
	s->caps = driver->caps;
	s->url = plain_url(u);
	int rc = s->url ? driver->open(s, u, opts ? opts : &default_options, e)
					: err_nomem(e, "opening a store");
	if (rc) {
		free(s->url);
		free(s);
		return rc;
	}
	*out = s;
	return ERR_OK;
}

int store_open(struct store **out, const char *url, const struct store_options *opts, struct err *e)
{
	struct store_url u;
	*out = NULL;
	int rc = store_url_parse(&u, url, e);
	if (!rc)
		rc = open_parsed(out, &u, opts, e);
	store_url_free(&u);
	return rc;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	s->driver->close(s);
	free(s->url);
	free(s);
}

const struct store_caps *store_capabilities(const struct store *s)
{
	return &s->caps;
}

const char *store_url(const struct store *s)
{
	return s->url;
}

/* One part of a name: not empty, not "." or "..", only characters that every store takes as is. */
static bool part_is_valid(const char *p, size_t n)
{
	if (n == 0 || (n <= 2 && !strncmp(p, "..", n)))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)p[i]) && !strchr("._-", p[i]))
			return false;
	return true;
}

bool store_name_is_valid(const char *name)
{
	if (strlen(name) > 512)
		return false;
	for (;;) {
		size_t n = strcspn(name, "/");
		if (!part_is_valid(name, n))
			return false;
		if (!name[n])
			return true;
		name += n + 1;
	}
}

static int check_name(const struct store *s, const char *name, struct err *e)
{
	if (store_name_is_valid(name))
		return ERR_OK;
	return err_set(e, ERR_FAIL, "'%.80s' can't be the name of an object in %s", name, s->url);
}

static int check_prefix(const struct store *s, const char *prefix, struct err *e)
{
	size_t n = strlen(prefix);
	char folder[512];
	if (n == 0)
		return ERR_OK;
	if (prefix[n - 1] == '/' && n < sizeof(folder)) {
		memcpy(folder, prefix, n - 1);
		folder[n - 1] = '\0';
		if (store_name_is_valid(folder))
			return ERR_OK;
	}
	return err_set(
		e, ERR_FAIL, "'%.80s' can't be listed in %s: no folder is called so", prefix, s->url);
}

bool store_is_cancelled(struct store *s)
{
	return atomic_load_explicit(&s->cancelled, memory_order_relaxed);
}

int store_cancelled_error(const struct store *s, struct err *e)
{
	return err_set(e, ERR_CANCELLED, "work on %s was stopped on request", s->url);
}

/* What every call does first. */
static int enter(struct store *s, const char *name, struct err *e)
{
	if (store_is_cancelled(s))
		return store_cancelled_error(s, e);
	return name ? check_name(s, name, e) : ERR_OK;
}

static int enter_folder(struct store *s, const char *prefix, struct err *e)
{
	int rc = enter(s, NULL, e);
	return rc ? rc : check_prefix(s, prefix, e);
}

/* What every call does last. An attempt that failed before the one that did not left its sentence
 * in `why`: the caller hears of it only when the call has failed. */
static int leave(int rc, const struct err *why, struct err *e)
{
	if (rc && e)
		*e = *why;
	return rc;
}

int store_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	static const struct store_put_opts none = {0};
	struct err why = ERR_INIT;
	int rc = enter(s, name, &why);
	if (!rc)
		rc = s->driver->put(s, name, body, opts ? opts : &none, &why);
	return leave(rc, &why, e);
}

int store_get(struct store *s, const char *name, uint64_t offset, uint64_t length, store_sink sink,
	void *ctx, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = enter(s, name, &why);
	if (!rc)
		rc = s->driver->get(s, name, offset, length, sink, ctx, &why);
	return leave(rc, &why, e);
}

static int take_all(void *ctx, const void *p, size_t n, struct err *e)
{
	const struct buf *out = ctx;
	int rc = buf_append(ctx, p, n);
	return rc == ERR_FULL ? err_set(e, ERR_FULL, "it is larger than %zu bytes", out->max)
		   : rc           ? err_nomem(e, "reading an object")
						  : ERR_OK;
}

int store_get_all(struct store *s, const char *name, struct buf *out, struct err *e)
{
	int rc = store_get(s, name, 0, 0, take_all, out, e);
	return rc == ERR_FULL ? err_wrap(e, "%s/%s", s->url, name) : rc;
}

int store_head(struct store *s, const char *name, struct store_object *out, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = enter(s, name, &why);
	if (!rc) {
		*out = (struct store_object){.name = name};
		rc = s->driver->head(s, name, out, &why);
	}
	return leave(rc, &why, e);
}

int store_list(struct store *s, const char *prefix, const char *after, size_t max, store_list_fn fn,
	void *ctx, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = enter_folder(s, prefix, &why);
	if (!rc)
		rc = s->driver->list(s, prefix, after ? after : "", max, fn, ctx, &why);
	return leave(rc, &why, e);
}

int store_list_folder(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = enter_folder(s, prefix, &why);
	if (!rc)
		rc = s->driver->list_folder(s, prefix, max, fn, ctx, &why);
	return leave(rc, &why, e);
}

static int check_names(const struct store *s, const char *const *names, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int rc = check_name(s, names[i], e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

int store_delete(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = enter(s, NULL, &why);
	if (!rc)
		rc = check_names(s, names, n, &why);
	for (size_t i = 0; i < n; i++)
		store_delete_note(ERR_OK, &results[i], rc, &why, NULL);
	if (rc)
		return err_set(e, why.code, "%s", why.text);
	rc = n ? s->driver->del(s, names, n, results, &why) : ERR_OK;
	return leave(rc, &why, e);
}

int store_versioned(struct store *s, bool *versioned, struct err *e)
{
	*versioned = false;
	struct err why = ERR_INIT;
	int rc = enter(s, NULL, &why);
	if (!rc && s->driver->versioned)
		rc = s->driver->versioned(s, versioned, &why);
	return leave(rc, &why, e);
}

int store_end_unfinished(struct store *s, const char *prefix,
	bool (*chosen)(void *ctx, const struct store_unfinished *u), void *ctx, size_t *n,
	struct err *e)
{
	*n = 0;
	struct err why = ERR_INIT;
	int rc = enter_folder(s, prefix, &why);
	if (!rc && s->driver->end_unfinished)
		rc = s->driver->end_unfinished(s, prefix, chosen, ctx, n, &why);
	return leave(rc, &why, e);
}

int store_delete_note(
	int first, struct store_delete_result *result, int code, const struct err *why, struct err *e)
{
	result->code = code;
	result->text[0] = '\0';
	if (code == ERR_OK)
		return first;
	snprintf(result->text, sizeof(result->text), "%.*s", (int)sizeof(result->text) - 1, why->text);
	if (first != ERR_OK)
		return first;
	err_set(e, (enum err_code)code, "%s", why->text);
	return code;
}

void store_cancel(struct store *s)
{
	atomic_store(&s->cancelled, true);
	if (s->driver->cancel)
		s->driver->cancel(s);
}

int64_t store_tidy(struct store *s)
{
	return s->driver->tidy ? s->driver->tidy(s) : -1;
}

void store_level_prefix(const struct store *s, int level, char out[16])
{
	if (s->caps.layout == STORE_LAYOUT_HEX)
		snprintf(out, 16, "%04x/", (unsigned)level & 0xffff);
	else
		snprintf(out, 16, "ltx/%u/", (unsigned)level & 0xffff);
}

void store_count(struct store *s, enum store_counter which, uint64_t n)
{
	atomic_fetch_add_explicit(&s->counters[which], n, memory_order_relaxed);
}

void store_get_counts(const struct store *s, struct store_counts *out)
{
	uint64_t v[STORE_N_COUNTERS];
	for (int i = 0; i < STORE_N_COUNTERS; i++)
		v[i] = atomic_load_explicit(&s->counters[i], memory_order_relaxed);
	*out = (struct store_counts){
		.put = v[STORE_N_PUT],
		.get = v[STORE_N_GET],
		.head = v[STORE_N_HEAD],
		.list = v[STORE_N_LIST],
		.del = v[STORE_N_DELETE],
		.bytes_out = v[STORE_N_BYTES_OUT],
		.bytes_in = v[STORE_N_BYTES_IN],
		.retries = v[STORE_N_RETRIES],
	};
}
