/*
 * The S3 store against a server whose every answer is written down here: what is retried and what
 * not, transfers that break, and answers that no S3 server gives.
 */
#include "lib/scripted.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "store/store.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct scripted server, tls_server;
static struct store *s;
static struct err e;

/* A clock whose pauses take no time: sleeping moves it on. */
static _Atomic int64_t slept_us;

static int64_t real_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t fake_wall_ms(void)
{
	return real_us(CLOCK_REALTIME) / 1000;
}

static int64_t fake_mono_us(void)
{
	return real_us(CLOCK_MONOTONIC) + slept_us;
}

static int64_t fake_boot_ms(void)
{
	return fake_mono_us() / 1000;
}

static void fake_sleep(int64_t us)
{
	slept_us += us;
}

static const struct clock_ops fake_clock = {fake_wall_ms, fake_mono_us, fake_boot_ms, fake_sleep};

static struct store_options options(void)
{
	struct store_options o = {0};
	o.access_key_id = "AKIDEXAMPLE";
	o.secret_access_key = "a+very/secret+key";
	return o;
}

/* Opens the store that the test uses; `more` is added to the query. */
static void open_store(const char *path, const char *more, struct store_options o)
{
	char url[300];
	snprintf(
		url, sizeof(url), "s3://bucket%s?endpoint=http://127.0.0.1:%d%s", path, server.port, more);
	store_close(s);
	s = NULL;
	if (store_open(&s, url, &o, &e))
		fail_msg("%s", e.text);
}

static int set_up(void **state)
{
	(void)state;
	slept_us = 0;
	clock_set_ops(&fake_clock);
	open_store("/db", "", options());
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	store_close(s);
	s = NULL;
	clock_set_ops(NULL);
	return 0;
}

static int put(const char *body, bool only_if_absent)
{
	struct store_body b = {.data = body, .fd = -1, .size = strlen(body)};
	e = (struct err)ERR_INIT;
	return store_put(
		s, "0000/name", &b, &(struct store_put_opts){.only_if_absent = only_if_absent}, &e);
}

static int collect(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	return buf_append(ctx, p, n);
}

static struct buf got;

static int get(uint64_t offset, uint64_t length)
{
	buf_free(&got);
	buf_init(&got, 1 << 20);
	e = (struct err)ERR_INIT;
	return store_get(s, "0000/name", offset, length, collect, &got, &e);
}

