/* CRC-64 against its byte-wise form, hashes and encodings against published vectors. */
#include "base/crc64.h"
#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 1;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(next_random() >> 32);
}

typedef uint64_t (*crc64_fn)(uint64_t crc, const void *data, size_t n);

static const crc64_fn implementations[] = {crc64_iso, crc64_shift, crc64_fold};

static bool usable(crc64_fn fn)
{
	return fn != crc64_fold || crc64_fold_usable();
}

/* Go's crc64.ISO over "123456789" is the check value of CRC-64/GO-ISO. */
static void test_crc_check_value(void **state)
{
	(void)state;
	assert_true(crc64_iso_bytewise(0, "123456789", 9) == UINT64_C(0xb90956c775a41001));
	assert_true(crc64_iso(0, "123456789", 9) == UINT64_C(0xb90956c775a41001));
	assert_true(crc64_iso(0, "", 0) == 0);
}

/* Every length, at each of 16 starts; each buffer is cut to size so that ASan sees overreads. */
static void test_crc_every_length(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 4096; n++) {
		size_t shift = n % 16;
		uint8_t *block = malloc(n + shift + 1);
		assert_non_null(block);
		fill(block, n + shift);
		uint64_t start = next_random();
		uint64_t want = crc64_iso_bytewise(start, block + shift, n);
		for (size_t i = 0; i < sizeof(implementations) / sizeof(implementations[0]); i++)
			if (usable(implementations[i]))
				assert_true(implementations[i](start, block + shift, n) == want);
		free(block);
	}
}

static void test_crc_unaligned(void **state)
{
	(void)state;
	uint8_t block[512];
	fill(block, sizeof(block));
	for (size_t at = 0; at < 64; at++) {
		for (size_t n = 0; n < sizeof(block) - at; n += 7) {
			uint64_t want = crc64_iso_bytewise(0, block + at, n);
			for (size_t i = 0; i < sizeof(implementations) / sizeof(implementations[0]); i++)
				if (usable(implementations[i]))
					assert_true(implementations[i](0, block + at, n) == want);
		}
	}
}

static void test_crc_split(void **state)
{
	(void)state;
	size_t n = 70000;
	uint8_t *block = malloc(n);
	assert_non_null(block);
	fill(block, n);
	uint64_t want = crc64_iso_bytewise(0, block, n);
	for (int round = 0; round < 100; round++) {
		uint64_t crc = 0;
		for (size_t done = 0; done < n;) {
			size_t part = next_random() % (round % 2 ? 5000 : 200) + 1;
			part = part > n - done ? n - done : part;
			crc64_fn fn = implementations[next_random() % 3];
			crc = (usable(fn) ? fn : crc64_shift)(crc, block + done, part);
			done += part;
		}
		assert_true(crc == want);
	}
	free(block);
}

static void test_crc_of_pieces(void **state)
{
	(void)state;
	static const size_t lengths[] = {0, 1, 4, 10, 511, 512, 4096, 4106, 65546};
	uint8_t *block = malloc(2 * 65546);
	assert_non_null(block);
	fill(block, 2 * 65546);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct crc64_append append;
		crc64_append_init(&append, lengths[i]);
		for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
			uint64_t a = crc64_iso(0, block, lengths[k]);
			uint64_t b = crc64_iso(0, block + lengths[k], lengths[i]);
			uint64_t want = crc64_iso_bytewise(0, block, lengths[k] + lengths[i]);
			assert_true(crc64_iso_combine(a, b, lengths[i]) == want);
			assert_true((crc64_append(&append, a) ^ b) == want);
		}
	}
	/* Longer than what is at hand: pieces of pieces. */
	uint64_t one = crc64_iso(0, block, 65546), many = 0;
	for (int i = 0; i < 100; i++)
		many = crc64_iso_combine(many, one, 65546);
	uint64_t half = 0;
	for (int i = 0; i < 50; i++)
		half = crc64_iso_combine(half, one, 65546);
	assert_true(crc64_iso_combine(half, half, 50 * 65546) == many);
	free(block);
}

static void test_crc_choice(void **state)
{
	(void)state;
	assert_string_equal(crc64_iso_name(), crc64_fold_usable() ? crc64_fold_name() : "shift");
}

static void assert_hex(const uint8_t *p, size_t n, const char *want)
{
	char hex[2 * 64 + 1];
	assert_true(n <= 64);
	digest_hex(p, n, hex);
	assert_string_equal(hex, want);
}

/* FIPS 180-4 examples. */
static void test_sha256(void **state)
{
	(void)state;
	uint8_t out[SHA256_LEN];
	assert_int_equal(digest_sha256("abc", 3, out), 0);
	assert_hex(
		out, sizeof(out), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest_sha256("", 0, out), 0);
	assert_hex(
		out, sizeof(out), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	static const char text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	struct sha256 *h = sha256_new();
	assert_non_null(h);
	for (size_t i = 0; text[i]; i++)
		sha256_update(h, text + i, 1);
	sha256_update(h, NULL, 0);
	sha256_final(h, out);
	assert_hex(
		out, sizeof(out), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	sha256_free(sha256_new());
	sha256_free(NULL);
}

/* RFC 4231, cases 1, 2 and 6 (a key longer than a block); and an empty key. */
static void test_hmac(void **state)
{
	(void)state;
	uint8_t out[SHA256_LEN], key[131];
	memset(key, 0x0b, 20);
	assert_int_equal(digest_hmac_sha256(key, 20, "Hi There", 8, out), 0);
	assert_hex(
		out, sizeof(out), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_int_equal(digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out), 0);
	assert_hex(
		out, sizeof(out), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, 131);
	static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	assert_int_equal(digest_hmac_sha256(key, 131, text, sizeof(text) - 1, out), 0);
	assert_hex(
		out, sizeof(out), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	assert_int_equal(digest_hmac_sha256(NULL, 0, "", 0, out), 0);
	assert_hex(
		out, sizeof(out), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 1321. */
static void test_md5(void **state)
{
	(void)state;
	uint8_t out[MD5_LEN];
	assert_int_equal(digest_md5("message digest", 14, out), 0);
	assert_hex(out, sizeof(out), "f96b697d7cb7938d525a2f31aaf161d0");
	assert_int_equal(digest_md5("", 0, out), 0);
	assert_hex(out, sizeof(out), "d41d8cd98f00b204e9800998ecf8427e");
}

/* RFC 4648, section 10; the block is cut to size. */
static void test_base64(void **state)
{
	(void)state;
	static const char *const want[] = {
		"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	for (size_t n = 0; n <= 6; n++) {
		char *out = malloc(4 * ((n + 2) / 3) + 1);
		uint8_t *in = malloc(n + 1);
		assert_true(out && in);
		memcpy(in, "foobar", n);
		digest_base64(in, n, out);
		assert_string_equal(out, want[n]);
		free(out);
		free(in);
	}
	const uint8_t high[] = {0xff, 0xef, 0xbe};
	char text[5];
	digest_base64(high, 3, text);
	assert_string_equal(text, "/+++");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc_check_value),
		cmocka_unit_test(test_crc_every_length),
		cmocka_unit_test(test_crc_unaligned),
		cmocka_unit_test(test_crc_split),
		cmocka_unit_test(test_crc_of_pieces),
		cmocka_unit_test(test_crc_choice),
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_md5),
		cmocka_unit_test(test_base64),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
