/* litestream sync and litestream status: asking a stand-alone `replicate -socket`, or litestreamd.
 */
#include "base/fs.h"
#include "base/json.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/show.h"
#include "daemon/client.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_TIMEOUT_MS 10000
#define SYNC_TIMEOUT_MS 30000

static const struct flag sync_flags[] = {
	{"socket", FLAG_STRING, "PATH", "control socket (default " CLIENT_SOCKET_DEFAULT ")"},
	{"timeout", FLAG_DURATION, "TIME", "how long to wait (default 30s)"},
	{"wait", FLAG_BOOL, NULL, "wait for the upload; this is always so"},
	{"json", FLAG_BOOL, NULL, "print the answer as JSON"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag status_flags[] = {
	{"socket", FLAG_STRING, "PATH", "control socket (default " CLIENT_SOCKET_DEFAULT ")"},
	{"json", FLAG_BOOL, NULL, "print the answer as JSON"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

static int run_sync(struct args *a, struct err *e)
{
	int64_t ms = args_ms(a, "timeout", SYNC_TIMEOUT_MS);
	char *path = fs_real_name(a->argv[0]); /* the other side has another working folder */
	json_t *answer = NULL, *body = path ? json_pack("{s:s,s:I}", "database", path, "timeout",
											  (json_int_t)((ms + 999) / 1000))
										: NULL;
	free(path);
	int rc = body ? client_request(args_string(a, "socket", CLIENT_SOCKET_DEFAULT), "POST", "/sync",
						body, ms + 15000, &answer, e)
				  : err_set(e, ERR_USAGE, "\"%s\" can't be asked for", a->argv[0]);
	if (rc == ERR_OK && args_bool(a, "json")) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(answer);
	json_decref(body);
	return rc;
}

static int run_status(struct args *a, struct err *e)
{
	json_t *answer;
	int rc = client_request(args_string(a, "socket", CLIENT_SOCKET_DEFAULT), "GET", "/status", NULL,
		ASK_TIMEOUT_MS, &answer, e);
	if (rc == ERR_OK && args_bool(a, "json")) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (rc == ERR_OK) {
		show_status(answer);
	}
	json_decref(answer);
	return rc;
}

const struct command command_sync = {
	.name = "sync",
	.arguments = "[flags] DB",
	.summary = "Waits until everything committed so far is in the replica",
	.examples = "    litestream sync -socket /run/app.sock /data/app.db\n",
	.flags = sync_flags,
	.min_args = 1,
	.max_args = 1,
	.run = run_sync,
};

const struct command command_status = {
	.name = "status",
	.arguments = "[flags]",
	.summary = "Shows how the replication of each database is doing",
	.examples = "    litestream status -socket /run/app.sock\n",
	.flags = status_flags,
	.min_args = 0,
	.max_args = 0,
	.run = run_status,
};
