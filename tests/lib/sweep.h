/*
 * Which N a sweep tries ("the Nth call fails"). With $FULL all; else
 * as many as the test can afford, spread over the run, which ones by the seed ($SEED, or the time;
 * it is printed).
 *
 *   struct sweep s;
 *   for (sweep_begin(&s, 6); sweep_next(&s);)
 *       sweep_saw(&s, calls of a run in which call number s.at fails);
 */
#ifndef TESTS_LIB_SWEEP_H
#define TESTS_LIB_SWEEP_H

#include <stdbool.h>

struct sweep {
	unsigned at;            /* this one */
	unsigned length;        /* calls of the run in which none failed; 0 = not known yet */
	unsigned rounds, round; /* how many, and the last one's number */
};

/* `rounds`: of an ordinary run, besides one in which no call fails. */
void sweep_begin(struct sweep *s, unsigned rounds);

/* Chooses s->at; false at the end. The first is one that no run reaches. */
bool sweep_next(struct sweep *s);

/* The run with s->at is over; it had so many calls. */
void sweep_saw(struct sweep *s, unsigned calls);

/* A number below `bound`, by the seed. */
unsigned sweep_random(unsigned bound);

#endif
