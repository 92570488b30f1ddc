/*
 * The implementations behind crc64_iso (base/digest.h), for the choice between them, the test that
 * compares them and the benchmark. Each takes and returns the same values as crc64_iso.
 */
#ifndef BASE_CRC64_H
#define BASE_CRC64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Eight bytes at a time with shifts alone: works everywhere, needs no table. */
uint64_t crc64_shift(uint64_t crc, const void *data, size_t n);

/* Sixty-four bytes at a time with carry-less multiplication. Only where crc64_fold_usable(). */
uint64_t crc64_fold(uint64_t crc, const void *data, size_t n);

/* Does this processor have the instructions, and was code for them compiled? */
bool crc64_fold_usable(void);

/* "pclmulqdq", "pmull" or, where no code for folding was compiled, "none". */
const char *crc64_fold_name(void);

/*
 * V(x) * x^64 modulo the polynomial, for a reflected V: the CRC register after the 8 bytes V went
 * through it. See crc64.c.
 */
static inline uint64_t crc64_times_x64(uint64_t v)
{
	v ^= v << 63 ^ v << 61 ^ v << 60;
	v ^= v >> 1;
	return v ^ v >> 3;
}

/* The same for the bytes that are left over: n < 8 of them, register s not inverted. */
uint64_t crc64_tail(uint64_t s, const uint8_t *p, size_t n);

#endif
