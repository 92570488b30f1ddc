/* litestream replicate: what litestream.yml or the command line names, in one process or several.
 */
#include "cli/replicate_run.h"

#include "base/log.h"
#include "cli/app.h"
#include "cli/configured.h"
#include "cli/missing.h"
#include "cli/replicas.h"
#include "cli/replicate.h"
#include "cli/wanted.h"
#include "conf/inplace.h"

#include <signal.h>
#include <sys/mman.h>

struct configured_run {
	struct args *args;
	const struct config *config;
	struct heartbeat_notes *notes; /* NULL: no heartbeat */
	struct app *app;               /* what -exec names */
	size_t n;                      /* of the processes */
	bool *ready;                   /* of each, in memory that they share; NULL with one process */
	struct metrics_base *metrics;  /* NULL: none */
};

static int run_one(void *ctx, size_t index, struct err *e)
{
	const struct configured_run *r = ctx;
	struct replicate_run run = {.config = r->config,
		.index = index,
		.notes = r->notes,
		.app = r->ready ? NULL : r->app,
		.ready = r->ready ? &r->ready[index] : NULL,
		.metrics_base = r->metrics,
		.alone = configured_alone(r->config)};
	return replicate_run(&run, r->args, e);
}

/* What must be said of one database can't be meant for all that a configuration names, nor for one
 * of several replicas. */
static int check_words(struct args *a, const struct config *c, struct err *e)
{
	static const char *const words[] = {"takeover", "accept"};
	bool named = !c->file && configured_processes(c) == 1;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (args_given(a, words[i]) && !named && !configured_alone(c))
			return args_usage(a, e, "litestream replicate -flag DB URL",
				"-%s is a word about one database with one replica: name them", words[i]);
	return ERR_OK;
}

/* As Litestream has it, "" is not a command, on the command line neither. */
static const char *command_of(struct args *a, const struct config *c)
{
	const char *flag = args_string(a, "exec", NULL);
	return flag && *flag ? flag : c->exec;
}

/* Flags that need or exclude each other. */
static int check_once(struct args *a, const char *command, struct err *e)
{
	static const char *const with[] = {"force-snapshot", "enforce-retention"};
	bool once = args_bool(a, "once");
	if (once && command && *command)
		return args_usage(a, e, NULL, "cannot specify -once flag with -exec%s",
			args_given(a, "exec") ? "" : ", and the configuration has exec");
	if (once && args_given(a, "socket"))
		return args_usage(a, e, NULL,
			"cannot specify -once flag with -socket: a control socket is a running replicator's");
	for (size_t i = 0; !once && i < sizeof(with) / sizeof(with[0]); i++)
		if (args_bool(a, with[i]))
			return args_usage(a, e, NULL, "cannot specify -%s flag without -once", with[i]);
	return ERR_OK;
}

/* What a flag says for all databases. */
static int apply_flags(struct args *a, struct config *c, struct err *e)
{
	struct options o = OPTIONS_DEFAULT;
	for (size_t i = 0; args_bool(a, "restore-if-db-not-exists") && i < c->n_databases; i++) {
		c->databases[i].restore_if_missing = true;
		if (c->databases[i].dir)
			log_warn("%s: -restore-if-db-not-exists is for databases that have a path: which ones "
					 "were in a folder can't be told",
				c->databases[i].dir);
	}
	return replicate_read_options(a, &o, e); /* are they right? */
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

/* With several processes in one of its own, which leaves no thread and no connection behind. */
static int restore_all(void *ctx, size_t index, struct err *e)
{
	const struct configured_run *r = ctx;
	(void)index;
	return missing_restore(r->config, e);
}

static bool are_ready(void *ctx)
{
	const struct configured_run *r = ctx;
	for (size_t i = 0; i < r->n; i++)
		if (!*(volatile const bool *)&r->ready[i])
			return false;
	return true;
}

static int run_several(struct configured_run *r, struct err *e)
{
	struct replicas_how first = {.once = true},
						how = {
							.once = args_bool(r->args, "once"), .app = r->app, .ready = are_ready};
	recover_all(r->config);
	int rc = missing_wanted(r->config) ? replicas_run(1, restore_all, r, &first, e) : ERR_OK;
	if (rc)
		return rc;
	r->ready = mmap(NULL, r->n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->ready == MAP_FAILED)
		return err_nomem(e, "starting processes");
	rc = replicas_run(r->n, run_one, r, &how, e);
	munmap(r->ready, r->n);
	if (!rc)
		r->args->exit_code = app_exit_code(r->app);
	return rc;
}

static int run_single(struct configured_run *r, struct err *e)
{
	int rc = missing_restore(r->config, e);
	return rc ? rc : run_one(r, 0, e);
}

/* Until somebody takes them (a restore, replicas_run, replicate_run): process 1 of a container
 * would never hear of one that comes before. */
static void keep_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int replicate_configured(struct args *a, struct config *c, struct err *e)
{
	struct configured_run r = {.args = a, .config = c, .n = configured_processes(c)};
	keep_signals();
	int rc = config_file_log(a, c, e);
	if (!rc)
		rc = apply_flags(a, c, e);
	if (!rc)
		rc = check_words(a, c, e);
	if (!rc)
		rc = check_once(a, command_of(a, c), e);
	if (!rc) {
		config_file_tell(c); /* also the cause of what comes now: a variable that is not set */
		rc = wanted_check(c, e);
	}
	if (!rc && c->heartbeat_url && !args_bool(a, "once"))
		rc = heartbeat_notes_new(&r.notes, r.n, e);
	if (!rc && c->addr && *c->addr && !args_bool(a, "once"))
		rc = metrics_base_new(&r.metrics, c->addr, r.n, e);
	if (!rc)
		rc = app_new(&r.app, command_of(a, c), e);
	if (!rc)
		rc = r.n == 1 ? run_single(&r, e) : run_several(&r, e);
	app_free(r.app);
	heartbeat_notes_free(r.notes);
	metrics_base_free(r.metrics);
	config_free(c);
	return rc;
}
