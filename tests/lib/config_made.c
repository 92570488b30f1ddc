#include "lib/config_made.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct made_leaf *made_put(
	struct made *f, enum config_level level, size_t db, size_t replica, const char *key)
{
	struct made_leaf *leaf = &f->leaves[f->n];
	for (size_t i = 0; i < f->n; i++) {
		const struct made_leaf *o = &f->leaves[i];
		size_t n = strcspn(key, ".");
		bool here = o->level == level && o->db == db && o->replica == replica;
		/* A map has its name once, too. */
		if (here && (strcmp(o->key, key) == 0 ||
						(strncmp(o->key, key, n) == 0 && strcspn(o->key, ".") == n &&
							!strchr(o->key, '.') != !key[n])))
			return NULL;
	}
	if (f->n == MADE_LEAVES_MAX)
		return NULL;
	*leaf = (struct made_leaf){.level = level, .db = db, .replica = replica, .key = key};
	f->n++;
	return leaf;
}

void made_say(struct made *f, enum config_level level, size_t db, size_t replica, const char *key,
	const char *text, size_t number)
{
	struct made_leaf *leaf = made_put(f, level, db, replica, key);
	if (!leaf)
		return;
	int n = snprintf(leaf->value, sizeof(leaf->value), "%s", text);
	if (number)
		snprintf(leaf->value + n, sizeof(leaf->value) - (size_t)n, "%zu", number);
}

static void line_of(struct made *f, const char *indent, const char *word, const char *value)
{
	buf_printf(&f->text, "%s%s: %s\n", indent, word, value);
	f->lines++;
}

/* The keys of one place; those of an inner map together. */
static void write_keys(
	struct made *f, enum config_level level, size_t db, size_t replica, const char *indent)
{
	bool done[MADE_LEAVES_MAX] = {false};
	char inner[20];
	snprintf(inner, sizeof(inner), "%s  ", indent);
	for (size_t i = 0; i < f->n; i++) {
		struct made_leaf *first = &f->leaves[i];
		size_t n = strcspn(first->key, ".");
		if (done[i] || first->level != level || first->db != db || first->replica != replica)
			continue;
		if (!first->key[n]) {
			line_of(f, indent, first->key, first->value);
			first->line = f->lines;
			continue;
		}
		buf_printf(&f->text, "%s%.*s:\n", indent, (int)n, first->key);
		f->lines++;
		for (size_t k = i; k < f->n; k++) {
			struct made_leaf *o = &f->leaves[k];
			bool here = o->level == level && o->db == db && o->replica == replica &&
						strncmp(o->key, first->key, n + 1) == 0;
			if (!here)
				continue;
			line_of(f, inner, o->key + n + 1, o->value);
			o->line = f->lines;
			done[k] = true;
		}
	}
}

void made_write(struct made *f)
{
	buf_reset(&f->text);
	f->lines = 0;
	write_keys(f, CONFIG_TOP, 0, 0, "");
	buf_append_str(&f->text, "dbs:\n");
	f->lines++;
	for (size_t db = 0; db < f->n_databases; db++) {
		buf_append_str(&f->text, "-\n");
		f->lines++;
		write_keys(f, CONFIG_DATABASE, db, 0, "  ");
		buf_append_str(&f->text, "  replicas:\n");
		f->lines++;
		for (size_t r = 0; r < f->n_replicas[db]; r++) {
			buf_append_str(&f->text, "  -\n");
			f->lines++;
			write_keys(f, CONFIG_REPLICA, db, r, "    ");
		}
	}
}
