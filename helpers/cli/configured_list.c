/* litestream databases without a URL: what the configuration names. */
#include "cli/configured.h"

#include "base/fs.h"
#include "base/json.h"
#include "cli/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
	const struct config_database *db;
	json_t *all; /* NULL: a table */
};

/* "s3,file" */
static void put_names(const struct config_database *db, char *out, size_t size)
{
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < db->n_replicas && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? "," : "", db->replicas[i].name);
}

static int put_one(struct listing *l, const char *path, struct err *e)
{
	char names[400];
	put_names(l->db, names, sizeof(names));
	if (!l->all) {
		printf("%-40s  %s\n", path, names);
		return ERR_OK;
	}
	json_t *one = json_pack("{s:s,s:s}", "path", path, "replica", names);
	return one && json_array_append_new(l->all, one) == 0 ? ERR_OK
														  : err_nomem(e, "listing databases");
}

static int put_database(
	void *ctx, const struct config_database *db, const char *relative, struct err *e)
{
	struct listing *l = ctx;
	char *path = relative ? fs_join(db->dir, relative) : strdup(db->path);
	l->db = db;
	int rc = path ? put_one(l, path, e) : err_nomem(e, "listing databases");
	free(path);
	return rc;
}

static int put_all(const struct config *c, json_t *all, struct err *e)
{
	struct listing l = {.all = all};
	if (!all)
		printf("%-40s  %s\n", "path", "replica");
	int rc = states_databases(c, put_database, &l, e);
	if (!rc && all && json_dumpf(all, stdout, JSON_INDENT(2)) == 0)
		printf("\n");
	return rc;
}

int configured_list(struct args *a, bool json, struct err *e)
{
	struct config c;
	json_t *all = json ? json_array() : NULL;
	int rc = config_file_need(a, &c, e);
	if (!rc)
		rc = put_all(&c, all, e);
	json_decref(all);
	config_free(&c);
	return rc;
}
