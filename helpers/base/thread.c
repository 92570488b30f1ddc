#include "base/thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Sanitisers' redzones make frames several times as large. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_SIZE ((size_t)2048 * 1024)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define STACK_SIZE ((size_t)2048 * 1024)
#endif
#endif
#ifndef STACK_SIZE
#define STACK_SIZE ((size_t)256 * 1024)
#endif

#define GIVE_WAY_NICE 10

struct job {
	void (*fn)(void *);
	void *arg;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t more;    /* a job for one thread, or the end for all */
	pthread_cond_t changed; /* for those in pool_wait, or in pool_run while the queue is full */
	size_t waiting;         /* so many */
	struct job *jobs;       /* ring of `size` */
	size_t size, head, count, busy;
	pthread_t *threads;
	size_t n_threads;
	int stopping;
};

int thread_start(unsigned long *thread, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	/* Signals are the main thread's: it waits for them with everything else. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_t id;
	int rc = pthread_create(&id, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!rc)
		*thread = id;
	return rc;
}

/* Lock held. Mostly nobody waits: a thread that is woken for nothing costs as much as a small job.
 */
static void tell_waiting(struct pool *p)
{
	if (p->waiting)
		pthread_cond_broadcast(&p->changed);
}

static void wait_for_change(struct pool *p)
{
	p->waiting++;
	pthread_cond_wait(&p->changed, &p->lock);
	p->waiting--;
}

static void *pool_main(void *arg)
{
	struct pool *p = arg;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->count == 0 && !p->stopping)
			pthread_cond_wait(&p->more, &p->lock);
		if (p->count == 0)
			break;
		struct job job = p->jobs[p->head];
		p->head = (p->head + 1) % p->size;
		p->count--;
		p->busy++;
		tell_waiting(p);
		pthread_mutex_unlock(&p->lock);
		job.fn(job.arg);
		pthread_mutex_lock(&p->lock);
		p->busy--;
		tell_waiting(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_new(struct pool **out, size_t n, size_t queue, struct err *e)
{
	struct pool *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(e, "starting threads");
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->size = queue ? queue : 1;
	p->jobs = calloc(p->size, sizeof(*p->jobs));
	p->threads = calloc(n, sizeof(*p->threads));
	int rc = p->jobs && p->threads ? 0 : -1;
	while (!rc && p->n_threads < n) {
		rc = thread_start(&p->threads[p->n_threads], pool_main, p);
		p->n_threads += !rc;
	}
	if (rc) {
		pool_free(p);
		return err_set(e, ERR_NOMEM, "cannot start %zu threads", n);
	}
	*out = p;
	return ERR_OK;
}

void pool_run(struct pool *p, void (*fn)(void *), void *arg)
{
	pthread_mutex_lock(&p->lock);
	while (p->count == p->size)
		wait_for_change(p);
	if (p->count == 0)
		p->head = 0; /* memory of a large ring that was never used is never taken */
	p->jobs[(p->head + p->count) % p->size] = (struct job){fn, arg};
	p->count++;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
}

void pool_wait(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->count || p->busy)
		wait_for_change(p);
	pthread_mutex_unlock(&p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = 1;
	pthread_cond_broadcast(&p->more);
	pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < p->n_threads; i++)
		pthread_join(p->threads[i], NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->more);
	pthread_cond_destroy(&p->changed);
	free(p->jobs);
	free(p->threads);
	free(p);
}

void thread_give_way(void)
{
	/* To Linux a thread's priority is its own, whatever POSIX says. Without it, it is only quicker
	 * than it had to be. */
	if (getpriority(PRIO_PROCESS, (id_t)gettid()) < GIVE_WAY_NICE)
		setpriority(PRIO_PROCESS, (id_t)gettid(), GIVE_WAY_NICE);
}
