#include "cli/place.h"

#include "base/fs.h"
#include "base/log.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *real_name(const char *path)
{
	char *absolute = config_absolute(path), *out = absolute ? fs_real_name(absolute) : NULL;
	free(absolute);
	return out;
}

/* Where a path is in a folder of databases: relative to it, borrowed from `real`; NULL. */
static const char *inside(const struct config_database *db, const char *real)
{
	char folder[PATH_MAX];
	const char *dir = realpath(db->dir, folder) ? folder : db->dir;
	size_t n = strlen(dir);
	if (strncmp(real, dir, n) != 0 || real[n] != '/')
		return NULL;
	const char *relative = real + n + 1;
	if (!db->recursive && strchr(relative, '/'))
		return NULL;
	return fnmatch(db->pattern, fs_basename(relative), 0) == 0 ? relative : NULL;
}

static int find_database(struct place *p, struct args *a, const char *real,
	const struct config_database **db, const char **relative, struct err *e)
{
	const struct config *c = &p->config;
	*relative = NULL;
	for (size_t i = 0; i < c->n_databases; i++) {
		*db = &c->databases[i];
		char *name = (*db)->path ? real_name((*db)->path) : NULL;
		bool same = name && strcmp(name, real) == 0;
		free(name);
		if (!same && (*db)->dir)
			same = (*relative = inside(*db, real)) != NULL;
		if (same)
			return ERR_OK;
	}
	/* Somebody else stands in another folder than the one that was meant. */
	for (size_t i = 0; i < c->n_databases; i++) {
		const char *path = c->databases[i].path;
		if (path && strcmp(fs_basename(path), fs_basename(real)) == 0)
			return args_usage(a, e, path,
				"database not found in config: %s is not in %s, but %s is", real, c->file, path);
	}
	return args_usage(a, e, "litestream databases", "database not found in config: %s is not in %s",
		real, c->file);
}

/* The database's replica number n, of those that are meant; *last: there is no other. */
static int take_replica(struct place *p, struct args *a, const struct config_database *db,
	const char *relative, size_t n, bool *last, struct err *e)
{
	const char *name = args_string(a, "replica", NULL);
	const struct config_replica *replica = &db->replicas[n];
	*last = name || n + 1 == db->n_replicas;
	int rc = name ? config_find_replica(&p->config, db, name, &replica, e) : ERR_OK;
	if (!rc)
		rc = wanted_make(&p->wanted, &p->config, db, replica, relative, e);
	p->url = p->wanted.url;
	p->store = p->wanted.store;
	p->path = p->wanted.path;
	p->state_dir = p->wanted.state_dir;
	return rc;
}

/* What place_each does with what it finds; without fn the first one is taken. */
struct each {
	int (*fn)(void *ctx, const struct place *p, bool last, struct err *e);
	void *ctx;
};

static int find_in_config(
	struct place *p, struct args *a, const char *word, const struct each *each, struct err *e)
{
	const struct config_database *db = NULL;
	const char *relative = NULL;
	bool last = false;
	char *real = real_name(word);
	int rc =
		real ? find_database(p, a, real, &db, &relative, e) : err_nomem(e, "finding a database");
	for (size_t n = 0; !rc && !last; n++) {
		wanted_free(&p->wanted);
		rc = take_replica(p, a, db, relative, n, &last, e);
		if (!rc && each)
			rc = each->fn(each->ctx, p, last, e);
		last |= !each;
	}
	free(real);
	return rc;
}

/* Does the environment name credentials? Then those were meant. */
static bool environment_has_keys(void)
{
	static const char *const names[] = {"LITESTREAM_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);
		if (value && *value)
			return true;
	}
	return false;
}

static const struct config_replica *find_target(const struct config *c, const char *url)
{
	for (size_t i = 0; i < c->n_databases; i++)
		for (size_t k = 0; k < c->databases[i].n_replicas; k++)
			if (strcmp(c->databases[i].replicas[k].target, url) == 0)
				return &c->databases[i].replicas[k];
	return NULL;
}

/*
 * What the configuration says of a replica with this very URL holds when it is named by the URL,
 * too. A file that can't be read or understood is no reason to fail: nobody asked for it.
 */
static int take_settings(struct place *p, struct args *a, const char *url, struct err *e)
{
	bool there;
	struct err why;
	int rc = config_file_load(a, &p->config, &there, &why);
	const struct config_replica *r = !rc && there ? find_target(&p->config, url) : NULL;
	if (rc == ERR_USAGE)
		log_warn("not looked at for the replica's credentials: %s", why.text);
	if (!r)
		return ERR_OK;
	log_debug("the replica's settings are those of %s:%u", p->config.file, r->line);
	rc = config_store_options(&p->config, r, &p->store, p->wanted.key, e);
	if (!rc && environment_has_keys())
		p->store.access_key_id = p->store.secret_access_key = p->store.session_token = NULL;
	return rc;
}

static bool is_folder(const char *word)
{
	struct stat st;
	return word[0] == '/' && stat(word, &st) == 0 && S_ISDIR(st.st_mode);
}

static int find(
	struct place *p, struct args *a, const char *word, const struct each *each, struct err *e)
{
	bool there;
	*p = (struct place){.url = word};
	if (strstr(word, "://") || (is_folder(word) && !args_given(a, "config"))) {
		if (args_given(a, "config"))
			return args_usage(a, e, NULL, "cannot specify a replica URL and the -config flag");
		if (args_given(a, "replica"))
			return args_usage(a, e, NULL, "-replica goes with a database of the configuration");
		int rc = strncmp(word, "s3://", 5) == 0 ? take_settings(p, a, word, e) : ERR_OK;
		return !rc && each ? each->fn(each->ctx, p, true, e) : rc;
	}
	int rc = config_file_load(a, &p->config, &there, e);
	if (!rc && there)
		return find_in_config(p, a, word, each, e);
	if (!rc && word[0] == '/' && each) /* a folder that isn't there is the store's to tell */
		return each->fn(each->ctx, p, true, e);
	if (rc || word[0] == '/')
		return rc;
	return args_usage(a, e, "-config PATH",
		"\"%.200s\" is no replica URL, and there is no configuration " CONFIG_DEFAULT_PATH
		" in which it could be a database",
		word);
}

int place_find(struct place *p, struct args *a, const char *word, struct err *e)
{
	return find(p, a, word, NULL, e);
}

int place_each(struct args *a, const char *word,
	int (*fn)(void *ctx, const struct place *p, bool last, struct err *e), void *ctx, struct err *e)
{
	const struct each each = {fn, ctx};
	struct place p;
	int rc = find(&p, a, word, &each, e);
	place_free(&p);
	return rc;
}

void place_free(struct place *p)
{
	wanted_free(&p->wanted);
	config_free(&p->config);
}
