#include "daemon/clean.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8

void clean_text(char *text)
{
	for (char *p = text; p && *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
}

static bool clean_string(json_t *value)
{
	char *copy = strdup(json_string_value(value));
	clean_text(copy);
	bool ok = copy && json_string_set(value, copy) == 0;
	free(copy);
	return ok;
}

static bool clean_inner(json_t *value, int depth)
{
	if (json_is_string(value))
		return clean_string(value);
	if (depth == 0)
		return !json_is_object(value) && !json_is_array(value);
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (!clean_inner(json_array_get(value, i), depth - 1))
			return false;
	}
	for (void *it = json_object_iter(value); it; it = json_object_iter_next(value, it)) {
		if (!clean_inner(json_object_iter_value(it), depth - 1))
			return false;
	}
	return true;
}

bool clean_json(json_t *value)
{
	return clean_inner(value, DEPTH_MAX);
}
