/*
 * The real replicator beside an app, with an injected clock: when nothing is due, time jumps to the
 * next thing that is, so a quiet month takes seconds. Turns, work and upkeep are made by hand in
 * one thread, in the order of the worker's loop.
 *
 * The app must be another process (lib/agent.h), and done when its call returns, so that every
 * event of its commits is there.
 */
#ifndef TESTS_LIB_SIMULATED_H
#define TESTS_LIB_SIMULATED_H

#include "replicate/replicator.h"

#include <stdint.h>

struct simulated {
	struct replicator *r;
	struct source_watch *watch;
	int64_t turn_due, work_due, upkeep_due;
	uint64_t turns, works, upkeeps;

	/* What the app does when app_due (clock_mono_us) has come; it moves app_due on. */
	void (*app)(void *ctx);
	void *app_ctx;
	int64_t app_due; /* INT64_MAX: nothing */
};

/* The clock that can be moved is the process's from here on. */
void simulated_clock(void);
void simulated_skip(int64_t us);

/* Opens a replicator; its watch is made here. s->app and what belongs to it may be set before.
 * replicator_open's code. */
int simulated_open(struct simulated *s, const struct replicator_config *cfg, struct err *e);
void simulated_close(struct simulated *s);

/* Everything that is due until then (clock_mono_us), in its order. */
void simulated_run(struct simulated *s, int64_t until_us);

#endif
