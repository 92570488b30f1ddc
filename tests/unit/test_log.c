/* Log lines: their form, levels, and that no secret gets into one. */
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t noon(void)
{
	return INT64_C(1795176000123);
}

static const struct clock_ops clock_at_noon = {noon, noon, noon, NULL};
static int pipe_fds[2];

static int setup(void **state)
{
	(void)state;
	clock_set_ops(&clock_at_noon);
	if (pipe(pipe_fds))
		return -1;
	log_set_fd(pipe_fds[1]);
	return 0;
}

/* What was logged since the last call; at least one byte must be there. */
static const char *logged(void)
{
	static char text[8192];
	ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static void test_line(void **state)
{
	(void)state;
	log_info("%d pages", 3);
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z INFO  3 pages\n");
	log_set_prefix("my-app: ");
	log_warn("slow");
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z WARN  my-app: slow\n");
	log_set_prefix(NULL);
	log_error("bad");
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z ERROR bad\n");
}

static void test_levels(void **state)
{
	(void)state;
	enum log_level level;
	log_debug("dropped");
	log_set_level(LOG_DEBUG);
	log_debug("kept");
	assert_non_null(strstr(logged(), "DEBUG kept"));
	log_set_level(LOG_ERROR);
	log_warn("dropped");
	log_error("kept");
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z ERROR kept\n");
	log_set_level(LOG_INFO);
	assert_int_equal(log_parse_level("trace", &level), 0);
	assert_int_equal(level, LOG_TRACE);
	assert_int_equal(log_parse_level("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_parse_level("INFO", &level), -1);
	assert_int_equal(log_parse_level("", &level), -1);
}

/* A server's answer must not be able to forge a line, or to steer a terminal. */
static void test_one_event_is_one_line(void **state)
{
	(void)state;
	log_info("answer: %s", "a\nb\x1b[31m\tc\x7f");
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z INFO  answer: a b [31m c \n");
}

static void test_errno_is_left_alone(void **state)
{
	(void)state;
	errno = EBUSY;
	log_info("x");
	assert_int_equal(errno, EBUSY);
	logged();
	log_set_fd(-1);
	errno = EBUSY;
	log_info("nowhere");
	assert_int_equal(errno, EBUSY);
	log_set_fd(pipe_fds[1]);
}

static void test_redaction(void **state)
{
	(void)state;
	char text[100] = "key sesame and sesame";
	assert_int_equal(log_add_secret("sesame"), 0);
	log_redact(text);
	assert_string_equal(text, "key *** and ***");
	log_info("%s/sesame sesamesesame", "a");
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z INFO  a/*** ******\n");
	assert_int_equal(log_add_secret("abc"), 0); /* too short */
	assert_int_equal(log_add_secret(NULL), 0);
	assert_int_equal(log_add_secret(""), 0);
	log_info("abc");
	assert_non_null(strstr(logged(), " abc\n"));
}

/* Whatever the order they came in: nothing is left of the longer one. */
static void test_secret_within_a_secret(void **state)
{
	(void)state;
	assert_int_equal(log_add_secret("pass"), 0);
	assert_int_equal(log_add_secret("password-of-the-app"), 0);
	assert_int_equal(log_add_secret("password"), 0);
	log_info("<password-of-the-app> <password> <pass>");
	assert_string_equal(logged(), "2026-11-20T12:00:00.123Z INFO  <***> <***> <***>\n");
}

/* A line too long is cut; a secret lying across the cut must not leave its beginning behind. */
static void test_secret_across_the_cut(void **state)
{
	(void)state;
	static const char secret[] = "QWERTZUIOPASDFGHJKLYXCVBNM";
	assert_int_equal(log_add_secret(secret), 0);
	for (size_t before = 1950; before < 2050; before++) {
		char *text = malloc(before + 3 * sizeof(secret));
		assert_non_null(text);
		memset(text, '.', before);
		strcpy(text + before, secret);
		strcat(text, secret);
		log_info("%s", text);
		const char *line = logged();
		assert_true(strlen(line) <= 2048 && line[strlen(line) - 1] == '\n');
		assert_null(strchr(line, 'Q'));
		free(text);
	}
}

static void test_long_secrets_and_a_full_table(void **state)
{
	(void)state;
	char *token = malloc(5000);
	assert_non_null(token);
	memset(token, 't', 4999);
	token[4999] = '\0';
	assert_int_equal(log_add_secret(token), -1);
	token[1200] = '\0'; /* the size of an AWS session token */
	assert_int_equal(log_add_secret(token), 0);
	log_info("<%s>", token);
	assert_non_null(strstr(logged(), "INFO  <***>\n"));
	int added = 0;
	for (int i = 0; i < 100; i++) {
		char secret[32] = "secret-number-00";
		secret[14] = (char)('0' + i / 10);
		secret[15] = (char)('0' + i % 10);
		added += log_add_secret(secret) == 0;
	}
	assert_in_range(added, 50, 64);
	assert_int_equal(log_add_secret("sesame"), 0); /* it is there already */
	/* One that is forgotten makes room, and only it is shown again. */
	char text[] = "sesame, password-of-the-app, a-newer-one";
	log_forget_secret("password-of-the-app");
	log_forget_secret("nobody's");
	log_forget_secret(NULL);
	assert_int_equal(log_add_secret("a-newer-one"), 0);
	log_redact(text);
	assert_string_equal(text, "***, ***-of-the-app, ***");
	free(token);
}

/* One JSON object a line, whatever is in the text. */
static void test_json(void **state)
{
	(void)state;
	log_add_secret("open sesame");
	log_set_json(true);
	log_warn("a \"word\", a \\ and\na line, %s", "open sesame");
	const char *line = logged();
	log_set_json(false);
	assert_int_equal(strncmp(line, "{\"time\":\"2", 10), 0);
	assert_non_null(
		strstr(line, "\"level\":\"WARN\",\"msg\":\"a \\\"word\\\", a \\\\ and a line, ***\"}\n"));
	char many[4000];
	memset(many, '"', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	log_set_json(true);
	log_info("%s", many);
	line = logged();
	log_set_json(false);
	assert_string_equal(line + strlen(line) - 5, "\\\"\"}\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_one_event_is_one_line),
		cmocka_unit_test(test_errno_is_left_alone),
		cmocka_unit_test(test_redaction),
		cmocka_unit_test(test_secret_within_a_secret),
		cmocka_unit_test(test_secret_across_the_cut),
		cmocka_unit_test(test_long_secrets_and_a_full_table),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
