#include "conf/expand.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/*
 * What follows a '$': *name and *n are the variable's name, n 0 where there is none; returns how
 * many bytes belong to it. `braces`: something was there, though no name.
 */
static size_t find_name(const char *p, const char **name, size_t *n, bool *braces)
{
	*name = p;
	*n = 0;
	*braces = *p == '{';
	if (*braces) {
		const char *end = strchr(p, '}');
		if (!end)
			return 1;
		*name = p + 1;
		*n = (size_t)(end - p - 1);
		return *n + 2;
	}
	if (*p && strchr("*#$@!?-0123456789", *p))
		*n = 1;
	else
		while (is_name_char(p[*n]))
			(*n)++;
	return *n;
}

static int add_variable(const char *name, size_t n, expand_lookup *lookup, void *ctx,
	struct buf *out, char unset[EXPAND_NAME_MAX + 1])
{
	char word[EXPAND_NAME_MAX + 1];
	const char *value = NULL;
	snprintf(word, sizeof(word), "%.*s", (int)(n < EXPAND_NAME_MAX ? n : EXPAND_NAME_MAX), name);
	if (n <= EXPAND_NAME_MAX)
		value = lookup(ctx, word);
	if (!value && !*unset)
		memcpy(unset, word, sizeof(word));
	return value ? buf_append_str(out, value) : ERR_OK;
}

int expand_text(const char *text, expand_lookup *lookup, void *ctx, struct buf *out, bool *had,
	char unset[EXPAND_NAME_MAX + 1])
{
	*had = false;
	*unset = '\0';
	for (const char *p = text; *p;) {
		size_t plain = strcspn(p, "$");
		int rc = buf_append(out, p, plain);
		p += plain;
		if (rc || !*p)
			return rc;
		const char *name;
		size_t n;
		bool braces;
		p++;
		p += find_name(p, &name, &n, &braces);
		if (n)
			rc = add_variable(name, n, lookup, ctx, out, unset);
		else if (!braces)
			rc = buf_append(out, "$", 1);
		*had = *had || n || braces;
		if (rc)
			return rc;
	}
	return ERR_OK;
}

struct walk {
	struct tree *tree;
	const char *name;
	expand_lookup *lookup;
	void *ctx;
	struct err *e;
};

static int expand_scalar(struct walk *w, struct tree_node *node)
{
	char unset[EXPAND_NAME_MAX + 1];
	struct buf out;
	if (!strchr(node->text, '$'))
		return ERR_OK;
	buf_init(&out, EXPAND_VALUE_MAX);
	int rc = expand_text(node->text, w->lookup, w->ctx, &out, &node->expanded, unset);
	if (rc == ERR_FULL)
		rc = err_set(w->e, ERR_USAGE,
			"%s:%u: with its variables this value is longer than %zu bytes", w->name, node->line,
			EXPAND_VALUE_MAX);
	if (!rc && (!(node->text = tree_strdup(&w->tree->memory, buf_str(&out))) ||
				   (*unset && !(node->unset = tree_strdup(&w->tree->memory, unset)))))
		rc = ERR_NOMEM;
	if (rc == ERR_NOMEM)
		err_nomem(w->e, "reading a configuration");
	buf_wipe(&out);
	return rc;
}

static int expand_node(struct walk *w, struct tree_node *node)
{
	if (node->visited) /* an alias: it is expanded already */
		return ERR_OK;
	node->visited = true;
	int rc = node->kind == TREE_SCALAR ? expand_scalar(w, node) : ERR_OK;
	for (size_t i = 0; !rc && i < node->count; i++)
		rc = expand_node(w, node->kind == TREE_MAP ? node->pairs[i].value : node->items[i]);
	return rc;
}

int expand_tree(struct tree *t, const char *name, expand_lookup *lookup, void *ctx, struct err *e)
{
	struct walk w = {t, name, lookup, ctx, e};
	return t->root ? expand_node(&w, t->root) : ERR_OK;
}
