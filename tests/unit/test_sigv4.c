/*
 * Signatures against AWS's published examples: the four of "Examples: Signature Calculations in AWS
 * Signature Version 4" in Amazon S3's API reference (bucket examplebucket, 2013-05-24), and some of
 * the Signature Version 4 test suite (2015-08-30).
 */
#include "net/sigv4.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#define S3_TIME INT64_C(1369353600000)    /* 2013-05-24T00:00:00Z */
#define SUITE_TIME INT64_C(1440938160000) /* 2015-08-30T12:36:00Z */

static struct sigv4_request s3_example(void)
{
	return (struct sigv4_request){
		.method = "GET",
		.path = "/",
		.query = "",
		.payload_hash = SIGV4_EMPTY_SHA256,
		.access_key_id = "AKIAIOSFODNN7EXAMPLE",
		.secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1",
		.service = "s3",
		.wall_ms = S3_TIME,
	};
}

static struct sigv4_request suite_example(void)
{
	struct sigv4_request r = s3_example();
	r.access_key_id = "AKIDEXAMPLE";
	r.secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
	r.service = "service";
	r.wall_ms = SUITE_TIME;
	return r;
}

static void assert_signature(
	struct sigv4_request *r, const struct sigv4_header *headers, size_t n, const char *expected)
{
	struct buf out, canonical;
	struct err e = ERR_INIT;
	r->headers = headers;
	r->n_headers = n;
	buf_init(&out, 4096);
	buf_init(&canonical, 8192);
	assert_int_equal(sigv4_sign(r, &out, &canonical, &e), ERR_OK);
	const char *signature = strstr(buf_str(&out), "Signature=");
	assert_non_null(signature);
	if (strcmp(signature + 10, expected) != 0)
		fail_msg("%s instead of %s for\n%s", signature, expected, buf_str(&canonical));
	buf_free(&out);
	buf_free(&canonical);
}

#define SIGN(r, headers, expected) \
	assert_signature(r, headers, sizeof(headers) / sizeof((headers)[0]), expected)

