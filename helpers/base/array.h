/* Lists that grow: what sets of files have in common. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

/* The list with one more element, a copy of *item; *count is then one more. NULL when out of
 * memory, with the old list as it was. */
static inline void *array_append(
	void *list, size_t *count, size_t *cap, size_t size, const void *item)
{
	char *grown = array_room(list, *count, cap, size);
	if (grown)
		memcpy(grown + (*count)++ * size, item, size);
	return grown;
}

typedef int array_compare_fn(const void *a, const void *b);

/* Sorts the list by `order`, keeps the first of those that `same` (0: the same) doesn't tell apart,
 * and returns how many are left. Order must put these beside each other. */
static inline size_t array_sort_distinct(
	void *list, size_t count, size_t size, array_compare_fn *order, array_compare_fn *same)
{
	char *first = list;
	size_t kept = count ? 1 : 0;
	if (count)
		qsort(list, count, size, order);
	for (size_t i = 1; i < count; i++) {
		if (same(first + (kept - 1) * size, first + i * size) == 0)
			continue;
		if (kept < i)
			memcpy(first + kept * size, first + i * size, size);
		kept++;
	}
	return kept;
}

/* For comparing: below, at or above 0. */
static inline int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

#endif
