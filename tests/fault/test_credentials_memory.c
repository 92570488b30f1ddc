/*
 * Every allocation while credentials are looked for fails once: in files, at STS, by a program. The
 * call says so, never that there are none or that they are wrong, and the next one has them. (Not
 * under a sanitizer, which has an allocator of its own.)
 */
#include "lib/no_memory.h"
#include "lib/iam_bed.h"

#include "base/fs.h"
#include "net/chain.h"

#if !NO_MEMORY_POSSIBLE

int main(void)
{
	printf("[  SKIPPED ] test_credentials_memory: a sanitizer's allocator can't be made to fail\n");
	return 0;
}

#else

static struct http_pool *pool;

static void write_config(const char *text)
{
	assert_int_equal(fs_mkdirs(tmpdir_path(dir, ".aws"), 0700), 0);
	assert_int_equal(
		fs_replace_file(tmpdir_path(dir, ".aws/config"), text, strlen(text), 0600, &e), ERR_OK);
}

/* How many allocations there were. */
static unsigned ask_with_failure(unsigned n, int *rc)
{
	struct iam_keys keys = {0};
	calls = 0;
	fail_at = n;
	e = (struct err)ERR_INIT;
	__atomic_store_n(&armed, true, __ATOMIC_RELEASE);
	*rc = iam_get(pool, IAM_CHAIN, &keys, &e);
	__atomic_store_n(&armed, false, __ATOMIC_RELEASE);
	if (*rc == ERR_OK)
		assert_string_equal(keys.secret_access_key, "role-Secret-AKIA");
	else
		assert_null(keys.secret_access_key);
	iam_keys_free(&keys);
	return calls;
}

static void sweep(void)
{
	const struct http_config config = {.user_agent = "test", .connect_timeout_ms = 10000};
	unsigned failed = 0;
	int rc;
	assert_int_equal(http_pool_new(&pool, &config, &e), ERR_OK);
	for (unsigned n = 1;; n++) {
		iam_reset();
		unsigned made = ask_with_failure(n, &rc);
		if (made < n)
			break;
		failed += rc != ERR_OK;
		/* libcurl and libcrypto say no more than that they could not. */
		if (rc != ERR_OK && rc != ERR_NOMEM && rc != ERR_UNREACHABLE && rc != ERR_IO &&
			rc != ERR_FAIL)
			fail_msg("allocation %u: %d %s", n, rc, e.text);
		pass(2);
		ask_with_failure(0, &rc);
		if (rc != ERR_OK)
			fail_msg("after allocation %u: %d %s", n, rc, e.text);
	}
	assert_int_equal(rc, ERR_OK);
	assert_true(failed > 10);
	http_pool_free(pool);
}

static void test_role(void **state)
{
	(void)state;
	char answer[1000], until[32];
	clock_format_rfc3339(clock_wall_ms() + 24 * HOUR_MS, until);
	snprintf(answer, sizeof(answer),
		"{'body': '<R><Credentials><AccessKeyId>AKIA</AccessKeyId><SecretAccessKey>"
		"role-Secret-AKIA</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s"
		"</Expiration></Credentials></R>'}",
		until);
	ANSWERS(answer);
	set_address("AWS_ENDPOINT_URL_STS", "");
	write_config("[default]\nrole_arn = r\nsource_profile = b\nregion = eu-west-1\n"
				 "[profile b]\naws_access_key_id = A\naws_secret_access_key = S\n");
	sweep();
}

static void test_program(void **state)
{
	(void)state;
	write_config(
		"[default]\ncredential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"AKIA\", "
		"\"SecretAccessKey\": \"role-Secret-AKIA\"}'\n");
	sweep();
}

#define MEMORY_TEST(function) cmocka_unit_test_setup_teardown(function, iam_set_up, iam_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MEMORY_TEST(test_role),
		MEMORY_TEST(test_program),
	};
	return run_with_server("credentials_memory", tests, sizeof(tests) / sizeof(tests[0]));
}

#endif
