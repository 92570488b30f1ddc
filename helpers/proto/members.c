#include "proto/members.h"

#include <stdlib.h>
#include <string.h>

static void encode_one(json_t *object, const struct member *m, const void *at, int *rc)
{
	switch (m->type) {
	case JSON_FIELD_TEXT:
		if (*(char *const *)at || !m->optional)
			json_put_text(object, m->key, *(char *const *)at, rc);
		break;
	case JSON_FIELD_COUNT:
		json_put_int(object, m->key, (int64_t)(*(const uint64_t *)at & INT64_MAX), rc);
		break;
	case JSON_FIELD_NUMBER:
		json_put_int(object, m->key, *(const int64_t *)at, rc);
		break;
	case JSON_FIELD_FLAG:
		json_put_flag(object, m->key, *(const bool *)at, rc);
		break;
	case JSON_FIELD_OBJECT:
	case JSON_FIELD_ARRAY:
		break;
	}
}

json_t *members_encode(const struct member *members, size_t n, const void *from)
{
	json_t *object = json_object();
	int rc = object ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; i < n && rc == ERR_OK; i++)
		encode_one(object, &members[i], (const char *)from + members[i].offset, &rc);
	if (rc != ERR_OK) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int members_decode(const struct member *members, size_t n, void *to, const json_t *object,
	const struct json_field *extra, size_t n_extra, const char *what, struct err *e)
{
	struct json_field fields[MEMBERS_MAX];
	if (n + n_extra > MEMBERS_MAX)
		return err_set(e, ERR_FAIL, "%s: too many members for one table", what);
	for (size_t i = 0; i < n; i++)
		fields[i] = (struct json_field){members[i].key, members[i].type, members[i].optional,
			(char *)to + members[i].offset, members[i].max};
	for (size_t i = 0; i < n_extra; i++)
		fields[n + i] = extra[i];
	return json_read_fields(object, fields, n + n_extra, what, e);
}

void members_free(const struct member *members, size_t n, void *of)
{
	for (size_t i = 0; i < n; i++) {
		if (members[i].type != JSON_FIELD_TEXT)
			continue;
		char **text = (char **)((char *)of + members[i].offset);
		if (*text)
			explicit_bzero(*text, strlen(*text));
		free(*text);
		*text = NULL;
	}
}