#define assert_code(call, expected)                                                     \
	do {                                                                                \
		int assert_rc = (call);                                                         \
		if (assert_rc != (expected))                                                    \
			fail_msg("%s: %d instead of %d: %s", #call, assert_rc, (expected), e.text); \
		if ((expected) != ERR_OK)                                                       \
			assert_int_equal((int)e.code, (expected));                                  \
		assert_null(strstr(e.text, "a+very/secret+key"));                               \
	} while (0)

static void assert_says(const char *words)
{
	if (!strstr(e.text, words))
		fail_msg("'%s' is not in: %s", words, e.text);
}

#define OK_PUT "{'headers': {'ETag': '\\\"1\\\"'}}"
#define ERROR(status, code)                                                            \
	"{'status': " #status ", 'headers': {'Content-Type': 'application/xml'}, 'body': " \
	"'<Error><Code>" code "</Code><Message>Said the server.</Message></Error>'}"
#define HTML(status)                                                             \
	"{'status': " #status ", 'headers': {'Content-Type': 'text/html'}, 'body': " \
	"'<!DOCTYPE html><html><body>Please log in</body></html>'}"

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

static void gives_up_on_a_server_that_stalls(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 1;
	o.stall_timeout_ms = 1000;
	open_store("/db", "", o);
	int64_t before = real_us(CLOCK_MONOTONIC);
	scripted_answers(&server, "[{'delay': 60}]");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("no byte came or went for 1.0 s");
	scripted_answers(&server, "[{'headers': {'ETag': '1'}, 'body': 'abcdef', 'stall': 3}]");
	assert_code(get(0, 0), ERR_UNREACHABLE);
	assert_int_equal(got.len, 3);
	assert_true(real_us(CLOCK_MONOTONIC) - before < 10000000);
}

static void ends_at_the_time_for_the_whole_request(void **state)
{
	(void)state;
	struct store_options o = options();
	o.max_attempts = 1;
	o.request_timeout_ms = 700;
	open_store("/db", "", o);
	scripted_answers(&server, "[{'delay': 60}]");
	int64_t before = real_us(CLOCK_MONOTONIC);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_true(real_us(CLOCK_MONOTONIC) - before < 5000000);
}

#define WHOLE(etag) "'headers': {'ETag': '" etag "'}, 'body': 'abcdefghij'"
#define PART(etag, range, body)                                                      \
	"{'status': 206, 'headers': {'ETag': '" etag "', 'Content-Range': 'bytes " range \
	"'}, 'body': '" body "'}"

static void goes_on_where_a_transfer_broke(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[{" WHOLE("1") ", 'cut': 4}, " ERROR(
			503, "SlowDown") ", {'status': 206, "
							 "'headers': {'ETag': '1', 'Content-Range': 'bytes 4-9/10'}, 'body': "
							 "'efghij', 'cut': 3}, " PART("1", "7-9/10", "hij") "]");
	assert_code(get(0, 0), ERR_OK);
	assert_string_equal(buf_str(&got), "abcdefghij");
	assert_null(scripted_header(&server, 0, "range"));
	assert_string_equal(scripted_header(&server, 1, "range"), "bytes=4-9");
	assert_string_equal(scripted_header(&server, 2, "range"), "bytes=4-9");
	assert_string_equal(scripted_header(&server, 3, "range"), "bytes=7-9");
	/* Inside a range. */
	scripted_answers(&server,
		"[{'status': 206, 'headers': {'ETag': '1', 'Content-Range': 'bytes 2-5/10'}, "
		"'body': 'cdef', 'cut': 1}, " PART("1", "3-5/10", "def") "]");
	assert_code(get(2, 4), ERR_OK);
	assert_string_equal(buf_str(&got), "cdef");
	assert_string_equal(scripted_header(&server, 0, "range"), "bytes=2-5");
	assert_string_equal(scripted_header(&server, 1, "range"), "bytes=3-5");
}

static void does_not_splice_two_objects(void **state)
{
	(void)state;
	scripted_answers(&server, "[{" WHOLE("1") ", 'cut': 4}, " PART("2", "4-9/10", "EFGHIJ") "]");
	assert_code(get(0, 0), ERR_DAMAGED);
	assert_says("replaced while it was read");
	assert_string_equal(buf_str(&got), "abcd");
	/* Nor an object and its own beginning. */
	scripted_answers(&server, "[{" WHOLE("1") ", 'cut': 4}, {" WHOLE("1") "}]");
	assert_code(get(0, 0), ERR_DAMAGED);
	assert_string_equal(buf_str(&got), "abcd");
}

static void checks_ranges(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"[" PART("1", "1-5/10", "bcdef") "]",
		"[" PART("1", "2-4/10", "cde") "]",
		"[" PART("1", "2-6/10", "cdefg") "]",
		"[" PART("1", "nonsense", "cdef") "]",
		"[{'status': 206, 'headers': {'ETag': '1'}, 'body': 'cdef'}]",
		"[{'status': 206, 'headers': {'Content-Range': 'bytes 2-5/10'}, 'body': 'cdef'}]",
		"[{" WHOLE("1") "}]",
		"[" ERROR(416, "InvalidRange") "]",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		scripted_answers(&server, wrong[i]);
		assert_code(get(2, 4), ERR_DAMAGED);
		assert_int_equal(got.len, 0);
	}
	/* An answer whose Content-Length is not its range's. */
	scripted_answers(&server, "[" PART("1", "2-5/10", "cdefXX") "]");
	assert_code(get(2, 4), ERR_DAMAGED);
	struct store_options o = options();
	o.max_attempts = 2;
	open_store("/db", "", o);
	scripted_answers(&server, "[" PART("1", "2-5/10", "cd") "," PART("1", "4-5/10", "e") "," PART(
								  "1", "5-5/10", "f") "]");
	assert_code(get(2, 4), ERR_OK);
	assert_string_equal(buf_str(&got), "cdef");
}

#define LIST(inside)                                                                            \
	"{'body': '<ListBucketResult xmlns=\\\"http://s3.amazonaws.com/doc/2006-03-01/\\\">" inside \
	"</ListBucketResult>'}"
