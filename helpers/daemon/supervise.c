#include "daemon/supervise.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "conf/names.h"
#include "daemon/applog.h"
#include "daemon/datadir.h"
#include "daemon/orders.h"
#include "daemon/storage.h"
#include "daemon/supervise_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MS 1000ll
#define POLL_US (1000 * MS) /* where there is no inotify */
#define REFUSED_MS 60000    /* a database that was refused is looked at again so often */

/* ---- may a worker have this database? ---- */

int supervisor_check_root(const struct supervisor *s, uid_t uid, const char *path, struct err *e)
{
	if (uid != 0 || s->cfg.allow_root || s->cfg.child.confinement != CONFINE_NONE)
		return ERR_OK;
	return err_set(e, ERR_DATABASE,
		"%s belongs to root, and nothing would hold a process of root here (no mount namespaces, "
		"no "
		"Landlock): give it to the user of the app, or start litestreamd with "
		"-allow-root-databases",
		path);
}

/* A renamed app's database: the worker of the old name has it until it has ended. */
static int check_free(const struct supervisor *s, const struct app *own,
	const struct desired_database *d, struct err *e)
{
	for (const struct app *a = s->apps; a; a = a->next) {
		for (size_t i = 0; a != own && !supervisor_quiet(a) && i < a->desired.n_databases; i++) {
			if (strcmp(a->desired.databases[i].id, d->id) == 0)
				return err_set(e, ERR_AGAIN, "the worker of app %s still has it", a->name);
		}
	}
	return ERR_OK;
}

static int judge(struct supervisor *s, const struct app *a, const struct desired_database *d,
	struct verdict *v, struct err *e)
{
	struct storage_answer st;
	if (datadir_is_purged(s->state_dir, d->id))
		return err_set(e, ERR_FAIL,
			"the replica of %s was deleted: destroy the replication, and create it anew to go on",
			d->path);
	if (supervisor_holds(s, d->id))
		return err_set(e, ERR_AGAIN, "its replica is being deleted");
	int rc = check_free(s, a, d, e);
	if (rc != ERR_OK)
		return rc;
	rc = storage_look(s->cfg.storage_roots, d->storage_dir, d->file, d->mount, &st, e);
	if (rc != ERR_OK)
		return rc;
	if (st.uid != d->uid)
		return err_set(e, ERR_DATABASE,
			"%s belongs to uid %u, but was created here for uid %u; if that is right, destroy and "
			"create the replication again",
			st.exists ? d->path : d->storage_dir, (unsigned)st.uid, (unsigned)d->uid);
	rc = supervisor_check_root(s, d->uid, d->path, e);
	if (rc != ERR_OK)
		return rc;
	v->folder_dev = st.folder_dev;
	v->folder_ino = st.folder_ino;
	return datadir_state(s->state_dir, d->id, d->uid, d->gid, s->cfg.child.run_as_self, e);
}

/* A replica's folder comes with the first start; when it goes, or is another, what the worker has
 * is out of reach for everybody else. */
static bool replica_moved(const struct desired_database *d, struct verdict *v)
{
	struct stat st = {0};
	char *path = confine_replica_path(d->replica);
	if (!path || stat(path, &st) != 0)
		st.st_dev = st.st_ino = 0;
	free(path);
	bool moved = v->replica_ino && (st.st_dev != v->replica_dev || st.st_ino != v->replica_ino);
	v->replica_dev = st.st_dev;
	v->replica_ino = st.st_ino;
	return moved;
}

/* Short of descriptors or memory we can't look: what ran goes on. */
static bool can_not_look(int code)
{
	return code == ERR_IO || code == ERR_FULL || code == ERR_NOMEM;
}

