/* What the tests of changing credentials share beyond lib/s3_bed.h: an environment without any of
 * AWS's variables, a clock of which the wall's time moves too, answers that are credentials. */
#ifndef TESTS_LIB_IAM_BED_H
#define TESTS_LIB_IAM_BED_H

#include "lib/s3_bed.h"

#include "lib/tmpdir.h"
#include "net/iam.h"

#define HOUR_MS INT64_C(3600000)

static char *dir; /* of the test; the home in it is empty at first */

static int64_t moved_wall_ms(void)
{
	return fake_wall_ms() + slept_us / 1000;
}

static inline void pass(int64_t seconds)
{
	slept_us += seconds * 1000000;
}

extern char **environ;

/* No variable of AWS's or Litestream's is left. */
static inline void clear_environment(void)
{
	for (size_t i = 0; environ[i];) {
		char name[200];
		size_t n = strcspn(environ[i], "=");
		snprintf(name, sizeof(name), "%.*s", (int)n, environ[i]);
		if (strncmp(name, "AWS_", 4) == 0 || strncmp(name, "LITESTREAM_", 11) == 0)
			unsetenv(name);
		else
			i++;
	}
}

static inline int iam_set_up(void **state)
{
	static const struct clock_ops clock = {moved_wall_ms, fake_mono_us, fake_boot_ms, fake_sleep};
	clear_environment();
	dir = tmpdir_new();
	setenv("HOME", dir, 1);
	set_up(state);
	clock_set_ops(&clock);
	iam_reset();
	return 0;
}

static inline int iam_tear_down(void **state)
{
	iam_reset();
	tmpdir_free(dir);
	return tear_down(state);
}

/* A variable that is an address of the test's server. */
static inline void set_address(const char *name, const char *path)
{
	char url[100];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", server.port, path);
	setenv(name, url, 1);
}

/* What EC2 answers for a role: a key that holds for so long. Static text, the next call's. */
static inline const char *keys_for(const char *key, int64_t ms)
{
	static char text[800];
	char until[32];
	clock_format_rfc3339(clock_wall_ms() + ms, until);
	snprintf(text, sizeof(text),
		"{'body': '{\\\"Code\\\":\\\"Success\\\",\\\"AccessKeyId\\\":\\\"%s\\\","
		"\\\"SecretAccessKey\\\":\\\"role-Secret-%s\\\",\\\"Token\\\":\\\"role-Token-%s\\\","
		"\\\"Expiration\\\":\\\"%s\\\"}'}",
		key, key, key, until);
	return text;
}

static inline void answers(const char *const *list)
{
	char all[8192] = "[";
	for (size_t i = 0; list[i]; i++) {
		strcat(all, i ? "," : "");
		strcat(all, list[i]);
	}
	strcat(all, "]");
	scripted_answers(&server, all);
}
#define ANSWERS(...) answers((const char *const[]){__VA_ARGS__, NULL})

/* Was request number i signed with what keys_for gave for that key? */
static inline void check_signed(size_t i, const char *key)
{
	char token[64], credential[64];
	snprintf(token, sizeof(token), "role-Token-%s", key);
	snprintf(credential, sizeof(credential), "Credential=%s/", key);
	assert_string_equal(scripted_header(&server, i, "x-amz-security-token"), token);
	assert_non_null(strstr(scripted_header(&server, i, "authorization"), credential));
}

#endif
