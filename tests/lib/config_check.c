#include "lib/config_check.h"

#include "conf/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config c;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "litestream.yml: %s\n", what);
	abort();
}

static bool is_told(const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < c.n_notes; i++)
		if (strncmp(c.notes[i].text, name, n) == 0 && c.notes[i].text[n] == ' ')
			return true;
	return false;
}

static void check_map(const struct tree_node *map, enum config_level level, const char *inside);

static void check_list(const struct tree_node *list, enum config_level level)
{
	must(list->kind == TREE_LIST, "a list was taken that is none");
	for (size_t i = 0; i < list->count; i++)
		check_map(list->items[i], level, "");
}

static void check_pair(const struct tree_pair *p, enum config_level level, const char *inside)
{
	char name[2 * TREE_KEY_LEN_MAX];
	snprintf(name, sizeof(name), "%s%s", inside, p->key);
	const struct config_key *k = config_keys;
	while (k->name && (!(k->levels & (int)level) || strcmp(k->name, name) != 0))
		k++;
	must(k->name != NULL, "an unknown key was taken");
	must(k->effect != CONFIG_REFUSED, "a refused key was taken");
	if (k->effect == CONFIG_NO_EFFECT)
		must(is_told(k->name), "a key without effect was not told");
	if (k->effect != CONFIG_WORKS || tree_is_null(p->value))
		return;
	if (strcmp(name, "dbs") == 0)
		check_list(p->value, CONFIG_DATABASE);
	else if (strcmp(name, "replicas") == 0)
		check_list(p->value, CONFIG_REPLICA);
	else if (strcmp(name, "replica") == 0)
		check_map(p->value, CONFIG_REPLICA, "");
	else if (p->value->kind == TREE_MAP) {
		strcat(name, ".");
		check_map(p->value, level, name);
	}
}

static void check_map(const struct tree_node *map, enum config_level level, const char *inside)
{
	must(map->kind == TREE_MAP, "a map was taken that is none");
	for (size_t i = 0; i < map->count; i++)
		check_pair(&map->pairs[i], level, inside);
}

static void check_databases(void)
{
	for (size_t i = 0; i < c.n_databases; i++) {
		const struct config_database *db = &c.databases[i];
		must((db->path && *db->path == '/') || (db->dir && *db->dir == '/' && db->pattern),
			"a database is nowhere");
		must(db->n_replicas > 0, "a database has no replica");
		for (size_t k = 0; k < db->n_replicas; k++) {
			const struct config_replica *p = &db->replicas[k], *found;
			must(p->target && *p->target && p->type && p->name, "a replica is nowhere");
			must(config_find_replica(&c, db, p->name, &found, NULL) == ERR_OK && found == p,
				"a replica is not found by its name");
		}
	}
}

int config_check(const char *text, size_t n)
{
	struct err e = ERR_INIT;
	struct tree t;
	int rc = config_read(&c, "f.yml", text, n, false, &e);
	must(rc == ERR_OK || rc == ERR_USAGE || rc == ERR_NOMEM, "another code");
	must(rc == ERR_OK || *e.text, "an error without a sentence");
	must(rc != ERR_USAGE || strncmp(e.text, "f.yml", 5) == 0, "an error that names no file");
	if (rc == ERR_OK) {
		must(tree_read(&t, "f.yml", text, n, &e) == ERR_OK, "no YAML was taken");
		if (t.root && !tree_is_null(t.root))
			check_map(t.root, CONFIG_TOP, "");
		tree_free(&t);
		check_databases();
	}
	config_free(&c);
	/* And with variables, whatever they are. */
	rc = config_read(&c, "f.yml", text, n, true, &e);
	config_free(&c);
	return rc;
}