/* Judges every database; true when any verdict is another than before. */
static bool judge_all(struct supervisor *s, struct app *a)
{
	bool changed = false;
	a->refused = false;
	for (size_t i = 0; i < a->desired.n_databases; i++) {
		const struct desired_database *d = &a->desired.databases[i];
		struct verdict *v = &a->verdicts[i];
		struct err e = ERR_INIT;
		const struct verdict before = *v;
		int code = judge(s, a, d, v, &e);
		a->refused = a->refused || code != ERR_OK;
		if (before.code == ERR_OK && can_not_look(code)) {
			*v = before;
			log_debug("%s: %s", a->name, e.text);
			continue;
		}
		watch_parent(s, d->storage_dir);
		bool moved = replica_moved(d, v);
		a->moved += moved;
		changed = changed || moved || code != v->code || v->folder_dev != before.folder_dev ||
				  v->folder_ino != before.folder_ino;
		if (code == v->code && strcmp(v->reason, e.text) == 0)
			continue;
		if (code != ERR_OK)
			applog_write(s->cfg.child.log_dir, a->name, s->cfg.child.log_gid,
				code == ERR_AGAIN ? LOG_INFO : LOG_ERROR, "not replicating %s: %s", d->path,
				e.text);
		v->code = code;
		snprintf(v->reason, sizeof(v->reason), "%.511s", e.text);
	}
	return changed;
}

/* ---- apps ---- */

struct app *supervisor_find(struct supervisor *s, const char *name)
{
	for (struct app *a = s->apps; a; a = a->next) {
		if (strcmp(a->name, name) == 0)
			return a;
	}
	return NULL;
}

static struct app *find_or_add(struct supervisor *s, const char *name)
{
	struct app *a = supervisor_find(s, name);
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->next = s->apps;
	s->apps = a;
	return a;
}

static void app_free(struct app *a)
{
	for (struct child *c = a->children, *next; c; c = next) {
		next = c->next;
		child_free(c);
	}
	desired_free(&a->desired);
	free(a->verdicts);
	free(a);
}

static struct child *child_for(
	struct supervisor *s, struct app *a, const struct desired_database *d)
{
	for (struct child *c = a->children; c; c = c->next) {
		if (c->uid == d->uid)
			return c;
	}
	struct err e = ERR_INIT;
	struct child *c = child_new(&s->cfg.child, a->name, d->uid, d->gid, &e);
	if (!c) {
		log_error("%s: %s", a->name, e.text);
		return NULL;
	}
	c->next = a->children;
	a->children = c;
	return c;
}

static void start_or_keep(struct supervisor *s, struct child *c)
{
	struct err e = ERR_INIT;
	uint8_t digest[32];
	int rc = orders_digest(s, c, digest, &e);
	if (can_not_look(rc) && c->wanted) {
		log_debug("%s: %s", c->app, e.text);
		return;
	}
	if (rc != ERR_OK) {
		snprintf(c->trouble, sizeof(c->trouble), "%.299s", e.text);
		applog_write(s->cfg.child.log_dir, c->app, s->cfg.child.log_gid, LOG_ERROR, "%s", e.text);
		child_stop(c);
		memset(c->digest, 0, sizeof(c->digest));
		return;
	}
	if (c->wanted && memcmp(digest, c->digest, sizeof(digest)) == 0)
		return;
	memcpy(c->digest, digest, sizeof(digest));
	child_want(c);
}

/* Makes what runs what is wanted. */
static void apply(struct supervisor *s, struct app *a)
{
	bool run = a->desired.running && !a->gone && a->paused == 0 && !s->stopping;
	for (struct child *c = a->children; c; c = c->next)
		c->named = false;
	for (size_t i = 0; run && i < a->desired.n_databases; i++) {
		struct child *c =
			a->verdicts[i].code == ERR_OK ? child_for(s, a, &a->desired.databases[i]) : NULL;
		if (c)
			c->named = true;
	}
	for (struct child *c = a->children; c; c = c->next) {
		if (c->named)
			start_or_keep(s, c);
		else
			child_stop(c);
	}
}

