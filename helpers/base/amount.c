#include "base/amount.h"

#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DURATION_MAX_MS 9.2e15 / 1000
#define SIZE_MAX_BYTES 4611686018427387904.0

/* Digits with at most one point among them; *p is behind them then. */
static bool read_number(const char **p, double *number)
{
	char text[40];
	size_t n = strspn(*p, "0123456789."), digits = 0, points = 0;
	for (size_t i = 0; i < n; i++) {
		points += (*p)[i] == '.';
		digits += (*p)[i] != '.';
	}
	if (digits == 0 || points > 1 || n >= sizeof(text))
		return false;
	memcpy(text, *p, n);
	text[n] = '\0';
	*number = strtod(text, NULL);
	*p += n;
	return true;
}

/* One number with its unit off *p: "1.5s". Adds it to *ms. */
static bool duration_part(const char **p, double *ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\xc2\xb5s", 1e-3}, {"\xce\xbcs", 1e-3}, {"ms", 1},
		{"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 24 * 3600e3}};
	double number;
	if (!read_number(p, &number))
		return false;
	size_t n = strcspn(*p, "0123456789.");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strlen(units[i].unit) == n && strncmp(*p, units[i].unit, n) == 0) {
			*ms += number * units[i].ms;
			*p += n;
			return true;
		}
	}
	return false;
}

bool amount_duration_ms(const char *text, int64_t *ms)
{
	double total = 0;
	const char *p = text;
	bool minus = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	if (strcmp(p, "0") == 0) {
		*ms = 0;
		return true;
	}
	do {
		if (!duration_part(&p, &total))
			return false;
	} while (*p);
	if (total > DURATION_MAX_MS)
		return false;
	*ms = (int64_t)(total + 0.5);
	if (*ms == 0 && total > 0)
		*ms = 1;
	if (minus)
		*ms = -*ms;
	return true;
}

bool amount_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kmgtp";
	const char *p = text;
	double number, factor = 1;
	if (!read_number(&p, &number))
		return false;
	while (*p == ' ')
		p++;
	const char *unit = *p ? strchr(units, tolower((unsigned char)*p)) : NULL;
	if (unit) {
		double base = 1000;
		p++;
		if (tolower((unsigned char)*p) == 'i')
			base = 1024, p++;
		for (const char *u = units; u <= unit; u++)
			factor *= base;
	}
	if (tolower((unsigned char)*p) == 'b')
		p++;
	if (*p || number * factor >= SIZE_MAX_BYTES)
		return false;
	*bytes = (uint64_t)(number * factor);
	return true;
}

/* Seconds with as many decimals as they need, the larger units before them. */
void amount_format_duration(int64_t ms, char out[AMOUNT_DURATION_SIZE])
{
	const char *sign = ms < 0 ? "-" : "";
	uint64_t n = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
	uint64_t hours = n / 3600000, minutes = n / 60000 % 60;
	unsigned seconds = (unsigned)(n / 1000 % 60), rest = (unsigned)(n % 1000);
	char fraction[8] = "", large[28] = "";
	if (rest && n >= 1000)
		snprintf(fraction, sizeof(fraction), ".%03u", rest);
	for (size_t i = strlen(fraction); i > 0 && fraction[i - 1] == '0'; i--)
		fraction[i - 1] = '\0';
	if (hours)
		snprintf(large, sizeof(large), "%" PRIu64 "h%" PRIu64 "m", hours, minutes);
	else if (minutes)
		snprintf(large, sizeof(large), "%" PRIu64 "m", minutes);
	if (rest && n < 1000)
		snprintf(out, AMOUNT_DURATION_SIZE, "%s%ums", sign, rest);
	else
		snprintf(out, AMOUNT_DURATION_SIZE, "%s%s%u%ss", sign, large, seconds, fraction);
}
