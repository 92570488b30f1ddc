/* litestream.yml, made of keys and values in their places. */
#ifndef TESTS_LIB_CONFIG_MADE_H
#define TESTS_LIB_CONFIG_MADE_H

#include "base/buf.h"
#include "conf/config.h"

#define MADE_LEAVES_MAX 64
#define MADE_DATABASES_MAX 3

struct learned;

/* A key with its value, in its place. */
struct made_leaf {
	enum config_level level;
	size_t db, replica; /* which one; 0 further up */
	const char *key;    /* "snapshot.interval" stands in a map with its like */
	char value[60];
	const struct learned *about; /* the test's own */
	size_t word;                 /* the test's own */
	unsigned line;               /* where made_write put it */
};

struct made {
	struct made_leaf leaves[MADE_LEAVES_MAX];
	size_t n, n_databases, n_replicas[MADE_DATABASES_MAX];
	struct buf text; /* the caller's buf_init */
	unsigned lines;
};

/* A place for a key without a value yet; NULL when that place has it already, or the file is full.
 */
struct made_leaf *made_put(
	struct made *f, enum config_level level, size_t db, size_t replica, const char *key);

/* Puts a key, unless it is there: the value is the text, and the number where it isn't 0. */
void made_say(struct made *f, enum config_level level, size_t db, size_t replica, const char *key,
	const char *text, size_t number);

/* Writes it all into `text`, and where each key is into its leaf. */
void made_write(struct made *f);

#endif
