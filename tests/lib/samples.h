/*
 * Measured durations: collected, sorted, asked for percentiles. For test programs and the bench.
 */
#ifndef LIB_SAMPLES_H
#define LIB_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct samples {
	int64_t *us; /* microseconds, in the order in which they came until they are sorted */
	size_t count, room;
};

/* CLOCK_MONOTONIC in microseconds: the same clock in every process of the machine. */
int64_t samples_now_us(void);

/* Sleeps until samples_now_us() reaches `us`; returns at once when that has passed. */
void samples_sleep_until(int64_t us);

/* Adds one. Ends the program when memory is out: a test program has nobody to tell. */
void samples_add(struct samples *s, int64_t us);

/* The value that the part q (0 to 1) of all samples does not exceed; 0 when there are none. Sorts.
 */
int64_t samples_quantile(struct samples *s, double q);

/* Writes ,"<name>_p50_us":…,"<name>_p99_us":…,"<name>_p9999_us":…,"<name>_max_us":… */
void samples_json(struct samples *s, const char *name, FILE *out);

void samples_free(struct samples *s);

#endif
