#include "lib/samples.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

int64_t samples_now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void samples_sleep_until(int64_t us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

void samples_add(struct samples *s, int64_t us)
{
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 4096;
		int64_t *more = realloc(s->us, s->room * sizeof(*s->us));
		if (!more) {
			fprintf(stderr, "out of memory for %zu samples\n", s->room);
			exit(1);
		}
		s->us = more;
	}
	s->us[s->count++] = us;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int64_t samples_quantile(struct samples *s, double q)
{
	if (s->count == 0)
		return 0;
	qsort(s->us, s->count, sizeof(*s->us), by_value);
	size_t at = (size_t)(q * (double)(s->count - 1) + 0.5);
	return s->us[at];
}

void samples_json(struct samples *s, const char *name, FILE *out)
{
	fprintf(out,
		",\"%s_p50_us\":%" PRId64 ",\"%s_p99_us\":%" PRId64 ",\"%s_p9999_us\":%" PRId64
		",\"%s_max_us\":%" PRId64,
		name, samples_quantile(s, 0.5), name, samples_quantile(s, 0.99), name,
		samples_quantile(s, 0.9999), name, samples_quantile(s, 1));
}

void samples_free(struct samples *s)
{
	free(s->us);
	*s = (struct samples){0};
}
