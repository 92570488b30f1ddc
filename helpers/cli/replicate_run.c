/*
 * The loop of `litestream replicate`: adds the databases to a schedule, takes signals, and tells at
 * the end what is shipped.
 */
#include "cli/replicate_run.h"

#include "base/log.h"
#include "cli/configured.h"
#include "cli/replicate.h"
#include "daemon/inspect.h"
#include "daemon/local.h"
#include "source/identity.h"

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

/* ---- what there is to do ---- */

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

static int add_configured(struct replicate_run *run, struct args *a, struct err *e)
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
	if (!rc && run->metrics_base)
		rc = metrics_new(&run->metrics, run->metrics_base, run->index, run->schedule,
			configured_replica_name, run->configured, e);
	return rc;
}

static const char *socket_path(const struct replicate_run *run, const struct args *a)
{
	const struct config *c = run->config;
	return args_string(a, "socket", c->socket_enabled ? c->socket_path : NULL);
}

/* Each process has its own. */
static int open_socket(struct replicate_run *run, struct args *a, struct err *e)
{
	const struct config *c = run->config;
	const char *path = socket_path(run, a);
	char numbered[PATH_MAX];
	if (!path)
		return ERR_OK;
	snprintf(numbered, sizeof(numbered), run->index ? "%s.%zu" : "%s", path, run->index + 1);
	const struct local_config cfg = {.schedule = run->schedule,
		.socket = numbered,
		.mode = (mode_t)c->socket_mode,
		.host = configured_host(run->configured)};
	return local_open(&run->local, &cfg, e);
}

/* ---- while it runs ---- */

/* Nothing more can be done here. An app must not go on writing what nobody replicates. */
static void give_up(struct replicate_run *run, int code, const char *why)
{
	run->code = code;
	snprintf(run->why, sizeof(run->why), "%s", why);
	if (app_running(run->app))
		log_error("%s", why);
	app_end(run->app, run->shutdown_ms);
	if (!app_running(run->app))
		schedule_stop(run->schedule, 0);
}

static void on_signal(void *ctx)
{
	struct replicate_run *run = ctx;
	struct signalfd_siginfo info;
	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	int sig = (int)info.ssi_signo;
	if (sig == SIGCHLD) {
		app_reap(run->app);
		return;
	}
	enum app_wish wish = app_take(run->app, sig, info.ssi_code);
	if (wish == APP_NOTHING)
		return;
	bool now = wish == APP_NOW;
	if (run->once) {
		give_up(run, ERR_CANCELLED, "interrupted: not all may be shipped");
		return;
	}
	log_info(
		"%s: %s", strsignal(sig), now ? "ending at once" : "shipping what is left, then ending");
	schedule_stop(run->schedule, now ? 0 : run->shutdown_ms);
}

/* One database alone ends with the reason, so that whoever started us can restore or tell. */
static void look_alone(struct replicate_run *run)
{
	struct replicator_status st;
	schedule_status(run->schedule, 0, &st);
	bool fenced = st.state == REPLICATOR_FENCED;
	bool unusable = st.state == REPLICATOR_UNUSABLE && st.uploads == 0;
	bool denied = st.state == REPLICATOR_DENIED && st.uploads == 0;
	if (fenced || unusable || denied)
		give_up(run, st.code, st.reason);
}

/* Every database's replica is ours, or it is known why it isn't now: an app that writes before
 * might write what another node's claim makes worthless. */
static bool is_ready(struct replicate_run *run)
{
	for (size_t i = 0; i < schedule_count(run->schedule); i++) {
		struct replicator_status st;
		schedule_status(run->schedule, i, &st);
		if (st.state == REPLICATOR_STARTING)
			return false;
	}
	return true;
}

static int64_t look_app(struct replicate_run *run, int64_t now_us)
{
	struct err e = ERR_INIT;
	int64_t next;
	bool ready = !run->was_ready && is_ready(run);
	run->was_ready = run->was_ready || ready;
	if (run->ready && run->was_ready)
		*run->ready = true;
	enum app_news news = app_look(run->app, run->was_ready, now_us, &next, &e);
	bool over = run->code != ERR_OK; /* nothing more can be shipped */
	if (news == APP_FAILED) {
		run->code = e.code;
		snprintf(run->why, sizeof(run->why), "%s", e.text);
	}
	if (news != APP_SAME)
		schedule_stop(run->schedule, over ? 0 : run->shutdown_ms);
	return next;
}

