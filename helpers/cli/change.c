/* litestream start, stop, register, unregister and sync: one database of a running `replicate`. */
#include "base/json.h"
#include "cli/asking.h"
#include "cli/listing.h"
#include "cli/show.h"
#include "daemon/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct flag flags[] = {
	ASKING_FLAGS(ASKING_CHANGE_S),
	{NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag register_flags[] = {
	{"replica", FLAG_STRING, "URL", "where its replica is to be; required"},
	ASKING_FLAGS(ASKING_CHANGE_S),
	{NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag unregister_flags[] = {
	{"dry-run", FLAG_BOOL, NULL, "print what would be unregistered, and change nothing"},
	ASKING_FLAGS(ASKING_CHANGE_S),
	{NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag sync_flags[] = {
	{"wait", FLAG_BOOL, NULL, "wait until the replica has acknowledged it"},
	ASKING_FLAGS(ASKING_CHANGE_S),
	{NULL, FLAG_BOOL, NULL, NULL},
};

/* ---- printing ---- */

/* The members of an object in their order, "key: value" a line each. */
static void print_lines(const json_t *result)
{
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)result, key, v)
	{
		if (json_is_integer(v))
			printf("%s: %" PRId64 "\n", key, (int64_t)json_integer_value(v));
		else
			printf("%s: %s\n", key, show_clean(json_string_value(v)));
	}
}

/* Takes both; `result` NULL is out of memory. */
static int print_result(struct args *a, json_t *answer, json_t *result, struct err *e)
{
	json_decref(answer);
	if (result && !args_bool(a, "json")) {
		print_lines(result);
		json_decref(result);
		return ERR_OK;
	}
	return listing_print_json(result, e);
}

/* ---- start and stop ---- */

static int start_or_stop(struct args *a, const char *path, const char *state, struct err *e)
{
	json_t *answer;
	int rc = asking_change(a, path, NULL, &answer, NULL, e);
	if (rc) {
		json_decref(answer);
		return rc;
	}
	json_t *result = json_pack("{s:O,s:O,s:s,s:O,s:s}", "status", json_object_get(answer, "status"),
		"db_path", json_object_get(answer, "path"), "state", state, "txid",
		json_object_get(answer, "txid"), "socket", asking_socket(a));
	return print_result(a, answer, result, e);
}

static int run_start(struct args *a, struct err *e)
{
	return start_or_stop(a, "/start", "running", e);
}

static int run_stop(struct args *a, struct err *e)
{
	return start_or_stop(a, "/stop", "stopped", e);
}

/* ---- register ---- */

static int run_register(struct args *a, struct err *e)
{
	const char *url = args_string(a, "replica", "");
	json_t *answer;
	if (!*url)
		return args_usage(
			a, e, "litestream register -replica s3://bucket/path DB", "-replica is required");
	/* A folder is meant from here, not from where the other side runs. */
	char *target = strstr(url, "://") ? strdup(url) : config_absolute(url);
	json_t *more = target ? json_pack("{s:s}", "replica_url", target) : NULL;
	free(target);
	if (!more)
		return err_set(e, ERR_USAGE, "-replica can't be asked for: it is no UTF-8");
	int rc = asking_change(a, "/register", more, &answer, NULL, e);
	if (rc) {
		json_decref(answer);
		return rc;
	}
	const char *status = json_text(answer, "status");
	if (!args_bool(a, "json") && strcmp(status, "already_registered") == 0)
		status = "already registered"; /* as Litestream says it to people */
	char shown[1100];                  /* Litestream's own process names none */
	report_url(
		*json_text(answer, "replica") ? json_text(answer, "replica") : url, shown, sizeof(shown));
	json_t *result = json_pack("{s:s,s:O,s:s,s:s}", "status", status, "db_path",
		json_object_get(answer, "path"), "replica", shown, "socket", asking_socket(a));
	return print_result(a, answer, result, e);
}

/* ---- unregister ---- */

static const json_t *find_listed(const json_t *list, const char *path)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_text(json_array_get(list, i), "path"), path) == 0)
			return json_array_get(list, i);
	return NULL;
}

