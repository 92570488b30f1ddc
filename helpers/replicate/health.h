/*
 * How a replicator is: two sides say what is wrong with them (or nothing), and the worse of the two
 * is what status shows.
 */
#ifndef REPLICATE_HEALTH_H
#define REPLICATE_HEALTH_H

#include "base/err.h"
#include "replicate/replicator.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum health_side { HEALTH_STORE, HEALTH_SOURCE, HEALTH_SIDES };

struct trouble {
	enum replicator_state state; /* REPLICATOR_REPLICATING = none */
	int code;
	char reason[512];
};

#define REPEAT_KNOWN 8

/*
 * What the log was told of one side. A sentence that it knows, whatever the numbers in it, is
 * logged again after 30 s at the earliest, then after twice as long each time, up to an hour, with
 * how often anything was wrong since; what is no warning is not said again while it lasts. A store
 * that comes and goes is no news each time: the pauses grow on, up to five minutes, until it was
 * well for so long.
 */
struct repeat {
	uint64_t known[REPEAT_KNOWN]; /* digests of the sentences; what comes after these is no news */
	unsigned n_known;
	int64_t logged_us, pause_us;
	int64_t well_us; /* since when nothing is wrong; 0 = something is */
	unsigned count;
};

struct health {
	struct trouble side[HEALTH_SIDES];
	bool claimed; /* once: the replica is ours and what is captured goes there */
	bool told;    /* a trouble was logged, its end was not */
	struct repeat repeat[HEALTH_SIDES];
	char last_error[512];
	int64_t last_error_ms;
};

/* Copies text, cut to fit. */
static inline void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strlen(from);
	if (n > size - 1)
		n = size - 1;
	memmove(to, from, n);
	to[n] = '\0';
}

void health_init(struct health *h);

/* Notes and logs. `name` begins the line (the database's path). */
void health_set(struct health *h, const char *name, enum health_side side,
	enum replicator_state state, const struct err *why);
void health_claimed(struct health *h, const char *name);

/* The state to show; *why (may be NULL) = the trouble behind it or NULL. */
enum replicator_state health_get(const struct health *h, const struct trouble **why);

#endif
