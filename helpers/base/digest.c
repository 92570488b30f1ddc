#include "base/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

struct sha256 {
	EVP_MD_CTX *ctx;
	int failed;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
		sha256_free(h);
		return NULL;
	}
	return h;
}

void sha256_update(struct sha256 *h, const void *data, size_t n)
{
	if (n && EVP_DigestUpdate(h->ctx, data, n) != 1)
		h->failed = 1;
}

/* Once begun, SHA-256 allocates nothing and can't fail. Should it ever, zeros are a hash that
 * nobody's data has: what was signed with it is refused. */
void sha256_final(struct sha256 *h, uint8_t out[SHA256_LEN])
{
	if (EVP_DigestFinal_ex(h->ctx, out, NULL) != 1 || h->failed)
		memset(out, 0, SHA256_LEN);
	sha256_free(h);
}

void sha256_free(struct sha256 *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

int digest_sha256(const void *data, size_t n, uint8_t out[SHA256_LEN])
{
	return EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

int digest_hmac_sha256(
	const void *key, size_t key_len, const void *data, size_t n, uint8_t out[SHA256_LEN])
{
	/* An empty key is a key; a NULL one would mean "the key from before" to libcrypto. */
	if (key_len > INT_MAX)
		return -1;
	return HMAC(EVP_sha256(), key_len ? key : "", (int)key_len, data, n, out, NULL) ? 0 : -1;
}

int digest_prepare(void)
{
	uint8_t out[SHA256_LEN];
	return digest_hmac_sha256("", 0, "", 0, out);
}

int digest_md5(const void *data, size_t n, uint8_t out[MD5_LEN])
{
	return EVP_Digest(data, n, out, NULL, EVP_md5(), NULL) == 1 ? 0 : -1;
}

void digest_hex(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

void digest_base64(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (; n > 0; p += 3, out += 4) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
		out[0] = digits[v >> 18];
		out[1] = digits[v >> 12 & 63];
		out[2] = n > 1 ? digits[v >> 6 & 63] : '=';
		out[3] = n > 2 ? digits[v & 63] : '=';
		n -= n > 3 ? 3 : n;
	}
	*out = '\0';
}
