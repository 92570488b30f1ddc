#include "cli/stop.h"

#include "base/thread.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static int flag;
static struct store *store;
static unsigned long thread;

static void wait_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGUSR2); /* stop_end's */
}

/* Signals are taken by a thread that does nothing else: it may call what a handler may not. */
static void *wait_main(void *arg)
{
	sigset_t set;
	wait_set(&set);
	for (;;) {
		int sig;
		if (sigwait(&set, &sig))
			continue;
		if (sig == SIGUSR2)
			return arg;
		if (flag)
			_exit(128 + sig);
		__atomic_store_n(&flag, 1, __ATOMIC_RELAXED);
		store_cancel(store);
	}
}

int stop_begin(struct store *s, struct err *e)
{
	sigset_t set;
	wait_set(&set);
	flag = 0;
	store = s;
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (thread_start(&thread, wait_main, NULL))
		return err_nomem(e, "starting a thread for signals");
	return ERR_OK;
}

const int *stop_flag(void)
{
	return &flag;
}

void stop_end(void)
{
	sigset_t set;
	wait_set(&set);
	pthread_kill(thread, SIGUSR2);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
