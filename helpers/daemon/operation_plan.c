#include "daemon/operation_internal.h"

#include "base/fs.h"
#include "conf/desired.h"
#include "daemon/datadir.h"
#include "daemon/report.h"

#include <stdio.h>
#include <string.h>

static const struct desired_database *entry_of(
	struct supervisor *s, const char *path, const char *replica, struct app **app)
{
	for (struct app *a = s->apps; a; a = a->next) {
		for (size_t i = 0; i < a->desired.n_databases; i++) {
			const struct desired_database *d = &a->desired.databases[i];
			if (strcmp(d->path, path) == 0 && (!replica || strcmp(d->replica, replica) == 0)) {
				*app = a;
				return d;
			}
		}
	}
	return NULL;
}

/* A database that is replicated to this very URL: what the restore learns goes into its state
 * folder, so that its worker goes on without a snapshot. */
int operation_plan_restore(struct operation *o, struct err *e)
{
	struct supervisor *s = o->routes->supervisor;
	struct app *app = NULL;
	const struct desired_database *d = entry_of(s, o->path, o->target.replica, &app);
	int rc = operation_check_unused(o, e);
	if (rc != ERR_OK)
		return rc;
	if (d && d->uid == o->uid) {
		rc = datadir_state(s->state_dir, d->id, d->uid, d->gid, s->cfg.child.run_as_self, e);
		if (rc != ERR_OK)
			return rc;
		if (!(o->state_dir = fs_join(s->state_dir, d->id)))
			return err_nomem(e, "restoring");
	}
	if (!app)
		entry_of(s, o->path, NULL, &app);
	if (app && app->desired.running && (o->target.force || !o->storage.exists)) {
		strcpy(o->paused, app->name); /* both have 64 bytes */
		supervisor_pause(s, app);
	}
	return ERR_OK;
}

int operation_check_well(const struct operation *o, struct err *e)
{
	const struct child *c = NULL;
	struct app *app = NULL;
	const struct desired_database *d =
		entry_of(o->routes->supervisor, o->path, o->target.replica, &app);
	const struct message_status_database *m = d ? report_last_word(app, d, &c) : NULL;
	if (!d)
		return err_set(e, ERR_NOT_FOUND, "%s is not replicated to that URL", o->path);
	if (!c || c->state != CHILD_RUNNING || !m || strcmp(m->state, "replicating") != 0)
		return err_set(e, ERR_FAIL, "%s is not replicating; nothing was deleted", o->path);
	if (m->upkeep_error)
		return err_set(e, ERR_FAIL, "the replica of %s is not well (%s); nothing was deleted",
			o->path, m->upkeep_error);
	if (m->snapshot_ms == 0)
		return err_set(
			e, ERR_FAIL, "the replica of %s has no snapshot yet; nothing was deleted", o->path);
	return ERR_OK;
}

static bool is_followed(const struct app *a, const struct desired_database *d)
{
	const struct child *c = a->children;
	while (c && c->uid != d->uid)
		c = c->next;
	for (size_t i = 0; c && c->state == CHILD_RUNNING && i < c->status.n_databases; i++)
		if (strcmp(c->status.databases[i].id, d->id) == 0)
			return strcmp(c->status.databases[i].state, "replicating") == 0;
	return false;
}

/* What concerns a registered database, one such thing at a time; *app and *d are its. */
static int plan_registered(
	struct operation *o, struct app **app, const struct desired_database **d, struct err *e)
{
	struct supervisor *s = o->routes->supervisor;
	*d = entry_of(s, o->path, o->target.replica, app);
	if (o->target.force || o->target.only_missing)
		return err_set(e, ERR_USAGE, "this replaces no database");
	if (!*d || (*d)->uid != o->uid)
		return err_set(e, ERR_NOT_FOUND, "%s is not registered with that replica", o->path);
	for (const struct operation *other = o->next; other; other = other->next)
		if (!other->over && other->state_dir && strcmp(other->path, o->path) == 0)
			return err_set(
				e, ERR_AGAIN, "%s is being verified, restored or purged already", o->path);
	int rc =
		datadir_state(s->state_dir, (*d)->id, (*d)->uid, (*d)->gid, s->cfg.child.run_as_self, e);
	if (rc == ERR_OK && !(o->state_dir = fs_join(s->state_dir, (*d)->id)))
		rc = err_nomem(e, "starting");
	return rc;
}

/* A test restore goes below the state folder of the database. */
int operation_plan_verify(struct operation *o, struct err *e)
{
	struct app *app = NULL;
	const struct desired_database *d;
	int rc = plan_registered(o, &app, &d, e);
	o->live = rc == ERR_OK && !o->target.txid && !o->target.timestamp_ms && is_followed(app, d);
	return rc;
}

/*
 * The database's worker ends first, with its last upload, and holds the state folder no more. It is
 * started again at once without this database: the others of the app go on while the replica is
 * deleted, which may take minutes.
 */
int operation_plan_purge(struct operation *o, struct err *e)
{
	struct app *app = NULL;
	const struct desired_database *d;
	int rc = plan_registered(o, &app, &d, e);
	if (rc != ERR_OK || !app->desired.running)
		return rc;
	for (const struct child *c = app->children; c; c = c->next) {
		if (c->uid == d->uid && c->pid > 0) {
			o->waits_for = c->pid;
			o->waits_since_us = c->started_us;
		}
	}
	rc = supervisor_hold(o->routes->supervisor, app, d->id, e);
	if (rc == ERR_OK)
		snprintf(o->held, sizeof(o->held), "%s", d->id);
	return rc;
}

bool operation_waits(const struct operation *o)
{
	return o->paused[0] || o->held[0];
}

/* Has the worker ended that had the database? Another one of its number is another one. */
static bool has_ended(const struct operation *o)
{
	for (const struct app *a = o->routes->supervisor->apps; a; a = a->next)
		for (const struct child *c = a->children; c; c = c->next)
			if (c->pid > 0 && c->pid == o->waits_for && c->started_us == o->waits_since_us)
				return false;
	return true;
}

bool operation_is_ready(const struct operation *o)
{
	const struct app *a = supervisor_find(o->routes->supervisor, o->paused);
	return o->held[0] ? has_ended(o) : a && supervisor_quiet(a);
}

void operation_let_go(struct operation *o)
{
	struct supervisor *s = o->routes->supervisor;
	struct app *a = o->paused[0] ? supervisor_find(s, o->paused) : NULL;
	if (a)
		supervisor_resume(s, a);
	if (o->held[0])
		supervisor_release(s, o->held);
}