static int take_desired(struct app *a, struct desired *d, struct err *e)
{
	struct verdict *v = calloc(d->n_databases + 1, sizeof(*v));
	if (!v)
		return err_nomem(e, "reading the desired state");
	for (size_t i = 0; i < d->n_databases; i++)
		v[i].code = -1; /* not judged yet */
	desired_free(&a->desired);
	free(a->verdicts);
	a->desired = *d;
	a->verdicts = v;
	memset(d, 0, sizeof(*d));
	return ERR_OK;
}

static void note_load_error(struct supervisor *s, struct app *a, const struct err *e)
{
	if (strcmp(a->load_reason, e->text) != 0)
		applog_write(s->cfg.child.log_dir, a->name, s->cfg.child.log_gid, LOG_ERROR,
			"%s; what was asked for before stays in force", e->text);
	a->load_code = e->code;
	snprintf(a->load_reason, sizeof(a->load_reason), "%.511s", e->text);
}

static int reload_app(struct supervisor *s, struct app *a, struct err *e)
{
	struct desired d;
	int rc = desired_read(&d, s->desired_dir, a->name, s->cfg.owner, e);
	if (rc == ERR_OK)
		rc = take_desired(a, &d, e);
	desired_free(&d);
	a->gone = rc == ERR_NOT_FOUND;
	if (rc == ERR_NOT_FOUND) {
		apply(s, a);
		return ERR_OK;
	}
	if (rc != ERR_OK) {
		note_load_error(s, a, e);
		return rc;
	}
	a->load_code = ERR_OK;
	a->load_reason[0] = '\0';
	supervisor_apply(s, a);
	return ERR_OK;
}

int supervisor_reload(struct supervisor *s, const char *name, struct err *e)
{
	if (!name_is_app(name))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be the name of an app", name);
	struct app *a = find_or_add(s, name);
	return a ? reload_app(s, a, e) : err_nomem(e, "reading the desired state");
}

static int reload_one(void *ctx, const char *name, struct err *e)
{
	struct supervisor *s = ctx;
	struct err own = ERR_INIT;
	(void)e;
	struct app *a = find_or_add(s, name);
	if (a) {
		reload_app(s, a, &own);
		a->gone = false; /* the file is there, if not good */
	}
	return ERR_OK;
}

int supervisor_reload_all(struct supervisor *s, struct err *e)
{
	for (struct app *a = s->apps; a; a = a->next)
		a->gone = true;
	int rc = desired_each(s->desired_dir, reload_one, s, e);
	for (struct app *a = s->apps; a; a = a->next) {
		if (rc != ERR_OK)
			a->gone = false;
		else if (a->gone)
			apply(s, a);
	}
	return rc;
}

/* ---- restores ---- */

void supervisor_pause(struct supervisor *s, struct app *a)
{
	if (a->paused++ == 0)
		apply(s, a);
}

void supervisor_resume(struct supervisor *s, struct app *a)
{
	if (a->paused > 0 && --a->paused == 0)
		supervisor_apply(s, a);
}

void supervisor_apply(struct supervisor *s, struct app *a)
{
	if (a->desired.running)
		judge_all(s, a);
	apply(s, a);
}

/* ---- the loop ---- */

static void forget_gone(struct supervisor *s)
{
	for (struct app **link = &s->apps; *link;) {
		struct app *a = *link;
		if (a->gone && a->paused == 0 && supervisor_quiet(a)) {
			*link = a->next;
			app_free(a);
		} else {
			link = &a->next;
		}
	}
}

static bool is_wanted(const struct app *a)
{
	return a->desired.running && !a->gone && a->paused == 0;
}

static void recheck(struct supervisor *s)
{
	uint8_t now[sizeof(s->system)];
	bool all = confine_system_digest(s->cfg.child.confinement, now) &&
			   memcmp(now, s->system, sizeof(now)) != 0;
	if (all) {
		memcpy(s->system, now, sizeof(now));
		log_info("the resolver's files have changed: workers are started anew");
		watch_system(s); /* they may be elsewhere now */
	}
	for (struct app *a = s->apps; a; a = a->next) {
		if (is_wanted(a) && (judge_all(s, a) || all))
			apply(s, a);
	}
}

