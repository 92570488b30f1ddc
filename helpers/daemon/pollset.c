#include "daemon/pollset.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

void pollset_init(struct pollset *p)
{
	memset(p, 0, sizeof(*p));
	p->wake_us = INT64_MAX;
}

void pollset_free(struct pollset *p)
{
	free(p->fds);
	free(p->handlers);
	pollset_init(p);
}

void pollset_begin(struct pollset *p)
{
	p->n = 0;
	p->wake_us = INT64_MAX;
}

static bool grow(struct pollset *p)
{
	size_t cap = p->cap ? p->cap * 2 : 16;
	struct pollfd *fds = realloc(p->fds, cap * sizeof(*fds));
	if (!fds)
		return false;
	p->fds = fds;
	struct pollset_handler *handlers = realloc(p->handlers, cap * sizeof(*handlers));
	if (!handlers)
		return false;
	p->handlers = handlers;
	p->cap = cap;
	return true;
}

void pollset_add(struct pollset *p, int fd, short events, pollset_fn fn, void *ctx)
{
	if (fd < 0)
		return;
	if (p->n == p->cap && !grow(p)) {
		pollset_wake_at(p, clock_mono_us() + 1000000);
		return;
	}
	p->fds[p->n] = (struct pollfd){fd, events, 0};
	p->handlers[p->n++] = (struct pollset_handler){fn, ctx};
}

void pollset_wake_at(struct pollset *p, int64_t mono_us)
{
	if (mono_us < p->wake_us)
		p->wake_us = mono_us;
}

static int timeout_ms(const struct pollset *p)
{
	if (p->wake_us == INT64_MAX)
		return -1;
	int64_t left = p->wake_us - clock_mono_us();
	if (left <= 0)
		return 0;
	/* Rounded up: waking early would mean turning until the moment has come. */
	int64_t ms = (left + 999) / 1000;
	return ms > 3600000 ? 3600000 : (int)ms;
}

void pollset_wait(struct pollset *p)
{
	int ready = poll(p->fds, p->n, timeout_ms(p));
	for (size_t i = 0; i < p->n && ready > 0; i++) {
		if (p->fds[i].revents)
			p->handlers[i].fn(p->handlers[i].ctx, p->fds[i].revents);
	}
}
