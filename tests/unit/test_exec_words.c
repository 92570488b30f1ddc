/* The command of -exec as words. What is not marked with our own choice is what Litestream's parser
 * (mattn/go-shellwords) makes of it. */
#include "cli/exec_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	const char *command;
	const char *words[6];
} good[] = {
	{"app", {"app"}},
	{"  npm \t run\nstart ", {"npm", "run", "start"}},
	{"sh -c 'a && b > \"c\"'", {"sh", "-c", "a && b > \"c\""}},
	{"a \"b c\"d' e'f", {"a", "b cd ef"}},
	{"a '' \"\"", {"a", "", ""}},
	{"a\\ b c\\\\d \\'e\\\"", {"a b", "c\\d", "'e\""}},
	{"a \"b\\\"c\" 'd\\e'", {"a", "b\"c", "d\\e"}},
	{"printf a\\tb\\n", {"printf", "a\tb\n"}},
	{"a $HOME ~ *.db --x=1 #y", {"a", "$HOME", "~", "*.db", "--x=1", "#y"}},
};

static const struct {
	const char *command, *want;
} bad[] = {
	{" \t", "no word"},
	{"a 'b", "quote is not closed"},
	{"a \"b'", "quote is not closed"},
	{"a b\\", "backslash"},
	/* our choice: there the rest is dropped */
	{"migrate && app", "sh -c '…'"},
	{"app 2>&1", "sh -c '…'"},
	{"app;", "sh -c '…'"},
	{"app | tee", "sh -c '…'"},
	{"app <x", "sh -c '…'"},
	{"app $(id)", "sh -c '…'"},
	{"app `id`", "sh -c '…'"},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char **words;
		struct err e = ERR_INIT;
		size_t n = 0;
		assert_int_equal(exec_words(good[i].command, &words, &e), ERR_OK);
		for (; n < 6 && good[i].words[n]; n++)
			assert_string_equal(words[n], good[i].words[n]);
		assert_null(words[n]);
		free(words);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char **words;
		struct err e = ERR_INIT;
		assert_int_equal(exec_words(bad[i].command, &words, &e), ERR_USAGE);
		if (!strstr(e.text, bad[i].want))
			fail_msg("\"%s\": %s", bad[i].command, e.text);
	}
}

/* As many words as can be, and every short command of the characters that mean something: never
 * more than the memory that was asked for (ASan looks). */
static void test_all_short(void **state)
{
	static const char set[] = "a \\'\"n;";
	(void)state;
	for (unsigned n = 0; n < 7 * 7 * 7 * 7 * 7; n++) {
		char command[6] = "", **words;
		struct err e = ERR_INIT;
		for (unsigned i = 0, rest = n; i < 5; i++, rest /= 7)
			command[i] = set[rest % 7];
		if (exec_words(command, &words, &e))
			continue;
		size_t k = 0;
		while (words[k])
			k++;
		assert_in_range(k, 1, 3);
		free(words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_all_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
