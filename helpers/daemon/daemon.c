#include "daemon/daemon.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "conf/trusted.h"
#include "daemon/jobs.h"
#include "daemon/notify.h"
#include "daemon/routes.h"
#include "daemon/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What comes on top of a worker's shutdown timeout: 5 s before it is killed, and our own end. */
#define STOP_MARGIN_MS 15000

struct daemon {
	struct supervisor supervisor;
	struct jobs jobs;
	struct routes routes;
	struct control *control;
	struct pollset pollset;
	int signal_fd;
	bool stopping;
	int64_t alive_every_us, alive_at_us; /* when the service manager is told; 0 = it doesn't ask */
};

/* ---- signals ---- */

static void reap(struct daemon *d)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (WIFSTOPPED(status) || WIFCONTINUED(status))
			supervisor_child_stopped(&d->supervisor, pid, WIFSTOPPED(status));
		else if (!supervisor_child_exited(&d->supervisor, pid, status))
			jobs_child_exited(&d->jobs, pid, status);
	}
}

static void begin_stop(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	log_info("stopping: every worker ships what is left");
	notify_stopping(d->supervisor.cfg.child.shutdown_ms + STOP_MARGIN_MS);
	supervisor_stop(&d->supervisor);
	jobs_cancel_all(&d->jobs);
}

static void on_signal(void *ctx, short events)
{
	struct daemon *d = ctx;
	struct signalfd_siginfo info;
	struct err e = ERR_INIT;
	(void)events;
	while (read(d->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(d);
			break;
		case SIGHUP:
			if (!d->stopping && supervisor_reload_all(&d->supervisor, &e) != ERR_OK)
				log_error("%s", e.text);
			break;
		default:
			begin_stop(d);
		}
	}
}

static int open_signals(struct daemon *d, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signal_fd >= 0 ? ERR_OK : err_errno(e, ERR_IO, errno, "cannot wait for signals");
}

/* ---- folders ---- */

static int check_log_dir(const char *dir, struct err *e)
{
	if (mkdir(dir, 0755) == 0 && chmod(dir, 0755) != 0)
		return err_errno(e, ERR_IO, errno, "cannot set the mode of %s", dir);
	int rc = trusted_check_folder(dir, geteuid(), e);
	return rc == ERR_OK ? rc : err_wrap(e, "the folder of the logs");
}

static int make_socket_dir(const char *socket, struct err *e)
{
	char *dir = fs_dirname(socket);
	if (!dir)
		return err_nomem(e, "opening the control socket");
	int rc = ERR_OK;
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		rc = err_errno(e, ERR_IO, errno, "cannot make the folder %s", dir);
	free(dir);
	return rc;
}

/* ---- the loop ---- */

static void on_control(void *ctx, short events)
{
	(void)ctx, (void)events; /* control_run follows each wait */
}

/* A loop that hangs turns no more, and the manager's watchdog ends it. */
static void say_alive(struct daemon *d)
{
	if (d->alive_every_us == 0)
		return;
	int64_t now = clock_mono_us();
	if (now >= d->alive_at_us) {
		notify_manager("WATCHDOG=1");
		d->alive_at_us = now + d->alive_every_us;
	}
	pollset_wake_at(&d->pollset, d->alive_at_us);
}

static void turn(struct daemon *d)
{
	struct pollset *p = &d->pollset;
	pollset_begin(p);
	say_alive(d);
	routes_prepare(&d->routes);
	supervisor_prepare(&d->supervisor, p);
	jobs_prepare(&d->jobs, p);
	pollset_add(p, d->signal_fd, POLLIN, on_signal, d);
	pollset_add(p, control_fd(d->control), POLLIN, on_control, d);
	int ms = control_timeout_ms(d->control);
	if (ms >= 0)
		pollset_wake_at(p, clock_mono_us() + (int64_t)ms * 1000);
	pollset_wait(p);
	control_run(d->control);
}

static bool finished(const struct daemon *d)
{
	return d->stopping && supervisor_stopped(&d->supervisor) && !jobs_any(&d->jobs);
}

static int start(struct daemon *d, const struct daemon_config *cfg, struct err *e)
{
	int rc = open_signals(d, e);
	if (rc == ERR_OK)
		rc = check_log_dir(cfg->supervisor.child.log_dir, e);
	if (rc == ERR_OK)
		rc = make_socket_dir(cfg->socket, e);
	if (rc == ERR_OK)
		rc = supervisor_open(&d->supervisor, &cfg->supervisor, e);
	if (rc != ERR_OK)
		return rc;
	jobs_init(&d->jobs, &d->supervisor.cfg.child);
	routes_init(&d->routes, &d->supervisor, &d->jobs);
	const struct control_config control = {cfg->socket, cfg->gid, 0660, routes_handle, &d->routes};
	return control_open(&d->control, &control, e);
}

int daemon_run(const struct daemon_config *cfg, struct err *e)
{
	struct daemon d = {.signal_fd = -1,
		.supervisor.lock_fd = -1,
		.supervisor.watch_fd = -1,
		.supervisor.mounts_fd = -1};
	spawn_raise_descriptors();
	pollset_init(&d.pollset);
	int rc = start(&d, cfg, e);
	if (rc == ERR_OK) {
		log_info("litestreamd %s listens on %s", LITESTREAM_VERSION, cfg->socket);
		d.alive_every_us = notify_watchdog_us();
		notify_manager("READY=1");
		while (!finished(&d))
			turn(&d);
		log_info("stopped");
	}
	control_close(d.control);
	jobs_free(&d.jobs);
	routes_free(&d.routes);
	supervisor_close(&d.supervisor);
	pollset_free(&d.pollset);
	fs_close(d.signal_fd);
	return rc;
}
