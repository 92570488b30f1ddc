#include "conf/config_internal.h"

#include "base/fs.h"
#include "conf/expand.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- paths ---- */

/* Takes "//", "/./" and slashes at the end out, in place. ".." stays: what it means depends on
 * links. */
static void clean_path(char *path)
{
	char *out = path + 1;
	for (char *in = path + 1; *in;) {
		size_t n = strcspn(in, "/");
		if (n > 0 && !(n == 1 && *in == '.')) {
			if (out > path + 1)
				*out++ = '/';
			memmove(out, in, n);
			out += n;
		}
		in += n + (in[n] == '/');
	}
	*out = '\0';
}

char *config_absolute(const char *path)
{
	char cwd[PATH_MAX], *out = NULL;
	const char *home = path[0] == '~' && path[1] == '/' ? getenv("HOME") : NULL;
	if (path[0] == '/')
		out = strdup(path);
	else if (home && *home == '/')
		out = fs_join(home, path + 2);
	else if (getcwd(cwd, sizeof(cwd)))
		out = fs_join(cwd, path);
	if (out)
		clean_path(out);
	return out;
}

/* As config_absolute, in the config's memory. */
static int absolute(struct config_reading *r, const char **path)
{
	char *out = config_absolute(*path);
	*path = out ? tree_strdup(&r->c->memory, out) : NULL;
	free(out);
	return *path ? ERR_OK : config_nomem(r);
}

/* ---- replicas ---- */

/* "bucket" and "a path" as "s3://bucket/a%20path". */
static char *s3_url(const char *bucket, const char *path)
{
	struct buf out;
	buf_init(&out, PATH_MAX * 3);
	int rc = buf_printf(&out, "s3://%s/", bucket);
	while (*path == '/')
		path++;
	for (; !rc && *path; path++) {
		unsigned char c = (unsigned char)*path;
		rc = isalnum(c) || strchr("/-._~", c) ? buf_append(&out, &c, 1)
											  : buf_printf(&out, "%%%02X", c);
	}
	if (!rc)
		return (char *)out.data;
	buf_free(&out);
	return NULL;
}

char *config_target_below(const char *target, const char *relative)
{
	struct buf out;
	bool plain = target[0] == '/';
	size_t n = plain ? strlen(target) : strcspn(target, "?"), query = n;
	while (n > 1 && target[n - 1] == '/' && target[n - 2] != '/')
		n--;
	buf_init(&out, PATH_MAX * 4);
	int rc = buf_append(&out, target, n);
	if (!rc)
		rc = buf_append_str(&out, "/");
	for (; !rc && *relative; relative++) {
		unsigned char c = (unsigned char)*relative;
		bool as_is = plain || isalnum(c) || strchr("/-._~", c);
		rc = as_is ? buf_append(&out, &c, 1) : buf_printf(&out, "%%%02X", c);
	}
	if (!rc)
		rc = buf_append_str(&out, target + query);
	if (!rc)
		return (char *)out.data;
	buf_free(&out);
	return NULL;
}

static int check_type(struct config_reading *r, const char *type)
{
	static const char *const others[] = {
		"gs", "gcs", "abs", "sftp", "webdav", "webdavs", "nats", "oss"};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcasecmp(type, others[i]) == 0)
			return config_bad(
				r, "a replica of type %s can't be written here: file and s3 can", others[i]);
	return ERR_OK;
}

/* A URL says the type: "s3://…", or a path. */
static int resolve_url(struct config_reading *r, struct config_replica *p)
{
	const char *sep = strstr(p->url, "://");
	char scheme[16] = "file";
	if (p->path || p->settings.bucket)
		return config_bad(
			r, "url and %s exclude each other: a URL has all of it", p->path ? "path" : "bucket");
	if (sep && (size_t)(sep - p->url) >= sizeof(scheme))
		return config_bad(r, "what stands before :// in the url is no type of replica");
	for (size_t i = 0; sep && i <= (size_t)(sep - p->url); i++)
		scheme[i] = i < (size_t)(sep - p->url) ? (char)tolower((unsigned char)p->url[i]) : '\0';
	int rc = check_type(r, scheme);
	if (!rc && p->type && strcmp(p->type, scheme) != 0)
		rc = config_bad(r, "type and url don't agree: the url is of type %.15s", scheme);
	if (!rc && !(p->type = tree_strdup(&r->c->memory, scheme)))
		rc = config_nomem(r);
	p->target = p->url;
	return rc || sep ? rc : absolute(r, &p->target);
}

