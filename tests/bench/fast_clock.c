/*
 * fast_clock.so - for the programs that it is preloaded into the wall clock runs FAST_CLOCK times
 * as fast, from the moment FAST_CLOCK_FROM (ms since 1970) on. The other clocks, by which programs
 * wait, stay as they are. So days of levels, snapshots and retention pass in half an hour.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static int64_t number(const char *name)
{
	const char *text = getenv(name);
	return text ? atoll(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int (*real)(clockid_t, struct timespec *) =
		(int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int64_t factor = number("FAST_CLOCK"), from = number("FAST_CLOCK_FROM") * 1000000;
	if (!real) {
		errno = ENOSYS;
		return -1;
	}
	int rc = real(id, t);
	if (rc || id != CLOCK_REALTIME || factor < 1)
		return rc;
	int64_t now = t->tv_sec * INT64_C(1000000000) + t->tv_nsec;
	now = now > from ? from + (now - from) * factor : now;
	t->tv_sec = now / 1000000000;
	t->tv_nsec = now % 1000000000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec t = {0};
	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}
