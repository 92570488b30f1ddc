/* The pool: each job runs once, waiting means done, the queue is bounded, stacks are small. */
#include "base/clock.h"
#include "base/thread.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define JOBS 5000

static atomic_int ran[JOBS];
static atomic_int running, most_running;

static void job(void *arg)
{
	int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&most_running);
	while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
		;
	atomic_fetch_add((atomic_int *)arg, 1);
	atomic_fetch_sub(&running, 1);
}

static void test_each_job_once(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct pool *p;
	assert_int_equal(pool_new(&p, 4, 8, &e), ERR_OK);
	for (int i = 0; i < JOBS; i++)
		pool_run(p, job, &ran[i]);
	pool_wait(p);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(atomic_load(&ran[i]), 1);
	assert_in_range(atomic_load(&most_running), 1, 4);
	pool_wait(p);
	pool_free(p);
	pool_free(NULL);
}

static void test_free_finishes_the_queue(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct pool *p;
	assert_int_equal(pool_new(&p, 1, 100, &e), ERR_OK);
	for (int i = 0; i < 100; i++)
		pool_run(p, job, &ran[i]);
	pool_free(p);
	for (int i = 0; i < 100; i++)
		assert_int_equal(atomic_load(&ran[i]), 2);
}

static void slow_job(void *arg)
{
	clock_sleep_us(20000);
	atomic_store((atomic_int *)arg, 1);
}

/* The queue is empty long before the job is done. */
static void test_wait_is_for_running_jobs_too(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct pool *p;
	atomic_int done = 0;
	assert_int_equal(pool_new(&p, 2, 2, &e), ERR_OK);
	pool_run(p, slow_job, &done);
	pool_wait(p);
	assert_int_equal(atomic_load(&done), 1);
	pool_free(p);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int queued;

static void wait_at_gate(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
}

static void *queue_many(void *arg)
{
	for (int i = 0; i < 6; i++) {
		pool_run(arg, wait_at_gate, NULL);
		atomic_fetch_add(&queued, 1);
	}
	return NULL;
}

/* One thread stuck in a job and room for two more: the fourth has to wait, and does go on. */
static void test_queue_is_bounded(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct pool *p;
	unsigned long feeder;
	assert_int_equal(pool_new(&p, 1, 2, &e), ERR_OK);
	pthread_mutex_lock(&gate);
	assert_int_equal(thread_start(&feeder, queue_many, p), 0);
	int64_t deadline = clock_mono_us() + 10000000;
	while (atomic_load(&queued) < 3 && clock_mono_us() < deadline)
		clock_sleep_us(1000);
	assert_int_equal(atomic_load(&queued), 3);
	clock_sleep_us(20000); /* time to go wrong */
	assert_int_equal(atomic_load(&queued), 3);
	pthread_mutex_unlock(&gate);
	pthread_join(feeder, NULL);
	pool_wait(p);
	assert_int_equal(atomic_load(&queued), 6);
	pool_free(p);
}

static void *look_around(void *arg)
{
	sigset_t blocked;
	pthread_attr_t attr;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	*(int *)arg = sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGHUP);
	pthread_getattr_np(pthread_self(), &attr);
	size_t stack;
	pthread_attr_getstacksize(&attr, &stack);
	pthread_attr_destroy(&attr);
	char deep[150 * 1024]; /* what a job may use */
	memset(deep, 1, sizeof(deep));
	return (void *)(stack + (size_t)(((volatile char *)deep)[77] - 1));
}

/* Signals are the main thread's, before and after; the stack is as small as promised. */
static void test_thread_of_its_own(void **state)
{
	(void)state;
	unsigned long thread;
	int blocked = 0;
	void *stack;
	sigset_t before, after;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(thread_start(&thread, look_around, &blocked), 0);
	pthread_join(thread, &stack);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(blocked, 1);
	assert_in_range((size_t)stack, 256 * 1024, 2048 * 1024 + 65536);
	assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void give_way(void *arg)
{
	thread_give_way();
	*(int *)arg = getpriority(PRIO_PROCESS, 0);
}

static void test_one_gives_way(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct pool *p;
	int before = getpriority(PRIO_PROCESS, 0), inside = 0;
	assert_int_equal(pool_new(&p, 1, 1, &e), ERR_OK);
	pool_run(p, give_way, &inside);
	pool_run(p, give_way, &inside); /* twice is once */
	pool_free(p);
	assert_int_equal(inside, before > 10 ? before : 10);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_job_once),
		cmocka_unit_test(test_free_finishes_the_queue),
		cmocka_unit_test(test_wait_is_for_running_jobs_too),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test(test_thread_of_its_own),
		cmocka_unit_test(test_one_gives_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
