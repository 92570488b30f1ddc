#include "base/json.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_DEFAULT 255

/*
 * Jansson does not always tell a want of memory from a text that is wrong; and where it had no room
 * to let a string grow it goes on, with a character less in it. So its allocations are watched.
 */
static pthread_once_t watched = PTHREAD_ONCE_INIT;
static __thread bool refused;

static void *watched_malloc(size_t n)
{
	void *p = malloc(n);
	refused = refused || !p;
	return p;
}

static void watch(void)
{
	json_set_alloc_funcs(watched_malloc, free);
}

json_t *json_parse(const void *data, size_t n, json_error_t *where, bool *no_memory)
{
	pthread_once(&watched, watch);
	refused = false;
	json_t *value = json_loadb(data ? data : "", n, JSON_REJECT_DUPLICATES, where);
	*no_memory = refused;
	if (!refused)
		return value;
	json_decref(value);
	return NULL;
}

int json_parse_object(const void *data, size_t n, const char *what, json_t **out, struct err *e)
{
	json_error_t where;
	*out = NULL;
	bool no_memory;
	json_t *value = json_parse(data, n, &where, &no_memory);
	if (no_memory)
		return err_nomem(e, "reading JSON");
	/* Jansson's own text quotes what it found: only the place is told. */
	if (!value)
		return err_set(
			e, ERR_USAGE, "%s is not JSON (line %d, column %d)", what, where.line, where.column);
	if (!json_is_object(value)) {
		json_decref(value);
		return err_set(e, ERR_USAGE, "%s is not a JSON object", what);
	}
	*out = value;
	return ERR_OK;
}

static int wrong_type(const struct json_field *f, const char *what, struct err *e)
{
	static const char *const names[] = {
		[JSON_FIELD_TEXT] = "a text",
		[JSON_FIELD_COUNT] = "a number, 0 or more",
		[JSON_FIELD_NUMBER] = "a whole number",
		[JSON_FIELD_FLAG] = "true or false",
		[JSON_FIELD_OBJECT] = "an object",
		[JSON_FIELD_ARRAY] = "an array",
	};
	return err_set(e, ERR_USAGE, "%s: \"%s\" must be %s", what, f->key, names[f->type]);
}

static int read_text(
	const json_t *value, const struct json_field *f, const char *what, struct err *e)
{
	if (!json_is_string(value))
		return wrong_type(f, what, e);
	uint64_t max = f->max ? f->max : TEXT_MAX_DEFAULT;
	if (json_string_length(value) > max)
		return err_set(e, ERR_USAGE, "%s: \"%s\" is longer than %llu bytes", what, f->key,
			(unsigned long long)max);
	char *copy = strdup(json_string_value(value));
	if (!copy)
		return err_nomem(e, "reading JSON");
	*(char **)f->out = copy;
	return ERR_OK;
}

static int read_number(
	const json_t *value, const struct json_field *f, const char *what, struct err *e)
{
	if (!json_is_integer(value))
		return wrong_type(f, what, e);
	json_int_t n = json_integer_value(value);
	if (f->type == JSON_FIELD_NUMBER) {
		*(int64_t *)f->out = n;
		return ERR_OK;
	}
	if (n < 0)
		return wrong_type(f, what, e);
	if (f->max && (uint64_t)n > f->max)
		return err_set(
			e, ERR_USAGE, "%s: \"%s\" is more than %llu", what, f->key, (unsigned long long)f->max);
	*(uint64_t *)f->out = (uint64_t)n;
	return ERR_OK;
}

static int read_inner(json_t *value, const struct json_field *f, const char *what, struct err *e)
{
	if (f->type == JSON_FIELD_OBJECT ? !json_is_object(value) : !json_is_array(value))
		return wrong_type(f, what, e);
	if (f->type == JSON_FIELD_ARRAY && f->max && json_array_size(value) > f->max)
		return err_set(e, ERR_USAGE, "%s: \"%s\" has more than %llu elements", what, f->key,
			(unsigned long long)f->max);
	*(json_t **)f->out = value;
	return ERR_OK;
}

