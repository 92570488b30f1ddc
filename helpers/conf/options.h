/*
 * What a user may set for one database, as `name: text` pairs: one table for the plugin's desired
 * state, the flags of `litestream replicate` and docs/OPTIONS.md (a test compares them).
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
	int64_t sync_interval_ms;   /* sync-interval, 10ms to 24h, default 1s */
	uint64_t staging_max;       /* staging-size; 0 = the replicator's own default */
	uint64_t copies_max;        /* copies-size; 0 = the replicator's own default */
	uint32_t checkpoint_frames; /* checkpoint-frames; 0 = the source's own default */
	uint64_t barrier_bytes;     /* barrier-size; 0 = the source's own default */
	bool no_barrier;            /* no-barrier: true or false */
	bool any_filesystem;        /* any-filesystem: true or false */

	bool retention;               /* retention: true or false, default true */
	int64_t l0_retention_ms;      /* l0-retention, 3h to 87600h, default 3h */
	int64_t l1_retention_ms;      /* l1-retention, default 24h */
	int64_t l2_retention_ms;      /* l2-retention, default 72h */
	int64_t l3_retention_ms;      /* l3-retention, default 168h */
	int64_t snapshot_interval_ms; /* snapshot-interval, 1h to 8760h, default 24h */
	int64_t snapshot_renew_ms;    /* snapshot-renew, 1h to 8760h, default 24h */
};

#define OPTION_HOUR_MS INT64_C(3600000)

#define OPTIONS_DEFAULT                                                                       \
	{                                                                                         \
		.sync_interval_ms = 1000, .retention = true, .l0_retention_ms = OPTION_HOUR_MS * 3,   \
		.l1_retention_ms = OPTION_HOUR_MS * 24, .l2_retention_ms = OPTION_HOUR_MS * 72,       \
		.l3_retention_ms = OPTION_HOUR_MS * 168, .snapshot_interval_ms = OPTION_HOUR_MS * 24, \
		.snapshot_renew_ms = OPTION_HOUR_MS * 24,                                             \
	}

enum option_type { OPTION_DURATION, OPTION_SIZE, OPTION_COUNT, OPTION_FLAG };

struct option_entry {
	const char *name;
	enum option_type type;
	size_t offset;        /* of the member in struct options */
	int64_t min, max;     /* ms, bytes or number */
	const char *standard; /* what holds when it is not set, in words of its type */
	const char *help;
};

extern const struct option_entry option_table[]; /* ends with name NULL */

/* "a duration as 500ms, 1s or 1m30s": what an option of this type takes. */
const char *option_takes(enum option_type type);

/* "a duration as 500ms, 1s or 1m30s, from 10ms to 24h": what this one takes. */
void option_describe(const struct option_entry *entry, char out[128]);

/*
 * Sets one option from its text: durations as "1s", "500ms", "1m30s"; sizes as "64MB", "1GiB" or
 * bytes; flags as "true" or "false". ERR_USAGE names the option and what it takes; for an unknown
 * one it names all.
 */
int options_set(struct options *o, const char *name, const char *text, struct err *e);

/* The entry of that name; NULL. */
const struct option_entry *options_find(const char *name);

/* Sets an option to what was read otherwise (ms, bytes, number); `text` is what a user wrote, for
 * the ERR_USAGE of a value out of bounds. */
int options_set_value(struct options *o, const struct option_entry *entry, int64_t value,
	const char *text, struct err *e);

#endif
