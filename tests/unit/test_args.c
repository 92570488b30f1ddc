/* The flag parser: forms, types, mistakes, and what the nearest word is. */
#include "cli/args.h"

#include "base/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const struct flag flags[] = {
	{"o", FLAG_STRING, "PATH", "a path"},
	{"txid", FLAG_STRING, "TXID", "a transaction"},
	{"parallelism", FLAG_INT, "N", "how many"},
	{"timeout", FLAG_DURATION, "TIME", "how long"},
	{"dry-run", FLAG_BOOL, NULL, "only look"},
	{0},
};

static const struct command command = {
	.name = "restore",
	.arguments = "[flags] URL",
	.summary = "Restores",
	.flags = flags,
	.min_args = 1,
	.max_args = 2,
};

#define WORDS_MAX 16

/* Splits at spaces, in place, and parses. */
static int parse(struct args *a, char *line, struct err *e)
{
	static char *argv[WORDS_MAX];
	int argc = 0;
	for (char *word = strtok(line, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	err_clear(e);
	return args_parse(a, &command, argc, argv, 0, e);
}

static void test_forms(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"-o x -parallelism 4 -dry-run -timeout 1m URL",
		"--o x --parallelism=4 --dry-run --timeout=60s URL",
		"URL -o=x -dry-run=true -parallelism=4 -timeout 60",
		"-o y -dry-run -o x -timeout=60000ms -parallelism 4 -- URL",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char line[128];
		strcpy(line, lines[i]);
		struct args a;
		struct err e = ERR_INIT;
		assert_int_equal(parse(&a, line, &e), ERR_OK);
		assert_string_equal(args_string(&a, "o", NULL), "x");
		assert_int_equal(args_int(&a, "parallelism", 1), 4);
		assert_int_equal(args_ms(&a, "timeout", 1), 60000);
		assert_true(args_bool(&a, "dry-run"));
		assert_false(args_given(&a, "txid"));
		assert_null(args_string(&a, "txid", NULL));
		assert_int_equal(a.argc, 1);
		assert_string_equal(a.argv[0], "URL");
		args_free(&a);
	}
}

static void test_dashes_behind_the_end_are_arguments(void **state)
{
	(void)state;
	char line[] = "-- -o -";
	struct args a;
	struct err e = ERR_INIT;
	assert_int_equal(parse(&a, line, &e), ERR_OK);
	assert_int_equal(a.argc, 2);
	assert_string_equal(a.argv[0], "-o");
	assert_string_equal(a.argv[1], "-");
	args_free(&a);
}

static void test_values_that_look_like_flags(void **state)
{
	(void)state;
	char line[] = "-o -dry-run -parallelism -3 -txid= URL";
	struct args a;
	struct err e = ERR_INIT;
	assert_int_equal(parse(&a, line, &e), ERR_OK);
	assert_string_equal(args_string(&a, "o", NULL), "-dry-run");
	assert_false(args_bool(&a, "dry-run"));
	assert_int_equal(args_int(&a, "parallelism", 1), -3);
	assert_string_equal(args_string(&a, "txid", NULL), "");
	args_free(&a);
}

static void test_mistakes(void **state)
{
	(void)state;
	static const struct {
		const char *line, *text;
	} cases[] = {
		{"-paralelism 3 URL", "unknown flag -paralelism, did you mean -parallelism?"},
		{"--dryrun URL", "unknown flag --dryrun, did you mean -dry-run?"},
		{"-xyzzy-plugh=1 URL", "unknown flag -xyzzy-plugh=1"},
		{"-parallelism 3x URL", "-parallelism takes a number, not \"3x\""},
		{"-parallelism= URL", "-parallelism takes a number, not \"\""},
		{"-parallelism 99999999999999999999 URL",
			"-parallelism takes a number, not \"99999999999999999999\""},
		{"-timeout 3y URL", "-timeout takes a duration such as 30s or 5m, not \"3y\""},
		{"-dry-run=maybe URL", "-dry-run is true or false, not \"maybe\""},
		{"URL -o", "-o needs a value: PATH"},
		{"-dry-run", "too few arguments: restore takes [flags] URL"},
		{"a b c", "too many arguments: \"c\" is one more than restore takes"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char line[128];
		strcpy(line, cases[i].line);
		struct args a;
		struct err e = ERR_INIT;
		assert_int_equal(parse(&a, line, &e), ERR_USAGE);
		assert_string_equal(e.text, cases[i].text);
		args_free(&a);
	}
}

static void test_help_stops_everything(void **state)
{
	(void)state;
	static const char *const lines[] = {"-h", "--help -nonsense", "-o x -help", "-h a b c d"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char line[64];
		strcpy(line, lines[i]);
		struct args a;
		struct err e = ERR_INIT;
		assert_int_equal(parse(&a, line, &e), ERR_OK);
		assert_true(a.help);
		args_free(&a);
	}
}

static void test_durations(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"0", 0}, {"10", 10000}, {"1.5s", 1500}, {"250ms", 250}, {"1h30m", 5400000},
		{"2d", 172800000}, {"1m0.5s", 60500}, {"1500us", 2}};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int64_t ms = -1;
		assert_true(args_parse_duration(good[i].text, &ms));
		assert_int_equal(ms, good[i].ms);
	}
	static const char *const bad[] = {
		"", "s", "-1s", "1x", "1s2", "1 s", "1..5s", ".5s", "1e3s", "999999999999h", "0x10", "1ss"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms;
		assert_false(args_parse_duration(bad[i], &ms));
	}
}

static void test_nearest(void **state)
{
	(void)state;
	static const char *const words[] = {"restore", "replicate", "ltx", "version"};
	assert_string_equal(words_nearest("restor", words, 4), "restore");
	assert_string_equal(words_nearest("replciate", words, 4), "replicate");
	assert_string_equal(words_nearest("lxt", words, 4), "ltx");
	assert_null(words_nearest("frobnicate", words, 4));
	assert_null(words_nearest("x", words, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_dashes_behind_the_end_are_arguments),
		cmocka_unit_test(test_values_that_look_like_flags),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_help_stops_everything),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_nearest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
