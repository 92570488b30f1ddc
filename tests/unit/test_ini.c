/* The shared files of AWS's SDKs: what their lines say, and which profile that makes. */
#include "base/buf.h"
#include "base/fs.h"
#include "lib/tmpdir.h"
#include "net/ini.h"
#include "net/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct err e;
static char *dir;

static int note(void *ctx, const char *section, const char *key, const char *sub, const char *value,
	struct err *err)
{
	(void)err;
	return key ? buf_printf(ctx, "%s|%s|%s|%s\n", section, key, sub, value)
			   : buf_printf(ctx, "[%s]\n", section);
}

static void reads(const char *text, const char *expected)
{
	struct buf got;
	buf_init(&got, 1 << 20);
	if (ini_parse("f", text, strlen(text), note, &got, &e))
		fail_msg("%s: %s", text, e.text);
	assert_string_equal(buf_str(&got), expected);
	buf_free(&got);
}

static void refuses(const char *text, size_t n, const char *words)
{
	struct buf got;
	buf_init(&got, 1 << 20);
	e = (struct err)ERR_INIT;
	assert_int_equal(ini_parse("f", text, n, note, &got, &e), ERR_DENIED);
	if (!strstr(e.text, words) || strstr(e.text, "hush"))
		fail_msg("'%s' of: %s", words, e.text);
	buf_free(&got);
}

static void lines_say_what_they_should(void **state)
{
	(void)state;
	reads("", "");
	reads("\xef\xbb\xbf[a]\r\nk=v\r\n", "[a]\na|k||v\n");
	reads("[ profile \t x ] ; why\nRole_ARN = arn:aws:iam::1:role/a=b \n",
		"[profile x]\nprofile x|role_arn||arn:aws:iam::1:role/a=b\n");
	reads("# no\n ; no\n[a]\n#k = v\nk = v # no\nk = v#yes;yes\nk = \"v # no\"\n",
		"[a]\na|k||v\na|k||v#yes;yes\na|k||\"v\n");
	reads("[a]\nk = \"a b\"\nk='c'\nk=\"\nk=\n", "[a]\na|k||a b\na|k||c\na|k||\"\na|k||\n");
	/* Nested, and not. */
	reads("[services x]\ns3 =\n  endpoint_url = http://h\n  other=1\nsts=\n\tendpoint_url=u\n[b]\n "
		  " k = v\n  l = w\n",
		"[services x]\nservices x|s3||\nservices x|s3|endpoint_url|http://h\n"
		"services x|s3|other|1\nservices x|sts||\nservices x|sts|endpoint_url|u\n"
		"[b]\nb|k||v\nb|l||w\n");
	reads("k = v\n[a]\nk = v\n  goes on\nl = w", "[a]\na|k||v\na|l||w\n");
}

static void what_is_none_is_refused(void **state)
{
	(void)state;
	static char big[INI_TEXT_MAX + 2], line[INI_LINE_MAX + 100];
	refuses("[a]\nhush hush\n", 14, "f:2: neither a section nor");
	refuses("[a]\n= hush\n", 11, "f:2: there is no key");
	refuses("[hush\n", 6, "f:1: a section has no ']'");
	refuses("[ ]\n", 4, "f:1: the section has no name");
	refuses("[a]\nhush = \0x\n", 13, "f:2: a NUL byte");
	memset(line, 'h', sizeof(line));
	refuses(line, sizeof(line), "f:1: the line is too long");
	memset(big, '\n', sizeof(big));
	refuses(big, sizeof(big), "is larger than 1048576 bytes");
	line[0] = '[';
	line[301] = ']';
	refuses(line, 302, "f:1: the section's name is too long");
}

/* ---- profiles ---- */

static int own_home(void **state)
{
	(void)state;
	dir = tmpdir_new();
	setenv("HOME", dir, 1);
	static const char *const names[] = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE",
		"AWS_SHARED_CREDENTIALS_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	return fs_mkdirs(tmpdir_path(dir, ".aws"), 0700);
}

static int remove_home(void **state)
{
	(void)state;
	tmpdir_free(dir);
	return 0;
}

static void write_file(const char *name, const char *text)
{
	assert_int_equal(fs_replace_file(tmpdir_path(dir, name), text, strlen(text), 0600, &e), ERR_OK);
}

static struct profile p;

static void load(const char *name)
{
	profile_free(&p);
	if (profile_load(name, &p, &e))
		fail_msg("%s", e.text);
}

