/*
 * The app that `litestream replicate -exec` runs beside it.
 *
 * It gets our environment, working folder and standard descriptors, and nothing else of ours: no
 * descriptor, no blocked or ignored signal, no limit that we have changed. When this process is
 * killed it gets SIGTERM (PR_SET_PDEATHSIG), because what it commits from then on is replicated by
 * nobody.
 *
 * As process 1 of a container we inherit orphans: whoever ends is reaped, a second later, so that
 * another part of the process may start programs and look after them itself.
 *
 * All functions are called by one thread. Without a command there is nothing to run, and what is
 * here still says what a signal means.
 */
#ifndef CLI_APP_H
#define CLI_APP_H

#include "base/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct app;

/* Splits the command (exec_words.h; NULL or "": there is none) and looks its program up. ERR_USAGE:
 * there is no such program; nothing was begun. */
int app_new(struct app **out, const char *command, struct err *e);
void app_free(struct app *a); /* NULL is fine */

/* ---- signals ---- */

/* Those that the caller has to block and to give to app_take: SIGTERM and SIGINT; SIGCHLD where
 * there is a command or we are process 1; with a command, what is passed on to it. */
void app_signals(const struct app *a, sigset_t *set);

enum app_wish {
	APP_NOTHING, /* it was ours alone, or the same wish came twice */
	APP_STOP,    /* ship what is left, then end */
	APP_NOW,     /* end at once */
};

/*
 * A signal came (`code`: its si_code). SIGTERM and SIGINT go to the app, whose end is waited for:
 * APP_NOTHING; without a running one APP_STOP. The second of them, a second later or more, kills
 * the app. What a terminal sends it sends to the app, too: that isn't passed on. SIGCHLD is the
 * caller's.
 */
enum app_wish app_take(struct app *a, int sig, int code);

/* After SIGCHLD: reaps the app, and lets app_look reap others. */
void app_reap(struct app *a);

/* For a caller who reaps everybody himself. */
void app_reaped(struct app *a, pid_t pid, int status);

/* ---- its life ---- */

enum app_news {
	APP_SAME,
	APP_ENDED,  /* told once: replication shall end, too */
	APP_FAILED, /* could not be started: *e says why */
};

/*
 * To be called again and again: starts it once `ready`, or three seconds after the first call (a
 * store that doesn't answer must not keep an app from starting); kills it when app_end's patience
 * is over. *next: when to call again at the latest (monotonic us).
 */
enum app_news app_look(struct app *a, bool ready, int64_t now_us, int64_t *next, struct err *e);

bool app_running(const struct app *a);

/* We can't go on: SIGTERM, and SIGKILL after so long. It is not started any more. */
void app_end(struct app *a, int64_t patience_ms);

/* After the last round: if it still runs it is killed. */
void app_finish(struct app *a);

/* What the shell would say: its status, 128 + the signal that ended it; 0 if it never ran. */
int app_exit_code(const struct app *a);

#endif