static int read_field(json_t *value, const struct json_field *f, const char *what, struct err *e)
{
	if (!value || (json_is_null(value) && f->optional))
		return f->optional ? ERR_OK : err_set(e, ERR_USAGE, "%s: \"%s\" is missing", what, f->key);
	switch (f->type) {
	case JSON_FIELD_TEXT:
		return read_text(value, f, what, e);
	case JSON_FIELD_COUNT:
	case JSON_FIELD_NUMBER:
		return read_number(value, f, what, e);
	case JSON_FIELD_FLAG:
		if (!json_is_boolean(value))
			return wrong_type(f, what, e);
		*(bool *)f->out = json_is_true(value);
		return ERR_OK;
	case JSON_FIELD_OBJECT:
	case JSON_FIELD_ARRAY:
		return read_inner(value, f, what, e);
	}
	return err_set(e, ERR_FAIL, "%s: field of an unknown type", what);
}

static bool known(const char *key, const struct json_field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(fields[i].key, key) == 0)
			return true;
	}
	return false;
}

int json_read_fields(const json_t *object, const struct json_field *fields, size_t n,
	const char *what, struct err *e)
{
	if (!json_is_object(object))
		return err_set(e, ERR_USAGE, "%s is not a JSON object", what);
	for (void *it = json_object_iter((json_t *)object); it;
		 it = json_object_iter_next((json_t *)object, it)) {
		const char *key = json_object_iter_key(it);
		if (!known(key, fields, n))
			return err_set(e, ERR_USAGE, "%s: unknown key \"%.64s\"", what, key);
	}
	for (size_t i = 0; i < n; i++) {
		int rc = read_field(json_object_get(object, fields[i].key), &fields[i], what, e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

struct append_ctx {
	struct buf *out;
	int rc;
};

static int append_part(const char *data, size_t n, void *arg)
{
	struct append_ctx *ctx = arg;
	/* jansson goes on after some failures: without the part that failed it would be another text.
	 */
	if (ctx->rc == ERR_OK)
		ctx->rc = buf_append(ctx->out, data, n);
	return ctx->rc == ERR_OK ? 0 : -1;
}

static int append_as(struct buf *out, const json_t *value, size_t flags)
{
	struct append_ctx ctx = {out, ERR_OK};
	size_t before = out->len;
	if (value && json_dump_callback(value, append_part, &ctx, flags) == 0 && ctx.rc == ERR_OK)
		return ERR_OK;
	if (out->data)
		out->data[out->len = before] = '\0';
	return ctx.rc != ERR_OK ? ctx.rc : ERR_NOMEM;
}

int json_append(struct buf *out, const json_t *value)
{
	return append_as(out, value, JSON_COMPACT);
}

int json_append_lines(struct buf *out, const json_t *value)
{
	return append_as(out, value, JSON_INDENT(2));
}

void json_put(json_t *object, const char *key, json_t *value, int *rc)
{
	if (json_object_set_new(object, key, value) != 0 && *rc == ERR_OK)
		*rc = ERR_NOMEM;
}

/* Bytes of the sequence that begins with this one, 0 for none. */
static int sequence(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if (first >= 0xe0 && first <= 0xef)
		return 3;
	return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

bool json_is_utf8(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		int n = sequence(*p);
		/* What is too long for its value, a surrogate, or past the last character. */
		bool bad = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
				   (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f);
		if (n == 0 || bad)
			return false;
		for (p++; --n > 0; p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

/* Error texts hold paths, and those may be any bytes. */
static json_t *lenient_string(const char *text)
{
	json_t *s = json_string(text);
	if (s || json_is_utf8(text))
		return s;
	char *copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	s = json_string(copy);
	free(copy);
	return s;
}

void json_put_text(json_t *object, const char *key, const char *text, int *rc)
{
	json_put(object, key, text ? lenient_string(text) : json_null(), rc);
}

void json_put_int(json_t *object, const char *key, int64_t value, int *rc)
{
	json_put(object, key, json_integer(value), rc);
}

void json_put_flag(json_t *object, const char *key, bool value, int *rc)
{
	json_put(object, key, json_boolean(value), rc);
}

void json_put_time(json_t *object, const char *key, int64_t ms, int *rc)
{
	char text[32];
	if (ms > 0)
		clock_format_rfc3339(ms, text);
	json_put_text(object, key, ms > 0 ? text : NULL, rc);
}

const char *json_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

int64_t json_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}
