/* Credentials of the machine's or the container's role: how they are asked for, kept and renewed.
 */
#include "lib/iam_bed.h"

#include "base/fs.h"
#include "base/log.h"

#define SESSION "{'body': 'SESSION-OF-EC2=='}"
#define ROLE "{'body': 'my-role\\n'}"

static int start_anew(void **state)
{
	iam_set_up(state);
	struct store_options o = options();
	o.use_iam = STORE_ON;
	o.max_attempts = 1;
	open_store("/db", "", o);
	set_address("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
	return 0;
}

static void test_ec2(void **state)
{
	(void)state;
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", 6 * HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_method(&server, 0), "PUT");
	assert_string_equal(scripted_path(&server, 0), "/latest/api/token");
	assert_string_equal(
		scripted_header(&server, 0, "x-aws-ec2-metadata-token-ttl-seconds"), "21600");
	assert_string_equal(scripted_path(&server, 1), "/latest/meta-data/iam/security-credentials/");
	assert_string_equal(
		scripted_path(&server, 2), "/latest/meta-data/iam/security-credentials/my-role");
	for (size_t i = 1; i <= 2; i++)
		assert_string_equal(
			scripted_header(&server, i, "x-aws-ec2-metadata-token"), "SESSION-OF-EC2==");
	check_signed(3, "ASIAONE");
	/* They are kept, also for another store of the process. */
	assert_code(put("y", false), ERR_OK);
	struct store_options o = options();
	o.use_iam = STORE_ON;
	open_store("/other", "", o);
	assert_code(put("z", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 6);
	check_signed(5, "ASIAONE");
	/* No message shows them. */
	char text[100] = "role-Secret-ASIAONE and role-Token-ASIAONE";
	log_redact(text);
	assert_string_equal(text, "*** and ***");
}

/* From the last third of a short life; the old ones while nothing better comes, and calmly. */
static void test_renewal(void **state)
{
	(void)state;
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", 240000), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	pass(61);
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 5);
	pass(100);
	ANSWERS("{'status': 503}", OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(1, "ASIAONE");
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 3);
	pass(20);
	ANSWERS(SESSION, ROLE, keys_for("ASIATWO", 6 * HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(3, "ASIATWO");
	/* The old secret is none any more: its place in the log's table is free. */
	char text[100] = "role-Secret-ASIAONE role-Secret-ASIATWO";
	log_redact(text);
	assert_string_equal(text, "role-Secret-ASIAONE ***");
}

/* From five to six minutes before the end of a long life. */
static void test_renewal_in_time(void **state)
{
	(void)state;
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	pass(3600 - 361);
	assert_code(put("x", false), ERR_OK);
	assert_int_equal(scripted_count(&server), 5);
	pass(62);
	ANSWERS(SESSION, ROLE, keys_for("ASIATWO", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(3, "ASIATWO");
}

/* Between the parts of an upload, too: what was begun with the old ones goes on with the new. */
static void test_renewal_within_an_upload(void **state)
{
	(void)state;
	struct store_options o = options();
	o.use_iam = STORE_ON;
	open_store("/db", "&concurrency=1", o);
	char later[] = "{'status': 503, 'headers': {'Retry-After': '30'}}", second[800];
	snprintf(second, sizeof(second), "%s", keys_for("ASIATWO", 6 * HOUR_MS));
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", 100000), PARTS_BEGUN, later, later, later, SESSION,
		ROLE, second, OK_PUT, OK_PUT, PARTS_ENDED);
	assert_code(put_two_parts(false), ERR_OK);
	assert_int_equal(scripted_count(&server), 13);
	for (size_t i = 3; i <= 6; i++)
		check_signed(i, "ASIAONE");
	for (size_t i = 10; i <= 12; i++)
		check_signed(i, "ASIATWO");
}

/* What has expired is not sent, whatever the metadata service says. */
static void test_expired(void **state)
{
	(void)state;
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	pass(3601);
	ANSWERS("{'status': 503}");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("cannot get the credentials of this machine's IAM role");
	assert_int_equal(scripted_count(&server), 1);
	/* Nor what has expired before it came. */
	pass(2);
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", -HOUR_MS));
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("expired already: is this host's clock right?");
	assert_int_equal(scripted_count(&server), 3);
}

/* The server knows better than the clock here: new ones, and that once. */
static void test_server_says_expired(void **state)
{
	(void)state;
	struct store_options o = options();
	o.use_iam = STORE_ON;
	open_store("/db", "", o);
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", 6 * HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	pass(61);
	char second[800];
	snprintf(second, sizeof(second), "%s", keys_for("ASIATWO", 6 * HOUR_MS));
	ANSWERS(ERROR(400, "ExpiredToken"), SESSION, ROLE, second, OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(4, "ASIATWO");
	ANSWERS(ERROR(400, "ExpiredToken"));
	assert_code(put("x", false), ERR_DENIED);
	assert_int_equal(scripted_count(&server), 1);
}

static void refused(
	const char *answer1, const char *answer2, const char *answer3, int code, const char *words)
{
	iam_reset();
	answers((const char *const[]){answer1, answer2, answer3, NULL});
	assert_code(put("x", false), code);
	assert_says(words);
}

static void test_none(void **state)
{
	(void)state;
	refused(SESSION, "{'status': 404}", NULL, ERR_DENIED, "has no IAM role: attach an instance");
	refused("{'status': 403}", NULL, NULL, ERR_DENIED,
		"asked for a session (IMDSv2), answered HTTP 403");
	refused(
		SESSION, ROLE, "{'status': 500}", ERR_UNREACHABLE, "role my-role: the instance metadata");
	refused(SESSION, ROLE, "{'body': '{\\\"Code\\\":\\\"AssumeRoleUnauthorizedAccess\\\"}'}",
		ERR_DENIED, "AssumeRoleUnauthorizedAccess");
	refused(SESSION, ROLE, "{'body': 'hello'}", ERR_DAMAGED, "is no credentials");
	refused(SESSION, ROLE, "{'body': '{\\\"AccessKeyId\\\":\\\"A\\\\nB\\\"}'}", ERR_DAMAGED,
		"no usable AccessKeyId");
	refused(SESSION, "{'body': '../../x'}", NULL, ERR_DAMAGED, "names no role");
	refused(
		"{'body': 'a\\nX-Evil: b'}", NULL, NULL, ERR_DAMAGED, "is no instance metadata service");
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	refused(SESSION, NULL, NULL, ERR_USAGE, "AWS_EC2_METADATA_DISABLED");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "ftp://x", 1);
	refused(SESSION, NULL, NULL, ERR_USAGE, "is not http://HOST");
}

/* Nobody there: one attempt a second for all that ask, and a sentence that helps. */
static void test_unreachable(void **state)
{
	(void)state;
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1", 1);
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_says("is this an EC2 instance, and, in a container, is the metadata's hop limit 2?");
	set_address("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	assert_code(put("x", false), ERR_UNREACHABLE);
	assert_int_equal(scripted_count(&server), 0);
	/* Whoever retries gets there. */
	struct store_options o = options();
	o.use_iam = STORE_ON;
	open_store("/db", "", o);
	iam_reset();
	ANSWERS("{'status': 500}", SESSION, ROLE, keys_for("ASIAONE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
}

static void test_container(void **state)
{
	(void)state;
	const char *file = tmpdir_path(dir, "token");
	assert_int_equal(fs_replace_file(file, "Bearer-One\n", 11, 0600, &e), ERR_OK);
	set_address("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v1/credentials");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file, 1);
	ANSWERS(keys_for("ASIABOX", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_path(&server, 0), "/v1/credentials");
	assert_string_equal(scripted_header(&server, 0, "authorization"), "Bearer-One");
	check_signed(1, "ASIABOX");
	/* The file is exchanged while we run, and read again. */
	assert_int_equal(fs_replace_file(file, "Bearer-Two", 10, 0600, &e), ERR_OK);
	iam_reset();
	ANSWERS(keys_for("ASIABOX", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_header(&server, 0, "authorization"), "Bearer-Two");
	refused("{'status': 401}", NULL, NULL, ERR_DENIED, "answered HTTP 401");
	/* A token in the environment, and none. */
	unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer-Three", 1);
	iam_reset();
	ANSWERS(keys_for("ASIABOX", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_string_equal(scripted_header(&server, 0, "authorization"), "Bearer-Three");
	unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	iam_reset();
	ANSWERS(keys_for("ASIABOX", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_null(scripted_header(&server, 0, "authorization"));
}

/* Nobody far away learns the token in plain HTTP. */
static void test_container_addresses(void **state)
{
	(void)state;
	static const char *const bad[] = {"http://example.com/x", "http://127.example.com.evil@h/",
		"http://10.0.0.1/x", "ftp://127.0.0.1/x", "http://169.254.170.20/x", "nonsense"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", bad[i], 1);
		refused(OK_PUT, NULL, NULL, ERR_USAGE, "https, or http on this machine");
		assert_int_equal(scripted_count(&server), 0);
	}
	setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/x", 1);
	refused(OK_PUT, NULL, NULL, ERR_USAGE, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	unsetenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	set_address("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/x");
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nX-Evil: b", 1);
	refused(OK_PUT, NULL, NULL, ERR_USAGE, "can't be one");
	assert_int_equal(scripted_count(&server), 0);
}

/* Without keys: EC2 where somebody wants it, or nothing else is there; a container first. */
static void test_by_rule(void **state)
{
	(void)state;
	struct store_options none = {.max_attempts = 1};
	char url[200];
	struct store *other = NULL;
	snprintf(url, sizeof(url), "s3://bucket/db?endpoint=http://127.0.0.1:%d", server.port);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
	assert_int_equal(store_open(&other, url, &none, &e), ERR_DENIED);
	assert_says("EC2's metadata (AWS_EC2_METADATA_DISABLED)");
	unsetenv("AWS_EC2_METADATA_DISABLED");
	setenv("LITESTREAM_USE_IAM", "true", 1);
	open_store("/db", "", none);
	ANSWERS(SESSION, ROLE, keys_for("ASIAONE", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	unsetenv("LITESTREAM_USE_IAM");
	set_address("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v1");
	open_store("/db", "", none);
	iam_reset();
	ANSWERS(keys_for("ASIABOX", HOUR_MS), OK_PUT);
	assert_code(put("x", false), ERR_OK);
	check_signed(1, "ASIABOX");
	/* Not where somebody decides otherwise, and keys come first. */
	none.use_iam = STORE_OFF;
	assert_int_equal(store_open(&other, url, &none, &e), ERR_DENIED);
	open_store("/db", "", options());
	ANSWERS(OK_PUT);
	assert_code(put("x", false), ERR_OK);
	assert_null(scripted_header(&server, 0, "x-amz-security-token"));
}

#define IAM_TEST(function) cmocka_unit_test_setup_teardown(function, start_anew, iam_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IAM_TEST(test_ec2),
		IAM_TEST(test_renewal),
		IAM_TEST(test_renewal_in_time),
		IAM_TEST(test_renewal_within_an_upload),
		IAM_TEST(test_expired),
		IAM_TEST(test_server_says_expired),
		IAM_TEST(test_none),
		IAM_TEST(test_unreachable),
		IAM_TEST(test_container),
		IAM_TEST(test_container_addresses),
		IAM_TEST(test_by_rule),
	};
	return run_with_server("iam", tests, sizeof(tests) / sizeof(tests[0]));
}
