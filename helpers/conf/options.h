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
};

#define OPTIONS_DEFAULT           \
	{                             \
		.sync_interval_ms = 1000, \
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

/*
 * Sets one option from its text: durations as "1s", "500ms", "1m30s"; sizes as "64MB", "1GiB" or
 * bytes; flags as "true" or "false". ERR_USAGE names the option and what it takes.
 */
int options_set(struct options *o, const char *name, const char *text, struct err *e);

#endif
