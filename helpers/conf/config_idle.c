/* Keys of litestream.yml that work, but not in this file: nothing is there that they could be for.
 */
#include "conf/config_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define OF_S3 (CONFIG_TOP | CONFIG_REPLICA)

static const char folder[] = "the replica is a folder";
static const char nowhere[] = "no replica is of type s3";

static int tell(
	struct config_reading *r, const struct tree_pair *p, const char *key, const char *why)
{
	if (tree_is_null(p->value))
		return ERR_OK;
	r->line = p->line;
	r->key = key;
	return config_note(r, true, "has no effect: %s", why);
}

/* Those that only a replica of type s3 asks for. */
static int tell_of_s3(struct config_reading *r, const struct tree_node *map, const char *why)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < map->count; i++) {
		const struct config_key *k = config_find_key(map->pairs[i].key, OF_S3);
		if (k && k->levels == OF_S3 && k->effect == CONFIG_WORKS)
			rc = tell(r, &map->pairs[i], k->name, why);
	}
	return rc;
}

static bool is_s3(const struct config_replica *p)
{
	return strcmp(p->type, "s3") == 0;
}

static int tell_of_replicas(
	struct config_reading *r, const struct config_database *db, const struct tree_node *map)
{
	const struct tree_node *list = tree_get(map, "replicas"), *one = tree_get(map, "replica");
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < db->n_replicas; i++)
		if (!is_s3(&db->replicas[i]))
			rc = tell_of_s3(r, one && one->kind == TREE_MAP ? one : list->items[i], folder);
	return rc;
}

/* A key of an inner map, or one of the map itself, where `inside` is NULL. */
static int tell_of_key(struct config_reading *r, const struct tree_node *map, const char *inside,
	const char *key, const char *why)
{
	const struct tree_node *in = inside ? tree_get(map, inside) : map;
	char name[TREE_KEY_LEN_MAX];
	snprintf(name, sizeof(name), "%s%s%s", inside ? inside : "", inside ? "." : "", key);
	const struct config_key *k = config_find_key(name, CONFIG_TOP);
	for (size_t i = 0; in && in->kind == TREE_MAP && k && i < in->count; i++)
		if (strcmp(in->pairs[i].key, key) == 0)
			return tell(r, &in->pairs[i], k->name, why);
	return ERR_OK;
}

static int tell_of_top(struct config_reading *r, const struct tree_node *root)
{
	const struct config *c = r->c;
	bool s3 = false, parts = false;
	int rc = ERR_OK;
	for (size_t i = 0; i < c->n_databases; i++) {
		for (size_t k = 0; k < c->databases[i].n_replicas; k++) {
			const struct config_replica *p = &c->databases[i].replicas[k];
			s3 = s3 || is_s3(p);
			parts = parts || (is_s3(p) && !p->url);
		}
	}
	if (!s3)
		rc = tell_of_s3(r, root, nowhere);
	else if (!parts)
		rc = tell_of_key(r, root, NULL, "bucket", "the URL of each replica of type s3 names one");
	if (!rc && !c->heartbeat_url)
		rc = tell_of_key(r, root, NULL, "heartbeat-interval", "there is no heartbeat-url");
	if (!rc && !c->socket_enabled)
		rc = tell_of_key(r, root, "socket", "path", "socket.enabled is not true");
	if (!rc && !c->socket_enabled)
		rc = tell_of_key(r, root, "socket", "permissions", "socket.enabled is not true");
	return rc;
}

int config_tell_idle(struct config_reading *r, const struct tree_node *root)
{
	const struct tree_node *list = tree_get(root, "dbs");
	int rc = r->c->n_databases ? tell_of_top(r, root) : ERR_OK;
	for (size_t i = 0; !rc && i < r->c->n_databases; i++)
		rc = tell_of_replicas(r, &r->c->databases[i], list->items[i]);
	r->key = NULL;
	return rc;
}

/* Two names of one thing, of which the one that happens to be read last would count. */
static const char *const twins[][2] = {{"snapshot-interval", "snapshot.interval"},
	{"retention", "snapshot.retention"}, {"checkpoint-frames", "min-checkpoint-page-count"}};

/* Whether the map has "snapshot.interval", or a plain key. */
static bool has(const struct tree_node *map, const char *name)
{
	const char *point = strchr(name, '.');
	const struct tree_node *v = tree_get(map, point ? "snapshot" : name);
	if (v && point)
		v = v->kind == TREE_MAP ? tree_get(v, point + 1) : NULL;
	if (!v || v->kind != TREE_SCALAR || tree_is_null(v))
		return false;
	/* retention: false is another thing. */
	return strcmp(name, "retention") != 0 || isdigit((unsigned char)*v->text);
}

int config_refuse_twins(struct config_reading *r, const struct tree_node *map)
{
	r->key = NULL;
	r->line = map->line;
	for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++)
		if (has(map, twins[i][0]) && has(map, twins[i][1]))
			return config_bad(
				r, "%s and %s say the same: leave one of them out", twins[i][0], twins[i][1]);
	return ERR_OK;
}
