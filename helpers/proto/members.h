/* How a C struct and a JSON object correspond: one table serves encoding, decoding and freeing. */
#ifndef PROTO_MEMBERS_H
#define PROTO_MEMBERS_H

#include "base/err.h"
#include "base/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TEXT, COUNT, NUMBER and FLAG only; the member has the type that struct json_field wants. */
struct member {
	const char *key;
	enum json_field_type type;
	bool optional; /* NULL text is left out */
	size_t offset;
	uint64_t max;
};

#define MEMBERS_MAX 40

/* A new object of the members of *from, NULL when out of memory. */
json_t *members_encode(const struct member *members, size_t n, const void *from);

/* Reads them into *to (zeroed by the caller). `extra` are n_extra more fields of the same object:
 * "type", arrays, objects. */
int members_decode(const struct member *members, size_t n, void *to, const json_t *object,
	const struct json_field *extra, size_t n_extra, const char *what, struct err *e);

/* Wipes and frees the texts. */
void members_free(const struct member *members, size_t n, void *of);

#endif
