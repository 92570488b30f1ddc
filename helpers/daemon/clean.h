/*
 * Text of a child, at the border: it may have parsed what strangers wrote, and what it says is
 * shown on terminals and written to logs. Control characters become '?'.
 */
#ifndef DAEMON_CLEAN_H
#define DAEMON_CLEAN_H

#include <jansson.h>
#include <stdbool.h>

void clean_text(char *text); /* NULL is fine */

/* Every text in it, keys excepted, at most 8 levels deep. False: deeper, or out of memory. */
bool clean_json(json_t *value);

#endif
