#include "cli/missing.h"

#include "base/log.h"
#include "cli/stop.h"
#include "cli/wanted.h"
#include "restore/restore.h"

#include <sys/stat.h>

/* Signals end the restore, and are the caller's again after it. */
static int restore_stoppable(
	struct store *s, struct restore_options *o, struct restore_result *r, struct err *e)
{
	int rc = stop_begin(s, e);
	if (!rc) {
		o->cancelled = stop_flag();
		rc = restore_run(s, o, r, e);
		stop_end();
		if ((!rc || rc == ERR_NO_BACKUP) && *stop_flag()) /* it came too late for it */
			rc = err_set(e, ERR_CANCELLED, "interrupted");
	}
	return rc;
}

/* *empty: there is nothing in this replica. */
static int restore_from(const struct wanted *w, bool *empty, struct err *e)
{
	struct store *s = NULL;
	struct restore_result r = {0};
	struct restore_options o = {.output = w->path, .state_dir = w->state_dir, .leftovers = true};
	int rc = store_open(&s, w->url, &w->store, e);
	if (!rc)
		rc = restore_stoppable(s, &o, &r, e);
	*empty = rc == ERR_NO_BACKUP && r.empty_replica;
	if (!rc)
		log_info("%s: restored from %s", w->path, store_url(s));
	else if (*empty)
		log_warn("%s: nothing was ever at %s: right for a new app, else look at the URL", w->path,
			store_url(s));
	restore_plan_free(&r.plan);
	store_close(s);
	return *empty ? ERR_OK : rc;
}

static int restore_one(const struct config *c, const struct config_database *db, struct err *e)
{
	bool empty = true;
	int rc = ERR_OK;
	log_info("%s: attempting restore before replication", db->path);
	for (size_t i = 0; !rc && empty && i < db->n_replicas; i++) {
		struct wanted w;
		rc = wanted_make(&w, c, db, &db->replicas[i], NULL, e);
		if (!rc)
			rc = restore_from(&w, &empty, e);
		wanted_free(&w);
	}
	if (!rc && empty)
		log_info("%s: no backup found, starting fresh", db->path);
	return rc ? err_wrap(e, "%s: restore failed", db->path) : ERR_OK;
}

int missing_restore(const struct config *c, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < c->n_databases; i++) {
		const struct config_database *db = &c->databases[i];
		struct stat st;
		if (!db->restore_if_missing || !db->path)
			continue;
		if (lstat(db->path, &st) == 0)
			log_info("%s: database exists, skipping restore", db->path);
		else
			rc = restore_one(c, db, e);
	}
	return rc;
}

bool missing_wanted(const struct config *c)
{
	for (size_t i = 0; i < c->n_databases; i++)
		if (c->databases[i].restore_if_missing && c->databases[i].path)
			return true;
	return false;
}
