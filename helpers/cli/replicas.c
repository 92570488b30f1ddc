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
	bool once; /* who has ended is not started again */
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
	if (r->stopping || r->once)
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

static void reap(struct replicas *r)
{
	int status;
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].pid && waitpid(r->list[i].pid, &status, WNOHANG) == r->list[i].pid)
			note_end(r, &r->list[i], status);
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
	for (size_t i = 0; !r->stopping && !r->once && i < r->n; i++) {
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

static void supervise(struct replicas *r, const sigset_t *set)
{
	for (;;) {
		int64_t next = start_due(r);
		if ((r->stopping || r->once) && running(r) == 0)
			return;
		int64_t us = next == INT64_MAX ? PAUSE_MAX_US : next - clock_mono_us();
		us = us < 0 ? 0 : us;
		struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
		int sig = sigtimedwait(set, NULL, &t);
		if (sig == SIGTERM || sig == SIGINT)
			pass_on(r, sig);
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

/* Starts all, and waits for their end. */
static int run_all(struct replicas *r, struct err *e)
{
	sigset_t set;
	r->list = calloc(r->n, sizeof(*r->list));
	if (!r->list)
		return err_nomem(e, "starting processes");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &r->before);
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < r->n; i++)
		rc = start(r, i, e);
	if (rc)
		pass_on(r, SIGTERM);
	supervise(r, &set);
	sigprocmask(SIG_SETMASK, &r->before, NULL);
	if (!rc)
		rc = worst(r, e);
	free(r->list);
	return rc;
}

int replicas_run(size_t n, replicas_fn *fn, void *ctx, struct err *e)
{
	struct replicas r = {.fn = fn, .ctx = ctx, .n = n};
	return run_all(&r, e);
}

int replicas_once(replicas_fn *fn, void *ctx, struct err *e)
{
	struct replicas r = {.fn = fn, .ctx = ctx, .n = 1, .once = true};
	int rc = run_all(&r, e);
	return rc || !r.stopping ? rc : err_set(e, ERR_CANCELLED, "interrupted");
}
