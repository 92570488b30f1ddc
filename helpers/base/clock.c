#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t sys_wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}

static int64_t sys_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

static int64_t sys_boot_ms(void)
{
	return read_us(CLOCK_BOOTTIME) / 1000;
}

static void sys_sleep_us(int64_t us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

static const struct clock_ops system_ops = {sys_wall_ms, sys_mono_us, sys_boot_ms, sys_sleep_us};
static const struct clock_ops *ops = &system_ops;

void clock_set_ops(const struct clock_ops *o)
{
	ops = o ? o : &system_ops;
}

int64_t clock_wall_ms(void)
{
	return ops->wall_ms();
}

int64_t clock_mono_us(void)
{
	return ops->mono_us();
}

int64_t clock_boot_ms(void)
{
	return ops->boot_ms();
}

void clock_sleep_us(int64_t us)
{
	if (us > 0)
		ops->sleep_us(us);
}

void clock_format_rfc3339(int64_t wall_ms, char *buf)
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(buf, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, 8, ".%03uZ", (unsigned)(wall_ms % 1000) % 1000);
}

/* Reads exactly n digits at *p; -1 when they are not there. */
static int digits(const char **p, int n)
{
	int v = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static int literal(const char **p, const char *set)
{
	if (!**p || !strchr(set, **p))
		return -1;
	(*p)++;
	return 0;
}

static int parse_fraction_ms(const char **p)
{
	if (**p != '.')
		return 0;
	(*p)++;
	int ms = 0, scale = 100;
	if (!isdigit((unsigned char)**p))
		return -1;
	for (; isdigit((unsigned char)**p); (*p)++, scale /= 10)
		ms += (**p - '0') * scale;
	return ms;
}

/* Minutes east of UTC into *minutes. */
static int parse_offset(const char **p, int *minutes)
{
	*minutes = 0;
	if (**p == 'Z' || **p == 'z') {
		(*p)++;
		return 0;
	}
	int sign = **p == '-' ? -1 : 1;
	if (literal(p, "+-"))
		return -1;
	int h = digits(p, 2);
	if (h < 0 || h > 23 || literal(p, ":"))
		return -1;
	int m = digits(p, 2);
	if (m < 0 || m > 59)
		return -1;
	*minutes = sign * (h * 60 + m);
	return 0;
}

int clock_parse_rfc3339(const char *text, int64_t *wall_ms)
{
	const char *p = text;
	struct tm tm = {0};
	int year = digits(&p, 4);
	if (year < 0 || literal(&p, "-") || (tm.tm_mon = digits(&p, 2) - 1) < 0 || tm.tm_mon > 11 ||
		literal(&p, "-") || (tm.tm_mday = digits(&p, 2)) < 1 || tm.tm_mday > 31 ||
		literal(&p, "Tt ") || (tm.tm_hour = digits(&p, 2)) < 0 || tm.tm_hour > 23 ||
		literal(&p, ":") || (tm.tm_min = digits(&p, 2)) < 0 || tm.tm_min > 59 || literal(&p, ":") ||
		(tm.tm_sec = digits(&p, 2)) < 0 || tm.tm_sec > 60)
		return -1;
	tm.tm_year = year - 1900;
	int day = tm.tm_mday;
	int ms = parse_fraction_ms(&p), minutes;
	if (ms < 0 || parse_offset(&p, &minutes) || *p)
		return -1;
	time_t s = timegm(&tm);
	if (tm.tm_mday != day && tm.tm_sec < 60) /* 30 February was normalised: not a date */
		return -1;
	*wall_ms = ((int64_t)s - minutes * 60) * 1000 + ms;
	return 0;
}
