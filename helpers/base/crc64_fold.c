/*
 * CRC-64/ISO by folding with carry-less multiplication (PCLMULQDQ on x86-64, PMULL on arm64).
 *
 * A block X of 16 bytes is the polynomial L(x)*x^64 + H(x), L its first 8 bytes, reflected as
 * explained in crc64.c. If D bits follow before the next block, X counts as X*x^D, and modulo P
 * that is L * (x^(D+64) mod P) + H * (x^D mod P): two multiplications of 64 bits by constants,
 * whose products are 128 bits long and can be added to the block D bits later. A product of two
 * reflected words comes out shifted by one, as if multiplied by x once too often, so the constants
 * are x^(D+63) and x^(D-1).
 *
 * Four blocks at a time (D = 512) keep the multiplier busy; at the end they are folded into one
 * (D = 128), and two steps of crc64_times_x64 turn that into the register.
 */
#include "base/crc64.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define FOLD_TARGET __attribute__((target("pclmul,sse2")))

typedef __m128i block;

FOLD_TARGET static inline block load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

FOLD_TARGET static inline block pair(uint64_t lo, uint64_t hi)
{
	return _mm_set_epi64x((long long)hi, (long long)lo);
}

FOLD_TARGET static inline block add(block a, block b)
{
	return _mm_xor_si128(a, b);
}

FOLD_TARGET static inline block fold(block x, block k)
{
	return _mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11));
}

FOLD_TARGET static inline uint64_t low(block x)
{
	return (uint64_t)_mm_cvtsi128_si64(x);
}

FOLD_TARGET static inline uint64_t high(block x)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x));
}

bool crc64_fold_usable(void)
{
	return __builtin_cpu_supports("pclmul") != 0;
}

const char *crc64_fold_name(void)
{
	return "pclmulqdq";
}

#elif defined(__aarch64__) && defined(__AARCH64EL__) && defined(__linux__)

#include <arm_neon.h>
#include <sys/auxv.h>

#ifndef HWCAP_PMULL
#define HWCAP_PMULL (1 << 4)
#endif

#ifdef __clang__
#define FOLD_TARGET __attribute__((target("aes")))
#else
#define FOLD_TARGET __attribute__((target("+crypto")))
#endif

typedef uint64x2_t block;

FOLD_TARGET static inline block load(const uint8_t *p)
{
	return vreinterpretq_u64_u8(vld1q_u8(p));
}

FOLD_TARGET static inline block pair(uint64_t lo, uint64_t hi)
{
	return vcombine_u64(vcreate_u64(lo), vcreate_u64(hi));
}

FOLD_TARGET static inline block add(block a, block b)
{
	return veorq_u64(a, b);
}

FOLD_TARGET static inline block fold(block x, block k)
{
	poly128_t lo = vmull_p64((poly64_t)vgetq_lane_u64(x, 0), (poly64_t)vgetq_lane_u64(k, 0));
	poly128_t hi = vmull_high_p64(vreinterpretq_p64_u64(x), vreinterpretq_p64_u64(k));
	return veorq_u64(vreinterpretq_u64_p128(lo), vreinterpretq_u64_p128(hi));
}

FOLD_TARGET static inline uint64_t low(block x)
{
	return vgetq_lane_u64(x, 0);
}

FOLD_TARGET static inline uint64_t high(block x)
{
	return vgetq_lane_u64(x, 1);
}

bool crc64_fold_usable(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0;
}

const char *crc64_fold_name(void)
{
	return "pmull";
}

#else

bool crc64_fold_usable(void)
{
	return false;
}

const char *crc64_fold_name(void)
{
	return "none";
}

uint64_t crc64_fold(uint64_t crc, const void *data, size_t n)
{
	return crc64_shift(crc, data, n);
}

#endif

#ifdef FOLD_TARGET

FOLD_TARGET static inline block next(block x, block k, const uint8_t *p)
{
	return add(fold(x, k), load(p));
}

/* x^(D+63) and x^(D-1) modulo P, reflected, for D = 512 and D = 128. */
#define K512 pair(UINT64_C(0x01B001B1B0000001), UINT64_C(0xB100010100000001))
#define K128 pair(UINT64_C(0x6B70000000000001), UINT64_C(0xF500000000000001))

FOLD_TARGET uint64_t crc64_fold(uint64_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;
	if (n < 64)
		return crc64_shift(crc, data, n);
	block k = K512;
	block a = add(load(p), pair(~crc, 0)), b = load(p + 16), c = load(p + 32), d = load(p + 48);
	for (p += 64, n -= 64; n >= 64; p += 64, n -= 64) {
		a = next(a, k, p);
		b = next(b, k, p + 16);
		c = next(c, k, p + 32);
		d = next(d, k, p + 48);
	}
	k = K128;
	b = add(fold(a, k), b);
	c = add(fold(b, k), c);
	d = add(fold(c, k), d);
	for (; n >= 16; p += 16, n -= 16)
		d = next(d, k, p);
	uint64_t s = crc64_times_x64(crc64_times_x64(low(d)) ^ high(d));
	return crc64_shift(~s, p, n);
}

#endif
