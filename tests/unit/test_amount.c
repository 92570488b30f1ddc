/* Durations and sizes as Go programs read them. */
#include "base/amount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static void test_durations(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"0", 0}, {"-0", 0}, {"1s", 1000}, {"1h30m", 5400000}, {"1.5h", 5400000},
		{".5s", 500}, {"1.s", 1000}, {"250ms", 250}, {"-1m", -60000}, {"+2s", 2000}, {"10ns", 1},
		{"0ns", 0}, {"1500us", 2}, {"1500\xc2\xb5s", 2}, {"1500\xce\xbcs", 2},
		{"24h0m0s", 86400000}, {"7d", 604800000}, {"168h", 604800000}};
	for (size_t i = 0; i < COUNT(good); i++) {
		int64_t ms = -1;
		if (!amount_duration_ms(good[i].text, &ms) || ms != good[i].ms)
			fail_msg("%s is %ld", good[i].text, (long)ms);
	}
	static const char *const bad[] = {"", "s", "1", "10", "-", "1x", "1s2", "1 s", "1..5s", ".s",
		"1e3s", "99999999999h", "0x10", "1ss", "1S", "one", "1.2.3s",
		"11111111111111111111111111111111111111111111s"};
	for (size_t i = 0; i < COUNT(bad); i++) {
		int64_t ms;
		if (amount_duration_ms(bad[i], &ms))
			fail_msg("%s was taken", bad[i]);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"0", 0}, {"5", 5}, {"5b", 5}, {"5MB", 5000000}, {"5 MB", 5000000}, {"5m", 5000000},
		{"5MiB", 5242880}, {"5mib", 5242880}, {"5Mi", 5242880}, {"1.5k", 1500}, {"1KiB", 1024},
		{"2GB", 2000000000}, {"1TiB", UINT64_C(1) << 40}, {"1P", UINT64_C(1000000000000000)}};
	for (size_t i = 0; i < COUNT(good); i++) {
		uint64_t bytes = 99;
		if (!amount_size(good[i].text, &bytes) || bytes != good[i].bytes)
			fail_msg("%s is %lu", good[i].text, (unsigned long)bytes);
	}
	static const char *const bad[] = {
		"", "MB", "-1", "5XB", "5MBs", "5 M B", "1e9", "0x10", "9999999P"};
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t bytes;
		if (amount_size(bad[i], &bytes))
			fail_msg("%s was taken", bad[i]);
	}
}

static void test_written_durations(void **state)
{
	(void)state;
	static const struct {
		int64_t ms;
		const char *text;
	} list[] = {{0, "0s"}, {1, "1ms"}, {250, "250ms"}, {1000, "1s"}, {5300, "5.3s"},
		{61001, "1m1.001s"}, {5400000, "1h30m0s"}, {86400000, "24h0m0s"}, {-60000, "-1m0s"},
		{-20, "-20ms"}, {3600500, "1h0m0.5s"}, {INT64_MAX, "2562047788015h12m55.807s"}};
	for (size_t i = 0; i < COUNT(list); i++) {
		char text[AMOUNT_DURATION_SIZE];
		int64_t back = -1;
		amount_format_duration(list[i].ms, text);
		assert_string_equal(text, list[i].text);
		if (list[i].ms != INT64_MAX)
			assert_true(amount_duration_ms(text, &back) && back == list[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_written_durations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