static void signs_a_get_of_an_object(void **state)
{
	(void)state;
	struct sigv4_request r = s3_example();
	r.path = "/test.txt";
	const struct sigv4_header headers[] = {{"Host", "examplebucket.s3.amazonaws.com"},
		{"Range", "bytes=0-9"}, {"x-amz-content-sha256", SIGV4_EMPTY_SHA256},
		{"x-amz-date", "20130524T000000Z"}};
	SIGN(&r, headers, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	struct buf out;
	struct err e = ERR_INIT;
	buf_init(&out, 4096);
	assert_int_equal(sigv4_sign(&r, &out, NULL, &e), ERR_OK);
	assert_string_equal(buf_str(&out),
		"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	buf_free(&out);
}

static void signs_a_put_with_a_payload(void **state)
{
	(void)state;
	struct sigv4_request r = s3_example();
	r.method = "PUT";
	r.path = "/test%24file.text";
	r.payload_hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	const struct sigv4_header headers[] = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
		{"Host", "examplebucket.s3.amazonaws.com"}, {"x-amz-content-sha256", r.payload_hash},
		{"x-amz-date", "20130524T000000Z"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
	SIGN(&r, headers, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static const struct sigv4_header bucket_headers[] = {{"Host", "examplebucket.s3.amazonaws.com"},
	{"x-amz-content-sha256", SIGV4_EMPTY_SHA256}, {"x-amz-date", "20130524T000000Z"}};

static void signs_a_parameter_without_a_value(void **state)
{
	(void)state;
	struct sigv4_request r = s3_example();
	r.query = "lifecycle=";
	SIGN(&r, bucket_headers, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	r.query = "lifecycle";
	SIGN(&r, bucket_headers, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void signs_a_listing(void **state)
{
	(void)state;
	struct sigv4_request r = s3_example();
	r.query = "max-keys=2&prefix=J";
	SIGN(&r, bucket_headers, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
	r.query = "prefix=J&max-keys=2";
	SIGN(&r, bucket_headers, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static const struct sigv4_header suite_headers[] = {
	{"Host", "example.amazonaws.com"}, {"X-Amz-Date", "20150830T123600Z"}};

static void signs_the_suite(void **state)
{
	(void)state;
	struct sigv4_request r = suite_example();
	SIGN(&r, suite_headers, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
	r.method = "POST";
	SIGN(&r, suite_headers, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
	r.method = "GET";
	r.query = "Param2=value2&Param1=value1";
	SIGN(&r, suite_headers, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

static void trims_header_values(void **state)
{
	(void)state;
	struct sigv4_request r = suite_example();
	const struct sigv4_header headers[] = {{"Host", "example.amazonaws.com"},
		{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""},
		{"X-Amz-Date", "20150830T123600Z"}};
	SIGN(&r, headers, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736");
}

/* The order in which headers and parameters are given changes nothing; everything else does. */
static void depends_on_what_it_should(void **state)
{
	(void)state;
	struct sigv4_request r = s3_example();
	struct buf a, b;
	struct err e = ERR_INIT;
	const struct sigv4_header reversed[] = {
		bucket_headers[2], bucket_headers[1], bucket_headers[0]};
	buf_init(&a, 4096);
	buf_init(&b, 4096);
	r.query = "a=1&a-b=2&a=0&B=3";
	r.headers = bucket_headers;
	r.n_headers = 3;
	assert_int_equal(sigv4_sign(&r, &a, NULL, &e), ERR_OK);
	r.query = "B=3&a=0&a=1&a-b=2";
	r.headers = reversed;
	assert_int_equal(sigv4_sign(&r, &b, NULL, &e), ERR_OK);
	assert_string_equal(buf_str(&a), buf_str(&b));
	r.wall_ms += 86400000;
	buf_reset(&b);
	assert_int_equal(sigv4_sign(&r, &b, NULL, &e), ERR_OK);
	assert_string_not_equal(buf_str(&a), buf_str(&b));
	buf_free(&a);
	buf_free(&b);
}

static void refuses_what_does_not_fit(void **state)
{
	(void)state;
	struct sigv4_request r = s3_example();
	struct sigv4_header many[SIGV4_MAX_HEADERS + 1];
	struct buf out;
	struct err e = ERR_INIT;
	buf_init(&out, 4096);
	for (size_t i = 0; i < SIGV4_MAX_HEADERS + 1; i++)
		many[i] = (struct sigv4_header){"x", "y"};
	r.headers = many;
	r.n_headers = SIGV4_MAX_HEADERS + 1;
	assert_int_equal(sigv4_sign(&r, &out, NULL, &e), ERR_FAIL);
	char secret[1000];
	memset(secret, 's', sizeof(secret) - 1);
	secret[sizeof(secret) - 1] = '\0';
	r.n_headers = 1;
	r.secret_access_key = secret;
	assert_int_equal(sigv4_sign(&r, &out, NULL, &e), ERR_FAIL);
	assert_null(strstr(e.text, "sss"));
	buf_free(&out);
}

static void encodes_as_s3_does(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 100);
	assert_int_equal(sigv4_encode(&out, "a/b c+d~e_f.g-h%\xc3\xa4", 1), ERR_OK);
	assert_string_equal(buf_str(&out), "a/b%20c%2Bd~e_f.g-h%25%C3%A4");
	buf_reset(&out);
	assert_int_equal(sigv4_encode(&out, "a/b=&", 0), ERR_OK);
	assert_string_equal(buf_str(&out), "a%2Fb%3D%26");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_a_get_of_an_object),
		cmocka_unit_test(signs_a_put_with_a_payload),
		cmocka_unit_test(signs_a_parameter_without_a_value),
		cmocka_unit_test(signs_a_listing),
		cmocka_unit_test(signs_the_suite),
		cmocka_unit_test(trims_header_values),
		cmocka_unit_test(depends_on_what_it_should),
		cmocka_unit_test(refuses_what_does_not_fit),
		cmocka_unit_test(encodes_as_s3_does),
	};
	return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
