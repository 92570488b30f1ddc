/* litestream replicate: databases on their way to their replicas, until a signal comes. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/configured.h"
#include "cli/replicas.h"
#include "cli/replicate.h"
#include "cli/wanted.h"
#include "conf/inplace.h"
#include "conf/state.h"
#include "daemon/heartbeat.h"
#include "daemon/inspect.h"
#include "daemon/local.h"
#include "daemon/schedule.h"
#include "daemon/worker.h"
#include "source/identity.h"
#include "store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SHUTDOWN_MS 30000
#define SAME_WISH_US 1000000

struct run {
	struct schedule *schedule;
	struct local *local; /* the control socket, NULL without -socket */
	struct args *args;
	int signal_fd;
	int64_t stopped_us; /* when the last signal came */
	int64_t shutdown_ms;
	bool alone; /* one database: what can't go on ends the program */
	int code;   /* why it ended by itself */
	char why[1024];

	/* Without arguments: */
	const struct config *config;
	size_t index; /* of the replica that this process has of each database */
	struct configured *configured;
	struct heartbeat *heartbeat; /* NULL: nobody wants to hear */
	struct heartbeat_notes *notes;
};

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
	{"socket", FLAG_STRING, "PATH", "control socket for litestream sync and status"},
	CONFIG_FLAGS,
	{"worker-fd", FLAG_INT, "N", "for litestreamd: take everything from this stream socket"},
	{"log-level", FLAG_STRING, "LEVEL", "trace, debug, info, warn or error (default info)"},
	{NULL, FLAG_BOOL, NULL, NULL},
};

/* ---- what there is to do ---- */

static char *absolute_path(const char *path)
{
	char cwd[PATH_MAX], *out = NULL;
	if (path[0] == '/')
		return strdup(path);
	if (!getcwd(cwd, sizeof(cwd)) || asprintf(&out, "%s/%s", cwd, path) < 0)
		return NULL;
	return out;
}

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

static int read_config(struct args *a, struct replicator_config *cfg, struct err *e)
{
	struct options o = OPTIONS_DEFAULT;
	int rc = replicate_read_options(a, &o, e);
	if (rc)
		return rc;
	replicate_fill(a, &o, cfg);
	if (args_given(a, "meta-path") && a->argc > 2)
		return args_usage(a, e, NULL, "-meta-path goes with one database only");
	return ERR_OK;
}

/* With -meta-path the folder is named after nothing, so it must be one database's own. */
static int add_one(struct run *run, struct args *a, struct replicator_config *cfg, const char *db,
	const char *url, struct err *e)
{
	char *path = absolute_path(db);
	char *dir = absolute_path(args_string(a, "meta-path", "."));
	int rc = path && dir ? ERR_OK : err_nomem(e, "adding a database");
	cfg->database = path;
	cfg->replica = url;
	cfg->state_dir = args_given(a, "meta-path") ? dir : NULL;
	if (!rc)
		rc = schedule_add(run->schedule, path, cfg, e);
	free(path);
	free(dir);
	return rc;
}

/*
 * What is wrong from the start is told before anything is made on disk. Only for one database
 * alone: of several, those that are well are replicated. Nothing is open yet, so that inspect may
 * open and close the file.
 */
