/* litestream ctl: what a user or the plugin asks of litestreamd. */
#include "base/clock.h"
#include "base/json.h"
#include "base/words.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/show.h"
#include "daemon/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ASK_TIMEOUT_MS 10000
#define CHECK_TIMEOUT_MS 130000
#define DECIDE_TIMEOUT_MS 25000
#define DISCOVER_TIMEOUT_MS 310000
#define WAIT_STEP_US 200000

static const struct flag flags[] = {
	{"socket", FLAG_STRING, "PATH", "control socket (default " CLIENT_SOCKET_DEFAULT ")"},
	{"json", FLAG_BOOL, NULL, "print the answer as JSON"},
	{"app", FLAG_STRING, "APP", "the app; restore: whose credentials"},
	{"timeout", FLAG_DURATION, "TIME", "sync, wait: how long (default 30s, wait 60s)"},
	{"mount", FLAG_BOOL, NULL, "check, look, restore: the folder is a mount of an app"},
	{"own-keys", FLAG_BOOL, NULL, "check, restore: only with keys of the app's own"},
	{"force", FLAG_BOOL, NULL, "restore: in place of what is there, which is renamed"},
	{"mode", FLAG_STRING, "MODE", "restore: of a new file (0640), instead of the folder's"},
	{"only-missing", FLAG_BOOL, NULL,
		"restore: only where nothing or an empty file is; an empty replica is no error"},
	{"txid", FLAG_STRING, "TXID", "restore: the state after this transaction"},
	{"timestamp", FLAG_STRING, "TIME", "restore: the state at this time (RFC 3339)"},
	{"generation", FLAG_STRING, "GENERATION", "restore: of Litestream 0.3's backups this one"},
	{"index", FLAG_STRING, "INDEX", "restore: of Litestream 0.3's backups up to this WAL"},
	{"seen", FLAG_STRING, "TEXT",
		"accept, takeover: only of the file that look told of in these words"},
	{"with-parent", FLAG_BOOL, NULL, "end when the process that started this one does"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

static const char *socket_of(const struct args *a)
{
	return args_string(a, "socket", CLIENT_SOCKET_DEFAULT);
}

static int print_json(const json_t *answer, struct err *e)
{
	if (json_dumpf(answer, stdout, JSON_INDENT(2)) != 0)
		return err_set(e, ERR_IO, "cannot print the answer");
	putchar('\n');
	return ERR_OK;
}

/* argv[0] is the verb; an app may be an argument or a flag. */
static const char *app_of(const struct args *a)
{
	return args_string(a, "app", a->argc > 1 ? a->argv[1] : NULL);
}

static int need_app(struct args *a, const char **app, struct err *e)
{
	*app = app_of(a);
	return *app ? ERR_OK
				: args_usage(
					  a, e, "litestream ctl -help", "%s needs the name of an app", a->argv[0]);
}

/* ---- info, list, status ---- */

static int ask_and_show(
	struct args *a, const char *path, void (*show)(const json_t *), struct err *e)
{
	json_t *answer;
	int rc = client_request(socket_of(a), "GET", path, NULL, ASK_TIMEOUT_MS, &answer, e);
	if (rc == ERR_OK && args_bool(a, "json"))
		rc = print_json(answer, e);
	else if (rc == ERR_OK)
		show(answer);
	json_decref(answer);
	return rc;
}

static int run_info(struct args *a, struct err *e)
{
	return ask_and_show(a, "/info", show_info, e);
}

static int run_list(struct args *a, struct err *e)
{
	return ask_and_show(a, "/list", show_list, e);
}

/* An app's name goes into a URL; the daemon judges it. */
static int status_path(const char *app, char *path, size_t size, struct err *e)
{
	if (!app) {
		snprintf(path, size, "/status");
		return ERR_OK;
	}
	char *escaped = curl_easy_escape(NULL, app, 0);
	if (!escaped)
		return err_nomem(e, "asking for the status");
	int n = snprintf(path, size, "/status?app=%s", escaped);
	curl_free(escaped);
	return n > 0 && (size_t)n < size
			   ? ERR_OK
			   : err_set(e, ERR_USAGE, "\"%.40s…\" is too long for an app", app);
}

static int run_status(struct args *a, struct err *e)
{
	char path[400];
	int rc = status_path(app_of(a), path, sizeof(path), e);
	return rc == ERR_OK ? ask_and_show(a, path, show_status, e) : rc;
}

/* ---- reload, sync ---- */

static void show_warnings(const json_t *answer)
{
	const json_t *warnings = json_object_get(answer, "warnings");
	for (size_t i = 0; i < json_array_size(warnings); i++)
		show_line(json_string_value(json_array_get(warnings, i)));
}

/* Which of several databases failed, each with its reason; of one the error says it all. */
static void show_failed(const json_t *answer)
{
	const json_t *failed = json_object_get(answer, "databases");
	for (size_t i = 0; json_array_size(failed) > 1 && i < json_array_size(failed); i++) {
		const json_t *one = json_array_get(failed, i);
		const char *path = json_text(one, "path"), *error = json_text(one, "error");
		char text[2400];
		snprintf(text, sizeof(text), "%s: %s", path, error);
		show_error(strstr(error, path) ? error : text);
	}
}

static int post(struct args *a, const char *path, json_t *body, int64_t timeout_ms, struct err *e)
{
	json_t *answer = NULL;
	int rc = body ? client_request(socket_of(a), "POST", path, body, timeout_ms, &answer, e)
				  : err_nomem(e, "asking litestreamd");
	if (rc == ERR_OK && args_bool(a, "json"))
		rc = print_json(answer, e);
	else if (rc == ERR_OK)
		show_warnings(answer);
	else
		show_failed(answer);
	json_decref(answer);
	json_decref(body);
	return rc;
}

static int run_reload(struct args *a, struct err *e)
{
	const char *app;
	int rc = need_app(a, &app, e);
	return rc == ERR_OK ? post(a, "/reload", json_pack("{s:s}", "app", app), ASK_TIMEOUT_MS, e)
						: rc;
}

static int run_forget(struct args *a, struct err *e)
{
	if (a->argc != 2)
		return args_usage(
			a, e, "litestream ctl forget ID", "forget needs the id of a database's local state");
	return post(a, "/forget", json_pack("{s:s}", "id", a->argv[1]), ASK_TIMEOUT_MS, e);
}

static int run_sync(struct args *a, struct err *e)
{
	const char *app;
	int64_t ms = args_ms(a, "timeout", 30000);
	int rc = need_app(a, &app, e);
	if (rc != ERR_OK)
		return rc;
	int64_t seconds = (ms + 999) / 1000;
	json_t *body = json_pack("{s:s,s:I}", "app", app, "timeout", (json_int_t)seconds);
	/* The daemon itself gives up in time, with a better reason. */
	return post(a, "/sync", body, ms + 15000, e);
}

/* accept APP DB, takeover APP DB: the verb is the decision */
static int run_decide(struct args *a, struct err *e)
{
	if (a->argc != 3)
		return args_usage(a, e, "litestream ctl accept APP DB",
			"%s needs an app and the path of its database", a->argv[0]);
	return post(a, "/decide",
		json_pack("{s:s,s:s,s:s,s:s*}", "app", a->argv[1], "database", a->argv[2], "decision",
			a->argv[0], "seen", args_string(a, "seen", NULL)),
		DECIDE_TIMEOUT_MS, e);
}

/* ---- check, restore ---- */

static json_t *target_body(struct args *a, size_t first, const char *app)
{
	json_t *body = json_pack("{s:s,s:s,s:s}", "storage_dir", a->argv[first], "file",
		a->argv[first + 1], "replica", a->argv[first + 2]);
	int rc = body ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK && app)
		json_put_text(body, "app", app, &rc);
	if (rc == ERR_OK && args_bool(a, "mount"))
		json_put_flag(body, "mount", true, &rc);
	if (rc == ERR_OK && args_bool(a, "own-keys"))
		json_put_flag(body, "own_keys", true, &rc);
	if (rc == ERR_OK)
		return body;
	json_decref(body);
	return NULL;
}

/* Asks with that body, which it takes (NULL: there was no memory for it), and prints the answer. */
static int print_answer(
	struct args *a, const char *path, json_t *body, int timeout_ms, struct err *e)
{
	json_t *answer = NULL;
	int rc = body ? client_request(socket_of(a), "POST", path, body, timeout_ms, &answer, e)
				  : err_nomem(e, "asking litestreamd");
	if (rc == ERR_OK)
		rc = print_json(answer, e);
	json_decref(answer);
	json_decref(body);
	return rc;
}

static int run_check(struct args *a, struct err *e)
{
	bool app_is_word = a->argc == 5;
	if (a->argc != 4 && a->argc != 5)
		return args_usage(a, e, "litestream ctl check APP STORAGE-DIR FILE REPLICA-URL",
			"%s needs an app, a folder, a file name and a replica URL", a->argv[0]);
	const char *app = app_is_word ? a->argv[1] : args_string(a, "app", NULL);
	const char *path = strcmp(a->argv[0], "look") == 0 ? "/look" : "/check";
	return print_answer(a, path, target_body(a, app_is_word ? 2 : 1, app), CHECK_TIMEOUT_MS, e);
}

static int on_restore_line(void *ctx, json_t *line, struct err *e)
{
	const struct args *a = ctx;
	(void)e;
	if (args_bool(a, "json")) {
		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
	} else {
		show_job_line(line, a->argv[0], stdout);
	}
	return ERR_OK;
}

/* Who may read and write: three or four octal digits. */
static int put_mode(struct args *a, json_t *body, struct err *e)
{
	const char *text = args_string(a, "mode", "0600");
	size_t n = strlen(text);
	char *end;
	unsigned long mode = strtoul(text, &end, 8);
	int rc = ERR_OK;
	if (n < 3 || n > 4 || *end || mode & ~0666ul)
		return args_usage(a, e, NULL, "-mode is a mode as 0640, of readers and writers only");
	if (args_given(a, "mode"))
		json_put_int(body, "mode", (int64_t)mode, &rc);
	return rc == ERR_OK ? ERR_OK : err_nomem(e, "asking litestreamd");
}

/* verify and purge take the same words */
static int run_restore(struct args *a, struct err *e)
{
	if (a->argc != 4)
		return args_usage(a, e, "litestream ctl restore STORAGE-DIR FILE REPLICA-URL",
			"%s needs a folder, a file name and a replica URL", a->argv[0]);
	json_t *body = target_body(a, 1, args_string(a, "app", NULL));
	int rc = body ? ERR_OK : ERR_NOMEM;
	static const char *const points[] = {"txid", "timestamp", "generation", "index"};
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		if (rc == ERR_OK && args_given(a, points[i]))
			json_put_text(body, points[i], args_string(a, points[i], ""), &rc);
	if (rc == ERR_OK && args_bool(a, "force"))
		json_put_flag(body, "force", true, &rc);
	if (rc == ERR_OK && args_bool(a, "only-missing"))
		json_put_flag(body, "only_missing", true, &rc);
	rc = rc == ERR_OK ? put_mode(a, body, e) : err_nomem(e, "asking litestreamd");
	char path[32];
	snprintf(path, sizeof(path), "/%.16s", a->argv[0]);
	if (rc == ERR_OK)
		rc = client_stream(socket_of(a), path, body, on_restore_line, a, e);
	json_decref(body);
	return rc;
}

static int run_discover(struct args *a, struct err *e)
{
	if (a->argc != 2)
		return args_usage(
			a, e, "litestream ctl discover URL", "discover needs the URL that replicas are below");
	const char *app = args_string(a, "app", NULL);
	return print_answer(a, "/discover", json_pack("{s:s,s:s*}", "url", a->argv[1], "app", app),
		DISCOVER_TIMEOUT_MS, e);
}

/* ---- what Litestream 0.3 left ---- */

static int on_legacy_line(void *ctx, json_t *line, struct err *e)
{
	const json_t *result = json_object_get(line, "result");
	(void)ctx;
	if (!result) { /* standard output is for what the job found */
		show_job_line(line, "cleanup-legacy", stderr);
		return ERR_OK;
	}
	return print_json(result, e);
}

static int run_legacy(struct args *a, struct err *e)
{
	if (a->argc != 5)
		return args_usage(a, e, "litestream ctl count-legacy APP STORAGE-DIR FILE REPLICA-URL",
			"%s needs an app, a folder, a file name and a replica URL", a->argv[0]);
	const char *path =
		strcmp(a->argv[0], "count-legacy") == 0 ? "/count-legacy" : "/cleanup-legacy";
	json_t *body = target_body(a, 2, a->argv[1]);
	int rc = body ? client_stream(socket_of(a), path, body, on_legacy_line, a, e)
				  : err_nomem(e, "asking litestreamd");
	json_decref(body);
	return rc;
}

/* ---- wait ---- */

/* Whether the first upload of a database is settled (or there is nothing to upload yet): 1; not
 * yet: 0; never without a person: -1. */
static int settled(const json_t *database, struct err *e)
{
	static const char *const hopeless[] = {
		"fenced", "denied", "replaced", "unusable", "refused", "stopped"};
	const char *state = json_text(database, "state");
	for (size_t i = 0; i < sizeof(hopeless) / sizeof(hopeless[0]); i++) {
		if (strcmp(state, hopeless[i]) != 0)
			continue;
		int64_t code = json_int(database, "code");
		const char *reason = json_text(database, "reason");
		err_set(e, (enum err_code)(code > 0 ? code : ERR_FAIL), "%s is %s%s%s",
			json_text(database, "path"), state, *reason ? ": " : "", reason);
		return -1;
	}
	if (strcmp(state, "waiting") == 0)
		return 1;
	bool shipped = strspn(json_text(database, "txid"), "0") < 16;
	return strcmp(state, "replicating") == 0 && shipped;
}

static int wait_once(struct args *a, const char *path, char *shown, size_t size, struct err *e)
{
	json_t *answer;
	char now[4096] = "";
	int rc = client_request(socket_of(a), "GET", path, NULL, ASK_TIMEOUT_MS, &answer, e);
	if (rc != ERR_OK) {
		json_decref(answer);
		return rc;
	}
	const json_t *app = json_array_get(json_object_get(answer, "apps"), 0);
	const json_t *databases = json_object_get(app, "databases");
	bool all = json_array_size(databases) > 0;
	for (size_t i = 0; i < json_array_size(databases); i++) {
		const json_t *database = json_array_get(databases, i);
		int is = settled(database, e);
		if (is < 0)
			rc = e->code;
		all = all && is > 0;
		size_t n = strlen(now);
		snprintf(now + n, sizeof(now) - n, "%s: %s\n", json_text(database, "path"),
			json_text(database, "state"));
	}
	if (strcmp(now, shown) != 0 && !args_bool(a, "json"))
		fputs(now, stdout);
	fflush(stdout);
	snprintf(shown, size, "%s", now);
	json_decref(answer);
	return rc != ERR_OK ? rc : all ? ERR_OK : ERR_AGAIN;
}

static int run_wait(struct args *a, struct err *e)
{
	const char *app;
	char path[400], shown[4096] = "";
	int64_t until = clock_mono_us() + args_ms(a, "timeout", 60000) * 1000;
	int rc = need_app(a, &app, e);
	if (rc == ERR_OK)
		rc = status_path(app, path, sizeof(path), e);
	while (rc == ERR_OK && (rc = wait_once(a, path, shown, sizeof(shown), e)) == ERR_AGAIN) {
		if (clock_mono_us() >= until)
			return err_set(e, ERR_UNREACHABLE,
				"the first upload of %s is not settled yet; it goes on in the background", app);
		clock_sleep_us(WAIT_STEP_US);
		rc = ERR_OK;
	}
	return rc;
}

static const struct verb {
	const char *name;
	int (*run)(struct args *a, struct err *e);
} verbs[] = {
	{"info", run_info},
	{"list", run_list},
	{"status", run_status},
	{"reload", run_reload},
	{"forget", run_forget},
	{"sync", run_sync},
	{"accept", run_decide},
	{"takeover", run_decide},
	{"wait", run_wait},
	{"check", run_check},
	{"look", run_check},
	{"restore", run_restore},
	{"discover", run_discover},
	{"count-legacy", run_legacy},
	{"cleanup-legacy", run_legacy},
	{"verify", run_restore},
	{"purge", run_restore},
};

/* For a command whose own end takes back what it began: litestreamd gives up what nobody waits for.
 */
static int end_with_parent(struct err *e)
{
	if (prctl(PR_SET_PDEATHSIG, SIGTERM))
		return err_errno(e, ERR_FAIL, errno, "cannot ask for the parent's end");
	return getppid() == 1 ? err_set(e, ERR_CANCELLED, "what started this has ended") : ERR_OK;
}

static int run(struct args *a, struct err *e)
{
	if (args_bool(a, "with-parent") && end_with_parent(e))
		return e->code;
	const char *names[sizeof(verbs) / sizeof(verbs[0])];
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, a->argv[0]) == 0)
			return verbs[i].run(a, e);
		names[i] = verbs[i].name;
	}
	const char *near = words_nearest(a->argv[0], names, sizeof(verbs) / sizeof(verbs[0]));
	return args_usage(a, e, "litestream ctl -help", "unknown word \"%s\"%s%s", a->argv[0],
		near ? ", did you mean " : "", near ? near : "");
}

const struct command command_ctl = {
	.name = "ctl",
	.arguments = "[flags] info | list | status [APP] | reload APP | sync APP | wait APP |\n"
				 "        accept APP DB | takeover APP DB | forget ID |\n"
				 "        check | look APP STORAGE-DIR FILE REPLICA-URL |\n"
				 "        restore | verify | purge STORAGE-DIR FILE REPLICA-URL | discover URL |\n"
				 "        count-legacy | cleanup-legacy APP STORAGE-DIR FILE REPLICA-URL",
	.summary = "Asks litestreamd",
	.details =
		"wait returns when the first upload of every database of the app is settled.\n"
		"accept goes on with a database that took the place of another, takeover with one whose\n"
		"replica another node has written to; both this once.\n"
		"check tells, as JSON, what would keep a database from being replicated, look what is in\n"
		"a replica, discover which replicas are below a URL. count-legacy tells what Litestream "
		"0.3\n"
		"left in a replica that is ours now, cleanup-legacy deletes it, without a question.\n",
	.examples = "    litestream ctl status my-app\n"
				"    litestream ctl sync -timeout 10s my-app\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 5,
	.run = run,
};
