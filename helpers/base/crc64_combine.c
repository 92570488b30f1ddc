/*
 * The CRC of two pieces from the CRCs of each. A CRC is what is left of the data, taken as a
 * polynomial, modulo P; n bytes behind it multiply it by x^(8n). As a register is reflected, x^0 is
 * its highest bit. The ones at the beginning and the end cancel out.
 */
#include "base/digest.h"

#define POLY UINT64_C(0xD800000000000000)
#define ONE (UINT64_C(1) << 63)
#define X8 (ONE >> 8)

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product = 0;
	for (; a; a <<= 1) {
		if (a & ONE)
			product ^= b;
		b = b >> 1 ^ (b & 1 ? POLY : 0);
	}
	return product;
}

/* x^(8n) */
static uint64_t power(uint64_t n)
{
	uint64_t p = ONE;
	for (uint64_t square = X8; n; n >>= 1, square = times(square, square))
		if (n & 1)
			p = times(square, p);
	return p;
}

uint64_t crc64_iso_combine(uint64_t a, uint64_t b, uint64_t len_b)
{
	return times(power(len_b), a) ^ b;
}

void crc64_append_init(struct crc64_append *s, uint64_t len)
{
	uint64_t p = power(len);
	for (int byte = 0; byte < 8; byte++) {
		s->table[byte][0] = 0;
		for (int bit = 0; bit < 8; bit++)
			s->table[byte][1 << bit] = times(p, UINT64_C(1) << (8 * byte + bit));
		for (int v = 1; v < 256; v++)
			s->table[byte][v] = s->table[byte][v & (v - 1)] ^ s->table[byte][v & -v];
	}
}

uint64_t crc64_append(const struct crc64_append *s, uint64_t crc)
{
	uint64_t out = 0;
	for (int byte = 0; byte < 8; byte++)
		out ^= s->table[byte][crc >> 8 * byte & 255];
	return out;
}
