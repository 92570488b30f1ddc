#include "conf/desired.h"

#include "base/json.h"
#include "conf/names.h"
#include "conf/trusted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 4096
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* A pair of keys, or the machine's role: one of the two. */
static int check_kind(const struct secrets *s, const char *what, struct err *e)
{
	bool pair = s->access_key_id && s->secret_access_key;
	bool any = s->access_key_id || s->secret_access_key || s->session_token;
	if (s->use_iam ? !any : pair)
		return ERR_OK;
	return err_set(e, ERR_USAGE,
		"%s: either \"access_key_id\" and \"secret_access_key\", or \"use_iam\" without them",
		what);
}

int secrets_parse(struct secrets *out, const void *data, size_t n, const char *what, struct err *e)
{
	memset(out, 0, sizeof(*out));
	json_t *root = NULL;
	const struct json_field fields[] = {
		{"access_key_id", JSON_FIELD_TEXT, true, &out->access_key_id, VALUE_MAX},
		{"secret_access_key", JSON_FIELD_TEXT, true, &out->secret_access_key, VALUE_MAX},
		{"session_token", JSON_FIELD_TEXT, true, &out->session_token, VALUE_MAX},
		{"region", JSON_FIELD_TEXT, true, &out->region, 0},
		{"endpoint", JSON_FIELD_TEXT, true, &out->endpoint, 1000},
		{"sse_customer_key", JSON_FIELD_TEXT, true, &out->sse_customer_key, 0},
		{"use_iam", JSON_FIELD_FLAG, true, &out->use_iam, 0},
	};
	int rc = json_parse_object(data, n, what, &root, e);
	if (rc == ERR_OK)
		rc = json_read_fields(root, fields, COUNT_OF(fields), what, e);
	json_decref(root);
	return rc == ERR_OK ? check_kind(out, what, e) : rc;
}

static int read_scope(
	struct secrets *out, const char *dir, const char *scope, uid_t owner, struct err *e)
{
	char name[80];
	snprintf(name, sizeof(name), "%s.json", scope);
	struct buf text;
	buf_init(&text, SECRETS_FILE_MAX);
	/* All of it at once: growing would leave pieces behind that nobody wipes. */
	int rc = buf_reserve(&text, SECRETS_FILE_MAX);
	if (rc != ERR_OK)
		rc = err_nomem(e, "reading credentials");
	else
		rc = trusted_read_file(dir, name, owner, &text, e);
	if (rc == ERR_OK)
		rc = secrets_parse(out, text.data, text.len, name, e);
	buf_wipe(&text);
	return rc;
}

int secrets_read(struct secrets *out, const char *dir, const char *app, uid_t owner, struct err *e)
{
	memset(out, 0, sizeof(*out));
	if (app && !name_is_app(app))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be the name of an app", app);
	int rc = app ? read_scope(out, dir, app, owner, e) : ERR_NOT_FOUND;
	out->own = app && rc == ERR_OK;
	if (rc == ERR_NOT_FOUND)
		rc = read_scope(out, dir, SECRETS_GLOBAL, owner, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return ERR_OK;
	}
	return rc;
}

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void secrets_free(struct secrets *s)
{
	wipe(&s->access_key_id);
	wipe(&s->secret_access_key);
	wipe(&s->session_token);
	wipe(&s->sse_customer_key);
	wipe(&s->region);
	wipe(&s->endpoint);
}
