/* litestream restore */
#include "restore/restore.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "cli/restore_flags.h"
#include "cli/restore_show.h"
#include "cli/stop.h"
#include "restore/follow.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- arguments ---- */

/* What only Litestream 0.3 had. */
static int parse_v3_target(struct args *a, struct restore_target *t, struct err *e)
{
	const char *generation = args_string(a, "generation", NULL);
	const char *index = args_string(a, "index", NULL);
	if ((generation || index) && args_given(a, "txid"))
		return args_usage(a, e, NULL,
			"-txid excludes -generation and -index: Litestream 0.3 had no transaction IDs");
	if (index && args_given(a, "timestamp"))
		return args_usage(a, e, NULL, "-index and -timestamp exclude each other");
	if (generation && (!v3_parse_generation(generation, &t->generation) || !t->generation))
		return args_usage(a, e, "-generation 9f0a5c2e6b7d8134",
			"-generation takes 16 hexadecimal digits, not \"%s\"", generation);
	if (index && !v3_parse_index(index, &t->index))
		return args_usage(a, e, "-index 0000001c",
			"-index takes up to 8 hexadecimal digits, at most 7fffffff, not \"%s\"", index);
	t->by_index = index != NULL;
	return ERR_OK;
}

int restore_flags_target(struct args *a, struct restore_target *t, struct err *e)
{
	const char *txid = args_string(a, "txid", NULL), *time = args_string(a, "timestamp", NULL);
	if (txid && time)
		return args_usage(a, e, NULL, "-txid and -timestamp exclude each other");
	if (txid && (!ltx_parse_txid(txid, &t->txid) || t->txid == 0))
		return args_usage(a, e, "-txid 000000000000002a",
			"-txid takes a transaction ID of up to 16 hexadecimal digits, not \"%s\"", txid);
	if (time && (clock_parse_rfc3339(time, &t->timestamp_ms) || t->timestamp_ms <= 0))
		return args_usage(a, e, "-timestamp 2026-01-31T12:00:00Z",
			"invalid -timestamp, must specify in ISO 8601 format (e.g. 2000-01-01T00:00:00Z), not "
			"\"%s\"",
			time);
	return parse_v3_target(a, t, e);
}

/* Without -o a database of the configuration is restored where it belongs, and its state, too. */
static int parse_output(
	struct args *a, const struct place *p, struct restore_options *o, struct err *e)
{
	char hint[400];
	o->output = args_string(a, "o", p->path);
	if (args_bool(a, "no-state") && args_given(a, "state-dir"))
		return args_usage(a, e, NULL, "-state-dir and -no-state exclude each other");
	bool own = p->path && o->output && strcmp(o->output, p->path) == 0;
	o->state_dir =
		args_bool(a, "no-state") ? "" : args_string(a, "state-dir", own ? p->state_dir : NULL);
	if ((o->output && *o->output) || o->dry_run)
		return ERR_OK;
	snprintf(hint, sizeof(hint), "litestream restore -o PATH %s",
		strchr(p->url, '@') || strchr(p->url, '?') ? "URL" : p->url);
	return args_usage(a, e, hint,
		p->path ? "-o needs a path" : "-o is required when restoring from a replica URL");
}

static int parse_integrity(struct args *a, enum integrity_mode *mode, struct err *e)
{
	const char *text = args_string(a, "integrity-check", "none");
	for (*mode = INTEGRITY_NONE; *mode <= INTEGRITY_FULL; ++*mode)
		if (strcmp(text, restore_integrity_name(*mode)) == 0)
			return ERR_OK;
	return args_usage(a, e, "-integrity-check quick",
		"invalid -integrity-check value: %s (none, quick or full)", text);
}

/* What can't be had together with -f. */
static int check_follow(struct args *a, struct err *e)
{
	static const char *const others[] = {"txid", "timestamp", "generation", "index", "state-dir"};
	if (!args_bool(a, "f"))
		return args_given(a, "follow-interval")
				   ? args_usage(a, e, NULL, "-follow-interval goes with -f")
				   : ERR_OK;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (args_given(a, others[i]))
			return args_usage(a, e, NULL, "cannot use follow mode with -%s", others[i]);
	if (args_given(a, "follow-interval") && args_ms(a, "follow-interval", 0) <= 0)
		return args_usage(a, e, NULL, "-follow-interval must be longer than nothing");
	if (args_bool(a, "dry-run"))
		return args_usage(a, e, NULL, "cannot use -dry-run with -f");
	return ERR_OK;
}