/* What was refused is a person's to mend, who then looks whether it helped. */
static int64_t recheck_due(const struct supervisor *s)
{
	bool refused = false;
	for (const struct app *a = s->apps; a && !refused; a = a->next)
		refused = is_wanted(a) && a->refused;
	int64_t ms = refused && s->cfg.recheck_ms > REFUSED_MS ? REFUSED_MS : s->cfg.recheck_ms;
	int64_t due = s->rechecked_us + ms * MS;
	return s->look_us < due ? s->look_us : due;
}

static void do_due(struct supervisor *s, int64_t now)
{
	struct err e = ERR_INIT;
	if (s->stopping)
		return;
	if (s->watch_fd < 0 && now >= s->reread_us) {
		s->reread = watch_folders_changed(s);
		s->reread_us = s->reread ? now : now + POLL_US;
	}
	bool due = now >= recheck_due(s);
	/* A folder that was made anew has no watch. */
	if (due && watch_folders_changed(s)) {
		s->reread = true;
		s->reread_us = now;
	}
	if (s->reread && now >= s->reread_us) {
		s->reread = false;
		if (supervisor_reload_all(s, &e) != ERR_OK)
			log_error("%s", e.text);
	}
	if (due) {
		s->rechecked_us = now;
		s->look_us = INT64_MAX;
		recheck(s);
	}
}

void supervisor_prepare(struct supervisor *s, struct pollset *p)
{
	do_due(s, clock_mono_us());
	forget_gone(s);
	for (struct app *a = s->apps; a; a = a->next) {
		for (struct child *c = a->children; c; c = c->next)
			child_prepare(c, p);
	}
	if (s->stopping)
		return;
	watch_prepare(s, p);
	if (s->reread || s->watch_fd < 0)
		pollset_wake_at(p, s->reread_us);
	if (s->apps)
		pollset_wake_at(p, recheck_due(s));
}

void supervisor_stop(struct supervisor *s)
{
	s->stopping = true;
	for (struct app *a = s->apps; a; a = a->next)
		apply(s, a);
}

/* ---- open and close ---- */

static int open_folders(struct supervisor *s, struct err *e)
{
	s->desired_dir = fs_join(s->cfg.data_dir, "desired");
	s->secrets_dir = fs_join(s->cfg.data_dir, "secrets");
	s->state_dir = fs_join(s->cfg.data_dir, "state");
	if (!s->desired_dir || !s->secrets_dir || !s->state_dir)
		return err_nomem(e, "opening the data folder");
	int rc = datadir_prepare(s->cfg.data_dir, s->cfg.owner, s->cfg.child.run_as_self, e);
	if (rc == ERR_OK)
		rc = datadir_lock(s->state_dir, &s->lock_fd, e);
	return rc;
}

int supervisor_open(struct supervisor *s, const struct supervisor_config *cfg, struct err *e)
{
	memset(s, 0, sizeof(*s));
	s->cfg = *cfg;
	s->cfg.child.make = orders_make;
	s->cfg.child.folders = orders_folders;
	s->cfg.child.ctx = s;
	s->lock_fd = s->watch_fd = s->mounts_fd = -1;
	s->started_us = s->rechecked_us = clock_mono_us();
	s->look_us = INT64_MAX;
	confine_system_digest(cfg->child.confinement, s->system);
	int rc = open_folders(s, e);
	if (rc == ERR_OK) {
		watch_open(s);
		rc = supervisor_reload_all(s, e);
	}
	if (rc != ERR_OK)
		supervisor_close(s);
	return rc;
}

void supervisor_close(struct supervisor *s)
{
	while (s->apps) {
		struct app *a = s->apps;
		s->apps = a->next;
		app_free(a);
	}
	while (s->holds)
		supervisor_release(s, s->holds->id);
	watch_close(s);
	fs_close(s->lock_fd);
	free(s->desired_dir);
	free(s->secrets_dir);
	free(s->state_dir);
	memset(s, 0, sizeof(*s));
	s->lock_fd = s->watch_fd = s->mounts_fd = -1;
}
