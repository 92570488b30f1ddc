/* Times as text, both ways; clocks can be replaced. */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text;
	int64_t ms;
	const char *canonical; /* NULL = the text itself */
} times[] = {
	{"1970-01-01T00:00:00.000Z", 0, NULL},
	{"2026-11-20T12:00:00.123Z", INT64_C(1795176000123), NULL},
	{"2024-02-29T23:59:59.999Z", INT64_C(1709251199999), NULL},
	{"1969-12-31T23:59:59.001Z", -999, NULL},
	{"0000-01-01T00:00:00.000Z", INT64_C(-62167219200000), NULL},
	{"9999-12-31T23:59:59.999Z", INT64_C(253402300799999), NULL},
	{"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"},
	{"1970-01-01t00:00:00z", 0, "1970-01-01T00:00:00.000Z"},
	{"1970-01-01 00:00:01Z", 1000, "1970-01-01T00:00:01.000Z"},
	{"1970-01-01T00:00:00.5Z", 500, "1970-01-01T00:00:00.500Z"},
	{"1970-01-01T00:00:00.123999999999999Z", 123, "1970-01-01T00:00:00.123Z"},
	{"1970-01-01T01:00:00+01:00", 0, "1970-01-01T00:00:00.000Z"},
	{"1969-12-31T19:00:00.25-05:30", 1800250, "1970-01-01T00:30:00.250Z"},
	{"1970-01-01T00:00:00-00:00", 0, "1970-01-01T00:00:00.000Z"},
	{"2016-12-31T23:59:60Z", INT64_C(1483228800000), "2017-01-01T00:00:00.000Z"},
	{"2000-02-29T00:00:00Z", INT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
};

static void test_times(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		int64_t ms;
		char text[32];
		if (clock_parse_rfc3339(times[i].text, &ms))
			fail_msg("%s was refused", times[i].text);
		if (ms != times[i].ms)
			fail_msg("%s gave %lld", times[i].text, (long long)ms);
		clock_format_rfc3339(ms, text);
		assert_string_equal(text, times[i].canonical ? times[i].canonical : times[i].text);
	}
}

static void test_no_times(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"now",
		"2026-11-20",
		"2026-11-20T12:00:00",
		"2026-11-20T12:00Z",
		"2026-11-20T12:00:00Z ",
		" 2026-11-20T12:00:00Z",
		"2026-11-20T12:00:00.Z",
		"2026-11-20T12:00:00,5Z",
		"2026-11-20T12:00:00+1:00",
		"2026-11-20T12:00:00+0100",
		"2026-11-20T12:00:00+24:00",
		"2026-11-20T12:00:00+01:60",
		"2026-11-20T24:00:00Z",
		"2026-11-20T12:60:00Z",
		"2026-11-20T12:00:61Z",
		"2026-13-01T12:00:00Z",
		"2026-00-01T12:00:00Z",
		"2026-11-00T12:00:00Z",
		"2026-11-31T12:00:00Z",
		"2026-02-29T12:00:00Z",
		"1900-02-29T12:00:00Z",
		"2026-02-30T12:00:60Z",
		"26-11-20T12:00:00Z",
		"02026-11-20T12:00:00Z",
		"-026-11-20T12:00:00Z",
		"1795176000",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms = 77;
		if (clock_parse_rfc3339(bad[i], &ms) == 0)
			fail_msg("\"%s\" was taken for a time", bad[i]);
		assert_true(ms == 77);
	}
}

static void test_impossible_times_are_clamped(void **state)
{
	(void)state;
	char text[32];
	clock_format_rfc3339(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	clock_format_rfc3339(INT64_MIN, text);
	assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

static int64_t fake_now = 5;

static int64_t fake_ms(void)
{
	return fake_now;
}

static int64_t fake_us(void)
{
	return fake_now * 1000;
}

static void fake_sleep(int64_t us)
{
	fake_now += us / 1000;
}

static void test_clocks_can_be_replaced(void **state)
{
	(void)state;
	const struct clock_ops fake = {fake_ms, fake_us, fake_ms, fake_sleep};
	clock_set_ops(&fake);
	clock_sleep_us(3600000000);
	assert_true(clock_wall_ms() == 3600005);
	assert_true(clock_mono_us() == 3600005000);
	assert_true(clock_boot_ms() == 3600005);
	clock_sleep_us(-1);
	clock_sleep_us(0);
	assert_true(clock_wall_ms() == 3600005);
	clock_set_ops(NULL);
	assert_true(clock_wall_ms() > INT64_C(1700000000000));
	int64_t start = clock_mono_us();
	clock_sleep_us(2000);
	assert_true(clock_mono_us() - start >= 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_no_times),
		cmocka_unit_test(test_impossible_times_are_clamped),
		cmocka_unit_test(test_clocks_can_be_replaced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