static int parse(struct args *a, const struct place *p, struct restore_options *o, struct err *e)
{
	int64_t parallelism = args_int(a, "parallelism", 0);
	o->dry_run = args_bool(a, "dry-run");
	o->in_place = args_bool(a, "force");
	o->leftovers = !o->in_place;
	if (o->in_place && args_bool(a, "if-db-not-exists"))
		return args_usage(a, e, NULL, "-force and -if-db-not-exists exclude each other");
	if (args_given(a, "parallelism") && (parallelism < 1 || parallelism > 64))
		return args_usage(a, e, NULL, "-parallelism is a number from 1 to 64");
	o->parallelism = (int)parallelism;
	int rc = check_follow(a, e);
	if (!rc)
		rc = parse_integrity(a, &o->integrity, e);
	if (!rc)
		rc = parse_output(a, p, o, e);
	return rc ? rc : restore_flags_target(a, &o->target, e);
}

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
	progress_show(ctx, stderr, done, total, NULL);
}

/* ---- the command ---- */

static int found_one(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o, (void)e;
	*(bool *)ctx = true;
	return ERR_OK;
}

/* There is no backup, and that is fine. But where not even a litestream.json is, nothing ever was:
 * then it is the URL that is wrong more often than not, and an app would begin without its data. */
static int forgive(struct store *s, struct err *e)
{
	bool something = false;
	struct err why = ERR_INIT;
	int rc = store_list(s, "", NULL, 1, found_one, &something, &why);
	if (!rc && !something)
		log_warn("no matching backups found: nothing at all is at %s. If there should be a backup, "
				 "the URL is wrong",
			store_url(s));
	else
		log_info("no matching backups found, skipping");
	err_clear(e);
	return ERR_OK;
}

static int restore_once(struct args *a, struct store *s, struct restore_options *o,
	struct restore_result *r, struct err *e)
{
	struct progress progress = {0};
	if (!args_bool(a, "quiet")) {
		o->progress = show_progress;
		o->progress_ctx = &progress;
	}
	int rc = restore_run(s, o, r, e);
	progress_end(&progress);
	if (rc == ERR_CANCELLED)
		err_set(e, ERR_CANCELLED, "interrupted: nothing was restored");
	return rc;
}

/* What restore_run is to do, and what is said of it. *none: there was no backup, which is fine. */
static int restore_and_show(
	struct args *a, struct store *s, const struct restore_options *o, bool *none, struct err *e)
{
	struct restore_options options = *o;
	struct restore_result r;
	int64_t start = clock_mono_us();
	options.cancelled = stop_flag();
	int rc = restore_once(a, s, &options, &r, e);
	*none = rc == ERR_NO_BACKUP && r.empty_replica && args_bool(a, "if-replica-exists");
	if (*none)
		rc = forgive(s, e);
	else if (rc == ERR_NO_BACKUP)
		err_wrap(e, "no matching backup files available");
	const struct restore_shown shown = {.options = &options,
		.store = s,
		.result = &r,
		.source = strstr(a->argv[0], "://") ? store_url(s) : a->argv[0],
		.duration_us = clock_mono_us() - start,
		.json = args_bool(a, "json")};
	if (!rc && !*none && (shown.json || options.dry_run || !args_bool(a, "quiet")))
		rc = restore_show(&shown, e);
	restore_plan_free(&r.plan);
	return rc;
}

/* A database that is there is followed from where it is; -force restores it anew. */
static int follow(
	struct args *a, struct store *s, const struct restore_options *o, bool *none, struct err *e)
{
	struct stat st;
	struct restore_options options = *o;
	struct follow_begin begin = {o->output, store_url(s)};
	int64_t interval = args_ms(a, "follow-interval", 0);
	const struct follow_options how = {.output = o->output,
		.interval_ms = interval > 0 ? interval : FOLLOW_INTERVAL_MS,
		.parallelism = o->parallelism,
		.wait = stop_wait};
	options.target.only_ltx = true;
	options.state_dir = "";
	options.ready = follow_ready;
	options.ready_ctx = &begin;
	int rc = ERR_OK;
	if (o->in_place || lstat(o->output, &st))
		rc = restore_and_show(a, s, &options, none, e);
	fflush(stdout);
	return rc || *none ? rc : follow_run(s, &how, e);
}

static int restore(struct args *a, struct store *s, const struct restore_options *o, struct err *e)
{
	bool none = false;
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	if (args_bool(a, "f"))
		rc = follow(a, s, o, &none, e);
	else
		rc = restore_and_show(a, s, o, &none, e);
	stop_end();
	return rc;
}

