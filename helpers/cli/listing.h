/*
 * What several commands list: the files of the replicas that their argument names. A URL is one
 * replica; a database of the configuration has one or several, of which -replica chooses one.
 */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "cli/args.h"
#include "format/ltxset.h"
#include "format/v3.h"

#include <jansson.h>

struct listing {
	const char *name;     /* of the replica: the configuration's, of a URL "file" or "s3" */
	const char *url;      /* without secrets */
	const char *database; /* path; NULL for a URL */
	struct v3_set v3;     /* what Litestream 0.3 wrote */
	struct ltx_set ltx;
};

enum { LISTING_V3 = 1, LISTING_LTX = 2 };

/*
 * Lists what `kinds` says of each replica and calls fn, which adds to its table. A replica that
 * can't be listed doesn't hide the others: the first such error is returned at the end. SIGINT and
 * SIGTERM end it. ERR_USAGE, the store's errors, fn's.
 */
int listing_each(struct args *a, unsigned kinds,
	int (*fn)(void *ctx, const struct listing *l, struct err *e), void *ctx, struct err *e);

/* What a command has listed so far. */
struct listing_table {
	json_t *all;     /* NULL: lines of text, which are printed at once */
	size_t count;    /* of what was listed */
	char where[300]; /* the last replica that was looked at */
};

/* All of a command: fn's ctx is the table, zeroed before but for `all`, which is what -json asks
 * for. ERR_NO_BACKUP with "<where>: <nothing>" where there was nothing; listing_each's. */
int listing_show(struct args *a, unsigned kinds,
	int (*fn)(void *ctx, const struct listing *l, struct err *e), const char *nothing,
	struct err *e);

/* The end of a table, which is printed as JSON if it is that: also when rc says that not all was
 * listed, but not an empty one then. rc, or ERR_NOMEM. */
int listing_end(struct listing_table *t, int rc, struct err *e);

/* Prints it on stdout, with a line feed, and gives up the reference. NULL: out of memory. */
int listing_print_json(json_t *root, struct err *e);

/* "2026-01-31T12:00:00Z" of ms since 1970, as Litestream's tables have it; `out` of 32 bytes. */
const char *listing_time(int64_t ms, char out[32]);

#endif
