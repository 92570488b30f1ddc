/* What the control socket does with the databases of a `replicate` (daemon/local.h). */
#include "base/fs.h"
#include "cli/configured_internal.h"
#include "daemon/inspect.h"
#include "source/identity.h"

#include <stdlib.h>
#include <string.h>

static struct one *find(const struct configured *g, const char *id)
{
	for (size_t i = 0; i < g->count; i++)
		if (!g->list[i]->off && strcmp(g->list[i]->wanted.path, id) == 0)
			return g->list[i];
	return NULL;
}

static const char *replica_of(void *ctx, const char *id)
{
	const struct one *o = find(ctx, id);
	return o ? o->wanted.url : NULL;
}

static int start(void *ctx, const char *id, struct err *e)
{
	struct configured *g = ctx;
	struct one *o = find(g, id);
	if (!o)
		return err_set(e, ERR_NOT_FOUND, "it is not replicated by this process");
	bool stopped = o->added;
	int rc = configured_add(g, o, false, e);
	o->added = o->added || stopped;
	return rc;
}

static void hold(void *ctx, const char *id)
{
	struct one *o = find(ctx, id);
	if (o)
		o->added = true;
}

/* What the configuration names stays, unseen, as long as the process: a scan of its folder would
 * find it again. */
static void forget(void *ctx, const char *id)
{
	struct configured *g = ctx;
	struct one *o = find(g, id);
	if (!o)
		return;
	o->off = o->added = true;
	for (size_t i = 0; o->registered && i < g->count; i++) {
		if (g->list[i] != o)
			continue;
		g->list[i] = g->list[--g->count];
		configured_free_one(o);
		return;
	}
}

/* ---- a new one ---- */

static void free_registered(struct registered *r)
{
	if (!r)
		return;
	free(r->path);
	if (r->url)
		explicit_bzero(r->url, strlen(r->url));
	free(r->url);
	free(r);
}

void configured_free_registered(struct one *o)
{
	free_registered(o->registered);
}

/* What stands at the top of the configuration counts for it, too: options and credentials. */
static struct registered *new_registered(
	const struct configured *g, const char *path, const char *url)
{
	struct registered *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->path = strdup(path);
	r->url = strdup(url);
	if (!r->path || !r->url) {
		free_registered(r);
		return NULL;
	}
	r->replica = (struct config_replica){
		.name = "registered", .url = r->url, .target = r->url, .settings = g->config->settings};
	r->database = (struct config_database){
		.path = r->path, .settings = g->config->settings, .replicas = &r->replica, .n_replicas = 1};
	return r;
}

/* It is no file that this process has open: daemon/local.c has compared them. So it may be opened
 * and closed here. */
static int look_at(const struct configured *g, const char *path, struct err *e)
{
	struct inspect_answer answer;
	bool any = g->config->settings.options.any_filesystem || args_bool(g->args, "any-filesystem");
	int rc = inspect_at_once(path, &answer, e);
	if (!rc)
		rc = identity_check_path(path, any, e);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int make_one(
	struct configured *g, const char *path, const char *url, struct one **out, struct err *e)
{
	struct one *o = calloc(1, sizeof(*o));
	if (!o || !(o->registered = new_registered(g, path, url))) {
		free(o);
		return err_nomem(e, "registering a database");
	}
	const struct registered *r = o->registered;
	int rc = wanted_make(&o->wanted, g->config, &r->database, &r->replica, NULL, e);
	if (rc)
		configured_free_one(o);
	else
		*out = o;
	return rc;
}

static int add(void *ctx, const char *path, const char *url, struct err *e)
{
	struct configured *g = ctx;
	struct one *o = NULL;
	int rc = look_at(g, path, e);
	if (!rc)
		rc = make_one(g, path, url, &o, e);
	if (!rc)
		rc = configured_keep(g, o, e);
	if (rc)
		return rc;
	g->registered = true;
	rc = configured_add(g, o, false, e);
	if (rc) {
		g->count--; /* it was the last one */
		configured_free_one(o);
	}
	return rc;
}

const struct local_host *configured_host(struct configured *g)
{
	g->host = (struct local_host){replica_of, start, hold, add, forget, g};
	return &g->host;
}