static int preview(struct args *a, struct err *e)
{
	json_t *answer, *result;
	int64_t ms;
	int rc = asking_timeout(a, 30000, &ms, e);
	char *path = rc ? NULL : asking_path(a->argv[0], e);
	if (!path)
		return e->code;
	rc = asking_look(a, "/list", &answer, e);
	const json_t *d = find_listed(json_object_get(answer, "databases"), path);
	if (rc) {
		json_decref(answer);
		free(path);
		return rc;
	}
	result = json_pack("{s:s,s:s,s:s,s:s,s:I}", "status",
		d ? "would_unregister" : "already_unregistered", "db_path", path, "replica",
		d ? json_text(d, "replica") : "", "socket", asking_socket(a), "timeout_seconds",
		(json_int_t)((ms + 999) / 1000));
	if (!args_bool(a, "json"))
		printf("Dry run: nothing is changed. The rest would be uploaded first; local state and "
			   "replica stay.\n");
	free(path);
	return print_result(a, answer, result, e);
}

static int run_unregister(struct args *a, struct err *e)
{
	json_t *answer;
	if (args_bool(a, "dry-run"))
		return preview(a, e);
	int rc = asking_change(a, "/unregister", NULL, &answer, NULL, e);
	if (rc) {
		json_decref(answer);
		return rc;
	}
	json_t *result = json_pack("{s:O,s:O,s:O,s:s}", "status", json_object_get(answer, "status"),
		"db_path", json_object_get(answer, "path"), "final_txid", json_object_get(answer, "txid"),
		"socket", asking_socket(a));
	return print_result(a, answer, result, e);
}

/* ---- sync ---- */

static int run_sync(struct args *a, struct err *e)
{
	json_t *answer;
	int64_t took_ms;
	bool wait = args_bool(a, "wait");
	int rc = asking_change(a, "/sync", json_pack("{s:b}", "wait", wait), &answer, &took_ms, e);
	if (rc) {
		json_decref(answer);
		return rc;
	}
	json_t *result = json_pack("{s:O,s:O,s:O}", "status", json_object_get(answer, "status"),
		"db_path", json_object_get(answer, "path"), "txid", json_object_get(answer, "txid"));
	int bad = ERR_OK;
	if (result && wait)
		json_put(
			result, "replica_txid", json_incref(json_object_get(answer, "replicated_txid")), &bad);
	if (result)
		json_put_int(result, "duration_ms", took_ms, &bad);
	return print_result(a, answer, result, e);
}

const struct command command_start = {
	.name = "start",
	.arguments = "[flags] DB",
	.summary = "Starts replication of a database that was stopped",
	.details = "Asks on the control socket of a `litestream replicate` (docs/SOCKET.md).\n",
	.examples = "    litestream start /data/app.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run_start,
};

const struct command command_stop = {
	.name = "stop",
	.arguments = "[flags] DB",
	.summary = "Stops replication of a database, after what is left was uploaded",
	.details =
		"Asks on the control socket of a `litestream replicate` (docs/SOCKET.md). When the time\n"
		"is over it is stopped as well, and the command fails and says what is not uploaded.\n",
	.examples = "    litestream stop /data/app.db\n"
				"    litestream stop -timeout 5s /data/app.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run_stop,
};

const struct command command_register = {
	.name = "register",
	.arguments = "[flags] DB",
	.summary = "Lets a running replicate take a database",
	.details = "Asks on the control socket of a `litestream replicate` (docs/SOCKET.md), which "
			   "forgets it\n"
			   "when it ends: what is to last belongs into its configuration.\n",
	.examples = "    litestream register -replica s3://bucket/app /data/app.db\n",
	.flags = register_flags,
	.min_args = 1,
	.max_args = 1,
	.run = run_register,
};

const struct command command_unregister = {
	.name = "unregister",
	.arguments = "[flags] DB",
	.summary = "Lets a running replicate drop a database, after what is left was uploaded",
	.details =
		"Asks on the control socket of a `litestream replicate` (docs/SOCKET.md). Local state and\n"
		"replica stay. What the configuration names is replicated again from the next start on.\n",
	.examples = "    litestream unregister /data/app.db\n"
				"    litestream unregister -dry-run /data/app.db\n",
	.flags = unregister_flags,
	.min_args = 1,
	.max_args = 1,
	.run = run_unregister,
};

const struct command command_sync = {
	.name = "sync",
	.arguments = "[flags] DB",
	.summary = "Takes what was committed in a database now; with -wait, until it is in the replica",
	.details =
		"Asks on the control socket of a `litestream replicate` (docs/SOCKET.md). Without -wait\n"
		"it ends when everything is read out of the WAL; the upload follows.\n",
	.examples = "    litestream sync -wait /data/app.db\n"
				"    litestream sync -wait -timeout 2m -socket /run/app.sock /data/app.db\n",
	.flags = sync_flags,
	.min_args = 1,
	.max_args = 1,
	.run = run_sync,
};
