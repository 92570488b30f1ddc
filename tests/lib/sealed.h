/*
 * Bodies of rows of `commits` that tell by themselves whether they are what was written: eight
 * bytes with the last number of the commit that the row is part of, eight with a checksum of that,
 * of the row's writer and number and of the rest, then random bytes. Native order.
 */
#ifndef TESTS_LIB_SEALED_H
#define TESTS_LIB_SEALED_H

#include "lib/chance.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEALED_MIN 16

struct sealed_row {
	int64_t writer, seq, last;
};

/* Fills n bytes, at least SEALED_MIN; the buffer has room for 7 more. */
void sealed_fill(uint8_t *body, size_t n, const struct sealed_row *row, struct chance *c);

/* Is it the body of this row? Sets row->last. */
bool sealed_is_whole(const uint8_t *body, size_t n, struct sealed_row *row);

#endif
