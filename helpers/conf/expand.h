/*
 * $VAR and ${VAR} in the values of a configuration, as Go's os.Expand finds them: a name is
 * letters, digits and '_', or one of the shell's special characters ($$, $1, $*, …); a variable
 * that is not set is empty; a '$' that no name follows stays; "${}" and a "${" that nothing closes
 * vanish.
 *
 * Litestream expands the text of the file before it parses it. Here values are expanded after that:
 * whatever a variable holds, quotes, '#', ': ' or a new line, is that value and can't become
 * something else. What is lost: a variable that holds YAML, and variables in keys.
 */
#ifndef CONF_EXPAND_H
#define CONF_EXPAND_H

#include "base/buf.h"
#include "conf/tree.h"

#include <sys/types.h>

/* The value of a variable, NULL = not set. */
typedef const char *expand_lookup(void *ctx, const char *name);

#define EXPAND_VALUE_MAX ((size_t)64 << 10)
#define EXPAND_NAME_MAX 100

/*
 * Expands one value to the end of `out`. *had: there was a variable in it. unset[]: the name of the
 * first one that was not set, else "". ERR_FULL when out's bound is passed, ERR_NOMEM.
 */
int expand_text(const char *text, expand_lookup *lookup, void *ctx, struct buf *out, bool *had,
	char unset[EXPAND_NAME_MAX + 1]);

/* Expands all scalars of a tree in place, keys excepted; nodes say what was in them (`expanded`,
 * `unset`). ERR_USAGE for a value that gets longer than EXPAND_VALUE_MAX (`name` and line),
 * ERR_NOMEM. */
int expand_tree(struct tree *t, const char *name, expand_lookup *lookup, void *ctx, struct err *e);

#endif