#define KEY(key)          \
	"<Contents><Key>" key \
	"</Key><LastModified>2026-11-20T12:00:00.000Z</LastModified><Size>3</Size></Contents>"

static char listed[400];

static int note_object(void *ctx, const struct store_object *o, struct err *err)
{
	(void)ctx, (void)err;
	size_t n = strlen(listed);
	snprintf(listed + n, sizeof(listed) - n, "%s%s", n ? " " : "", o->name);
	assert_int_equal(o->size, 3);
	assert_int_equal(o->modified_ms, 1795176000000);
	return ERR_OK;
}

static int list(const char *after, size_t max)
{
	listed[0] = '\0';
	e = (struct err)ERR_INIT;
	return store_list(s, "0000/", after, max, note_object, NULL, &e);
}

static void listing_goes_on_by_its_token(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[" LIST(
			"<IsTruncated>true</IsTruncated><NextContinuationToken>a+/=&amp;b</"
			"NextContinuationToken>" KEY("db/0000/a") KEY(
				"db%2F0000%2Fb") "<EncodingType>url</EncodingType>") "," LIST(KEY("db/0000/c") "<Is"
																							   "Tru"
																							   "nca"
																							   "ted"
																							   ">fa"
																							   "lse"
																							   "</"
																							   "IsT"
																							   "run"
																							   "cat"
																							   "ed"
																							   ">") "]");
	assert_code(list("0", 0), ERR_OK);
	assert_string_equal(listed, "a b c");
	assert_string_equal(scripted_path(&server, 0),
		"/bucket?list-type=2&encoding-type=url&max-keys=1000&prefix=db%"
		"2F0000%2F&start-after=db%2F0000%2F0");
	assert_string_equal(scripted_path(&server, 1),
		"/bucket?list-type=2&encoding-type=url&max-keys=1000&prefix=db%"
		"2F0000%2F&continuation-token=a%2B%2F%3D%26b");
	assert_int_equal(scripted_count(&server), 2);
	scripted_answers(&server,
		"[" LIST(
			"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>" KEY(
				"db/0000/a") KEY("db/0000/b")) "]");
	assert_code(list(NULL, 2), ERR_OK);
	assert_string_equal(listed, "a b");
	assert_int_equal(scripted_count(&server), 1);
	assert_non_null(strstr(scripted_path(&server, 0), "max-keys=2&"));
}

static void listing_skips_what_is_not_ours(void **state)
{
	(void)state;
	scripted_answers(&server,
		"[" LIST(KEY("db/0000/") KEY("db/0000/a") KEY("db/0000/b c") KEY("db/0000/d")) "]");
	assert_code(list(NULL, 0), ERR_OK);
	assert_string_equal(listed, "a d");
	/* A server that ignores start-after and max-keys. */
	assert_code(list("a", 0), ERR_OK);
	assert_string_equal(listed, "d");
	assert_code(list(NULL, 1), ERR_OK);
	assert_string_equal(listed, "a");
}

static void listing_that_is_none_is_damaged(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"[{'body': ''}]",
		"[{'body': 'ok'}]",
		"[{'body': '{}'}]",
		"[{'body': '<ListBucketResult><Contents>'}]",
		"[{'body': '<Other/>'}]",
		"[" LIST(KEY("other/0000/a")) "]",
		"[" LIST(KEY("db/0000/b") KEY("db/0000/a")) "]",
		"[" LIST("<Contents><Key>db/0000/a</Key></Contents>") "]",
		"[" LIST("<Contents><Key>db/0000/a</Key><Size>many</Size></Contents>") "]",
		"[" LIST("<IsTruncated>true</IsTruncated>" KEY("db/0000/a")) "]",
		"[{'body': '<!DOCTYPE x [<!ENTITY a \\\"aaaa\\\"><!ENTITY b "
		"\\\"&a;&a;&a;\\\">]><ListBucketResult>&b;</ListBucketResult>'}]",
		"[{'body': 'x', 'body_repeat': 9000000}]",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		scripted_answers(&server, wrong[i]);
		int rc = list(NULL, 0);
		if (rc != ERR_DAMAGED)
			fail_msg("case %zu: %d %s", i, rc, e.text);
	}
	scripted_answers(&server, "[" LIST("<IsTruncated>true</IsTruncated><NextContinuationToken>t"
									   "</NextContinuationToken>") "]");
	assert_code(list(NULL, 0), ERR_DAMAGED);
	assert_int_equal(scripted_count(&server), 2);
	scripted_answers(&server, "[" ERROR(404, "NoSuchBucket") "]");
	assert_code(list(NULL, 0), ERR_FAIL);
	/* A transfer that breaks is repeated, and nothing is given twice. */
	scripted_answers(
		&server, "[{'body': '<ListBucketResult>" KEY(
					 "db/0000/a") "</ListBucketResult>', 'cut': 130}," LIST(KEY("db/0000/a")) "]");
	assert_code(list(NULL, 0), ERR_OK);
	assert_string_equal(listed, "a");
}

