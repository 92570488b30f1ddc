/*
 * A YAML text as a small tree, by libyaml: maps, lists and scalars with the lines that they are on.
 *
 * Bounded, because what is read may be anything: 1 MiB of text, 20 levels, 20,000 nodes, 500 keys
 * in one map. Anchors, aliases and merge keys ("<<") work; an alias is the very node that it names,
 * and all nodes that a walk would meet count, so that a few lines can't stand for billions.
 * Refused, each with a sentence: a key twice in one map, a key that is no scalar, more than one
 * document, tags other than YAML's own plain ones, a NUL in a scalar.
 *
 * Errors say "<name>:<line>: …" and repeat nothing of the text: it may be a secret.
 */
#ifndef CONF_TREE_H
#define CONF_TREE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define TREE_TEXT_MAX ((size_t)1 << 20)
#define TREE_DEPTH_MAX 20
#define TREE_NODES_MAX 20000
#define TREE_KEYS_MAX 500
#define TREE_KEY_LEN_MAX 100

enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP };

struct tree_node;

struct tree_pair {
	const char *key;
	unsigned line; /* of the key */
	struct tree_node *value;
};

struct tree_node {
	enum tree_kind kind;
	unsigned line;    /* from 1 */
	const char *text; /* of a scalar */
	bool plain;       /* a scalar without quotes */
	bool expanded;    /* text had a variable in it (conf/expand.h) */
	const char
		*unset;   /* a variable in it that is not set, which may be a piece of a secret; NULL */
	bool visited; /* by a walk that visits each node once */
	size_t count; /* of items or pairs */
	struct tree_node **items;
	struct tree_pair *pairs;
	size_t weight; /* nodes that a walk meets from here on */
};

struct tree_memory; /* pieces of memory, freed together, wiped before */

struct tree {
	struct tree_node *root; /* NULL: an empty text */
	struct tree_memory *memory;
};

/* Reads `n` bytes. ERR_USAGE for what is wrong with them, ERR_NOMEM. tree_free in every case. */
int tree_read(struct tree *out, const char *name, const char *text, size_t n, struct err *e);
void tree_free(struct tree *t);

/* A null: an empty plain scalar, "~" or "null". It counts as if its key were not there. */
bool tree_is_null(const struct tree_node *node);

/* The value of a key in a map; NULL. */
const struct tree_node *tree_get(const struct tree_node *map, const char *key);

/* Memory that lives as long as what it belongs to; zeroed. NULL when there is none. */
void *tree_alloc(struct tree_memory **m, size_t n);
char *tree_strdup(struct tree_memory **m, const char *text);
void tree_memory_free(struct tree_memory **m);

#endif
