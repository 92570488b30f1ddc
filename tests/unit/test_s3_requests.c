/* The S3 store's requests: how they look, what is tried again, what refusals mean. */
#include "lib/s3_bed.h"

static void request_is_as_s3_wants_it(void **state)
{
	(void)state;
	struct store_options o = options();
	o.session_token = "a-session-token";
	open_store("/my db", "", o);
	scripted_answers(&server, "[" OK_PUT "]");
	struct store_body b = {.data = "hello", .fd = -1, .size = 5};
	struct store_put_opts opts = {.only_if_absent = true, .timestamp_ms = 1700000000120};
	assert_code(store_put(s, "0000/name", &b, &opts, &e), ERR_OK);
	assert_string_equal(scripted_method(&server, 0), "PUT");
	assert_string_equal(scripted_path(&server, 0), "/bucket/my%20db/0000/name");
	assert_string_equal(scripted_header(&server, 0, "content-length"), "5");
	assert_string_equal(scripted_header(&server, 0, "if-none-match"), "*");
	assert_string_equal(
		scripted_header(&server, 0, "x-amz-meta-litestream-timestamp"), "2023-11-14T22:13:20.12Z");
	assert_string_equal(scripted_header(&server, 0, "x-amz-security-token"), "a-session-token");
	assert_string_equal(scripted_header(&server, 0, "x-amz-content-sha256"),
		"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
	assert_non_null(strstr(scripted_header(&server, 0, "authorization"),
		"SignedHeaders=content-type;host;if-none-match;x-amz-content-sha256;x-amz-date;"
		"x-amz-meta-litestream-timestamp;x-amz-security-token, Signature="));
	static const char *const unwanted[] = {"expect", "transfer-encoding", "content-encoding",
		"x-amz-trailer", "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm", "accept-encoding"};
	for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
		assert_null(scripted_header(&server, 0, unwanted[i]));
}

static void empty_path_makes_keys_that_begin_with_a_slash(void **state)
{
	(void)state;
	open_store("", "", options());
	scripted_answers(&server, "[" OK_PUT "]");
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_path(&server, 0), "/bucket//0000/name");
}

