/* Before a database is replicated: can it be, and what of the store will matter later? */
#include "base/json.h"
#include "daemon/inspect.h"
#include "daemon/jobrun_internal.h"
#include "replicate/survey.h"

#include <string.h>

static void put_warnings(json_t *o, const struct inspect_answer *found, int *rc)
{
	json_t *warnings = json_array();
	const char *text = NULL;
	if (found->exists && found->empty)
		text = "the file is empty: it is replicated as soon as the app has made a table";
	else if (strcmp(found->journal_mode, "rollback") == 0)
		text = "the database is not in WAL mode: it is switched to it when replication starts";
	if (text && warnings && json_array_append_new(warnings, json_string(text)) != 0)
		*rc = ERR_NOMEM;
	json_put(o, "warnings", warnings, rc);
}

static void put_name(json_t *o, const char *key, const char *name, int *rc)
{
	json_put_text(o, key, name[0] ? name : NULL, rc);
}

static void put_replica(json_t *o, const struct survey *v, int *rc)
{
	json_t *occupied = v->occupied ? json_object() : json_null();
	json_put_text(o, "fencing", v->weak_fencing ? "weak" : "strong", rc);
	json_put_flag(o, "may_delete", v->may_delete, rc);
	json_put_flag(o, "versioned", v->versioned, rc);
	json_put_flag(o, "legacy", v->legacy, rc);
	if (v->occupied && occupied) {
		put_name(occupied, "app", v->app, rc);
		put_name(occupied, "database", v->database, rc);
		put_name(occupied, "host", v->host, rc);
	}
	json_put(o, "occupied", occupied, rc);
}

int jobrun_check(struct jobrun *r, json_t **out, struct err *e)
{
	struct inspect_answer found;
	struct survey replica;
	int rc = inspect_database(r->job.path, &found, e);
	if (rc == ERR_OK)
		rc = survey_replica(r->store, &replica, e);
	if (rc != ERR_OK)
		return rc;
	*out = json_object();
	if (!*out)
		return err_nomem(e, "telling a result");
	json_put_text(*out, "journal_mode", found.journal_mode[0] ? found.journal_mode : NULL, &rc);
	put_replica(*out, &replica, &rc);
	put_warnings(*out, &found, &rc);
	return rc == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
}
