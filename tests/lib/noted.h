/*
 * Numbers that a program notes outside of SQLite: a file of int64_t in native order, mapped and
 * shared. They survive kill -9 of the program and cost no system call.
 */
#ifndef TESTS_LIB_NOTED_H
#define TESTS_LIB_NOTED_H

#include <stddef.h>
#include <stdint.h>

/* Maps `count` of them; a file that is new holds zeros. NULL with errno when that fails. The
 * mapping lasts as long as the process. */
int64_t *noted_map(const char *path, size_t count);

#endif
