#include "cli/wanted.h"

#include "base/digest.h"
#include "base/fs.h"
#include "conf/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *target_of(const struct config_replica *replica, const char *relative)
{
	return relative ? config_target_below(replica->target, relative) : strdup(replica->target);
}

/* How a replica is called in a state folder. A new string; NULL with the error. */
static char *display_of(const struct config *c, const struct config_replica *replica,
	const char *relative, struct err *e)
{
	char key[CONFIG_KEY_SIZE];
	struct store_options opts;
	struct store *s = NULL;
	char *url = target_of(replica, relative), *display = NULL;
	int rc = url ? config_store_options(c, replica, &opts, key, e) : ERR_NOMEM;
	if (!rc)
		rc = store_open(&s, url, &opts, e);
	if (!rc && !(display = strdup(store_url(s))))
		rc = ERR_NOMEM;
	store_close(s);
	free(url);
	if (rc == ERR_NOMEM)
		err_nomem(e, "reading a configuration");
	else if (rc && c->file && replica->line)
		err_wrap(e, "%s:%u", c->file, replica->line);
	return display;
}

/* The folder of a database alone. */
static char *state_base(const struct wanted *w, const char *relative)
{
	const struct config_database *db = w->database;
	char *name = NULL, *out;
	if (db->meta_path)
		return strdup(db->meta_path);
	if (!relative || !db->meta_dir)
		return state_default_dir(w->path);
	if (asprintf(&name, "%s-litestream", relative) < 0)
		return NULL;
	out = fs_join(db->meta_dir, name);
	free(name);
	return out;
}

/* Which of the database's replicas has the folder `base`: what its state says, or the first. */
static int owner_of(const struct wanted *w, const struct config *c, const char *base,
	const char *relative, const struct config_replica **owner, struct err *e)
{
	const struct config_database *db = w->database;
	struct state *s = calloc(1, sizeof(*s));
	struct err none;
	*owner = &db->replicas[0];
	if (!s)
		return err_nomem(e, "reading a configuration");
	int rc = ERR_OK;
	bool known = state_peek(base, s, &none) == ERR_OK;
	for (size_t i = 0; known && !rc && i < db->n_replicas; i++) {
		char *display = display_of(c, &db->replicas[i], relative, e);
		if (!display)
			rc = e->code;
		else if (strcmp(display, s->replica) == 0)
			*owner = &db->replicas[i];
		free(display);
	}
	free(s);
	return rc;
}

/* "<base>-1f2e3d4c" */
static char *state_beside(const char *base, const char *display)
{
	uint8_t hash[SHA256_LEN];
	char hex[9], *out = NULL;
	if (digest_sha256(display, strlen(display), hash))
		return NULL;
	digest_hex(hash, 4, hex);
	return asprintf(&out, "%s-%s", base, hex) < 0 ? NULL : out;
}

static int find_state_dir(
	struct wanted *w, const struct config *c, const char *relative, struct err *e)
{
	const struct config_replica *owner = w->replica;
	char *base = state_base(w, relative);
	int rc = base ? ERR_OK : err_nomem(e, "reading a configuration");
	if (!rc && w->database->n_replicas > 1)
		rc = owner_of(w, c, base, relative, &owner, e);
	if (rc || owner == w->replica) {
		w->state_dir = base;
		return rc;
	}
	char *display = display_of(c, w->replica, relative, e);
	w->state_dir = display ? state_beside(base, display) : NULL;
	if (display && !w->state_dir)
		err_nomem(e, "reading a configuration");
	free(display);
	free(base);
	return w->state_dir ? ERR_OK : (int)e->code;
}

int wanted_make(struct wanted *out, const struct config *c, const struct config_database *database,
	const struct config_replica *replica, const char *relative, struct err *e)
{
	*out = (struct wanted){.database = database, .replica = replica};
	out->path = relative ? fs_join(database->dir, relative) : strdup(database->path);
	out->url = target_of(replica, relative);
	if (!out->path || !out->url)
		return err_nomem(e, "reading a configuration");
	int rc = config_store_options(c, replica, &out->store, out->key, e);
	char *display = rc ? NULL : display_of(c, replica, relative, e); /* is it a URL at all? */
	if (!rc && !display)
		rc = e->code;
	free(display);
	return rc ? rc : find_state_dir(out, c, relative, e);
}

void wanted_free(struct wanted *w)
{
	free(w->path);
	free(w->url);
	free(w->state_dir);
	explicit_bzero(w->key, sizeof(w->key));
	*w = (struct wanted){0};
}

int wanted_check(const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->n_databases; i++) {
		for (size_t k = 0; k < c->databases[i].n_replicas; k++) {
			char *display = display_of(c, &c->databases[i].replicas[k], NULL, e);
			if (!display)
				return e->code;
			free(display);
		}
	}
	return ERR_OK;
}
