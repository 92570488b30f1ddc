/* Maps of litestream.yml, key by key: into effect, told, or an error. */
#include "conf/config_internal.h"

#include "base/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_MAX 400
#define KEYS_MAX 160

/* ---- telling ---- */

int config_nomem(struct config_reading *r)
{
	return err_nomem(r->e, "reading a configuration");
}

/* Keys are a user's words too, and quotes can put anything in them. */
static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

int config_bad(struct config_reading *r, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	return err_set(r->e, ERR_USAGE, "%s:%u: %s%s%s", r->c->file, r->line, r->key ? r->key : "",
		r->key ? ": " : "", text);
}

/* The same sentence again counts the lines. */
static bool is_told(struct config *c, const char *text, unsigned line)
{
	for (size_t i = 0; i < c->n_notes; i++) {
		if (strcmp(c->notes[i].text, text) == 0) {
			c->notes[i].more += c->notes[i].line != line;
			return true;
		}
	}
	return false;
}

int config_note(struct config_reading *r, bool warn, const char *fmt, ...)
{
	char text[NOTE_MAX + 100], said[NOTE_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "%s %s", r->key, said);
	clean(text);
	struct config *c = r->c;
	if (is_told(c, text, r->line))
		return ERR_OK;
	struct config_note *more = reallocarray(c->notes, c->n_notes + 1, sizeof(*more));
	char *copy = more ? tree_strdup(&c->memory, text) : NULL;
	if (more)
		c->notes = more;
	if (!copy)
		return config_nomem(r);
	c->notes[c->n_notes++] = (struct config_note){.line = r->line, .warn = warn, .text = copy};
	return ERR_OK;
}

/* ---- keys ---- */

const struct config_key *config_find_key(const char *name, int levels)
{
	for (const struct config_key *k = config_keys; k->name; k++)
		if ((k->levels & levels) && strcmp(k->name, name) == 0)
			return k;
	return NULL;
}

static const char *place_of(int levels)
{
	if (levels & CONFIG_TOP)
		return "at the top of the file";
	return levels & CONFIG_DATABASE ? "under a database" : "under a replica";
}

/* The key that was meant, among those that may stand here. */
static const char *nearest_key(const struct config_reading *r, const char *name, const char *inside)
{
	const char *names[KEYS_MAX];
	size_t n = 0, skip = strlen(inside);
	for (const struct config_key *k = config_keys; k->name && n < KEYS_MAX; k++) {
		bool here = strncmp(k->name, inside, skip) == 0 && !strchr(k->name + skip, '.');
		if (here && (k->levels & r->level) && k->effect != CONFIG_REFUSED)
			names[n++] = k->name + skip;
	}
	return words_nearest(name, names, n);
}

static int unknown_key(struct config_reading *r, const char *name, const char *inside)
{
	char full[2 * TREE_KEY_LEN_MAX];
	snprintf(full, sizeof(full), "%s%s", inside, name);
	const struct config_key *elsewhere = strchr(name, '.') ? NULL : config_find_key(full, ~0);
	r->key = NULL;
	if (elsewhere)
		return config_bad(r, "the key \"%s\" can't stand %s: it belongs %s", full,
			place_of(r->level), place_of(elsewhere->levels));
	const char *near = nearest_key(r, name, inside);
	if (near)
		return config_bad(r, "unknown key \"%s\" %s, did you mean \"%s%s\"?", full,
			place_of(r->level), inside, near);
	return config_bad(
		r, "unknown key \"%s\" %s: docs/CONFIG.md lists them all", full, place_of(r->level));
}

/* A variable that is not set leaves a hole that a user should know of. Of a secret with a '$' in it
 * the "name" would be a piece. */
static int tell_unset(
	struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	if (!v->unset)
		return ERR_OK;
	if (k->secret)
		return config_note(r, true,
			"has a variable in it that is not set, which counts as empty (a '$' that is none: "
			"-no-expand-env)");
	return config_note(
		r, true, "has the variable %.64s in it, which is not set and counts as empty", v->unset);
}

static int take_key(struct config_reading *r, const struct config_key *k, const struct tree_node *v)
{
	int rc = tell_unset(r, k, v);
	if (rc)
		return rc;
	if (k->effect == CONFIG_REFUSED)
		return config_bad(r, "%s", k->text);
	if (k->effect == CONFIG_NO_EFFECT)
		return config_note(r, false, "has no effect here: %s", k->text);
	if (tree_is_null(v))
		return ERR_OK;
	rc = k->take(r, k, v);
	if (!rc && k->secret && v->kind == TREE_SCALAR && !v->expanded && strcmp(k->name, "url") != 0)
		r->c->holds_secrets = true;
	return rc;
}

static int walk_some(
	struct config_reading *r, const struct tree_node *map, const char *inside, unsigned pass)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < map->count; i++) {
		char full[2 * TREE_KEY_LEN_MAX];
		const struct tree_pair *p = &map->pairs[i];
		snprintf(full, sizeof(full), "%s%s", inside, p->key);
		r->line = p->line;
		/* "logging.level" as one word is no key: the map is. */
		const struct config_key *k = strchr(p->key, '.') ? NULL : config_find_key(full, r->level);
		if (!k)
			return unknown_key(r, p->key, inside);
		r->key = k->name;
		if (k->pass == pass)
			rc = take_key(r, k, p->value);
	}
	return rc;
}

int config_walk(struct config_reading *r, const struct tree_node *map, const char *inside)
{
	if (map->kind != TREE_MAP) {
		r->line = map->line;
		return config_bad(r, "keys with their values were expected here");
	}
	int rc = *inside ? ERR_OK : config_refuse_twins(r, map);
	for (unsigned pass = 0; !rc && pass < CONFIG_PASSES; pass++)
		rc = walk_some(r, map, inside, pass);
	return rc;
}
