#include "store/s3.h"

#include "net/xml.h"

#include <string.h>

/*
 * GetBucketVersioning:
 *
 *   <VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>
 *
 * "Suspended" keeps the versions of before, but no new ones; no Status: it was never switched on.
 */

static int on_end(void *ctx, const char *path, const char *text, struct err *e)
{
	bool *versioned = ctx;
	(void)e;
	if (!strcmp(path, "VersioningConfiguration/Status"))
		*versioned = !strcmp(text, "Enabled");
	return ERR_OK;
}

int s3_versioned(struct store *s, bool *versioned, struct err *e)
{
	const struct s3 *s3 = s->impl;
	struct s3_call c;
	if (s3->target.provider == S3_BACKBLAZE) {
		*versioned = true; /* every bucket of theirs keeps all versions unless a rule says less */
		return ERR_OK;
	}
	struct xml_handler h = {.end = on_end, .ctx = versioned};
	s3_call_init(&c, "GET", NULL, "ask for versions of", STORE_N_GET);
	c.query = "versioning=";
	int rc = s3_perform(s, &c, e);
	if (!rc && xml_parse(c.r.body.data, c.r.body.len, &h, e)) {
		*versioned = false;
		rc = err_wrap(e, "cannot ask for versions of %s: the answer is not S3's", s->url);
	}
	s3_call_free(&c);
	return rc;
}
