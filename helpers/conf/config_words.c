/* A configuration that is spelled out on a command line. */
#include "conf/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_url(const char *word)
{
	return strstr(word, "://") != NULL;
}

/* "DB URL DB URL": the second of two may be a folder without "file://". */
static bool are_pairs(char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i += 2)
		if (is_url(words[i]))
			return false;
	return n % 2 == 0;
}

/* How many replicas follow the database words[i]. */
static size_t replicas_of(char *const *words, size_t n, size_t i, bool pairs)
{
	size_t k = 0;
	if (pairs)
		return 1;
	while (i + 1 + k < n && is_url(words[i + 1 + k]))
		k++;
	return k;
}

/* "s3", and "file" of a path: names are for messages and -replica. */
static char *type_of(struct config *c, const char *url)
{
	size_t n = is_url(url) ? strcspn(url, ":") : 0;
	char type[16];
	snprintf(type, sizeof(type), "%.*s", n ? (int)n : 4, n ? url : "file");
	return tree_strdup(&c->memory, type);
}

static int take_replica(struct config *c, struct config_database *db, const char *url)
{
	struct config_replica *r = &db->replicas[db->n_replicas++];
	r->settings = db->settings;
	r->url = r->target = tree_strdup(&c->memory, url);
	r->name = r->type = type_of(c, url);
	return r->url && r->type ? ERR_OK : ERR_NOMEM;
}

static int take_database(
	struct config *c, char *const *words, size_t n_replicas, struct config_database *db)
{
	char *path = config_absolute(words[0]);
	db->settings = c->settings;
	db->path = path ? tree_strdup(&c->memory, path) : NULL;
	db->replicas = tree_alloc(&c->memory, n_replicas * sizeof(*db->replicas));
	free(path);
	int rc = db->path && db->replicas ? ERR_OK : ERR_NOMEM;
	for (size_t k = 0; !rc && k < n_replicas; k++)
		rc = take_replica(c, db, words[1 + k]);
	return rc;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_distinct(const char **list, size_t n, const char *what, struct err *e)
{
	qsort(list, n, sizeof(*list), by_text);
	for (size_t i = 1; i < n; i++)
		if (strcmp(list[i - 1], list[i]) == 0)
			return err_set(e, ERR_USAGE, "%s", what);
	return ERR_OK;
}

static int check_all_distinct(const struct config *c, size_t n_words, struct err *e)
{
	const char **list = calloc(n_words, sizeof(*list));
	size_t n = 0;
	if (!list)
		return err_nomem(e, "reading the command line");
	for (size_t i = 0; i < c->n_databases; i++)
		list[n++] = c->databases[i].path;
	int rc = check_distinct(list, n, "one database is named twice", e);
	n = 0;
	for (size_t i = 0; i < c->n_databases; i++)
		for (size_t k = 0; k < c->databases[i].n_replicas; k++)
			list[n++] = c->databases[i].replicas[k].target;
	if (!rc)
		rc = check_distinct(
			list, n, "one replica is named twice: what is written there would be mixed", e);
	free(list);
	return rc;
}

int config_from_words(struct config *c, char *const *words, size_t n, struct err *e)
{
	bool pairs = are_pairs(words, n);
	int rc = ERR_OK;
	config_init(c);
	c->databases = tree_alloc(&c->memory, n * sizeof(*c->databases));
	if (!c->databases)
		return err_nomem(e, "reading the command line");
	for (size_t i = 0; !rc && i < n;) {
		size_t k = replicas_of(words, n, i, pairs);
		if (is_url(words[i]))
			return err_set(e, ERR_USAGE, "a database's path comes first, not a replica URL");
		if (k == 0)
			return err_set(e, ERR_USAGE, "must specify at least one replica URL for %s%s", words[i],
				i ? "; if that is a replica, write it as file:///FOLDER" : "");
		rc = take_database(c, words + i, k, &c->databases[c->n_databases++]);
		i += 1 + k;
	}
	return rc ? err_nomem(e, "reading the command line") : check_all_distinct(c, n, e);
}
