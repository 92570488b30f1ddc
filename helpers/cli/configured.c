#include "cli/configured_internal.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "cli/folders.h"
#include "cli/replicate.h"
#include "cli/wanted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RETRY_US (INT64_C(10) * 1000000)
#define LEAVE_MS 30000

/* ---- one database ---- */

void configured_free_one(struct one *o)
{
	wanted_free(&o->wanted);
	configured_free_registered(o);
	free(o->relative);
	free(o);
}

int configured_add(struct configured *g, struct one *o, bool words, struct err *e)
{
	const struct wanted *w = &o->wanted;
	struct options options = w->replica->settings.options;
	struct replicator_config cfg = {0};
	int rc = replicate_read_options(g->args, &options, e); /* flags come before the file */
	if (rc)
		return rc;
	replicate_fill(g->args, &options, &cfg);
	cfg.takeover = cfg.takeover && words;
	cfg.accept = cfg.accept && words;
	cfg.database = w->path;
	cfg.replica = w->url;
	cfg.state_dir = w->state_dir;
	cfg.store = w->store;
	cfg.peers = (unsigned)w->database->n_replicas - 1;
	cfg.rank = (unsigned)g->index;
	rc = schedule_add(g->schedule, w->path, &cfg, e);
	o->added = rc == ERR_OK;
	return rc;
}

static void note_failed(struct configured *g, const char *path, struct err *e)
{
	err_wrap(e, "%s", path);
	log_error("%s", e->text);
	if (!g->failed.code || err_worse(e->code, g->failed.code))
		g->failed = *e;
}

/* Of several databases one that can't be opened holds up no other. */
static int try_one(struct configured *g, struct one *o, struct err *e)
{
	int rc = configured_add(g, o, true, e);
	if (!rc || configured_alone(g->config) || rc == ERR_USAGE || rc == ERR_NOMEM)
		return rc;
	if (g->once) {
		o->retry_us = INT64_MAX;
		note_failed(g, o->wanted.path, e);
		return ERR_OK;
	}
	o->retry_us = clock_mono_us() + RETRY_US;
	log_error("%s: %s: trying again in %d s", o->wanted.path, e->text, (int)(RETRY_US / 1000000));
	return ERR_OK;
}

int configured_keep(struct configured *g, struct one *o, struct err *e)
{
	void *more = array_append(g->list, &g->count, &g->cap, sizeof(struct one *), &o);
	if (!more) {
		configured_free_one(o);
		return err_nomem(e, "reading a configuration");
	}
	g->list = more;
	return ERR_OK;
}

/* Takes its place in the list, to be added to the schedule. */
static int list_one(
	struct configured *g, size_t folder, const char *relative, struct one **out, struct err *e)
{
	const struct config_database *db = &g->config->databases[folder];
	struct one *o = calloc(1, sizeof(*o));
	if (!o || (relative && !(o->relative = strdup(relative)))) {
		free(o);
		return err_nomem(e, "reading a configuration");
	}
	o->folder = folder;
	int rc = wanted_make(&o->wanted, g->config, db, &db->replicas[g->index], relative, e);
	if (rc)
		configured_free_one(o);
	else
		rc = configured_keep(g, o, e);
	if (!rc)
		*out = o;
	return rc;
}

/* ---- folders ---- */

static bool is_same_file(const char *path, const struct stat *st)
{
	struct stat other;
	return stat(path, &other) == 0 && other.st_ino == st->st_ino && other.st_dev == st->st_dev;
}

/*
 * Also what the configuration names by itself or finds in another folder, by whatever path: a
 * database that this process has open must not be opened by a scan.
 */
static bool is_known(void *ctx, const char *relative)
{
	struct configured *g = ctx;
	struct stat st;
	for (size_t i = 0; i < g->count; i++) {
		struct one *o = g->list[i];
		if (o->relative && o->folder == g->scanning && strcmp(o->relative, relative) == 0)
			return o->seen = true;
	}
	char *path = fs_join(g->config->databases[g->scanning].dir, relative);
	bool known = !path || stat(path, &st) != 0;
	for (size_t i = 0; !known && i < g->count; i++)
		known = is_same_file(g->list[i]->wanted.path, &st);
	free(path);
	return known;
}

static int take_found(void *ctx, const char *relative, struct err *e)
{
	struct configured *g = ctx;
	struct one *o;
	int rc = list_one(g, g->scanning, relative, &o, e);
	if (rc)
		return rc;
	o->seen = true;
	log_info("%s: found in %s", o->wanted.path, g->config->databases[g->scanning].dir);
	return try_one(g, o, e);
}