static int look_at(const char *path, bool any_filesystem, struct err *e)
{
	struct inspect_answer answer;
	int rc = inspect_database(path, &answer, e);
	if (!rc)
		rc = identity_check_path(path, any_filesystem, e);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int look_first(struct args *a, struct err *e)
{
	struct store *store = NULL;
	char *path = absolute_path(a->argv[0]);
	if (!path)
		return err_nomem(e, "looking at a database");
	int rc = store_open(&store, a->argv[1], NULL, e);
	store_close(store);
	if (!rc)
		rc = look_at(path, args_bool(a, "any-filesystem"), e);
	free(path);
	return rc;
}

static int add_configured(struct run *run, struct args *a, struct err *e)
{
	const struct config *c = run->config;
	int rc = ERR_OK;
	if (run->alone)
		rc = look_at(c->databases[0].path,
			c->databases[0].replicas[0].settings.options.any_filesystem ||
				args_bool(a, "any-filesystem"),
			e);
	if (!rc)
		rc = configured_new(&run->configured, c, run->index, a, e);
	if (!rc)
		rc = configured_start(run->configured, run->schedule, e);
	if (!rc && run->notes)
		rc = heartbeat_new(&run->heartbeat, c->heartbeat_url, c->heartbeat_interval_ms, run->notes,
			run->index, run->schedule, e);
	return rc;
}

static int add_all(struct run *run, struct args *a, struct err *e)
{
	struct replicator_config cfg;
	if (run->config)
		return add_configured(run, a, e);
	int rc = read_config(a, &cfg, e);
	if (!rc && run->alone)
		rc = look_first(a, e);
	for (size_t i = 0; !rc && i + 1 < a->argc; i += 2)
		rc = add_one(run, a, &cfg, a->argv[i], a->argv[i + 1], e);
	return rc;
}

/* For the control socket: the URL behind an id, which is the absolute path. */
static const char *replica_of(void *ctx, const char *id)
{
	const struct run *run = ctx;
	if (run->configured)
		return configured_replica_of(run->configured, id);
	for (size_t i = 0; i + 1 < run->args->argc; i += 2) {
		char *path = absolute_path(run->args->argv[i]);
		bool same = path && strcmp(path, id) == 0;
		free(path);
		if (same)
			return run->args->argv[i + 1];
	}
	return NULL;
}

/* Each process has its own. */
static int open_socket(struct run *run, struct args *a, struct err *e)
{
	const struct config *c = run->config;
	const char *path = args_string(a, "socket", c && c->socket_enabled ? c->socket_path : NULL);
	char numbered[PATH_MAX];
	run->args = a;
	if (!path)
		return ERR_OK;
	snprintf(numbered, sizeof(numbered), run->index ? "%s.%zu" : "%s", path, run->index + 1);
	return local_open(&run->local, run->schedule, numbered, replica_of, run, e);
}

/* ---- while it runs ---- */

static void on_signal(void *ctx)
{
	struct run *run = ctx;
	struct signalfd_siginfo info;
	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	bool again = schedule_stopping(run->schedule);
	int64_t now = clock_mono_us();
	/* One wish can come twice: timeout(1) and terminals signal the process and its group. */
	if (again && now - run->stopped_us < SAME_WISH_US)
		return;
	run->stopped_us = now;
	log_info("%s: %s", strsignal((int)info.ssi_signo),
		again ? "ending at once" : "shipping what is left, then ending");
	schedule_stop(run->schedule, again ? 0 : run->shutdown_ms);
}

/* One database alone ends with the reason, so that whoever started us can restore or tell. */
static void look_alone(struct run *run)
{
	struct replicator_status st;
	schedule_status(run->schedule, 0, &st);
	bool fenced = st.state == REPLICATOR_FENCED;
	bool unusable = st.state == REPLICATOR_UNUSABLE && st.uploads == 0;
	bool denied = st.state == REPLICATOR_DENIED && st.uploads == 0;
	if (fenced || unusable || denied) {
		run->code = st.code;
		snprintf(run->why, sizeof(run->why), "%s", st.reason);
		schedule_stop(run->schedule, 0);
	}
}

static int64_t look(void *ctx, int64_t now_us)
{
	struct run *run = ctx;
	int64_t next = INT64_MAX;
	if (schedule_stopping(run->schedule))
		return next;
	if (run->alone && schedule_count(run->schedule) == 1)
		look_alone(run);
	if (run->configured)
		next = configured_look(run->configured, now_us);
	if (run->heartbeat) {
		int64_t due = heartbeat_look(run->heartbeat, now_us);
		next = due < next ? due : next;
	}
	return next;
}

/* What a clean exit must tell. */
static void tell_one(const char *path, const struct replicator_status *st, bool shipped)
{
	/* Of these states a start alone does not lead out. */
	bool stuck = st->state == REPLICATOR_FENCED || st->state == REPLICATOR_REPLACED ||
				 st->state == REPLICATOR_UNUSABLE;
	if (st->state == REPLICATOR_WAITING)
		log_info("%s: there was no database", path);
	else if (shipped)
		log_info("%s: all shipped, TXID %016" PRIx64, path, st->txid);
	else if (st->txid == 0)
		log_warn("%s: not all is shipped (%s)%s", path, replicator_state_name(st->state),
			stuck ? "" : ": the next start ships the rest");
	else
		log_warn("%s: not all is shipped (%s, last TXID %016" PRIx64 ", %" PRIu64 " bytes wait)%s",
			path, replicator_state_name(st->state), st->txid, st->pending_bytes,
			stuck ? "" : ": the next start ships the rest");
}

static void tell_unshipped(struct run *run)
{
	if (run->why[0]) /* the last line tells it */
		return;
	for (size_t i = 0; i < schedule_count(run->schedule); i++) {
		struct replicator_status st;
		schedule_status(run->schedule, i, &st);
		tell_one(schedule_database(run->schedule, i), &st, schedule_shipped(run->schedule, i));
	}
}

/* Few arenas and an early trim: a quiet database must not keep a busy moment's memory. */
static void tune_memory(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	mallopt(M_MMAP_THRESHOLD, 512 * 1024); /* the read buffer of each turn is below it */
}

static int take_signals(struct run *run, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signal_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot wait for signals");
	return ERR_OK;
}

static int run_loop(struct run *run, struct args *a, struct err *e)
{
	run->shutdown_ms = args_ms(
		a, "shutdown-timeout", run->config ? run->config->shutdown_timeout_ms : SHUTDOWN_MS);
	int rc = take_signals(run, e);
	if (!rc)
		rc = schedule_new(&run->schedule, run->alone ? 1 : 0, run->alone ? 1 : 0, e);
	if (!rc)
		rc = schedule_add_fd(run->schedule, run->signal_fd, on_signal, run, e);
	if (!rc)
		rc = add_all(run, a, e);
	if (!rc)
		rc = open_socket(run, a, e);
	if (rc)
		return rc;
	schedule_set_hook(run->schedule, look, run);
	schedule_run(run->schedule);
	tell_unshipped(run);
	return run->code ? err_set(e, (enum err_code)run->code, "%s", run->why) : ERR_OK;
}

static int run_all(struct run *run, struct args *a, struct err *e)
{
	run->signal_fd = -1;
	tune_memory();
	int rc = run_loop(run, a, e);
	local_close(run->local);
	heartbeat_free(run->heartbeat);
	configured_free(run->configured);
	schedule_free(run->schedule);
	if (run->signal_fd >= 0)
		close(run->signal_fd);
	return rc;
}

/* ---- without arguments ---- */

struct configured_run {
	struct args *args;
	const struct config *config;
	struct heartbeat_notes *notes; /* NULL: no heartbeat */
};

static int run_one(void *ctx, size_t index, struct err *e)
{
	const struct configured_run *r = ctx;
	struct run run = {.config = r->config,
		.index = index,
		.notes = r->notes,
		.alone = configured_alone(r->config)};
	return run_all(&run, r->args, e);
}

/* What must be said of one database can't be meant for all that a configuration names. */
static int check_words(struct args *a, const struct config *c, struct err *e)
{
	static const char *const words[] = {"takeover", "accept", "meta-path"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (args_given(a, words[i]) && (i == 2 || !configured_alone(c)))
			return args_usage(a, e, "litestream replicate -flag DB URL",
				i == 2
					? "-%s is for a database on the command line: the configuration has meta-path"
					: "-%s is a word about one database with one replica: name them",
				words[i]);
	return ERR_OK;
}

/* What a restore that was interrupted left is put right by one process, before there are several.
 */
static void recover_all(const struct config *c)
{
	struct err e;
	for (size_t i = 0; i < c->n_databases; i++)
		if (c->databases[i].path && inplace_recover(c->databases[i].path, false, &e))
			log_error("%s: %s", c->databases[i].path, e.text);
}

static int run_configured(struct args *a, struct err *e)
{
	struct config c;
	struct configured_run r = {.args = a, .config = &c};
	int rc = config_file_need(a, &c, e);
	size_t n = configured_processes(&c);
	if (!rc)
		rc = config_file_log(a, &c, e);
	if (!rc && n == 0)
		rc = err_set(e, ERR_USAGE, "%s: no databases specified in configuration", c.file);
	if (!rc)
		rc = check_words(a, &c, e);
	if (!rc)
		rc = wanted_check(&c, e);
	if (!rc && c.heartbeat_url)
		rc = heartbeat_notes_new(&r.notes, n, e);
	if (!rc) {
		config_file_tell(&c);
		if (n > 1)
			recover_all(&c);
		rc = n == 1 ? run_one(&r, 0, e) : replicas_run(n, run_one, &r, e);
	}
	heartbeat_notes_free(r.notes);
	config_free(&c);
	return rc;
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
	tune_memory();
	return worker_run((int)fd, e);
}

static int run(struct args *a, struct err *e)
{
	struct run run = {.alone = a->argc == 2};
	if (args_given(a, "worker-fd"))
		return run_worker(a, e);
	if (a->argc == 0)
		return run_configured(a, e);
	if (args_given(a, "config"))
		return args_usage(
			a, e, NULL, "databases on the command line and -config exclude each other");
	if (a->argc % 2)
		return args_usage(a, e, "litestream replicate DB URL",
			"replicate takes pairs of a database and a replica URL");
	int rc = config_file_log(a, NULL, e);
	return rc ? rc : run_all(&run, a, e);
}

const struct command command_replicate = {
	.name = "replicate",
	.arguments = "[flags] [DB URL …]",
	.summary = "Replicates databases until it is told to stop",
	.details =
		"Without arguments: the databases of the configuration file (docs/CONFIG.md).\n"
		"SIGTERM and SIGINT: ships what is left, then ends with 0; the log says what could not\n"
		"be shipped, and a second signal ends it at once. One database alone: ends with 8\n"
		"when another node owns the replica, 9 when the database is unusable, 6 when the\n"
		"store refuses it.\n",
	.examples = "    litestream replicate\n"
				"    litestream replicate /data/app.db s3://bucket/app\n"
				"    litestream replicate -sync-interval 10s app.db file:///backup/app\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 2 * SCHEDULE_MAX,
	.run = run,
};
