/*
 * CRC-64/ISO without tables.
 *
 * The polynomial is P(x) = x^64 + x^4 + x^3 + x + 1. "Reflected" means that bit i of a 64-bit word
 * is the coefficient of x^(63-i), so multiplying by x is a shift to the right, and the bits that
 * fall out on the right are those of degree 64 and up.
 *
 * Taking 8 bytes V (register XOR input, little-endian) through the register is V(x) * x^64 mod P.
 * Modulo P, x^64 equals Q(x) = x^4 + x^3 + x + 1, which has so few terms that multiplying by it is
 * three shifts: V*Q. Its degree goes up to 67; the four coefficients too high, O(x), come back as
 * O*Q, of degree 7 at most. Both products together are (V + O) * Q, and Q = (x + 1) * (x^3 + 1):
 *     v ^= v << 63 ^ v << 61 ^ v << 60     what falls out of V*x, V*x^3, V*x^4: O, added to V
 *     v ^= v >> 1                          times x + 1
 *     v ^= v >> 3                          times x^3 + 1
 * No table means no cache misses and no memory, and it is faster than slicing by 16.
 */
#include "base/crc64.h"
#include "base/digest.h"
#include "base/endian.h"

#include <pthread.h>
#include <stdatomic.h>

#define POLYNOMIAL UINT64_C(0xD800000000000000)

static uint64_t byte_table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t v = i;
		for (int bit = 0; bit < 8; bit++)
			v = v & 1 ? v >> 1 ^ POLYNOMIAL : v >> 1;
		byte_table[i] = v;
	}
}

uint64_t crc64_iso_bytewise(uint64_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	pthread_once(&table_once, make_table);
	crc = ~crc;
	for (size_t i = 0; i < n; i++)
		crc = byte_table[(uint8_t)crc ^ p[i]] ^ crc >> 8;
	return ~crc;
}

/* n bytes move the register by 8 n bits: its low bits go out through x^64, the others move down. */
uint64_t crc64_tail(uint64_t s, const uint8_t *p, size_t n)
{
	if (n == 0)
		return s;
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	s ^= v;
	return s >> 8 * n ^ crc64_times_x64(s << (64 - 8 * n));
}

uint64_t crc64_shift(uint64_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	uint64_t s = ~crc;
	for (; n >= 8; p += 8, n -= 8)
		s = crc64_times_x64(s ^ get_le64(p));
	return ~crc64_tail(s, p, n);
}

typedef uint64_t (*crc64_fn)(uint64_t crc, const void *data, size_t n);

/* Two threads may both choose: they choose the same. */
static crc64_fn choose(void)
{
	static _Atomic(crc64_fn) chosen;
	crc64_fn fn = atomic_load_explicit(&chosen, memory_order_relaxed);
	if (!fn) {
		fn = crc64_fold_usable() ? crc64_fold : crc64_shift;
		atomic_store_explicit(&chosen, fn, memory_order_relaxed);
	}
	return fn;
}

uint64_t crc64_iso(uint64_t crc, const void *data, size_t n)
{
	return choose()(crc, data, n);
}

const char *crc64_iso_name(void)
{
	return choose() == crc64_fold ? crc64_fold_name() : "shift";
}
