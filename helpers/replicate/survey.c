#include "replicate/survey.h"

#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/fence.h"
#include "replicate/manifest.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FIRST_PAGE 1000 /* one request: a replica's first names are LTX files */

/* "0000/<name>" or "ltx/0/<name>". */
static int look_at_name(void *ctx, const struct store_object *o, struct err *e)
{
	struct survey *v = ctx;
	const char *file = strrchr(o->name, '/');
	uint64_t min, max;
	(void)e;
	v->occupied = v->occupied || (file && ltx_parse_name(file + 1, &min, &max));
	return ERR_OK;
}

static bool host_name(const char *s)
{
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '.' && *p != '-')
			return false;
	return isalnum((unsigned char)*s);
}

/* Anybody may have written it: a name that isn't one is left out. */
static void take_name(
	const json_t *root, const char *key, bool (*believed)(const char *), char *out, size_t size)
{
	const char *name = json_string_value(json_object_get(root, key));
	if (name && strlen(name) < size && believed(name))
		strcpy(out, name);
}

static void read_names(const struct buf *text, struct survey *v)
{
	json_t *root = json_loadb((const char *)text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
	take_name(root, "app", manifest_app_name, v->app, sizeof(v->app));
	take_name(root, "database", manifest_file_name, v->database, sizeof(v->database));
	take_name(root, "host", host_name, v->host, sizeof(v->host));
	json_decref(root);
}

static int take_part(void *ctx, const void *p, size_t n, struct err *e)
{
	int rc = buf_append(ctx, p, n);
	return rc ? err_set(e, (enum err_code)rc, "%s is larger than a manifest can be", MANIFEST_NAME)
			  : ERR_OK;
}

static int read_manifest(struct store *s, struct survey *v, struct err *e)
{
	struct buf text;
	struct err why = ERR_INIT;
	buf_init(&text, MANIFEST_MAX);
	int rc = store_get(s, MANIFEST_NAME, 0, 0, take_part, &text, &why);
	if (!rc && text.len)
		read_names(&text, v);
	buf_free(&text);
	if (!rc || rc == ERR_NOT_FOUND || rc == ERR_FULL)
		return ERR_OK;
	*e = why;
	return rc;
}

int survey_replica(struct store *s, struct survey *out, struct err *e)
{
	struct err ignored = ERR_INIT;
	*out = (struct survey){0};
	int rc = store_list(s, "", NULL, FIRST_PAGE, look_at_name, out, e);
	if (!rc)
		rc = read_manifest(s, out, e);
	if (!rc)
		rc = fence_probe_object(s, &out->weak_fencing, &out->may_delete, e);
	if (!rc && store_versioned(s, &out->versioned, &ignored))
		log_debug("whether the bucket keeps versions is not known: %s", ignored.text);
	return rc;
}