static int resolve_parts(struct config_reading *r, struct config_replica *p)
{
	if (!p->type)
		p->type = "file";
	int rc = check_type(r, p->type);
	if (rc)
		return rc;
	if (strcmp(p->type, "file") == 0) {
		p->target = p->path;
		return p->path ? absolute(r, &p->target)
					   : config_bad(r, "a replica needs url, or type and path");
	}
	if (strcmp(p->type, "s3") != 0)
		return config_bad(
			r, "there is no type of replica \"%.20s\": there are file and s3", p->type);
	const char *bucket = p->settings.bucket ? p->settings.bucket : r->db->settings.bucket;
	if (!bucket)
		return config_bad(r, "a replica of type s3 needs url, or bucket and path");
	char *url = s3_url(bucket, p->path ? p->path : "");
	p->target = url ? tree_strdup(&r->c->memory, url) : NULL;
	free(url);
	return p->target ? ERR_OK : config_nomem(r);
}

int config_resolve_replica(struct config_reading *r, struct config_replica *p)
{
	const struct config_settings *s = &p->settings;
	int rc = p->url ? resolve_url(r, p) : resolve_parts(r, p);
	if (rc)
		return rc;
	if (s->sse_key && s->sse_key_path)
		return config_bad(r, "sse-customer-key and sse-customer-key-path exclude each other");
	if (s->sse_algorithm && !s->sse_key && !s->sse_key_path)
		return config_bad(r, "sse-customer-algorithm needs sse-customer-key");
	if (!s->access_key_id != !s->secret_access_key)
		return config_bad(r, "access-key-id and secret-access-key go together");
	return ERR_OK;
}

/* ---- databases ---- */

static const struct config_replica *named(
	const struct config_database *db, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (db->replicas[i].name && strcmp(db->replicas[i].name, name) == 0)
			return &db->replicas[i];
	return NULL;
}

/* Those without a name are called after their type. */
static int name_replicas(struct config_reading *r, struct config_database *db)
{
	for (size_t i = 0; i < db->n_replicas; i++) {
		struct config_replica *p = &db->replicas[i];
		r->line = p->line;
		if (p->name && named(db, i, p->name))
			return config_bad(r, "two replicas of one database have the name \"%.40s\"", p->name);
	}
	for (size_t i = 0; i < db->n_replicas; i++) {
		struct config_replica *p = &db->replicas[i];
		char name[64];
		if (p->name)
			continue;
		snprintf(name, sizeof(name), "%s", p->type);
		for (size_t k = 2; named(db, db->n_replicas, name); k++)
			snprintf(name, sizeof(name), "%s-%zu", p->type, k);
		if (!(p->name = tree_strdup(&r->c->memory, name)))
			return config_nomem(r);
	}
	return ERR_OK;
}

static int check_kind(struct config_reading *r, const struct config_database *db)
{
	if (!db->path == !db->dir)
		return config_bad(r, db->path ? "path and dir exclude each other"
									  : "a database needs path, or dir and pattern");
	if (db->dir && !db->pattern)
		return config_bad(r, "dir needs pattern, as \"*.db\"");
	if (db->dir && db->meta_path)
		return config_bad(r, "meta-path goes with path: with dir it is meta-dir");
	const char *stray = db->pattern     ? "pattern"
						: db->recursive ? "recursive"
						: db->watch     ? "watch"
						: db->meta_dir  ? "meta-dir"
										: NULL;
	if (db->dir && db->restore_if_missing)
		return config_bad(r, "restore-if-db-not-exists goes with path, not with dir");
	if (db->path && stray)
		return config_bad(r, "%s goes with dir, not with path", stray);
	if (db->n_replicas == 0)
		return config_bad(r, "a database needs a replica");
	return ERR_OK;
}

static int resolve_database(struct config_reading *r, struct config_database *db)
{
	r->line = db->line;
	r->key = NULL;
	int rc = check_kind(r, db);
	if (!rc)
		rc = absolute(r, db->path ? &db->path : &db->dir);
	if (!rc && db->meta_path)
		rc = absolute(r, &db->meta_path);
	if (!rc && db->meta_dir)
		rc = absolute(r, &db->meta_dir);
	return rc ? rc : name_replicas(r, db);
}

struct taken {
	const char *text;
	unsigned line;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct taken *)a)->text, ((const struct taken *)b)->text);
}

