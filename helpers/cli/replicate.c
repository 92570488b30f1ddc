/* litestream replicate: databases on their way to their replicas, until a signal comes. */
#include "cli/replicate.h"

#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/replicate_run.h"
#include "daemon/schedule.h"
#include "daemon/worker.h"

#include <stdio.h>
#include <stdlib.h>

/* The first ones are those of option_table (conf/options.h), which reads and bounds them. */
static const struct flag flags[] = {
	{"sync-interval", FLAG_STRING, "TIME", "least time between two uploads (default 1s)"},
	{"staging-size", FLAG_STRING, "SIZE", "most that waits for upload (default 256MiB)"},
	{"copies-size", FLAG_STRING, "SIZE", "most that local copies of uploads take"},
	{"checkpoint-frames", FLAG_STRING, "N", "checkpoint from so many frames (default 500)"},
	{"barrier-size", FLAG_STRING, "SIZE", "hold writers for a moment from so large a WAL"},
	{"no-barrier", FLAG_BOOL, NULL, "never hold writers for a moment to let the WAL shrink"},
	{"any-filesystem", FLAG_BOOL, NULL, "do not refuse network file systems"},
	{"retention", FLAG_BOOL, NULL, "delete what is no longer promised (default true)"},
	{"l0-retention", FLAG_STRING, "TIME", "keep every upload for so long (default 3h)"},
	{"l1-retention", FLAG_STRING, "TIME", "keep steps of 30 s for so long (default 24h)"},
	{"l2-retention", FLAG_STRING, "TIME", "keep steps of 5 min for so long (default 72h)"},
	{"l3-retention", FLAG_STRING, "TIME", "keep steps of 1 h for so long (default 168h)"},
	{"snapshot-interval", FLAG_STRING, "TIME", "most time between snapshots (default 24h)"},
	{"snapshot-renew", FLAG_STRING, "TIME", "the same with -retention=false (default 24h)"},
	{"shutdown-timeout", FLAG_DURATION, "TIME", "how long the last upload may take (default 30s)"},
	{"takeover", FLAG_BOOL, NULL, "replace what another node wrote into the replica, this once"},
	{"accept", FLAG_BOOL, NULL, "accept that another database has taken the file's place"},
	{"meta-path", FLAG_STRING, "DIR", "state folder (default .<file>-litestream beside the file)"},
	{"socket", FLAG_STRING, "PATH", "control socket for litestream list, sync, stop, …"},
	CONFIG_FLAGS,
	{"exec", FLAG_STRING, "COMMAND", "run this beside, and end when it ends, with its status"},
	{"once", FLAG_BOOL, NULL, "ship what is committed now, then end"},
	{"force-snapshot", FLAG_BOOL, NULL, "with -once: upload a snapshot, due or not"},
	{"enforce-retention", FLAG_BOOL, NULL, "with -once: delete what no promise needs now"},
	{"restore-if-db-not-exists", FLAG_BOOL, NULL,
		"first restore a database that is not there, if there is a backup"},
	{"worker-fd", FLAG_INT, "N", "for litestreamd: take everything from this stream socket"},
	{"log-level", FLAG_STRING, "LEVEL", "trace, debug, info, warn or error (default info)"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

int replicate_read_options(struct args *a, struct options *o, struct err *e)
{
	int rc = ERR_OK;
	for (const struct option_entry *en = option_table; !rc && en->name; en++) {
		if (!args_given(a, en->name))
			continue;
		bool flag = en->type == OPTION_FLAG;
		const char *text =
			flag ? (args_bool(a, en->name) ? "true" : "false") : args_string(a, en->name, NULL);
		rc = options_set(o, en->name, text, e);
	}
	return rc;
}

void replicate_fill(struct args *a, const struct options *o, struct replicator_config *cfg)
{
	*cfg = (struct replicator_config){
		.sync_interval_ms = o->sync_interval_ms,
		.staging_max = o->staging_max,
		.copies_max = o->copies_max,
		.checkpoint_frames = o->checkpoint_frames,
		.barrier_bytes = o->barrier_bytes,
		.no_barrier = o->no_barrier,
		.any_filesystem = o->any_filesystem,
		.no_retention = !o->retention,
		.l0_retention_ms = o->l0_retention_ms,
		.l1_retention_ms = o->l1_retention_ms,
		.l2_retention_ms = o->l2_retention_ms,
		.l3_retention_ms = o->l3_retention_ms,
		.snapshot_interval_ms = o->snapshot_interval_ms,
		.snapshot_renew_ms = o->snapshot_renew_ms,
		.takeover = args_bool(a, "takeover"),
		.accept = args_bool(a, "accept"),
	};
}

/* Everything else comes over the socket, credentials too. */
static int run_worker(struct args *a, struct err *e)
{
	int64_t fd = args_int(a, "worker-fd", -1);
	if (a->argc > 0 || fd < 3 || fd > 1023)
		return args_usage(a, e, NULL, "-worker-fd is litestreamd's and goes with nothing else");
	int rc = config_file_log(a, NULL, e);
	if (rc)
		return rc;
	replicate_tune_memory();
	return worker_run((int)fd, e);
}

/* With -meta-path the folder is named after nothing, so it must be one database's own. */
static int take_meta_path(struct args *a, struct config *c, struct err *e)
{
	if (!args_given(a, "meta-path"))
		return ERR_OK;
	if (c->file)
		return args_usage(a, e, "litestream replicate -meta-path DIR DB URL",
			"-meta-path is for a database on the command line: the configuration has meta-path");
	if (c->n_databases > 1)
		return args_usage(a, e, NULL, "-meta-path goes with one database only");
	char *path = config_absolute(args_string(a, "meta-path", NULL));
	c->databases[0].meta_path = path ? tree_strdup(&c->memory, path) : NULL;
	free(path);
	return c->databases[0].meta_path ? ERR_OK : err_nomem(e, "reading the command line");
}

static int read_what(struct args *a, struct config *c, struct err *e)
{
	if (a->argc == 0) {
		int rc = config_file_need(a, c, e);
		bool may_come = c->socket_enabled || args_given(a, "socket"); /* litestream register */
		if (!rc && c->n_databases == 0 && !may_come)
			rc = err_set(e, ERR_USAGE, "%s: no databases specified in configuration", c->file);
		return rc;
	}
	if (args_given(a, "config"))
		return args_usage(
			a, e, NULL, "databases on the command line and -config exclude each other");
	if (config_from_words(c, a->argv, a->argc, e) == ERR_USAGE)
		snprintf(a->hint, sizeof(a->hint), "litestream replicate DB URL");
	return e->code;
}

static int run(struct args *a, struct err *e)
{
	struct config c = {0};
	if (args_given(a, "worker-fd"))
		return run_worker(a, e);
	int rc = read_what(a, &c, e);
	if (!rc)
		rc = take_meta_path(a, &c, e);
	if (!rc)
		return replicate_configured(a, &c, e);
	config_free(&c);
	return rc;
}

const struct command command_replicate = {
	.name = "replicate",
	.arguments = "[flags] [DB URL …]…",
	.summary = "Replicates databases until it is told to stop",
	.details =
		"Without arguments: the databases of the configuration file (docs/CONFIG.md). Several\n"
		"URLs behind a database are its replicas, each with a process of its own; a word with\n"
		"\"://\" in it is a URL. Where every second word is none they are pairs, DB URL DB URL,\n"
		"and the second of two may be a folder.\n"
		"SIGTERM and SIGINT: ships what is left, then ends with 0; the log says what could not\n"
		"be shipped, and a second signal ends it at once. One database alone: ends with 8\n"
		"when another node owns the replica, 9 when the database is unusable, 6 when the\n"
		"store refuses it.\n"
		"-exec: signals are passed on to the command; when it ends, what is left is shipped,\n"
		"and its status is returned. -once: ends with 0 when all is shipped, else with the\n"
		"code of what failed (docs/REPLICATE.md).\n",
	.examples = "    litestream replicate\n"
				"    litestream replicate /data/app.db s3://bucket/app\n"
				"    litestream replicate -sync-interval 10s app.db file:///backup/app\n"
				"    litestream replicate app.db s3://bucket/app file:///backup/app\n"
				"    litestream replicate -once -force-snapshot app.db s3://bucket/app\n"
				"    litestream replicate -exec \"npm start\" app.db s3://bucket/app\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 2 * SCHEDULE_MAX,
	.run = run,
};
