#include "cli/stop.h"

#include "base/thread.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static int flag;
static struct store *store;
static unsigned long thread;
static sigset_t before; /* what was blocked */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stopped; /* of the monotonic clock */

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
		pthread_mutex_lock(&lock);
		__atomic_store_n(&flag, 1, __ATOMIC_RELAXED);
		pthread_cond_broadcast(&stopped);
		pthread_mutex_unlock(&lock);
		store_cancel(store);
	}
}

int stop_begin(struct store *s, struct err *e)
{
	sigset_t set;
	pthread_condattr_t attr;
	wait_set(&set);
	flag = 0;
	store = s;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&stopped, &attr);
	pthread_condattr_destroy(&attr);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	if (thread_start(&thread, wait_main, NULL))
		return err_nomem(e, "starting a thread for signals");
	return ERR_OK;
}

const int *stop_flag(void)
{
	return &flag;
}

bool stop_wait(void *ctx, int64_t ms)
{
	struct timespec until;
	(void)ctx;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&lock);
	while (!flag && pthread_cond_timedwait(&stopped, &lock, &until) == 0)
		;
	bool stop = flag;
	pthread_mutex_unlock(&lock);
	return stop;
}

void stop_end(void)
{
	pthread_kill(thread, SIGUSR2);
	pthread_join(thread, NULL);
	pthread_cond_destroy(&stopped);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
