/*
 * Numbers that the programs of the tests are given as options.
 */
#ifndef TESTS_LIB_NUMBER_H
#define TESTS_LIB_NUMBER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Takes a whole number of 0 or more; false, and *n unchanged, when the text is none. */
static inline bool number_take(int64_t *n, const char *text)
{
	char *end;
	int64_t read = strtoll(text, &end, 10);
	if (end == text || *end || read < 0)
		return false;
	*n = read;
	return true;
}

#endif
