/* Names, TXIDs, order and contiguity of a replica's files. */
#include "format/ltxset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
	(void)state;
	char name[LTX_NAME_SIZE];
	uint64_t min, max;
	ltx_format_name(1, 0xabcdef, name);
	assert_string_equal(name, "0000000000000001-0000000000abcdef.ltx");
	assert_true(ltx_parse_name(name, &min, &max));
	assert_true(min == 1 && max == 0xabcdef);
	ltx_format_name(UINT64_MAX, UINT64_MAX, name);
	assert_true(ltx_parse_name(name, &min, &max));
	assert_true(min == UINT64_MAX && max == UINT64_MAX);
}

static void test_bad_names(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"litestream.json",
		"0000000000000001-0000000000000002",
		"0000000000000001-0000000000000002.ltx ",
		"0000000000000001-0000000000000002.ltx.tmp",
		"000000000000001-00000000000000002.ltx",
		"0000000000000001_0000000000000002.ltx",
		"0000000000000001-000000000000000A.ltx",
		"0000000000000001-000000000000000g.ltx",
		" 000000000000001-0000000000000002.ltx",
		"+000000000000001-0000000000000002.ltx",
		"0000000000000000-0000000000000002.ltx",
		"0000000000000003-0000000000000002.ltx",
		"0000000000000001-0000000000000002.LTX",
		"/000000000000001-0000000000000002.ltx",
	};
	uint64_t min, max;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (ltx_parse_name(bad[i], &min, &max))
			fail_msg("\"%s\" was taken for a name", bad[i]);
}

static void test_txids(void **state)
{
	(void)state;
	uint64_t v;
	assert_true(ltx_parse_txid("0000000000000010", &v) && v == 16);
	assert_true(ltx_parse_txid("aB", &v) && v == 0xab);
	assert_true(ltx_parse_txid("ffffffffffffffff", &v) && v == UINT64_MAX);
	static const char *const bad[] = {"", " 1", "1 ", "0x1", "-1", "00000000000000001", "g", "1\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ltx_parse_txid(bad[i], &v));
}

static void add(struct ltx_set *s, int level, uint64_t min, uint64_t max, int64_t modified)
{
	const struct ltx_file f = {level, min, max, 100, modified};
	assert_int_equal(ltxset_add(s, &f), ERR_OK);
}

static void test_order_and_doubles(void **state)
{
	(void)state;
	struct ltx_set s;
	ltxset_init(&s);
	assert_null(ltxset_last_l0(&s));
	assert_true(ltxset_max_txid(&s) == 0);
	ltxset_sort(&s);
	add(&s, 9, 1, 12, 0);
	add(&s, 1, 6, 10, 0);
	add(&s, 0, 11, 11, 5);
	add(&s, 0, 2, 2, 0);
	add(&s, 0, 11, 11, 7);
	add(&s, 1, 1, 5, 0);
	add(&s, 1, 1, 4, 0);
	add(&s, 0, 0x100000000, 0x100000000, 0);
	ltxset_sort(&s);
	static const struct {
		int level;
		uint64_t min, max;
	} want[] = {{0, 2, 2}, {0, 11, 11}, {0, 0x100000000, 0x100000000}, {1, 1, 4}, {1, 1, 5},
		{1, 6, 10}, {9, 1, 12}};
	assert_int_equal(s.count, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < s.count; i++)
		assert_true(s.files[i].level == want[i].level && s.files[i].min_txid == want[i].min &&
					s.files[i].max_txid == want[i].max);
	assert_int_equal(s.files[1].modified_ms, 7);
	assert_true(ltxset_max_txid(&s) == 0x100000000);
	assert_true(ltxset_last_l0(&s) == &s.files[2]);
	ltxset_free(&s);
	ltxset_free(&s);
}

static void test_max_txid_is_of_all_levels(void **state)
{
	(void)state;
	struct ltx_set s;
	ltxset_init(&s);
	add(&s, 0, 3, 3, 0);
	add(&s, 9, 1, 8, 0);
	ltxset_sort(&s);
	assert_true(ltxset_max_txid(&s) == 8);
	assert_true(ltxset_last_l0(&s)->max_txid == 3);
	ltxset_free(&s);
}

static void test_many(void **state)
{
	(void)state;
	struct ltx_set s;
	ltxset_init(&s);
	for (uint64_t i = 10000; i >= 1; i--)
		add(&s, 0, i, i, 0);
	ltxset_sort(&s);
	assert_int_equal(s.count, 10000);
	for (uint64_t i = 0; i < 10000; i++)
		assert_true(s.files[i].min_txid == i + 1);
	ltxset_free(&s);
}

static void test_follows(void **state)
{
	(void)state;
	const struct ltx_file f = {.min_txid = 5, .max_txid = 8};
	assert_false(ltx_follows(3, &f));
	assert_true(ltx_follows(4, &f));
	assert_true(ltx_follows(7, &f));
	assert_false(ltx_follows(8, &f));
	const struct ltx_file first = {.min_txid = 1, .max_txid = 1},
						  last = {.min_txid = UINT64_MAX, .max_txid = UINT64_MAX};
	assert_true(ltx_follows(0, &first));
	assert_true(ltx_follows(UINT64_MAX - 1, &last));
	assert_false(ltx_follows(UINT64_MAX, &last));
	assert_false(ltx_follows(0, &last));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_txids),
		cmocka_unit_test(test_order_and_doubles),
		cmocka_unit_test(test_max_txid_is_of_all_levels),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_follows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
