/* litestream restore */
#include "restore/restore.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "cli/restore_flags.h"
#include "cli/stop.h"
#include "store/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
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
			"-timestamp takes a time in RFC 3339 form, not \"%s\"", time);
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
	return args_usage(a, e, hint, "-o is required: where the restored database is to be");
}

static int parse(struct args *a, const struct place *p, struct restore_options *o, struct err *e)
{
	int64_t parallelism = args_int(a, "parallelism", 0);
	o->dry_run = args_bool(a, "dry-run");
	o->in_place = args_bool(a, "force");
	if (o->in_place && args_bool(a, "if-db-not-exists"))
		return args_usage(a, e, NULL, "-force and -if-db-not-exists exclude each other");
	if (args_given(a, "parallelism") && (parallelism < 1 || parallelism > 64))
		return args_usage(a, e, NULL, "-parallelism is a number from 1 to 64");
	o->parallelism = (int)parallelism;
	int rc = parse_output(a, p, o, e);
	return rc ? rc : restore_flags_target(a, &o->target, e);
}

static void show_progress(void *ctx, uint64_t done, uint64_t total)
{
	progress_show(ctx, stderr, done, total, NULL);
}

/* ---- what is printed ---- */

static json_t *hex(uint64_t v)
{
	return json_sprintf("%016" PRIx64, v);
}

static json_t *rfc3339(int64_t ms)
{
	char text[32];
	clock_format_rfc3339(ms, text);
	return json_string(text);
}

static json_t *v3_files_json(const struct restore_plan *plan)
{
	json_t *files = json_array();
	for (size_t i = 0; i < plan->n_v3; i++) {
		char name[V3_NAME_SIZE];
		json_array_append_new(files,
			json_pack("{s:s,s:I,s:o}", "name", v3_format_name(&plan->v3[i], name), "size",
				(json_int_t)plan->v3[i].size, "timestamp", rfc3339(plan->v3[i].modified_ms)));
	}
	return files;
}

static json_t *files_json(const struct restore_plan *plan)
{
	json_t *files = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		const struct ltx_file *f = &plan->files[i];
		char name[LTX_NAME_SIZE];
		ltx_format_name(f->min_txid, f->max_txid, name);
		json_array_append_new(
			files, json_pack("{s:i,s:s,s:o,s:o,s:I,s:o}", "level", f->level, "name", name,
					   "min_txid", hex(f->min_txid), "max_txid", hex(f->max_txid), "size",
					   (json_int_t)f->size, "timestamp", rfc3339(f->modified_ms)));
	}
	return files;
}

/* Where in the replica the restored state is. */
static void add_point(json_t *root, const struct restore_result *r)
{
	const struct restore_plan *plan = &r->plan;
	json_object_set_new(root, "format", json_string(plan->n_v3 ? "0.3" : "0.5"));
	json_object_set_new(root, "txid", plan->n_v3 ? json_null() : hex(r->txid));
	if (!plan->n_v3)
		return;
	json_object_set_new(root, "generation", hex(plan->v3[0].generation));
	json_object_set_new(root, "index", json_sprintf("%08" PRIx32, plan->v3[plan->n_v3 - 1].index));
}

static int print_json(const struct restore_options *o, const struct store *s,
	const struct restore_result *r, int64_t us, struct err *e)
{
	json_t *root = json_pack("{s:s*,s:s,s:o,s:I,s:I,s:I,s:b}",
		o->dry_run ? "target_path" : "db_path", o->output, o->dry_run ? "source" : "replica",
		store_url(s), "timestamp", rfc3339(r->timestamp_ms), "bytes", (json_int_t)r->bytes,
		"page_size", (json_int_t)r->page_size, "files", (json_int_t)r->files, "proven",
		r->proof == RESTORE_PROVEN);
	if (root)
		add_point(root, r);
	if (root && o->dry_run) {
		json_object_set_new(root, "replica", json_string(store_capabilities(s)->scheme));
		json_object_set_new(
			root, "files", r->plan.n_v3 ? v3_files_json(&r->plan) : files_json(&r->plan));
	}
	if (root && o->dry_run && !r->plan.n_v3) {
		json_object_set_new(root, "min_txid", hex(r->plan.files[0].min_txid));
		json_object_set_new(root, "max_txid", hex(r->plan.txid));
	} else if (root && !o->dry_run) {
		json_object_set_new(root, "duration_ms", json_integer(us / 1000));
		if (r->before[0])
			json_object_set_new(root, "before", json_sprintf("%s.before-%s", o->output, r->before));
	}
	int rc = root && !json_dumpf(root, stdout, JSON_INDENT(2)) ? ERR_OK : ERR_NOMEM;
	json_decref(root);
	printf("\n");
	return rc ? err_nomem(e, "printing the result") : ERR_OK;
}

