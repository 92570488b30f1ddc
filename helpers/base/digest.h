/*
 * Checksums and hashes: CRC-64/ISO as LTX uses it, and libcrypto's SHA-256, HMAC and MD5.
 *
 * CRC-64/ISO here is Go's crc64.ISO: reflected polynomial 0xD800000000000000, initial value and
 * final XOR all ones. It is linear, so it can be folded with carry-less multiplication. How:
 * crc64.c, crc64_fold.c.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continues a CRC over n more bytes: start with 0, feed the result back in. Picks the fastest
 * implementation for this processor at the first call (thread-safe). At least 2 GB/s on one core
 * where the processor has carry-less multiplication.
 */
uint64_t crc64_iso(uint64_t crc, const void *data, size_t n);

/* The same, a byte at a time by table: what the fast ones are checked against. */
uint64_t crc64_iso_bytewise(uint64_t crc, const void *data, size_t n);

/* The name of the implementation that crc64_iso uses here ("pclmulqdq", "pmull", "shift"). */
const char *crc64_iso_name(void);

/* The CRC of a piece with CRC `a` and len_b bytes with CRC `b` behind it. Some microseconds. */
uint64_t crc64_iso_combine(uint64_t a, uint64_t b, uint64_t len_b);

/* The same for pieces of one length, in nanoseconds: crc64_append(s, a) ^ b. */
struct crc64_append {
	uint64_t table[8][256];
};
void crc64_append_init(struct crc64_append *s, uint64_t len);
uint64_t crc64_append(const struct crc64_append *s, uint64_t crc);

#define SHA256_LEN 32
#define SHA256_HEX_LEN 65 /* with the NUL */
#define MD5_LEN 16

/*
 * Has libcrypto load what the functions below need, which the first of them would do otherwise: its
 * configuration and its provider. -1: it can't be used. What libcrypto fails to load, for want of
 * memory, it never tries again in this process.
 */
int digest_prepare(void);

struct sha256; /* a running hash */

/* NULL when out of memory. */
struct sha256 *sha256_new(void);
void sha256_update(struct sha256 *h, const void *data, size_t n);
/* Writes the digest and frees h. */
void sha256_final(struct sha256 *h, uint8_t out[SHA256_LEN]);
void sha256_free(struct sha256 *h); /* NULL is fine */

/* One call. 0, or -1 when libcrypto failed (out of memory, MD5 forbidden by FIPS). */
int digest_sha256(const void *data, size_t n, uint8_t out[SHA256_LEN]);
int digest_hmac_sha256(
	const void *key, size_t key_len, const void *data, size_t n, uint8_t out[SHA256_LEN]);
int digest_md5(const void *data, size_t n, uint8_t out[MD5_LEN]);

/* Lower-case hex with NUL: out holds 2 n + 1 bytes. */
void digest_hex(const uint8_t *p, size_t n, char *out);

/* Base64 with padding and NUL: out holds 4 * ((n + 2) / 3) + 1 bytes. */
void digest_base64(const uint8_t *p, size_t n, char *out);

#endif