static void every_deletion_is_answered(void **state)
{
	(void)state;
	const char *const names[] = {"0000/a", "0000/b", "0000/c"};
	struct store_delete_result r[3];
	scripted_answers(&server,
		"[{'body': "
		"'<DeleteResult><Deleted><Key>db/0000/a</Key></Deleted><Error><Key>db/0000/b</Key>"
		"<Code>AccessDenied</Code><Message>No.</Message></Error></DeleteResult>'}]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_DENIED);
	assert_int_equal(r[0].code, ERR_OK);
	assert_int_equal(r[1].code, ERR_DENIED);
	assert_non_null(strstr(r[1].text, "AccessDenied"));
	assert_int_equal(r[2].code, ERR_DAMAGED); /* left out of the answer: nobody knows */
	assert_string_equal(scripted_method(&server, 0), "POST");
	assert_string_equal(scripted_path(&server, 0), "/bucket?delete=");
	assert_int_equal(strlen(scripted_header(&server, 0, "content-md5")), 24);
	scripted_answers(&server, "[{'body': '<DeleteResult/>'}]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_DAMAGED);
	scripted_answers(&server, "[" HTML(200) "]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_DAMAGED);
	assert_int_equal(r[0].code, ERR_DAMAGED);
	scripted_answers(&server,
		"[{'body': '<DeleteResult><Error><Key>db/0000/a</Key><Code>NoSuchKey</Code></Error>"
		"<Deleted><Key>db/0000/c</Key></Deleted><Deleted><Key>db/0000/b</Key></Deleted></"
		"DeleteResult>'}]");
	assert_code(store_delete(s, names, 3, r, &e), ERR_OK);
}

static void deletes_singly_where_there_are_no_batches(void **state)
{
	(void)state;
	const char *const names[] = {"0000/a", "0000/b"};
	struct store_delete_result r[2];
	open_store("/db", "&require-content-md5=false", options());
	scripted_answers(
		&server, "[" ERROR(501, "NotImplemented") ",{'status': 204}," ERROR(404, "NoSuchKey") "]");
	assert_code(store_delete(s, names, 2, r, &e), ERR_OK);
	assert_null(scripted_header(&server, 0, "content-md5"));
	assert_string_equal(scripted_method(&server, 1), "DELETE");
	assert_string_equal(scripted_path(&server, 2), "/bucket/db/0000/b");
	assert_code(store_delete(s, names, 2, r, &e), ERR_OK);
	assert_int_equal(scripted_count(&server), 5); /* the batch is not tried again */
}

#define CREATED                                                      \
	"{'body': "                                                      \
	"'<InitiateMultipartUploadResult><UploadId>an/id+1</UploadId></" \
	"InitiateMultipartUploadResult>'}"
#define COMPLETED \
	"{'body': '<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>'}"
#define IN_200(code) \
	"{'body': '<?xml version=\\\"1.0\\\"?>\\n<Error><Code>" code "</Code></Error>'}"

static int put_large(bool only_if_absent)
{
	static char large[6 * 1024 * 1024];
	struct store_body b = {.data = large, .fd = -1, .size = sizeof(large)};
	e = (struct err)ERR_INIT;
	return store_put(
		s, "0009/large", &b, &(struct store_put_opts){.only_if_absent = only_if_absent}, &e);
}

static void upload_in_parts(void **state)
{
	(void)state;
	open_store("/db", "&concurrency=1", options());
	scripted_answers(
		&server, "[" CREATED "," OK_PUT "," OK_PUT "," IN_200("InternalError") "," COMPLETED "]");
	assert_code(put_large(false), ERR_OK);
	assert_int_equal(scripted_count(&server), 5);
	assert_string_equal(scripted_path(&server, 0), "/bucket/db/0009/large?uploads=");
	assert_string_equal(
		scripted_path(&server, 1), "/bucket/db/0009/large?partNumber=1&uploadId=an%2Fid%2B1");
	assert_string_equal(scripted_header(&server, 1, "content-length"), "5242880");
	assert_string_equal(scripted_header(&server, 2, "content-length"), "1048576");
	assert_string_equal(scripted_path(&server, 4), "/bucket/db/0009/large?uploadId=an%2Fid%2B1");
}

static void upload_that_fails_is_aborted(void **state)
{
	(void)state;
	open_store("/db", "&concurrency=1", options());
	static const struct {
		const char *answers;
		int code;
		size_t requests;
	} cases[] = {
		{"[" CREATED "," OK_PUT "," ERROR(403, "AccessDenied") ",{'status': 204}]", ERR_DENIED, 4},
		{"[" CREATED "," OK_PUT ",{},{'status': 204}]", ERR_DAMAGED, 4},
		{"[" CREATED "," OK_PUT "," OK_PUT "," IN_200("AccessDenied") ",{'status': 204}]",
			ERR_UNREACHABLE, 0},
		{"[" CREATED "," OK_PUT "," OK_PUT "," HTML(200) ",{'status': 204}]", ERR_DAMAGED, 5},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scripted_answers(&server, cases[i].answers);
		int rc = put_large(false);
		size_t n = scripted_count(&server);
		if (cases[i].requests && (rc != cases[i].code || n != cases[i].requests))
			fail_msg("case %zu: %d after %zu requests: %s", i, rc, n, e.text);
		assert_int_not_equal(rc, ERR_OK);
		assert_string_equal(scripted_method(&server, n - 1), "DELETE");
	}
	scripted_answers(&server, "[" HTML(200) "]");
	assert_code(put_large(false), ERR_DAMAGED);
	assert_int_equal(scripted_count(&server), 1);
}

static void upload_looks_before_it_completes(void **state)
{
	(void)state;
	open_store("/db", "&concurrency=1", options());
	/* Another one came while the parts were sent. */
	scripted_answers(
		&server, "[{'status': 404}," CREATED "," OK_PUT "," OK_PUT "," OK_PUT ",{'status': 204}]");
	assert_code(put_large(true), ERR_CONDITION);
	assert_string_equal(scripted_method(&server, 4), "HEAD");
	assert_string_equal(scripted_method(&server, 5), "DELETE");
	/* The server honours the condition itself. */
	scripted_answers(&server,
		"[{'status': 404}," CREATED "," OK_PUT "," OK_PUT
		",{'status': 404}," ERROR(412, "PreconditionFailed") ",{'status': 204}]");
	assert_code(put_large(true), ERR_CONDITION);
	assert_string_equal(scripted_header(&server, 5, "if-none-match"), "*");
	assert_null(scripted_header(&server, 1, "if-none-match"));
	/* Completed, the answer lost, the upload unknown: the object is there. */
	scripted_answers(&server,
		"[" CREATED "," OK_PUT "," OK_PUT ",{'reset': true}," ERROR(
			404, "NoSuchUpload") ","
								 "{'headers': {'ETag': '1', 'Content-Length': '6291456', "
								 "'Last-Modified': 'Fri, 01 Jan 2100 00:00:00 GMT'}}]");
	assert_code(put_large(false), ERR_OK);
	/* Or an older one of this size is, and somebody aborted the upload. */
	scripted_answers(&server,
		"[" CREATED "," OK_PUT "," OK_PUT "," ERROR(404,
			"NoSuchUpload") ","
							"{'headers': {'ETag': '1', 'Content-Length': '6291456', "
							"'Last-Modified': 'Fri, 01 Jan 2010 00:00:00 GMT'}},{'status': 204}]");
	assert_code(put_large(false), ERR_FAIL);
	assert_string_equal(scripted_method(&server, 5), "DELETE");
}

static void *cancel_soon(void *arg)
{
	(void)arg;
	struct timespec t = {.tv_nsec = 300 * 1000000};
	nanosleep(&t, NULL);
	store_cancel(s);
	return NULL;
}

static void cancel_wakes(const char *answers)
{
	unsigned long thread;
	clock_set_ops(NULL);
	open_store("/db", "", options());
	scripted_answers(&server, answers);
	int64_t before = real_us(CLOCK_MONOTONIC);
	assert_int_equal(thread_start(&thread, cancel_soon, NULL), 0);
	assert_code(put("x", false), ERR_CANCELLED);
	pthread_join(thread, NULL);
	assert_true(real_us(CLOCK_MONOTONIC) - before < 2500000);
}

static void cancel_wakes_a_pause_and_a_request(void **state)
{
	(void)state;
	cancel_wakes("[{'status': 503, 'headers': {'Retry-After': '20'}}]");
	cancel_wakes("[{'delay': 20}]");
}

static void nobody_listens(void **state)
{
	(void)state;
	struct scripted gone;
	struct store_options o = options();
	char url[200];
	scripted_start(&gone, false);
	scripted_stop(&gone);
	o.max_attempts = 2;
	store_close(s);
	s = NULL;
	snprintf(url, sizeof(url), "s3://bucket.127.0.0.1:%d/db", gone.port);
	assert_code(store_open(&s, url, &o, &e), ERR_OK);
	assert_code(put("x", false), ERR_UNREACHABLE);
	snprintf(url, sizeof(url), "127.0.0.1:%d", gone.port);
	assert_says(url);
}

static void open_tls(struct store_options o)
{
	char url[200];
	snprintf(url, sizeof(url), "s3://bucket/db?endpoint=https://localhost:%d", tls_server.port);
	store_close(s);
	s = NULL;
	assert_code(store_open(&s, url, &o, &e), ERR_OK);
}

static void certificates_are_verified(void **state)
{
	(void)state;
	struct store_options o = options();
	char ca[PATH_MAX];
	snprintf(ca, sizeof(ca), "%s/tls/ca.pem", tls_server.dir);
	scripted_answers(&tls_server, "[" OK_PUT "]");
	open_tls(o);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("certificate is not trusted");
	assert_int_equal(scripted_count(&tls_server), 0);
	o.ca_file = ca;
	open_tls(o);
	assert_code(put("x", false), ERR_OK);
	assert_code(put("x", false), ERR_OK);
	o.ca_file = NULL;
	o.skip_verify = true;
	open_tls(o);
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(scripted_count(&tls_server), 3);
	o.skip_verify = false;
	o.ca_file = "/no/such/file.pem";
	store_close(s);
	s = NULL;
	assert_code(store_open(&s, "s3://bucket/db?endpoint=https://localhost:1", &o, &e), ERR_USAGE);
}

static void idle_connections_are_closed(void **state)
{
	(void)state;
	scripted_answers(&server, "[" OK_PUT "]");
	assert_int_equal(store_tidy(s), -1);
	assert_code(put("x", false), ERR_OK);
	int64_t left = store_tidy(s);
	assert_true(left > 50000 && left <= 60000);
	slept_us += left * 1000 + 1000;
	assert_int_equal(store_tidy(s), -1);
	assert_code(put("x", false), ERR_OK);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
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
		TEST(gives_up_on_a_server_that_stalls),
		TEST(ends_at_the_time_for_the_whole_request),
		TEST(goes_on_where_a_transfer_broke),
		TEST(does_not_splice_two_objects),
		TEST(checks_ranges),
		TEST(listing_goes_on_by_its_token),
		TEST(listing_skips_what_is_not_ours),
		TEST(listing_that_is_none_is_damaged),
		TEST(every_deletion_is_answered),
		TEST(deletes_singly_where_there_are_no_batches),
		TEST(upload_in_parts),
		TEST(upload_that_fails_is_aborted),
		TEST(upload_looks_before_it_completes),
		TEST(cancel_wakes_a_pause_and_a_request),
		TEST(nobody_listens),
		TEST(certificates_are_verified),
		TEST(idle_connections_are_closed),
	};
#undef TEST
	scripted_start(&server, false);
	scripted_start(&tls_server, true);
	int failed = cmocka_run_group_tests_name("s3 against a script", tests, NULL, NULL);
	buf_free(&got);
	scripted_stop(&server);
	scripted_stop(&tls_server);
	return failed;
}