static void print_v3_plan(const struct store *s, const struct restore_result *r, const char *when)
{
	const struct restore_plan *plan = &r->plan;
	printf("would restore generation %016" PRIx64 " up to index %08" PRIx32
		   " of %s, as Litestream 0.3 wrote it, from %s: %zu files\n",
		plan->v3[0].generation, plan->v3[plan->n_v3 - 1].index, when, store_url(s), plan->n_v3);
	for (size_t i = 0; i < plan->n_v3; i++) {
		char name[V3_NAME_SIZE];
		printf("  %s  %" PRIu64 " bytes\n", v3_format_name(&plan->v3[i], name), plan->v3[i].size);
	}
}

static void print_plan(const struct store *s, const struct restore_result *r)
{
	char when[32];
	clock_format_rfc3339(r->timestamp_ms, when);
	if (r->plan.n_v3) {
		print_v3_plan(s, r, when);
		return;
	}
	printf("would restore TXID %016" PRIx64 " of %s from %s: %" PRIu64 " bytes from %zu files\n",
		r->txid, when, store_url(s), r->bytes, r->plan.count);
	for (size_t i = 0; i < r->plan.count; i++) {
		char label[RESTORE_LABEL_SIZE];
		printf("  %s  %" PRIu64 " bytes\n", restore_label(&r->plan.files[i], label),
			r->plan.files[i].size);
	}
}

static void print_point(const struct restore_result *r)
{
	const struct restore_plan *plan = &r->plan;
	if (plan->n_v3)
		printf("  generation %016" PRIx64 " (Litestream 0.3)\n  index      %08" PRIx32 "\n",
			plan->v3[0].generation, plan->v3[plan->n_v3 - 1].index);
	else
		printf("  txid       %016" PRIx64 "\n", r->txid);
}

static const char *proof_text(const struct restore_result *r)
{
	if (r->proof == RESTORE_PROVEN)
		return "proven";
	return r->plan.n_v3 ? "not proven: Litestream 0.3 recorded none"
						: "not proven: the replica records none for this state";
}

static void print_result(
	const struct restore_options *o, const struct store *s, const struct restore_result *r)
{
	char when[32];
	clock_format_rfc3339(r->timestamp_ms, when);
	printf("restored %s from %s\n", o->output, store_url(s));
	print_point(r);
	printf("  timestamp  %s\n", when);
	printf("  size       %" PRIu64 " bytes (%" PRIu32 " pages of %" PRIu32 ")\n", r->bytes,
		r->n_page, r->page_size);
	printf("  files      %zu\n", r->files);
	printf("  checksum   %s\n", proof_text(r));
	if (r->before[0])
		printf("  before     %s.before-%s\n", o->output, r->before);
}

/* ---- the command ---- */

static int restore(struct args *a, struct store *s, const struct restore_options *o, struct err *e)
{
	struct progress progress = {0};
	struct restore_options options = *o;
	options.cancelled = stop_flag();
	if (!args_bool(a, "quiet")) {
		options.progress = show_progress;
		options.progress_ctx = &progress;
	}
	struct restore_result r;
	int64_t start = clock_mono_us();
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	rc = restore_run(s, &options, &r, e);
	stop_end();
	progress_end(&progress);
	if (rc == ERR_CANCELLED)
		err_set(e, ERR_CANCELLED, "interrupted: nothing was restored");
	if (rc == ERR_NO_BACKUP && r.empty_replica && args_bool(a, "if-replica-exists")) {
		log_info("no matching backups found, skipping");
		rc = ERR_OK;
	} else if (!rc && args_bool(a, "json")) {
		rc = print_json(o, s, &r, clock_mono_us() - start, e);
	} else if (!rc && o->dry_run) {
		print_plan(s, &r);
	} else if (!rc && !args_bool(a, "quiet")) {
		print_result(o, s, &r);
	}
	restore_plan_free(&r.plan);
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
		"Backups that Litestream 0.3 wrote are read as well; where those of 0.5 are beside them, "
		"the\n"
		"newer ones are restored, and that is told.\n",
	.examples =
		"    litestream restore production.sqlite3\n"
		"    litestream restore -o fruits.db s3://mybkt/fruits.db\n"
		"    litestream restore -o fruits.db -timestamp 2026-01-31T12:00:00Z /backup/fruits\n"
		"    litestream restore -if-db-not-exists -o /data/app.db s3://mybkt/app.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
