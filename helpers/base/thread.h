/*
 * A few threads that run jobs from a bounded queue. Their stacks are small (256 KiB), so that many
 * of them cost little memory; jobs keep large buffers on the heap.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include "base/err.h"

#include <stddef.h>

struct pool;

/* Starts n threads with room for `queue` waiting jobs. */
int pool_new(struct pool **out, size_t n, size_t queue, struct err *e);

/* Queues fn(arg); waits while the queue is full. */
void pool_run(struct pool *p, void (*fn)(void *arg), void *arg);

/* Waits until nothing is queued or running. */
void pool_wait(struct pool *p);

/* Finishes what is queued, ends the threads, frees. NULL is fine. */
void pool_free(struct pool *p);

/* Starts one joinable thread with the small stack. 0 or an errno. */
int thread_start(unsigned long *thread, void *(*fn)(void *), void *arg);

/* The calling thread gives way to others from now on: what it does can wait (nice 10, for itself
 * alone). */
void thread_give_way(void);

#endif
