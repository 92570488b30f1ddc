/*
 * One turn of an event loop: everybody says which descriptors and which moment they wait for, then
 * there is one poll(2), then what is ready is called. Filled anew for each turn, so nobody has to
 * take anything back; who is called must not free what another handler of the same turn was given
 * (objects are freed while the next turn is prepared).
 */
#ifndef DAEMON_POLLSET_H
#define DAEMON_POLLSET_H

#include "base/err.h"

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*pollset_fn)(void *ctx, short events);

struct pollset {
	struct pollfd *fds;
	struct pollset_handler {
		pollset_fn fn;
		void *ctx;
	} * handlers;
	size_t n, cap;
	int64_t wake_us; /* monotonic; INT64_MAX = no timer */
};

void pollset_init(struct pollset *p);
void pollset_free(struct pollset *p);
void pollset_begin(struct pollset *p); /* forgets the last turn */

/* fd < 0 is passed over. Out of memory: it is not waited for in this turn, which then ends within
 * a second. */
void pollset_add(struct pollset *p, int fd, short events, pollset_fn fn, void *ctx);
void pollset_wake_at(struct pollset *p, int64_t mono_us);
void pollset_wait(struct pollset *p); /* polls, then calls */

#endif