static void earlier(int64_t *next, int64_t due)
{
	*next = due < *next ? due : *next;
}

static int64_t look(void *ctx, int64_t now_us)
{
	struct replicate_run *run = ctx;
	int64_t next = run->metrics ? metrics_look(run->metrics, now_us) : INT64_MAX;
	if (run->local)
		earlier(&next, local_look(run->local, now_us));
	if (schedule_stopping(run->schedule))
		return next;
	if (run->once && once_look(run->once, now_us, &next))
		schedule_stop(run->schedule, 0);
	if (run->alone && !run->code && schedule_count(run->schedule) == 1 &&
		!configured_has_registered(run->configured))
		look_alone(run);
	if (!run->once) /* it knows databases by their number */
		earlier(&next, configured_look(run->configured, now_us));
	earlier(&next, look_app(run, now_us));
	if (run->heartbeat)
		earlier(&next, heartbeat_look(run->heartbeat, now_us));
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

static void tell_unshipped(struct replicate_run *run)
{
	if (run->why[0] || run->once) /* the last line tells it, or each one has */
		return;
	for (size_t i = 0; i < schedule_count(run->schedule); i++) {
		struct replicator_status st;
		schedule_status(run->schedule, i, &st);
		tell_one(schedule_database(run->schedule, i), &st, schedule_shipped(run->schedule, i));
	}
}

void replicate_tune_memory(void)
{
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	mallopt(M_MMAP_THRESHOLD, 512 * 1024); /* the read buffer of each turn is below it */
}

static int take_signals(struct replicate_run *run, struct err *e)
{
	sigset_t set;
	app_signals(run->app, &set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signal_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot wait for signals");
	return ERR_OK;
}

static int begin_once(struct replicate_run *run, struct args *a, struct err *e)
{
	return once_new(&run->once, run->schedule, args_bool(a, "force-snapshot"),
		args_bool(a, "enforce-retention"), run->shutdown_ms, e);
}

/* Those that could not even be opened count, too. */
static int once_result(struct replicate_run *run, struct err *e)
{
	const struct err *failed = configured_failed(run->configured);
	int rc = once_outcome(run->once, e);
	if (failed->code && (!rc || err_worse(failed->code, rc)))
		*e = *failed;
	return failed->code || rc ? (int)e->code : ERR_OK;
}

static int run_loop(struct replicate_run *run, struct args *a, struct err *e)
{
	/* Others may come over the socket, and a store that doesn't answer holds up no other. */
	size_t threads = run->alone && !socket_path(run, a) ? 1 : 0;
	run->shutdown_ms = args_ms(a, "shutdown-timeout", run->config->shutdown_timeout_ms);
	int rc = take_signals(run, e);
	if (!rc)
		rc = schedule_new(&run->schedule, threads, threads, e);
	if (!rc)
		rc = schedule_add_fd(run->schedule, run->signal_fd, on_signal, run, e);
	if (!rc)
		rc = add_configured(run, a, e);
	if (!rc)
		rc = args_bool(a, "once") ? begin_once(run, a, e) : open_socket(run, a, e);
	if (rc)
		return rc;
	schedule_set_hook(run->schedule, look, run);
	schedule_run(run->schedule);
	app_finish(run->app);
	tell_unshipped(run);
	a->exit_code = app_exit_code(run->app);
	if (run->code)
		return err_set(e, (enum err_code)run->code, "%s", run->why);
	return run->once ? once_result(run, e) : ERR_OK;
}

int replicate_run(struct replicate_run *run, struct args *a, struct err *e)
{
	run->signal_fd = -1;
	replicate_tune_memory();
	struct app *none = NULL;
	int rc = run->app ? ERR_OK : app_new(&none, NULL, e);
	run->app = none ? none : run->app;
	if (!rc)
		rc = run_loop(run, a, e);
	app_free(none);
	local_close(run->local);
	metrics_free(run->metrics);
	heartbeat_free(run->heartbeat);
	configured_free(run->configured);
	schedule_free(run->schedule);
	once_free(run->once);
	if (run->signal_fd >= 0)
		close(run->signal_fd);
	return rc;
}
