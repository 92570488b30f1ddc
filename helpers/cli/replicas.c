#include "cli/replicas.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_FIRST_US INT64_C(1000000)
#define PAUSE_MAX_US (INT64_C(60) * 1000000)
#define AGAIN_US (INT64_C(1200) * 1000)
#define STEADY_US (INT64_C(60) * 1000000) /* who ran that long failed for another reason */

struct process {
	pid_t pid; /* 0 = does not run */
	int code;  /* how it ended last */
	int64_t started_us, pause_us, due_us;
};

struct replicas {
	replicas_fn *fn;
	void *ctx;
	struct process *list;
	size_t n;
	sigset_t before; /* the signals that were blocked when it began */
	bool stopping;
	struct replicas_how how;
	int64_t again_us;  /* when they are told once more; 0 = they are not */
	struct err failed; /* the app could not be started */
};

/* In the new process. */
static void be_one(struct replicas *r, size_t index, pid_t parent)
{
	char prefix[40] = "";
	struct err e = ERR_INIT;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(ERR_FAIL);
	sigprocmask(SIG_SETMASK, &r->before, NULL);
	if (r->n > 1)
		snprintf(prefix, sizeof(prefix), "replica %zu: ", index + 1);
	log_set_prefix(prefix);
	replicas_fn *fn = r->fn;
	void *ctx = r->ctx;
	free(r->list);
	int rc = fn(ctx, index, &e);
	if (rc)
		log_error("%s", e.text);
	exit(err_exit_code(rc));
}

static int start(struct replicas *r, size_t index, struct err *e)
{
	struct process *p = &r->list[index];
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		be_one(r, index, parent);
	if (pid < 0)
		return err_errno(e, ERR_FAIL, errno, "cannot start a process for replica %zu", index + 1);
	p->pid = pid;
	p->started_us = clock_mono_us();
	return ERR_OK;
}

static void note_end(struct replicas *r, struct process *p, int status)
{
	int64_t now = clock_mono_us();
	size_t index = (size_t)(p - r->list);
	p->pid = 0;
	p->code = WIFEXITED(status) ? WEXITSTATUS(status) : ERR_FAIL;
	if (r->stopping || r->how.once)
		return;
	if (now - p->started_us > STEADY_US || !p->pause_us)
		p->pause_us = PAUSE_FIRST_US;
	else
		p->pause_us = 2 * p->pause_us < PAUSE_MAX_US ? 2 * p->pause_us : PAUSE_MAX_US;
	p->due_us = now + p->pause_us;
	if (WIFSIGNALED(status))
		log_error("the process of replica %zu was ended by %s, the next one comes in %d s",
			index + 1, strsignal(WTERMSIG(status)), (int)(p->pause_us / 1000000));
	else
		log_error("the process of replica %zu ended with %d, the next one comes in %d s", index + 1,
			p->code, (int)(p->pause_us / 1000000));
}

/* Whoever it was: as process 1 we inherit orphans. */
static void reap(struct replicas *r)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		app_reaped(r->how.app, pid, status);
		for (size_t i = 0; i < r->n; i++)
			if (r->list[i].pid == pid)
				note_end(r, &r->list[i], status);
	}
}

static void pass_on(struct replicas *r, int sig)
{
	r->stopping = true;
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].pid)
			kill(r->list[i].pid, sig);
}

static size_t running(const struct replicas *r)
{
	size_t n = 0;
	for (size_t i = 0; i < r->n; i++)
		n += r->list[i].pid != 0;
	return n;
}

/* Starts what is due; when the next one is. */
static int64_t start_due(struct replicas *r)
{
	int64_t next = INT64_MAX, now = clock_mono_us();
	struct err e;
	for (size_t i = 0; !r->stopping && !r->how.once && i < r->n; i++) {
		struct process *p = &r->list[i];
		if (!p->pid && p->due_us <= now && start(r, i, &e)) {
			log_error("%s", e.text);
			p->due_us = now + PAUSE_MAX_US;
		}
		if (!p->pid && p->due_us < next)
			next = p->due_us;
	}
	return next;
}

/* They take a second signal for another wish only if it comes a second later. */
static void hurry(struct replicas *r)
{
	pass_on(r, SIGTERM);
	r->again_us = clock_mono_us() + AGAIN_US;
}

static void take(struct replicas *r, const siginfo_t *info)
{
	if (info->si_signo == SIGCHLD)
		return;
	switch (app_take(r->how.app, info->si_signo, info->si_code)) {
	case APP_STOP:
		pass_on(r, info->si_signo);
		break;
	case APP_NOW:
		hurry(r);
		break;
	case APP_NOTHING:
		break;
	}
}

/* When to look again. */
static int64_t look(struct replicas *r)
{
	int64_t now = clock_mono_us(), next;
	bool ready = r->how.ready && r->how.ready(r->ctx);
	enum app_news news = app_look(r->how.app, ready, now, &next, &r->failed);
	if (news != APP_SAME)
		pass_on(r, SIGTERM);
	if (r->again_us && now >= r->again_us) {
		pass_on(r, SIGTERM);
		r->again_us = 0;
	}
	return r->again_us && r->again_us < next ? r->again_us : next;
}

static void supervise(struct replicas *r, const sigset_t *set)
{
	for (;;) {
		int64_t next = start_due(r), due = look(r);
		next = due < next ? due : next;
		if ((r->stopping || r->how.once) && running(r) == 0)
			return;
		int64_t us = next == INT64_MAX ? PAUSE_MAX_US : next - clock_mono_us();
		us = us < 0 ? 0 : us;
		struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
		siginfo_t info;
		if (sigtimedwait(set, &info, &t) > 0)
			take(r, &info);
		reap(r);
	}
}

static int worst(const struct replicas *r, struct err *e)
{
	int code = ERR_OK;
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].code && (!code || err_worse(r->list[i].code, code)))
			code = r->list[i].code;
	return code ? err_set(e, (enum err_code)code, "a replica's process failed: the log says why")
				: ERR_OK;
}

static int start_all(struct replicas *r, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < r->n; i++)
		rc = start(r, i, e);
	if (rc) {
		app_end(r->how.app, 0); /* it is not begun */
		pass_on(r, SIGTERM);
	}
	return rc;
}

/* The app's story comes first: it is why the others were ended. */
static int outcome(struct replicas *r, struct err *e)
{
	int rc = worst(r, e);
	if (r->failed.code)
		*e = r->failed;
	return r->failed.code ? (int)r->failed.code : rc;
}

int replicas_run(
	size_t n, replicas_fn *fn, void *ctx, const struct replicas_how *how, struct err *e)
{
	struct replicas r = {.fn = fn, .ctx = ctx, .n = n, .how = *how};
	struct app *none = NULL;
	sigset_t set;
	int rc = how->app ? ERR_OK : app_new(&none, NULL, e);
	r.list = calloc(n, sizeof(*r.list));
	if (rc || !r.list) {
		free(r.list);
		app_free(none);
		return err_nomem(e, "starting processes");
	}
	r.how.app = none ? none : how->app;
	app_signals(r.how.app, &set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &r.before);
	rc = start_all(&r, e);
	supervise(&r, &set);
	app_finish(r.how.app);
	sigprocmask(SIG_SETMASK, &r.before, NULL);
	if (!rc)
		rc = outcome(&r, e);
	if (!rc && how->once && r.stopping)
		rc = err_set(e, ERR_CANCELLED, "interrupted");
	free(r.list);
	app_free(none);
	return rc;
}
