/* litestream databases without a URL: what the configuration names. */
#include "cli/configured.h"

#include "base/fs.h"
#include "base/json.h"
#include "source/matching.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct listing {
	const struct config *config;
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

/* One that has an item of its own is listed there. */
static bool has_own(void *ctx, const char *relative)
{
	const struct listing *l = ctx;
	struct stat st, own;
	char *path = fs_join(l->db->dir, relative);
	bool known = !path || stat(path, &st) != 0;
	free(path);
	for (size_t i = 0; !known && i < l->config->n_databases; i++) {
		const char *other = l->config->databases[i].path;
		known =
			other && stat(other, &own) == 0 && own.st_ino == st.st_ino && own.st_dev == st.st_dev;
	}
	return known;
}

static int put_found(void *ctx, const char *relative, struct err *e)
{
	struct listing *l = ctx;
	char *path = fs_join(l->db->dir, relative);
	int rc = path ? put_one(l, path, e) : err_nomem(e, "listing databases");
	free(path);
	return rc;
}

static int put_folder(struct listing *l, struct err *e)
{
	struct matching m = {.dir = l->db->dir,
		.pattern = l->db->pattern,
		.recursive = l->db->recursive,
		.known = has_own,
		.found = put_found,
		.ctx = l,
		.watch_fd = -1};
	int rc = matching_scan(&m, e);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static int put_all(const struct config *c, json_t *all, struct err *e)
{
	int rc = ERR_OK;
	if (!all)
		printf("%-40s  %s\n", "path", "replica");
	for (size_t i = 0; !rc && i < c->n_databases; i++) {
		struct listing l = {c, &c->databases[i], all};
		rc = l.db->path ? put_one(&l, l.db->path, e) : put_folder(&l, e);
	}
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
