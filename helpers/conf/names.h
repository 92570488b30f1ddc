/*
 * Which names this program believes: those that it makes paths of, whoever wrote them.
 */
#ifndef CONF_NAMES_H
#define CONF_NAMES_H

#include <stdbool.h>

bool name_is_app(const char *s);     /* ^[a-z0-9][a-z0-9.-]{0,62}$ */
bool name_is_storage(const char *s); /* ^[A-Za-z0-9_-]{1,45}$ */
bool name_is_id(const char *s);      /* ^[a-z0-9][a-z0-9.-]{0,126}$: a folder below state/ */

/* ^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$, not ending in -wal, -shm or -journal: a database's file. */
bool name_is_file(const char *s);

/* An absolute path of at most 1000 bytes without empty, "." or ".." parts, "/" at the end or
 * control characters; "/" itself is none. */
bool name_is_folder(const char *s);

#endif