static int run_at(struct args *a, const struct place *p, struct err *e)
{
	struct restore_options o = {0};
	int rc = parse(a, p, &o, e);
	if (rc)
		return rc;
	if (args_bool(a, "v"))
		log_set_level(LOG_DEBUG);
	else if (args_bool(a, "quiet"))
		log_set_level(LOG_WARN);
	struct stat st;
	if (args_bool(a, "if-db-not-exists") && o.output && !lstat(o.output, &st)) {
		log_info("database already exists, skipping: %s", o.output);
		return ERR_OK;
	}
	int64_t timeout = args_ms(a, "timeout", 0);
	if (args_given(a, "timeout") && timeout <= 0)
		return args_usage(a, e, NULL, "-timeout must be longer than nothing");
	struct store_options settings = p->store;
	settings.connect_timeout_ms = settings.stall_timeout_ms = timeout;
	settings.first_answer_ms = timeout ? 0 : RESTORE_FIRST_ANSWER_MS;
	struct store *s;
	rc = store_open(&s, p->url, &settings, e);
	if (rc)
		return rc;
	rc = restore(a, s, &o, e);
	store_close(s);
	return rc;
}

static int run(struct args *a, struct err *e)
{
	struct place place;
	int rc = place_find(&place, a, a->argv[0], e);
	if (!rc)
		rc = run_at(a, &place, e);
	place_free(&place);
	return rc;
}

static const struct flag flags[] = {
	{"o", FLAG_STRING, "PATH", "where the database is to be; it must not exist (but: -force)"},
	{"txid", FLAG_STRING, "TXID", "the state of this transaction (16 hexadecimal digits)"},
	{"timestamp", FLAG_STRING, "TIME", "the last state at or before a time (RFC 3339)"},
	{"generation", FLAG_STRING, "GENERATION", "of Litestream 0.3's backups: this one (16 digits)"},
	{"index", FLAG_STRING, "INDEX", "of Litestream 0.3's backups: up to this WAL (hexadecimal)"},
	{"parallelism", FLAG_INT, "N", "requests under way at once (48; 4 for a folder)"},
	{"timeout", FLAG_DURATION, "TIME", "how long a request may hang before it is retried (30s)"},
	{"force", FLAG_BOOL, NULL, "replace the database that is there; it is renamed and kept"},
	{"if-db-not-exists", FLAG_BOOL, NULL, "exit 0 when the database is there already"},
	{"if-replica-exists", FLAG_BOOL, NULL, "exit 0 when the replica is empty"},
	{"integrity-check", FLAG_STRING, "MODE",
		"SQLite's check before the file is in place: none, quick or full (none)"},
	{"f", FLAG_BOOL, NULL, "follow: then keep it up to date, for apps that only read it"},
	{"follow-interval", FLAG_DURATION, "TIME", "how often to look for more (1s)"},
	{"dry-run", FLAG_BOOL, NULL, "only show which files would be read"},
	{"json", FLAG_BOOL, NULL, "print the result as JSON"},
	{"state-dir", FLAG_STRING, "DIR", "where replicate is to find its state (.<name>-litestream)"},
	{"no-state", FLAG_BOOL, NULL, "leave no state for a following replicate"},
	{"quiet", FLAG_BOOL, NULL, "print nothing but errors"},
	{"v", FLAG_BOOL, NULL, "tell what is being done"},
	PLACE_FLAGS,
	{0},
};

const struct command command_restore = {
	.name = "restore",
	.arguments = "[-o PATH] [flags] DB | URL",
	.summary = "Brings a database back from a replica",
	.details =
		"DB is a database of the configuration file, which is restored where it belongs; with -o, "
		"or\n"
		"of a replica's URL, to another place.\n"
		"The file appears whole and verified, or not at all. Nothing is overwritten: with -force,\n"
		"what is there is renamed to PATH.before-<time>, with its -wal, -shm and -journal.\n"
		"With -f it goes on: a read replica, until SIGINT or SIGTERM. Started again it goes on "
		"from\n"
		"where it was.\n"
		"Backups that Litestream 0.3 wrote are read as well; where those of 0.5 are beside them, "
		"the\n"
		"newer ones are restored, and that is told.\n",
	.examples =
		"    litestream restore production.sqlite3\n"
		"    litestream restore -o fruits.db s3://mybkt/fruits.db\n"
		"    litestream restore -o fruits.db -timestamp 2026-01-31T12:00:00Z /backup/fruits\n"
		"    litestream restore -if-db-not-exists -o /data/app.db s3://mybkt/app.db\n"
		"    litestream restore -f -o /data/copy.db s3://mybkt/app.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
