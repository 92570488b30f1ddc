/*
 * What the argument of restore, verify and the commands that list names: a replica by its URL, or a
 * database by its path, whose replica litestream.yml knows.
 */
#ifndef CLI_PLACE_H
#define CLI_PLACE_H

#include "cli/wanted.h"

/* Flags of the commands that take one. */
#define PLACE_FLAGS                                                                \
	CONFIG_FLAGS,                                                                  \
	{                                                                              \
		"replica", FLAG_STRING, "NAME", "of a database with several: this replica" \
	}

struct place {
	const char *url;
	struct store_options
		store;             /* from the configuration; all-zero for a URL that it doesn't have */
	const char *path;      /* of the database; NULL for a URL */
	const char *state_dir; /* of that replica; NULL for a URL */

	struct config config; /* what is borrowed above */
	struct wanted wanted;
};

/*
 * A word with "://" in it is a URL, and -config besides is refused. If the configuration has a
 * replica with that very URL its settings hold, credentials only where the environment names none.
 * Otherwise it is the path of a database, relative to the working folder or not: the same folder by
 * another name (a symbolic link, as current/ of Capistrano) is the same. A path that no
 * configuration has, and that is a folder, is a replica in that folder. ERR_USAGE, with what there
 * is.
 */
int place_find(struct place *p, struct args *a, const char *word, struct err *e);
void place_free(struct place *p);

/* The same for each replica that is meant: without -replica all of a database's. `last`: no other
 * comes. Not ERR_OK of fn ends it. */
int place_each(struct args *a, const char *word,
	int (*fn)(void *ctx, const struct place *p, bool last, struct err *e), void *ctx,
	struct err *e);

#endif
