#include "cli/states.h"

#include "base/fs.h"
#include "cli/place.h"
#include "conf/state.h"
#include "source/matching.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- of a configuration ---- */

struct walk {
	const struct config *config;
	const struct config_database *db;
	int (*fn)(void *ctx, const struct config_database *db, const char *relative, struct err *e);
	void *ctx;
};

/* One that has an item of its own is met there. */
static bool has_own(void *ctx, const char *relative)
{
	const struct walk *w = ctx;
	struct stat st, own;
	char *path = fs_join(w->db->dir, relative);
	bool known = !path || stat(path, &st) != 0;
	free(path);
	for (size_t i = 0; !known && i < w->config->n_databases; i++) {
		const char *other = w->config->databases[i].path;
		known =
			other && stat(other, &own) == 0 && own.st_ino == st.st_ino && own.st_dev == st.st_dev;
	}
	return known;
}

static int found(void *ctx, const char *relative, struct err *e)
{
	const struct walk *w = ctx;
	return w->fn(w->ctx, w->db, relative, e);
}

static int walk_folder(struct walk *w, struct err *e)
{
	struct matching m = {.dir = w->db->dir,
		.pattern = w->db->pattern,
		.recursive = w->db->recursive,
		.known = has_own,
		.found = found,
		.ctx = w,
		.watch_fd = -1};
	int rc = matching_scan(&m, e);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int states_databases(const struct config *c,
	int (*fn)(void *ctx, const struct config_database *db, const char *relative, struct err *e),
	void *ctx, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < c->n_databases; i++) {
		struct walk w = {c, &c->databases[i], fn, ctx};
		rc = w.db->path ? fn(ctx, w.db, NULL, e) : walk_folder(&w, e);
	}
	return rc;
}

struct replicas {
	const struct config *config;
	states_fn *fn;
	void *ctx;
};

static int give(const struct replicas *r, const struct wanted *w, struct err *e)
{
	const struct state_place s = {.database = w->path,
		.dir = w->state_dir,
		.name = w->replica->name,
		.url = w->url,
		.index = (size_t)(w->replica - w->database->replicas)};
	return r->fn(r->ctx, &s, e);
}

static int each_replica(
	void *ctx, const struct config_database *db, const char *relative, struct err *e)
{
	const struct replicas *r = ctx;
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < db->n_replicas; i++) {
		struct wanted w;
		rc = wanted_make(&w, r->config, db, &db->replicas[i], relative, e);
		if (!rc)
			rc = give(r, &w, e);
		wanted_free(&w);
	}
	return rc;
}

int states_all(const struct config *c, states_fn *fn, void *ctx, struct err *e)
{
	struct replicas r = {c, fn, ctx};
	return states_databases(c, each_replica, &r, e);
}

/* ---- of one database ---- */

static int of_place(void *ctx, const struct place *p, bool last, struct err *e)
{
	(void)last;
	if (!p->path)
		return err_set(e, ERR_USAGE, "%s is a folder: the path of a database was expected", p->url);
	return give(ctx, &p->wanted, e);
}

/* "<base>-1f2e3d4c": of a further replica that was named on a command line. */
static bool is_other(const char *name, const char *base)
{
	size_t n = strlen(base);
	return strncmp(name, base, n) == 0 && name[n] == '-' &&
		   strspn(name + n + 1, "0123456789abcdef") == 8 && name[n + 9] == '\0';
}

static int give_others(
	const char *database, const char *base, states_fn *fn, void *ctx, struct err *e)
{
	char *folder = fs_dirname(base);
	DIR *d = folder ? opendir(folder) : NULL;
	int rc = folder ? ERR_OK : err_nomem(e, "looking for state folders");
	size_t n = 0;
	for (const struct dirent *ent; !rc && d && (ent = readdir(d));) {
		if (!is_other(ent->d_name, fs_basename(base)))
			continue;
		char *dir = fs_join(folder, ent->d_name);
		const struct state_place s = {.database = database, .dir = dir, .index = ++n};
		rc = dir ? fn(ctx, &s, e) : err_nomem(e, "looking for state folders");
		free(dir);
	}
	if (d)
		closedir(d);
	free(folder);
	return rc;
}

static int by_default(const char *word, states_fn *fn, void *ctx, struct err *e)
{
	char *absolute = config_absolute(word), *path = absolute ? fs_real_name(absolute) : NULL;
	struct state_place s = {.database = path};
	char *dir = path ? state_default_dir(path) : NULL;
	s.dir = dir;
	int rc = dir ? fn(ctx, &s, e) : err_nomem(e, "looking for a state folder");
	if (!rc)
		rc = give_others(path, dir, fn, ctx, e);
	free(absolute);
	free(path);
	free(dir);
	return rc;
}

/* Is it one of the configuration's? */
static int is_configured(struct args *a, const char *word, bool *yes, struct err *e)
{
	struct config c;
	struct place p = {0};
	*yes = false;
	int rc = config_file_load(a, &c, yes, e);
	config_free(&c);
	if (rc || !*yes || args_given(a, "config") || args_given(a, "replica"))
		return rc;
	*yes = place_find(&p, a, word, e) != ERR_USAGE;
	place_free(&p);
	if (!*yes)
		a->hint[0] = '\0';
	return ERR_OK;
}

int states_of(struct args *a, const char *word, states_fn *fn, void *ctx, struct err *e)
{
	bool configured;
	struct replicas r = {.fn = fn, .ctx = ctx};
	if (strstr(word, "://"))
		return args_usage(a, e, NULL, "the path of a database was expected, not a URL");
	int rc = is_configured(a, word, &configured, e);
	if (rc)
		return rc;
	return configured ? place_each(a, word, of_place, &r, e) : by_default(word, fn, ctx, e);
}
