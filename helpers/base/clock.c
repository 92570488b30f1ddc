#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RFC3339_SIZE 32
#define YEAR_0_MS INT64_C(-62167219200000)    /* 0000-01-01T00:00:00.000Z */
#define YEAR_9999_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

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

/* Times come from files of others too: what RFC 3339 can't say becomes its first or last moment. */
void clock_format_rfc3339(int64_t wall_ms, char *buf)
{
	if (wall_ms < YEAR_0_MS)
		wall_ms = YEAR_0_MS;
	if (wall_ms > YEAR_9999_MS)
		wall_ms = YEAR_9999_MS;
	int64_t ms = wall_ms % 1000;
	ms = ms < 0 ? ms + 1000 : ms;
	time_t s = (time_t)((wall_ms - ms) / 1000);
	struct tm tm;
	gmtime_r(&s, &tm);
	char date[16];
	strftime(date, sizeof(date), "-%m-%dT%H:%M:%S", &tm);
	snprintf(buf, RFC3339_SIZE, "%04u%s.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000, date,
		(unsigned)ms % 1000);
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

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return days[month] + (month == 1 && leap);
}

int clock_parse_rfc3339(const char *text, int64_t *wall_ms)
{
	const char *p = text;
	struct tm tm = {0};
	int year = digits(&p, 4);
	if (year < 0 || literal(&p, "-") || (tm.tm_mon = digits(&p, 2) - 1) < 0 || tm.tm_mon > 11 ||
		literal(&p, "-") || (tm.tm_mday = digits(&p, 2)) < 1 || literal(&p, "Tt ") ||
		(tm.tm_hour = digits(&p, 2)) < 0 || tm.tm_hour > 23 || literal(&p, ":") ||
		(tm.tm_min = digits(&p, 2)) < 0 || tm.tm_min > 59 || literal(&p, ":") ||
		(tm.tm_sec = digits(&p, 2)) < 0 || tm.tm_sec > 60)
		return -1;
	tm.tm_year = year - 1900;
	if (tm.tm_mday > days_in_month(year, tm.tm_mon))
		return -1;
	int ms = parse_fraction_ms(&p), minutes;
	if (ms < 0 || parse_offset(&p, &minutes) || *p)
		return -1;
	/* A leap second (60) becomes the second after it. */
	*wall_ms = ((int64_t)timegm(&tm) - minutes * 60) * 1000 + ms;
	return 0;
}
