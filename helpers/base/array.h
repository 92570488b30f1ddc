/* Lists that grow: what sets of files have in common. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * Room for one more element of `size` bytes in a list of `count`: the list, moved if it had to grow
 * (*cap elements then, at least twice as many), or NULL when out of memory, with the old one as it
 * was.
 */
static inline void *array_room(void *list, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return list;
	size_t more = *cap ? 2 * *cap : 64;
	void *grown = reallocarray(list, more, size);
	if (grown)
		*cap = more;
	return grown;
}

/* For comparing: below, at or above 0. */
static inline int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

#endif