static void is(const char *value, const char *expected)
{
	if (!expected)
		assert_null(value);
	else
		assert_string_equal(value ? value : "(none)", expected);
}

static void two_files_make_a_profile(void **state)
{
	(void)state;
	load("default");
	assert_false(p.there);
	write_file(".aws/config",
		"[default]\nregion = eu-west-1\n[profile default]\nregion = eu-west-2\n"
		"[x]\nregion = wrong\n[profile x]\nregion = eu-north-1\naws_access_key_id = A\n"
		"aws_secret_access_key = B\naws_session_token = C\nrole_arn = r\n");
	write_file(".aws/credentials",
		"[default]\naws_access_key_id = D\naws_secret_access_key = E\n"
		"[profile x]\naws_access_key_id=no\naws_secret_access_key=no\n"
		"[x]\naws_access_key_id = F\naws_secret_access_key = G\nregion = sa-east-1\n");
	load("default");
	assert_true(p.there);
	is(p.region, "eu-west-2");
	is(p.access_key_id, "D");
	is(p.session_token, NULL);
	load("x");
	is(p.region, "sa-east-1");
	is(p.access_key_id, "F");
	is(p.secret_access_key, "G");
	is(p.session_token, NULL); /* it belongs to the other pair */
	is(p.role_arn, "r");
	load("y");
	assert_false(p.there);
	/* Other files, of which one isn't there. */
	setenv("AWS_CONFIG_FILE", tmpdir_path(dir, "other"), 1);
	setenv("AWS_SHARED_CREDENTIALS_FILE", tmpdir_path(dir, ".aws/credentials"), 1);
	load("x");
	is(p.role_arn, NULL);
	is(p.access_key_id, "F");
	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
	write_file("other", "[profile x]\naws_session_token = T\nrole_arn = s\n");
	load("x");
	is(p.role_arn, "s");
	is(p.session_token, NULL);
	bool said;
	assert_string_equal(profile_chosen(&said), "default");
	assert_false(said);
	setenv("AWS_DEFAULT_PROFILE", "b", 1);
	assert_string_equal(profile_chosen(&said), "b");
	setenv("AWS_PROFILE", "a", 1);
	assert_string_equal(profile_chosen(&said), "a");
	assert_true(said);
	profile_free(&p);
}

static void halves_of_a_pair_are_told(void **state)
{
	(void)state;
	write_file(".aws/config", "[profile x]\naws_access_key_id = A\n");
	write_file(".aws/credentials", "[x]\naws_secret_access_key = hush\n");
	assert_int_equal(profile_load("x", &p, &e), ERR_DENIED);
	assert_non_null(strstr(e.text, "aws_secret_access_key is missing"));
	profile_free(&p);
	write_file(".aws/config", "");
	assert_int_equal(profile_load("x", &p, &e), ERR_DENIED);
	assert_non_null(strstr(e.text, ".aws/credentials: the credentials in [x] are half there: "
								   "aws_access_key_id is missing"));
	profile_free(&p);
	/* A file that nobody may read is none. */
	setenv("AWS_CONFIG_FILE", dir, 1);
	load("y");
	assert_false(p.there);
}

static void endpoint_is(const char *service, const char *expected)
{
	char *got;
	load("x");
	assert_int_equal(profile_endpoint(&p, service, &got, &e), ERR_OK);
	is(got, expected);
	free(got);
	profile_free(&p);
}

static void services_have_endpoints(void **state)
{
	(void)state;
	write_file(".aws/config", "[profile x]\nservices = mine\nendpoint_url = http://all\n"
							  "[services mine]\ns3 =\n  endpoint_url = http://s3\n");
	endpoint_is("s3", "http://s3");
	endpoint_is("sts", "http://all");
	setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
	endpoint_is("s3", NULL);
	unsetenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	write_file(".aws/config",
		"[profile x]\nendpoint_url = http://all\nignore_configured_endpoint_urls = true\n");
	endpoint_is("s3", NULL);
}

#define PROFILE_TEST(function) cmocka_unit_test_setup_teardown(function, own_home, remove_home)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_say_what_they_should),
		cmocka_unit_test(what_is_none_is_refused),
		PROFILE_TEST(two_files_make_a_profile),
		PROFILE_TEST(halves_of_a_pair_are_told),
		PROFILE_TEST(services_have_endpoints),
	};
	return cmocka_run_group_tests_name("ini", tests, NULL, NULL);
}
