/* The bar and the lines that tell how far something has come; no terminal is here, so lines. */
#include "cli/progress.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_bar(void **state)
{
	char out[PROGRESS_TEXT];
	(void)state;
	assert_string_equal(
		progress_bar(0, 5000000, NULL, out), "[>                             ]   0 % of 5.0 MB");
	assert_string_equal(progress_bar(2500000, 5000000, NULL, out),
		"[===============>              ]  50 % of 5.0 MB");
	assert_string_equal(
		progress_bar(7, 7, "files", out), "[==============================] 100 % of 7 files");
	/* More than there was thought to be; the largest numbers. */
	assert_string_equal(
		progress_bar(9, 7, "files", out), "[==============================] 100 % of 7 files");
	assert_true(strlen(progress_bar(1, UINT64_MAX, "sixteen letters!", out)) < 80);
	assert_true(strlen(progress_bar(1, UINT64_MAX, NULL, out)) < 80);
}

static int64_t now_us;

static int64_t fake_mono(void)
{
	return now_us;
}

static void test_lines(void **state)
{
	static const struct clock_ops ops = {.mono_us = fake_mono};
	struct progress p = {0};
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	(void)state;
	clock_set_ops(&ops);
	now_us = 1;
	/* What is quick has none; then one each ten seconds, the first not at once. */
	for (int i = 0; i <= 25; i++, now_us += 1000000)
		progress_show(&p, f, (uint64_t)i * 1000000, 50000000, NULL);
	progress_show(&p, NULL, 1, 2, NULL);
	progress_show(&p, f, 0, 0, NULL);
	progress_end(&p);
	clock_set_ops(NULL);
	fclose(f);
	assert_string_equal(text, " 20 % of 50.0 MB\n 40 % of 50.0 MB\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
