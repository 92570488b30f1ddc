#include "cli/app.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/exec_words.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_US INT64_C(3000000)
#define LOOK_US 20000
#define ORPHANS_US 1000000 /* longer than who starts a program (net/process.h) takes to look */
#define SAME_WISH_US 1000000

struct app {
	char **argv;         /* NULL: no command */
	char path[PATH_MAX]; /* of the program */
	pid_t pid;           /* 0: it does not run */
	bool started, ended; /* ended: not told yet */
	bool stop;           /* somebody wants an end: it is not started any more */
	int status;          /* as wait gives it */
	int64_t start_by_us, kill_at_us, wished_us;
	int64_t orphans_us; /* when others that have ended are reaped; 0 = none has */
};

/* ---- its program ---- */

static bool is_program(const char *path)
{
	struct stat st;
	return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* As execvp(3) looks, before anything is begun. */
static bool find_program(struct app *a)
{
	const char *name = a->argv[0], *path = getenv("PATH");
	if (strchr(name, '/')) {
		snprintf(a->path, sizeof(a->path), "%s", name);
		return is_program(a->path);
	}
	for (path = path ? path : "/bin:/usr/bin"; *name; path++) {
		size_t n = strcspn(path, ":");
		snprintf(a->path, sizeof(a->path), "%.*s/%s", n ? (int)n : 1, n ? path : ".", name);
		if (is_program(a->path))
			return true;
		path += n;
		if (!*path)
			break;
	}
	return false;
}

int app_new(struct app **out, const char *command, struct err *e)
{
	bool asked = command && *command;
	struct app *a = calloc(1, sizeof(*a));
	if (!a)
		return err_nomem(e, "reading the exec command");
	int rc = asked ? exec_words(command, &a->argv, e) : ERR_OK;
	if (!rc && asked && !find_program(a))
		rc = err_set(e, ERR_USAGE, "cannot start exec command: there is no program %.200s%s",
			a->argv[0], strchr(a->argv[0], '/') ? " that can be run" : " in $PATH");
	if (rc)
		app_free(a);
	else
		*out = a;
	return rc;
}

void app_free(struct app *a)
{
	if (!a)
		return;
	free(a->argv);
	free(a);
}

/* ---- starting it ---- */

/* In the child, which may not allocate: other threads of ours may have held malloc's locks. */
__attribute__((noreturn)) static void become_app(const struct app *a, pid_t parent, int report)
{
	sigset_t none;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	command_limits_back();
	if (close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) != 0)
		for (int fd = STDERR_FILENO + 1; fd < 4096; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	execv(a->path, a->argv);
	int why = errno;
	ssize_t ignored = write(report, &why, sizeof(why));
	(void)ignored;
	_exit(127);
}

static int start(struct app *a, struct err *e)
{
	int report[2], why = 0;
	if (pipe2(report, O_CLOEXEC) != 0)
		return err_errno(e, ERR_FAIL, errno, "cannot start exec command %.200s", a->argv[0]);
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		become_app(a, parent, report[1]);
	if (pid < 0)
		why = errno;
	close(report[1]);
	if (pid > 0 && read(report[0], &why, sizeof(why)) == sizeof(why))
		waitpid(pid, NULL, 0);
	close(report[0]);
	if (why)
		return err_errno(e, ERR_FAIL, why, "cannot start exec command %.200s", a->argv[0]);
	a->pid = pid;
	log_info("%s runs as process %d", a->argv[0], (int)pid);
	return ERR_OK;
}

/* ---- signals ---- */

static const int passed_on[] = {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

void app_signals(const struct app *a, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	if (a->argv || getpid() == 1)
		sigaddset(set, SIGCHLD);
	for (size_t i = 0; a->argv && i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		sigaddset(set, passed_on[i]);
}

bool app_running(const struct app *a)
{
	return a->pid > 0;
}

static void pass_on(struct app *a, int sig, int code)
{
	/* A terminal has signalled its whole foreground group, of which the app is. */
	if (app_running(a) && code != SI_KERNEL)
		kill(a->pid, sig);
}

/* Once more, by somebody who doesn't want to wait. */
static enum app_wish take_again(struct app *a, int64_t now)
{
	/* One wish can come twice: timeout(1) and terminals signal the process and its group. */
	if (now - a->wished_us < SAME_WISH_US)
		return APP_NOTHING;
	if (app_running(a)) {
		log_warn("%s is killed, and this ends at once", a->argv[0]);
		kill(a->pid, SIGKILL);
	}
	return APP_NOW;
}

enum app_wish app_take(struct app *a, int sig, int code)
{
	int64_t now = clock_mono_us();
	if (sig != SIGTERM && sig != SIGINT) {
		pass_on(a, sig, code);
		return APP_NOTHING;
	}
	if (a->stop && a->wished_us)
		return take_again(a, now);
	a->stop = true;
	a->wished_us = now;
	if (!app_running(a))
		return APP_STOP;
	log_info("%s: sending it to %s and waiting for its end", strsignal(sig), a->argv[0]);
	pass_on(a, sig, code);
	return APP_NOTHING;
}

void app_reaped(struct app *a, pid_t pid, int status)
{
	if (!app_running(a) || a->pid != pid)
		return;
	a->pid = 0;
	a->status = status;
	a->ended = a->stop = true;
	if (WIFSIGNALED(status))
		log_info("%s was ended by %s", a->argv[0], strsignal(WTERMSIG(status)));
	else
		log_info("%s ended with %d", a->argv[0], WEXITSTATUS(status));
}

void app_reap(struct app *a)
{
	int status;
	if (app_running(a) && waitpid(a->pid, &status, WNOHANG) == a->pid)
		app_reaped(a, a->pid, status);
	if (!a->orphans_us)
		a->orphans_us = clock_mono_us() + ORPHANS_US;
}

/* Whoever is left now has nobody else who waits for him. */
static void reap_orphans(struct app *a)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		app_reaped(a, pid, status);
	a->orphans_us = 0;
}

/* ---- its life ---- */

static enum app_news start_when_due(
	struct app *a, bool ready, int64_t now, int64_t *next, struct err *e)
{
	if (!a->start_by_us)
		a->start_by_us = now + START_US;
	if (!ready && now < a->start_by_us) {
		*next = now + LOOK_US;
		return APP_SAME;
	}
	a->started = true;
	if (!start(a, e))
		return APP_SAME;
	a->stop = true;
	return APP_FAILED;
}

static enum app_news look(struct app *a, bool ready, int64_t now_us, int64_t *next, struct err *e)
{
	*next = INT64_MAX;
	if (a->ended) {
		a->ended = false;
		return APP_ENDED;
	}
	if (a->argv && !a->started && !a->stop)
		return start_when_due(a, ready, now_us, next, e);
	if (!app_running(a) || !a->kill_at_us)
		return APP_SAME;
	*next = a->kill_at_us;
	if (now_us >= a->kill_at_us) {
		log_warn("%s has not ended, and is killed", a->argv[0]);
		kill(a->pid, SIGKILL);
		a->kill_at_us = 0;
		*next = INT64_MAX;
	}
	return APP_SAME;
}

enum app_news app_look(struct app *a, bool ready, int64_t now_us, int64_t *next, struct err *e)
{
	if (a->orphans_us && now_us >= a->orphans_us)
		reap_orphans(a);
	enum app_news news = look(a, ready, now_us, next, e);
	if (a->orphans_us && a->orphans_us < *next)
		*next = a->orphans_us;
	return news;
}

void app_end(struct app *a, int64_t patience_ms)
{
	a->stop = true;
	if (!app_running(a) || a->kill_at_us)
		return;
	log_info("sending SIGTERM to %s", a->argv[0]);
	a->kill_at_us = clock_mono_us() + patience_ms * 1000;
	kill(a->pid, SIGTERM);
}

void app_finish(struct app *a)
{
	int status;
	if (!app_running(a))
		return;
	kill(a->pid, SIGKILL);
	if (waitpid(a->pid, &status, 0) == a->pid)
		app_reaped(a, a->pid, status);
}

int app_exit_code(const struct app *a)
{
	if (!a->started || app_running(a))
		return 0;
	return WIFSIGNALED(a->status) ? 128 + WTERMSIG(a->status) : WEXITSTATUS(a->status);
}
