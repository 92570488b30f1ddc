/*
 * Strict reading of JSON objects: every key is known, has the type and the bounds that its table
 * says, and comes once. Used for files and messages alike, so that "unknown keys are errors" is
 * true in one place.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum json_field_type {
	JSON_FIELD_TEXT,   /* char **out: a new string; max = bytes (0 = 255) */
	JSON_FIELD_COUNT,  /* uint64_t *out: 0 or more; max = largest (0 = any) */
	JSON_FIELD_NUMBER, /* int64_t *out: any integer */
	JSON_FIELD_FLAG,   /* bool *out */
	JSON_FIELD_OBJECT, /* json_t **out: borrowed from the object */
	JSON_FIELD_ARRAY,  /* json_t **out: borrowed; max = elements (0 = any) */
};

struct json_field {
	const char *key;
	enum json_field_type type;
	bool optional; /* may be absent or null: *out stays as it was */
	void *out;
	uint64_t max;
};

/* json_loadb, duplicate keys refused. *no_memory: nothing is wrong with the text, perhaps; NULL. */
json_t *json_parse(const void *data, size_t n, json_error_t *where, bool *no_memory);

/*
 * Parses n bytes into a new object (json_decref). `what` names it in messages ("desired/a.json").
 * ERR_USAGE when it is no JSON object, has a key twice, or has text behind it: the message says
 * where, never what stood there (it may be a secret). ERR_NOMEM.
 */
int json_parse_object(const void *data, size_t n, const char *what, json_t **out, struct err *e);

/*
 * Reads the n fields of `object`. ERR_USAGE naming the key that is unknown, missing, of another
 * type or out of bounds; ERR_NOMEM. Strings that were read before the failure are the caller's, so
 * it frees its (at first zeroed) struct in either case.
 */
int json_read_fields(const json_t *object, const struct json_field *fields, size_t n,
	const char *what, struct err *e);

/* Appends the object in one line, without a line feed. ERR_OK, ERR_FULL or ERR_NOMEM. */
int json_append(struct buf *out, const json_t *value);

/* The same with a member a line, for files that people look at. */
int json_append_lines(struct buf *out, const json_t *value);

/*
 * The same, built: each sets object[key] and keeps the first failure in *rc, so that a message is
 * built without a test behind every line. Text that is NULL becomes null; text that is no UTF-8
 * has its bad bytes replaced by '?'.
 */
void json_put(json_t *object, const char *key, json_t *value, int *rc); /* takes the reference */
void json_put_text(json_t *object, const char *key, const char *text, int *rc);
void json_put_int(json_t *object, const char *key, int64_t value, int *rc);
void json_put_flag(json_t *object, const char *key, bool value, int *rc);
void json_put_time(json_t *object, const char *key, int64_t ms, int *rc); /* RFC 3339; 0 = null */

/* Is it UTF-8 (RFC 3629)? jansson says NULL to text that isn't, and for want of memory too. */
bool json_is_utf8(const char *text);

/* Borrowed text of a key, "" when it is absent or no text; for answers that are shown. */
const char *json_text(const json_t *object, const char *key);
int64_t json_int(const json_t *object, const char *key); /* 0 when absent */

#endif
