/* litestream info and litestream list: a running `replicate`, and its databases. */
#include "base/amount.h"
#include "base/json.h"
#include "cli/asking.h"
#include "cli/listing.h"
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>

static const struct flag flags[] = {
	ASKING_FLAGS(ASKING_LOOK_S),
	{NULL, FLAG_BOOL, NULL, NULL},
};

static int run_info(struct args *a, struct err *e)
{
	char uptime[AMOUNT_DURATION_SIZE];
	json_t *answer;
	int rc = asking_look(a, "/info", &answer, e);
	if (!rc && args_bool(a, "json"))
		return listing_print_json(answer, e);
	if (!rc) {
		printf("Litestream %s\n", show_clean(json_text(answer, "version")));
		printf("  PID:        %" PRId64 "\n", json_int(answer, "pid"));
		amount_format_duration(json_int(answer, "uptime_seconds") * 1000, uptime);
		printf("  Uptime:     %s\n", uptime);
		printf("  Started at: %s\n", show_clean(json_text(answer, "started_at")));
		printf("  Databases:  %" PRId64 "\n", json_int(answer, "database_count"));
	}
	json_decref(answer);
	return rc;
}

/* What Litestream has no word for stands behind its line. */
static void print_one(const json_t *d)
{
	const char *status = json_text(d, "status"), *state = json_text(d, "state");
	const char *at = json_text(d, "last_sync_at"), *reason = json_text(d, "reason");
	printf("%s [%s] (last sync: %s)", show_clean(json_text(d, "path")), show_clean(status),
		*at ? show_clean(at) : "never");
	if (*state && strcmp(status, state) != 0)
		printf(" %s", show_clean(state));
	if (*reason)
		printf(": %s", show_clean(reason));
	printf("\n");
}

static int run_list(struct args *a, struct err *e)
{
	json_t *answer;
	int rc = asking_look(a, "/list", &answer, e);
	if (!rc && args_bool(a, "json"))
		return listing_print_json(answer, e);
	const json_t *list = json_object_get(answer, "databases");
	if (!rc && json_array_size(list) == 0)
		printf("No databases configured\n");
	for (size_t i = 0; !rc && i < json_array_size(list); i++)
		print_one(json_array_get(list, i));
	json_decref(answer);
	return rc;
}

const struct command command_info = {
	.name = "info",
	.arguments = "[flags]",
	.summary = "Shows which replicate is running",
	.details = "Asks on the control socket of a `litestream replicate` (docs/SOCKET.md).\n",
	.examples = "    litestream info\n"
				"    litestream info -json -socket /run/app.sock\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 0,
	.run = run_info,
};

const struct command command_list = {
	.name = "list",
	.arguments = "[flags]",
	.summary = "Lists the databases that a running replicate has",
	.details =
		"Asks on the control socket of a `litestream replicate` (docs/SOCKET.md). Each is\n"
		"replicating, open (and not replicating: the state behind it says why) or stopped.\n",
	.examples = "    litestream list\n"
				"    litestream list -json -socket /run/app.sock\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 0,
	.run = run_list,
};
