/*
 * Clocks that go on by themselves and can be moved: for a struct clock_ops. A file that includes
 * this has a time of its own, which its skipped_us moves.
 */
#ifndef TESTS_LIB_MOVED_CLOCK_H
#define TESTS_LIB_MOVED_CLOCK_H

#include "base/clock.h"

#include <stdint.h>
#include <time.h>

static int64_t skipped_us;

static inline int64_t moved_real_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t wall_ms(void)
{
	return (moved_real_us(CLOCK_REALTIME) + skipped_us) / 1000;
}

static inline int64_t mono_us(void)
{
	return moved_real_us(CLOCK_MONOTONIC) + skipped_us;
}

static inline int64_t boot_ms(void)
{
	return (moved_real_us(CLOCK_BOOTTIME) + skipped_us) / 1000;
}

#endif