/* Two of one kind that are the same. */
static int check_distinct(struct config_reading *r, struct taken *list, size_t n, const char *what)
{
	qsort(list, n, sizeof(*list), by_text);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(list[i - 1].text, list[i].text) != 0)
			continue;
		unsigned first = list[i - 1].line, second = list[i].line;
		r->line = first > second ? first : second;
		return config_bad(r, "%s as in line %u", what, first < second ? first : second);
	}
	return ERR_OK;
}

static int check_all_distinct(struct config_reading *r)
{
	const struct config *c = r->c;
	size_t n_paths = 0, n_targets = 0;
	for (size_t i = 0; i < c->n_databases; i++)
		n_targets += c->databases[i].n_replicas;
	struct taken *paths = calloc(c->n_databases + 1, sizeof(*paths));
	struct taken *targets = calloc(n_targets + 1, sizeof(*targets));
	int rc = paths && targets ? ERR_OK : config_nomem(r);
	n_targets = 0;
	for (size_t i = 0; !rc && i < c->n_databases; i++) {
		const struct config_database *db = &c->databases[i];
		if (db->path)
			paths[n_paths++] = (struct taken){db->path, db->line};
		for (size_t k = 0; k < db->n_replicas; k++)
			targets[n_targets++] = (struct taken){db->replicas[k].target, db->replicas[k].line};
	}
	if (!rc)
		rc = check_distinct(r, paths, n_paths, "the same database");
	if (!rc)
		rc = check_distinct(
			r, targets, n_targets, "two databases would write over each other: the same replica");
	free(paths);
	free(targets);
	return rc;
}

int config_resolve(struct config_reading *r)
{
	struct config *c = r->c;
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < c->n_databases; i++)
		rc = resolve_database(r, &c->databases[i]);
	r->key = NULL;
	if (!rc)
		rc = check_all_distinct(r);
	if (!rc && c->socket_path)
		rc = absolute(r, &c->socket_path);
	return rc;
}

/* ---- the whole ---- */

static const char *variable(void *ctx, const char *name)
{
	if (strcmp(name, "PID") != 0)
		return getenv(name);
	char *text = ctx;
	snprintf(text, 16, "%d", (int)getpid());
	return text;
}

static int read_all(struct config_reading *r, struct tree *t, bool expand)
{
	char pid[16];
	int rc = expand ? expand_tree(t, r->c->file, variable, pid, r->e) : ERR_OK;
	if (!rc && t->root && !tree_is_null(t->root))
		rc = config_walk(r, t->root, "");
	if (!rc)
		rc = config_resolve(r);
	return rc || !t->root || tree_is_null(t->root) ? rc : config_tell_idle(r, t->root);
}

void config_init(struct config *c)
{
	*c = (struct config){.heartbeat_interval_ms = 5 * 60000, .shutdown_timeout_ms = 30000};
	c->settings.options = (struct options)OPTIONS_DEFAULT;
	c->socket_path = CONFIG_SOCKET_DEFAULT;
	c->socket_mode = CONFIG_SOCKET_MODE;
}

int config_read(
	struct config *c, const char *file, const char *text, size_t n, bool expand, struct err *e)
{
	struct tree t;
	config_init(c);
	c->file = tree_strdup(&c->memory, file);
	if (!c->file)
		return err_nomem(e, "reading a configuration");
	struct config_reading r = {.c = c, .e = e, .level = CONFIG_TOP, .settings = &c->settings};
	int rc = tree_read(&t, c->file, text, n, e);
	if (!rc)
		rc = read_all(&r, &t, expand);
	tree_free(&t);
	return rc;
}

void config_free(struct config *c)
{
	free(c->notes);
	tree_memory_free(&c->memory);
	*c = (struct config){0};
}

int config_find_replica(const struct config *c, const struct config_database *db, const char *name,
	const struct config_replica **out, struct err *e)
{
	*out = name ? named(db, db->n_replicas, name) : &db->replicas[0];
	if (*out)
		return ERR_OK;
	char all[400] = "";
	for (size_t i = 0; i < db->n_replicas; i++) {
		size_t len = strlen(all);
		snprintf(all + len, sizeof(all) - len, "%s%s", i ? ", " : "", db->replicas[i].name);
	}
	return err_set(e, ERR_USAGE, "%s:%u: %s has no replica \"%.64s\"; there %s %s", c->file,
		db->line, db->path ? db->path : db->dir, name, db->n_replicas > 1 ? "are" : "is", all);
}
