/*
 * The object, all keys but the first two optional:
 *
 *   {"version": 1, "database": "production.sqlite3", "app": "my-app", "storage": "my-app--db",
 *    "container_path": "/app/db", "owner": 32767, "group": 32767, "mode": "0640",
 *    "plugin_version": "1.0.0", "host": "web-1", "fencing": "strong"}
 */
#include "replicate/manifest.h"

#include "base/fs.h"
#include "conf/names.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(json_t *root, const char *key, json_t *value, int *rc)
{
	if (!*rc)
		*rc = json_object_set_new(root, key, value);
	else
		json_decref(value);
}

static void put_owner(json_t *root, const char *path, int *rc)
{
	struct stat st;
	if (stat(path, &st))
		return;
	char mode[8];
	snprintf(mode, sizeof(mode), "%04o", (unsigned)st.st_mode & 0666);
	put(root, "owner", json_integer(st.st_uid), rc);
	put(root, "group", json_integer(st.st_gid), rc);
	put(root, "mode", json_string(mode), rc);
}

static bool plain_path(const char *s)
{
	if (s[0] != '/' || strlen(s) >= PATH_MAX)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static void put_all(json_t *root, const struct manifest *m, int *rc)
{
	const char *file = fs_basename(m->database);
	char host[256] = "";
	if (gethostname(host, sizeof(host) - 1))
		host[0] = '\0';
	put(root, "version", json_integer(1), rc);
	if (name_is_file(file))
		put(root, "database", json_string(file), rc);
	if (m->app && name_is_app(m->app))
		put(root, "app", json_string(m->app), rc);
	if (m->storage_name && name_is_storage(m->storage_name))
		put(root, "storage", json_string(m->storage_name), rc);
	if (m->container_path && plain_path(m->container_path))
		put(root, "container_path", json_string(m->container_path), rc);
	put_owner(root, m->database, rc);
	put(root, "plugin_version", json_string(LITESTREAM_VERSION), rc);
	if (name_is_storage(host) || name_is_file(host))
		put(root, "host", json_string(host), rc);
	put(root, "fencing", json_string(m->weak_fencing ? "weak" : "strong"), rc);
}

int manifest_make(const struct manifest *m, struct buf *out, struct err *e)
{
	json_t *root = json_object();
	int rc = root ? 0 : -1;
	if (root)
		put_all(root, m, &rc);
	char *text = rc ? NULL : json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	if (!text || buf_printf(out, "%s\n", text)) {
		free(text);
		return err_nomem(e, "writing " MANIFEST_NAME);
	}
	free(text);
	return ERR_OK;
}

int manifest_put(struct store *s, const struct buf *text, struct err *e)
{
	struct store_body body = {.data = text->data, .fd = -1, .size = text->len};
	struct store_put_opts opts = {.single = true};
	return store_put(s, MANIFEST_NAME, &body, &opts, e);
}
