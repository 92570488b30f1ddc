#include "replicate/survey.h"

#include "base/buf.h"
#include "base/log.h"
#include "conf/manifest.h"
#include "format/ltxset.h"
#include "format/v3.h"
#include "replicate/fence.h"

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

/* What is in Litestream 0.3's folder: one name is enough. */
static int look_at_legacy(void *ctx, const struct store_object *o, struct err *e)
{
	struct survey *v = ctx;
	(void)o;
	(void)e;
	v->legacy = true;
	return ERR_OK;
}

static void take_names(const struct buf *text, struct survey *v)
{
	struct manifest_facts facts;
	struct err why = ERR_INIT;
	if (manifest_read(text->data, text->len, &facts, &why))
		log_debug("%s", why.text);
	memcpy(v->app, facts.app, sizeof(v->app));
	memcpy(v->database, facts.database, sizeof(v->database));
	memcpy(v->host, facts.host, sizeof(v->host));
}

int survey_manifest(struct store *s, struct survey *v, struct err *e)
{
	struct buf text;
	struct err why = ERR_INIT;
	buf_init(&text, MANIFEST_MAX);
	int rc = store_get_all(s, MANIFEST_NAME, &text, &why);
	if (!rc && text.len)
		take_names(&text, v);
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
		rc = store_list(s, V3_PREFIX, NULL, 1, look_at_legacy, out, e);
	if (!rc)
		rc = survey_manifest(s, out, e);
	if (!rc)
		rc = fence_probe_object(s, &out->weak_fencing, &out->may_delete, e);
	if (!rc && store_versioned(s, &out->versioned, &ignored))
		log_debug("whether the bucket keeps versions is not known: %s", ignored.text);
	return rc;
}