/* The file is gone: what is left is shipped, and that was it. */
static void leave_gone(struct configured *g, size_t folder)
{
	for (size_t i = 0; i < g->count;) {
		struct one *o = g->list[i];
		struct stat st;
		struct err e;
		if (!o->relative || o->folder != folder || o->seen || lstat(o->wanted.path, &st) == 0) {
			i++;
			continue;
		}
		if (!o->off)
			log_info("%s: is gone, and not replicated any more", o->wanted.path);
		if (o->added && !o->off)
			schedule_remove(g->schedule, o->wanted.path, LEAVE_MS, NULL, NULL, &e);
		configured_free_one(o);
		g->list[i] = g->list[--g->count];
	}
}

/* A folder's databases; called at the start, and when something happened in a watched one. */
static int scan(void *ctx, size_t folder, size_t *undecided, struct err *e)
{
	struct configured *g = ctx;
	const struct config_database *db = &g->config->databases[folder];
	struct matching m = {.dir = db->dir,
		.pattern = db->pattern,
		.recursive = db->recursive,
		.known = is_known,
		.found = take_found,
		.ctx = g};
	g->scanning = folder;
	for (size_t i = 0; i < g->count; i++)
		g->list[i]->seen = false;
	int rc = folders_scan(g->folders, folder, &m, e);
	*undecided = m.undecided;
	if (!rc && m.cut)
		log_warn("%s: there is more in it than was looked at", db->dir);
	if (!rc)
		leave_gone(g, folder);
	return rc;
}

/* ---- all of them ---- */

size_t configured_processes(const struct config *c)
{
	size_t most = 1;
	for (size_t i = 0; i < c->n_databases; i++)
		if (c->databases[i].n_replicas > most)
			most = c->databases[i].n_replicas;
	return most;
}

bool configured_alone(const struct config *c)
{
	return c->n_databases == 1 && c->databases[0].path && c->databases[0].n_replicas == 1;
}

int configured_new(
	struct configured **out, const struct config *c, size_t index, struct args *a, struct err *e)
{
	struct configured *g = calloc(1, sizeof(*g));
	if (!g)
		return err_nomem(e, "reading a configuration");
	g->config = c;
	g->index = index;
	g->args = a;
	g->once = args_bool(a, "once");
	int rc = folders_new(&g->folders, c, scan, g, e);
	if (rc) {
		configured_free(g);
		return rc;
	}
	*out = g;
	return ERR_OK;
}

void configured_free(struct configured *g)
{
	if (!g)
		return;
	folders_free(g->folders, g->schedule);
	for (size_t i = 0; i < g->count; i++)
		configured_free_one(g->list[i]);
	free(g->list);
	free(g);
}

int configured_start(struct configured *g, struct schedule *s, struct err *e)
{
	const struct config *c = g->config;
	g->schedule = s;
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < c->n_databases; i++) {
		struct one *o;
		if (c->databases[i].path && g->index < c->databases[i].n_replicas)
			rc = list_one(g, i, NULL, &o, e);
	}
	for (size_t i = 0; !rc && i < g->count; i++)
		rc = try_one(g, g->list[i], e);
	for (size_t i = 0; !rc && i < c->n_databases; i++)
		if (c->databases[i].dir && g->index < c->databases[i].n_replicas)
			rc = folders_start(g->folders, i, s, e);
	return rc;
}

int64_t configured_look(struct configured *g, int64_t now_us)
{
	int64_t next = folders_look(g->folders, now_us);
	for (size_t i = 0; i < g->count; i++) {
		struct one *o = g->list[i];
		struct err e;
		if (o->added)
			continue;
		if (o->retry_us <= now_us && try_one(g, o, &e)) {
			log_error("%s: %s", o->wanted.path, e.text);
			o->retry_us = now_us + RETRY_US;
		}
		if (!o->added && o->retry_us < next)
			next = o->retry_us;
	}
	return next;
}

const struct err *configured_failed(const struct configured *g)
{
	return &g->failed;
}

bool configured_has_registered(const struct configured *g)
{
	return g->registered;
}

const char *configured_replica_name(void *g, const char *id)
{
	const struct configured *c = g;
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->list[i]->wanted.path, id) == 0)
			return c->list[i]->wanted.replica->name;
	return NULL;
}
