/*
 * Random numbers that come again with the same seed, the same on every machine. For test programs.
 */
#ifndef TESTS_LIB_CHANCE_H
#define TESTS_LIB_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

struct chance {
	uint64_t state;
};

/* `stream` makes several out of one seed. */
static inline struct chance chance_of(uint64_t seed, uint64_t stream)
{
	uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + stream;
	return (struct chance){state ? state : 1};
}

/* xorshift64. */
static inline uint64_t chance_next(struct chance *c)
{
	c->state ^= c->state << 13;
	c->state ^= c->state >> 7;
	c->state ^= c->state << 17;
	return c->state;
}

/* 0 to n - 1. */
static inline int64_t chance_below(struct chance *c, int64_t n)
{
	return (int64_t)(chance_next(c) % (uint64_t)n);
}

/* True once in n times. */
static inline bool chance_once_in(struct chance *c, int64_t n)
{
	return chance_below(c, n) == 0;
}

#endif
