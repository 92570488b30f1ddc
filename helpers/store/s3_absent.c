#include "store/s3.h"

#include <string.h>

/*
 * A 403 that may mean 404. Who may not list a bucket is not told that an object does not exist
 * (S3's reference, GetObject, "Permissions"). A policy that allows listing under a condition on
 * the prefix, as keys for one app have it, does not count there, because a GET has no prefix
 * (radosgw does the same). But the object's folder can be listed with such keys, and that tells.
 */

#define NAME_MAX_BYTES 1024 /* S3's bound for a key */

struct first {
	const char *base;
	bool is_behind, is_any; /* the first name that was listed stands behind `base` */
};

static int note_first(void *ctx, const struct store_object *o, struct err *e)
{
	struct first *f = ctx;
	(void)e;
	f->is_behind = !f->is_any && strcmp(o->name, f->base) > 0;
	f->is_any = true;
	return ERR_OK;
}

int s3_denied_or_absent(struct store *s, const struct s3_call *c, int rc, struct err *e)
{
	char folder[NAME_MAX_BYTES], after[NAME_MAX_BYTES];
	const char *slash = strrchr(c->name, '/'), *base = slash ? slash + 1 : c->name;
	size_t n = (size_t)(base - c->name), m = strlen(base);
	bool plain = !*c->refusal.code || !strcmp(c->refusal.code, "AccessDenied");
	if (rc != ERR_DENIED || c->r.status != 403 || !plain || m == 0 || n + m >= sizeof(folder))
		return rc;
	memcpy(folder, c->name, n);
	folder[n] = '\0';
	/* What is listed behind this begins with the name itself, or with what nobody names so. */
	memcpy(after, base, m - 1);
	after[m - 1] = '\0';
	struct first f = {.base = base};
	struct err ignored = ERR_INIT;
	if (s3_list(s, folder, after, 1, note_first, &f, &ignored) || (f.is_any && !f.is_behind))
		return rc;
	return err_set(e, ERR_NOT_FOUND, "there is no %s/%s", s->url, c->name);
}
