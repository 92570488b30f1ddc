#include "daemon/orders.h"

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "daemon/credentials.h"

#include <stdlib.h>
#include <string.h>

static void fill_database(struct message_database *m, const struct desired_database *d, char *state)
{
	*m = (struct message_database){
		.id = d->id,
		.path = d->path,
		.replica = d->replica,
		.state_dir = state,
		.storage_name = (char *)fs_basename(d->storage_dir),
		.container_path = d->container_path,
		.sync_interval_ms = d->options.sync_interval_ms,
		.staging_max = d->options.staging_max,
		.copies_max = d->options.copies_max,
		.checkpoint_frames = d->options.checkpoint_frames,
		.barrier_bytes = d->options.barrier_bytes,
		.no_barrier = d->options.no_barrier,
		.any_filesystem = d->options.any_filesystem,
		.no_retention = !d->options.retention,
		.l0_retention_ms = d->options.l0_retention_ms,
		.l1_retention_ms = d->options.l1_retention_ms,
		.l2_retention_ms = d->options.l2_retention_ms,
		.l3_retention_ms = d->options.l3_retention_ms,
		.snapshot_interval_ms = d->options.snapshot_interval_ms,
		.snapshot_renew_ms = d->options.snapshot_renew_ms,
	};
}

static bool is_for(const struct app *a, size_t i, const struct child *c)
{
	const struct desired_database *d = &a->desired.databases[i];
	return a->verdicts[i].code == ERR_OK && d->uid == c->uid;
}

/* Borrows everything from the app but the state folders' names. */
static int collect_databases(
	struct supervisor *s, const struct app *a, const struct child *c, struct message_config *m)
{
	m->databases = calloc(a->desired.n_databases + 1, sizeof(*m->databases));
	if (!m->databases)
		return ERR_NOMEM;
	for (size_t i = 0; i < a->desired.n_databases; i++) {
		if (!is_for(a, i, c))
			continue;
		char *state = fs_join(s->state_dir, a->desired.databases[i].id);
		if (!state)
			return ERR_NOMEM;
		fill_database(&m->databases[m->n_databases++], &a->desired.databases[i], state);
	}
	return ERR_OK;
}

/* Those of one database. */
static int add_folders(const struct supervisor *s, const struct desired_database *d,
	const struct verdict *v, struct confine_folders *out, struct err *e)
{
	char *state = fs_join(s->state_dir, d->id);
	int rc = state ? confine_add(out, CONFINE_STATE, state, e) : err_nomem(e, "starting a worker");
	if (rc == ERR_OK)
		rc = confine_add_storage(out, d->storage_dir, d->mount, v->folder_dev, v->folder_ino, e);
	if (rc == ERR_OK)
		rc = confine_add_replica(out, CONFINE_REPLICA, d->replica, e);
	free(state);
	return rc;
}

int orders_folders(void *ctx, const struct child *c, struct confine_folders *out, struct err *e)
{
	struct supervisor *s = ctx;
	const struct app *a = supervisor_find(s, c->app);
	if (!a)
		return err_set(e, ERR_FAIL, "the app %s is gone", c->app);
	out->roots = s->cfg.storage_roots;
	for (size_t i = 0; i < a->desired.n_databases; i++) {
		int rc = is_for(a, i, c) ? add_folders(s, &a->desired.databases[i], &a->verdicts[i], out, e)
								 : ERR_OK;
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

/* A worker keeps the folders that it was given. */
static int append_places(
	const struct supervisor *s, const struct app *a, const struct child *c, struct buf *text)
{
	int rc = buf_append(text, s->system, sizeof(s->system));
	if (a && rc == ERR_OK)
		rc = buf_append(text, &a->moved, sizeof(a->moved));
	for (size_t i = 0; a && rc == ERR_OK && i < a->desired.n_databases; i++) {
		const struct verdict *v = &a->verdicts[i];
		if (is_for(a, i, c) && (rc = buf_append(text, &v->folder_dev, sizeof(v->folder_dev))) == 0)
			rc = buf_append(text, &v->folder_ino, sizeof(v->folder_ino));
	}
	return rc;
}

int orders_make(void *ctx, struct child *c, json_t **out, struct err *e)
{
	struct supervisor *s = ctx;
	const struct app *a = supervisor_find(s, c->app);
	struct secrets secrets;
	*out = NULL;
	if (!a)
		return err_set(e, ERR_FAIL, "the app %s is gone", c->app);
	int rc = secrets_read(&secrets, s->secrets_dir, c->app, s->cfg.owner, e);
	struct message_config m = {
		.app = c->app,
		.shutdown_timeout_ms = s->cfg.child.shutdown_ms,
		.credentials = credentials_to_message(&secrets),
	};
	if (rc == ERR_OK && collect_databases(s, a, c, &m) != ERR_OK)
		rc = err_nomem(e, "configuring a worker");
	if (rc == ERR_OK && !(*out = message_config_encode(&m)))
		rc = err_nomem(e, "configuring a worker");
	for (size_t i = 0; i < m.n_databases; i++)
		free(m.databases[i].state_dir);
	free(m.databases);
	secrets_free(&secrets);
	return rc;
}

int orders_digest(struct supervisor *s, struct child *c, uint8_t out[32], struct err *e)
{
	json_t *config = NULL;
	struct buf text;
	buf_init(&text, 2 * PROTO_LINE_MAX);
	int rc = orders_make(s, c, &config, e);
	if (rc == ERR_OK)
		rc = json_append(&text, config);
	if (rc == ERR_OK && append_places(s, supervisor_find(s, c->app), c, &text) != ERR_OK)
		rc = err_nomem(e, "configuring a worker");
	if (rc == ERR_OK && digest_sha256(text.data, text.len, out) != 0)
		rc = err_set(e, ERR_FAIL, "cannot hash the configuration of %s", c->app);
	json_decref(config);
	buf_wipe(&text);
	return rc;
}