static void unsigned_payload_and_encryption_when_asked(void **state)
{
	(void)state;
	open_store("/db",
		"&sign-payload=false&storageClass=STANDARD_IA&sseCustomerKey="
		"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		options());
	assert_null(strstr(store_url(s), "MDEyMzQ1"));
	scripted_answers(&server, "[" OK_PUT "]");
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_header(&server, 0, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
	assert_string_equal(scripted_header(&server, 0, "x-amz-storage-class"), "STANDARD_IA");
	assert_string_equal(
		scripted_header(&server, 0, "x-amz-server-side-encryption-customer-algorithm"), "AES256");
	/* openssl md5 -binary of "0123456789abcdef0123456789abcdef", base64 */
	assert_string_equal(
		scripted_header(&server, 0, "x-amz-server-side-encryption-customer-key-md5"),
		"hRasmdxgYDKV3nvbahU1MA==");
}

static void retries_the_same_bytes(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[" ERROR(503, "SlowDown") "," ERROR(500, "InternalError") "," ERROR(
			429, "TooManyRequests") "," ERROR(408, "RequestTimeout") "," HTML(502) "," ERROR(409,
			"ConditionalRequestConflict") "," ERROR(400, "RequestTimeout") "," OK_PUT "]");
	assert_code(put("the very same bytes", true), ERR_OK);
	assert_int_equal(e.code, ERR_OK); /* what was bridged is no error any more */
	assert_int_equal(scripted_count(&server), 8);
	char first[65];
	snprintf(first, sizeof(first), "%s", scripted_sha256(&server, 0));
	for (size_t i = 1; i < 8; i++)
		assert_string_equal(scripted_sha256(&server, i), first);
	struct store_counts counts;
	store_get_counts(s, &counts);
	assert_int_equal(counts.retries, 7);
	assert_int_equal(counts.put, 8);
}

static void gives_up_after_its_attempts(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 3;
	open_store("/db", "", o);
	scripted_answers(&server, "[" ERROR(503, "SlowDown") "]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("503 SlowDown");
	assert_int_equal(scripted_count(&server), 3);
	assert_true(slept_us <= 300000);
}

static void gives_up_after_its_time(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 1000;
	o.request_timeout_ms = 60000;
	open_store("/db", "", o);
	scripted_answers(&server, "[{'status': 503, 'headers': {'Retry-After': '7'}}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_true(scripted_count(&server) >= 4);
	assert_true(slept_us >= 28000000 && slept_us <= 60000000);
}

static void waits_as_long_as_the_server_asks(void **state)
{
	(void)state;
	scripted_answers(&server, "[{'status': 503, 'headers': {'Retry-After': '5'}}," OK_PUT "]");
	assert_code(put("x", false), ERR_OK);
	assert_true(slept_us >= 5000000);
}

static void lost_answer_is_followed_by_a_condition(void **state)
{
	(void)state;
	scripted_answers(&server, "[{'reset': true}," ERROR(412, "PreconditionFailed") "]");
	assert_code(put("shipped", true), ERR_CONDITION);
	assert_int_equal(scripted_count(&server), 2);
	char first[65];
	snprintf(first, sizeof(first), "%s", scripted_sha256(&server, 0));
	assert_string_equal(scripted_sha256(&server, 1), first);
}

static void server_without_conditions_is_unsupported(void **state)
{
	(void)state;
	scripted_answers(&server, "[" ERROR(501, "NotImplemented") "]");
	assert_code(put("x", true), ERR_UNSUPPORTED);
	assert_int_equal(scripted_count(&server), 1);
}

static void refusals_have_their_codes(void **state)
{
	(void)state;
	static const struct {
		const char *answer;
		int code;
		const char *text;
	} cases[] = {
		{"[" ERROR(403, "SignatureDoesNotMatch") "]", ERR_DENIED, "secret access key"},
		{"[" ERROR(403, "InvalidAccessKeyId") "]", ERR_DENIED, "access key ID"},
		{"[" ERROR(403, "AccessDenied") "]", ERR_DENIED, "Said the server"},
		{"[" ERROR(400, "ExpiredToken") "]", ERR_DENIED, "expired"},
		{"[{'status': 401}]", ERR_DENIED, "401"},
		{"[" ERROR(404, "NoSuchBucket") "]", ERR_FAIL, "bucket does not exist"},
		{"[" ERROR(400, "InvalidArgument") "]", ERR_FAIL, "InvalidArgument"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scripted_answers(&server, cases[i].answer);
		assert_code(put("x", false), cases[i].code);
		assert_says(cases[i].text);
		assert_says("s3://bucket.127.0.0.1:");
		assert_int_equal(scripted_count(&server), 1);
	}
}

static int ignore_object(void *ctx, const struct store_object *o, struct err *err)
{
	(void)o, (void)err;
	++*(int *)ctx;
	return ERR_OK;
}

static int list_all(int *n)
{
	*n = 0;
	e = (struct err)ERR_INIT;
	return store_list(s, "0000/", NULL, 0, ignore_object, n, &e);
}

static void html_is_no_answer(void **state)
{
	(void)state;
	struct store_object o;
	int n;
	scripted_answers(&server, "[" HTML(200) "]");
	assert_code(put("x", false), ERR_DAMAGED);
	assert_says("not S3");
	assert_code(get(0, 0), ERR_DAMAGED);
	assert_int_equal(got.len, 0);
	assert_code(get(5, 5), ERR_DAMAGED);
	assert_code(store_head(s, "0000/name", &o, &e), ERR_DAMAGED);
	assert_code(list_all(&n), ERR_DAMAGED);
	scripted_answers(&server, "[" HTML(404) "]");
	assert_code(get(0, 0), ERR_DAMAGED);
	assert_says("text/html");
	scripted_answers(&server, "[" HTML(403) "]");
	assert_code(put("x", false), ERR_DAMAGED);
	scripted_answers(&server, "[{'raw': 'SSH-2.0-OpenSSH_9.2\\r\\n'}]");
	struct store_options opts = options();
	opts.max_attempts = 1;
	open_store("/db", "", opts);
	assert_code(put("x", false), ERR_DAMAGED);
	assert_says("HTTP");
}

#define MOVED                                                                   \
	"{'status': 301, 'headers': {'x-amz-bucket-region': 'eu-west-1'}, 'body': " \
	"'<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message></Error>'}"
#define MALFORMED                                                                            \
	"{'status': 400, 'body': '<Error><Code>AuthorizationHeaderMalformed</Code><Message>The " \
	"region is wrong"                                                                        \
	"</Message><Region>eu-central-1</Region></Error>'}"

static void follows_the_bucket_to_its_region(void **state)
{
	(void)state;
	scripted_answers(&server, "[" MOVED "," OK_PUT "]");
	assert_code(put("x", false), ERR_OK);
	assert_non_null(strstr(scripted_header(&server, 0, "authorization"), "/us-east-1/s3/"));
	assert_non_null(strstr(scripted_header(&server, 1, "authorization"), "/eu-west-1/s3/"));
	/* A hint that leads in circles ends. */
	scripted_answers(&server, "[" MALFORMED "," MOVED "]");
	assert_code(put("x", false), ERR_FAIL);
	assert_true(scripted_count(&server) <= 8);
}

static void names_the_region_when_another_was_fixed(void **state)
{
	(void)state;
	open_store("/db", "&region=us-west-2", options());
	scripted_answers(&server, "[" MALFORMED "]");
	assert_code(put("x", false), ERR_FAIL);
	assert_says("region eu-central-1");
	assert_int_equal(scripted_count(&server), 1);
	scripted_answers(&server, "[" MOVED "]");
	struct store_object o;
	assert_code(store_head(s, "0000/name", &o, &e), ERR_FAIL);
	assert_says("region eu-west-1");
}

static void says_that_the_clock_is_wrong(void **state)
{
	(void)state;
	scripted_answers(&server, "[{'status': 403, 'date_offset': 7200, 'body': "
							  "'<Error><Code>RequestTimeTooSkewed</Code></Error>'}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("clock is 120 minutes behind");
	assert_int_equal(scripted_count(&server), 1);
	scripted_answers(&server, "[{'status': 403, 'date_offset': -1200, 'body': "
							  "'<Error><Code>RequestTimeTooSkewed</Code></Error>'}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("clock is 20 minutes ahead");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(request_is_as_s3_wants_it),
		TEST(empty_path_makes_keys_that_begin_with_a_slash),
		TEST(unsigned_payload_and_encryption_when_asked),
		TEST(retries_the_same_bytes),
		TEST(gives_up_after_its_attempts),
		TEST(gives_up_after_its_time),
		TEST(waits_as_long_as_the_server_asks),
		TEST(lost_answer_is_followed_by_a_condition),
		TEST(server_without_conditions_is_unsupported),
		TEST(refusals_have_their_codes),
		TEST(html_is_no_answer),
		TEST(follows_the_bucket_to_its_region),
		TEST(names_the_region_when_another_was_fixed),
		TEST(says_that_the_clock_is_wrong),
	};
	int failed = run_with_server("s3 requests", tests, sizeof(tests) / sizeof(tests[0]));
	return failed;
}
