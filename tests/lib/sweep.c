#include "lib/sweep.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

unsigned sweep_random(unsigned bound)
{
	static uint64_t x;
	if (x == 0) {
		const char *seed = getenv("SEED");
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		x = seed ? strtoull(seed, NULL, 10) : (uint64_t)now.tv_nsec / 1000 + 1;
		printf("# SEED=%llu\n", (unsigned long long)x);
		fflush(stdout);
		x = x * UINT64_C(0x9E3779B97F4A7C15) | 1;
	}
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (unsigned)((x >> 20) % bound);
}

void sweep_begin(struct sweep *s, unsigned rounds)
{
	memset(s, 0, sizeof(*s));
	s->rounds = rounds;
}

bool sweep_next(struct sweep *s)
{
	bool full = getenv("FULL") != NULL;
	if (s->length == 0) {
		s->at = UINT_MAX;
		return s->round == 0;
	}
	unsigned rounds = full || s->rounds > s->length ? s->length : s->rounds;
	if (s->round == rounds)
		return false;
	/* One of each part of the run. */
	unsigned from = (unsigned)((uint64_t)s->length * s->round / rounds);
	unsigned to = (unsigned)((uint64_t)s->length * (s->round + 1) / rounds);
	s->at = 1 + from + sweep_random(to - from);
	s->round++;
	return true;
}

void sweep_saw(struct sweep *s, unsigned calls)
{
	if (s->length == 0)
		s->length = calls;
}
