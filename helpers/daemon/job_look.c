/* What a replica holds, and what stands in the database's place: what a person should know before
 * one of them is to win. Writes nothing. */
#include "base/clock.h"
#include "base/json.h"
#include "daemon/jobrun_internal.h"
#include "daemon/seen.h"
#include "replicate/survey.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* null when there is none. What is in the -wal counts: it is the newer half of the database. */
static int put_database(json_t *o, const char *path, struct err *e)
{
	struct stat st, wal;
	char name[4096], at[32], seen[SEEN_SIZE];
	int rc = ERR_OK;
	if (stat(path, &st) != 0 && errno != ENOENT)
		return err_errno(e, ERR_DATABASE, errno, "cannot look at %s", path);
	if (stat(path, &st) != 0) {
		json_put(o, "database", json_null(), &rc);
		return rc;
	}
	snprintf(name, sizeof(name), "%s-wal", path);
	bool newer = stat(name, &wal) == 0 && wal.st_mtim.tv_sec > st.st_mtim.tv_sec;
	const struct timespec *t = newer ? &wal.st_mtim : &st.st_mtim;
	clock_format_rfc3339((int64_t)t->tv_sec * 1000 + t->tv_nsec / 1000000, at);
	json_t *database = json_object();
	if (!database)
		return err_nomem(e, "telling a result");
	json_put_int(database, "bytes", st.st_size, &rc);
	json_put_text(database, "modified", at, &rc);
	json_put_text(database, "seen", seen_text(&st, seen), &rc);
	json_put(o, "database", database, &rc);
	return rc;
}

/* The latest state, null for an empty replica. One that is damaged still has a manifest. */
static int put_latest(json_t *o, struct jobrun *r, struct err *e)
{
	struct restore_result result = {0};
	struct err why = ERR_INIT;
	const struct restore_options what = {.output = r->job.path, .state_dir = "", .dry_run = true};
	int put = ERR_OK;
	int rc = restore_run(r->store, &what, &result, &why);
	json_t *latest = rc == ERR_OK ? json_object() : json_null();
	if (rc == ERR_OK && latest)
		jobrun_put_result(latest, &result, &put);
	restore_plan_free(&result.plan);
	json_put(o, "latest", latest, &put);
	if (rc == ERR_DAMAGED)
		json_put_text(o, "damaged", why.text, &put);
	if (rc == ERR_OK || rc == ERR_NO_BACKUP || rc == ERR_DAMAGED)
		return put == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
	*e = why;
	return rc;
}

static void put_writer(json_t *o, const struct survey *v, int *rc)
{
	json_put_text(o, "app", v->app[0] ? v->app : NULL, rc);
	json_put_text(o, "file", v->database[0] ? v->database : NULL, rc);
	json_put_text(o, "host", v->host[0] ? v->host : NULL, rc);
}

int jobrun_look(struct jobrun *r, json_t **out, struct err *e)
{
	struct survey writer = {0};
	int put = ERR_OK;
	*out = json_object();
	if (!*out)
		return err_nomem(e, "telling a result");
	int rc = put_database(*out, r->job.path, e);
	if (rc == ERR_OK)
		rc = survey_manifest(r->store, &writer, e);
	if (rc == ERR_OK)
		rc = put_latest(*out, r, e);
	put_writer(*out, &writer, &put);
	return rc != ERR_OK ? rc : put == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
}
