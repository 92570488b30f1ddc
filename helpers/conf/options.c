#include "conf/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)
#define YEAR (8760 * OPTION_HOUR_MS)
#define TEN_YEARS (10 * YEAR)
#define AT(member) offsetof(struct options, member)

const struct option_entry option_table[] = {
	{"sync-interval", OPTION_DURATION, AT(sync_interval_ms), 10, 86400000, "1s",
		"least time between two uploads of a busy database"},
	{"staging-size", OPTION_SIZE, AT(staging_max), MIB, 64 * GIB, "256MiB",
		"most that is captured and not yet uploaded"},
	{"copies-size", OPTION_SIZE, AT(copies_max), MIB, 64 * GIB,
		"512MiB, or the size of the database where that is less, but 16MiB at least",
		"most that local copies of uploaded files take"},
	{"checkpoint-frames", OPTION_COUNT, AT(checkpoint_frames), 10, 1000000, "500",
		"frames in the WAL from which on we checkpoint"},
	{"barrier-size", OPTION_SIZE, AT(barrier_bytes), MIB, 64 * GIB,
		"4MiB, or 880 frames where that is less",
		"size of the WAL from which on writers are held for a moment to let it shrink"},
	{"no-barrier", OPTION_FLAG, AT(no_barrier), 0, 1, "false", "never hold writers"},
	{"any-filesystem", OPTION_FLAG, AT(any_filesystem), 0, 1, "false",
		"do not refuse network file systems"},
	{"retention", OPTION_FLAG, AT(retention), 0, 1, "true",
		"delete from the replica what nothing below promises"},
	{"l0-retention", OPTION_DURATION, AT(l0_retention_ms), 3 * OPTION_HOUR_MS, TEN_YEARS, "3h",
		"for so long every upload can be restored"},
	{"l1-retention", OPTION_DURATION, AT(l1_retention_ms), 3 * OPTION_HOUR_MS, TEN_YEARS, "24h",
		"for so long a state of every 30 s"},
	{"l2-retention", OPTION_DURATION, AT(l2_retention_ms), 3 * OPTION_HOUR_MS, TEN_YEARS, "72h",
		"for so long a state of every 5 min"},
	{"l3-retention", OPTION_DURATION, AT(l3_retention_ms), 3 * OPTION_HOUR_MS, TEN_YEARS, "168h",
		"for so long a state of every hour"},
	{"snapshot-interval", OPTION_DURATION, AT(snapshot_interval_ms), OPTION_HOUR_MS, YEAR, "24h",
		"most time between two snapshots of a database that changes"},
	{"snapshot-renew", OPTION_DURATION, AT(snapshot_renew_ms), OPTION_HOUR_MS, YEAR, "24h",
		"without retention: most time between two snapshots, changes or not"},
	{NULL, OPTION_FLAG, 0, 0, 0, NULL, NULL},
};

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit durations[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit sizes[] = {{"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000},
	{"KiB", 1024}, {"MiB", MIB}, {"GiB", GIB}, {"B", 1}, {NULL, 0}};

static const struct unit *find_unit(const struct unit *units, const char *text, size_t n)
{
	for (; units->name; units++) {
		if (strlen(units->name) == n && strncmp(units->name, text, n) == 0)
			return units;
	}
	return NULL;
}

/* A sum of <number><unit>; a number alone is allowed when `bare` is its factor (0: it is not). */
static bool read_amount(const char *text, const struct unit *units, int64_t bare, int64_t *out)
{
	int64_t sum = 0;
	const char *p = text;
	do {
		char *end;
		if (*p < '0' || *p > '9' || strspn(p, "0123456789") > 15)
			return false;
		long long n = strtoll(p, &end, 10);
		size_t len = strcspn(end, "0123456789");
		const struct unit *u = find_unit(units, end, len);
		int64_t factor = u ? u->factor : len == 0 ? bare : 0;
		int64_t part;
		if (!factor || __builtin_mul_overflow((int64_t)n, factor, &part) ||
			__builtin_add_overflow(sum, part, &sum))
			return false;
		p = end + len;
	} while (*p);
	*out = sum;
	return true;
}

static bool read_value(enum option_type type, const char *text, int64_t *out)
{
	switch (type) {
	case OPTION_DURATION:
		return read_amount(text, durations, 0, out);
	case OPTION_SIZE:
		return read_amount(text, sizes, 1, out);
	case OPTION_COUNT:
		return read_amount(text, sizes + 7, 1, out);
	case OPTION_FLAG:
		*out = strcmp(text, "true") == 0;
		return *out || strcmp(text, "false") == 0;
	}
	return false;
}

static void store_value(struct options *o, const struct option_entry *entry, int64_t value)
{
	char *at = (char *)o + entry->offset;
	if (entry->type == OPTION_FLAG)
		*(bool *)at = value != 0;
	else if (entry->type == OPTION_COUNT)
		*(uint32_t *)at = (uint32_t)value;
	else
		memcpy(at, &value, sizeof(value)); /* int64_t and uint64_t, both not negative */
}

const char *option_takes(enum option_type type)
{
	static const char *const takes[] = {
		[OPTION_DURATION] = "a duration as 500ms, 1s or 1m30s",
		[OPTION_SIZE] = "a size as 64MiB, 1GB or bytes",
		[OPTION_COUNT] = "a number",
		[OPTION_FLAG] = "true or false",
	};
	return takes[type];
}

/* As docs/OPTIONS.md writes it: the largest unit that it is a whole number of. */
static void write_amount(enum option_type type, int64_t value, char out[32])
{
	const struct unit *u = &sizes[6], *first = NULL; /* bytes, or a bare number */
	if (type == OPTION_DURATION)
		u = &durations[0], first = durations;
	else if (type == OPTION_SIZE)
		first = sizes + 3; /* powers of two */
	for (const struct unit *p = first; p && p->name; p++) {
		if (value % p->factor == 0 && p->factor > u->factor)
			u = p;
	}
	snprintf(
		out, 32, "%lld%s", (long long)(value / u->factor), type == OPTION_COUNT ? "" : u->name);
}

void option_describe(const struct option_entry *entry, char out[128])
{
	char low[32], high[32];
	write_amount(entry->type, entry->min, low);
	write_amount(entry->type, entry->max, high);
	if (entry->type == OPTION_FLAG)
		snprintf(out, 128, "%s", option_takes(entry->type));
	else
		snprintf(out, 128, "%s, from %s to %s", option_takes(entry->type), low, high);
}

static int unknown_option(const char *name, struct err *e)
{
	char all[400] = "";
	for (const struct option_entry *entry = option_table; entry->name; entry++) {
		size_t n = strlen(all);
		snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", entry->name);
	}
	return err_set(e, ERR_USAGE, "unknown option \"%.64s\"; there are %s", name, all);
}

const struct option_entry *options_find(const char *name)
{
	const struct option_entry *entry = option_table;
	while (entry->name && strcmp(entry->name, name) != 0)
		entry++;
	return entry->name ? entry : NULL;
}

static int refuse_value(const struct option_entry *entry, const char *text, struct err *e)
{
	char takes[128];
	option_describe(entry, takes);
	return err_set(e, ERR_USAGE, "option %s takes %s, not \"%.64s\"", entry->name, takes, text);
}

int options_set_value(struct options *o, const struct option_entry *entry, int64_t value,
	const char *text, struct err *e)
{
	if (value < entry->min || value > entry->max)
		return refuse_value(entry, text, e);
	store_value(o, entry, value);
	return ERR_OK;
}

int options_set(struct options *o, const char *name, const char *text, struct err *e)
{
	const struct option_entry *entry = options_find(name);
	int64_t value;
	if (!entry)
		return unknown_option(name, e);
	if (!read_value(entry->type, text, &value))
		return refuse_value(entry, text, e);
	return options_set_value(o, entry, value, text, e);
}
