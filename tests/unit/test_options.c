/* The table of options: what it reads, and that flags and docs say the same. */
#include "conf/options.h"

#include "base/buf.h"
#include "base/fs.h"
#include "cli/command.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

extern const struct command command_replicate;

static struct options o;
static struct err e;

static void good(const char *name, const char *text)
{
	if (options_set(&o, name, text, &e))
		fail_msg("%s", e.text);
}

static void bad(const char *name, const char *text)
{
	struct options before = o;
	assert_int_equal(options_set(&o, name, text, &e), ERR_USAGE);
	assert_non_null(strstr(e.text, name));
	assert_memory_equal(&before, &o, sizeof(o));
}

static void test_values(void **state)
{
	(void)state;
	o = (struct options)OPTIONS_DEFAULT;
	assert_int_equal(o.sync_interval_ms, 1000);
	good("sync-interval", "500ms");
	assert_int_equal(o.sync_interval_ms, 500);
	good("sync-interval", "1m30s");
	assert_int_equal(o.sync_interval_ms, 90000);
	good("staging-size", "64MB");
	assert_int_equal(o.staging_max, 64000000);
	good("staging-size", "64MiB");
	assert_int_equal(o.staging_max, 64 << 20);
	good("checkpoint-frames", "700");
	assert_int_equal(o.checkpoint_frames, 700);
	good("no-barrier", "true");
	assert_true(o.no_barrier);
	good("no-barrier", "false");
	assert_false(o.no_barrier);
	assert_true(o.retention);
	good("retention", "false");
	assert_false(o.retention);
	good("l3-retention", "720h");
	assert_int_equal(o.l3_retention_ms, INT64_C(720) * 3600000);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"sync-interval", ""},
		{"sync-interval", "5"},
		{"sync-interval", "1x"},
		{"sync-interval", "-1s"},
		{"sync-interval", "9ms"},
		{"sync-interval", "25h"},
		{"sync-interval", "99999999999999999999s"},
		{"sync-interval", "1s "},
		{"staging-size", "1KB"},
		{"staging-size", "1TBB"},
		{"staging-size", "999999999999GiB"},
		{"checkpoint-frames", "0"},
		{"checkpoint-frames", "1.5"},
		{"no-barrier", "yes"},
		{"l0-retention", "2h59m"},
		{"snapshot-interval", "59m"},
		{"nonsense", "1s"},
	};
	o = (struct options)OPTIONS_DEFAULT;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		bad(cases[i][0], cases[i][1]);
}

/* What holds by default is within the bounds. */
static void test_standards(void **state)
{
	(void)state;
	for (const struct option_entry *en = option_table; en->name; en++) {
		char first[64];
		snprintf(first, sizeof(first), "%.*s", (int)strcspn(en->standard, ","), en->standard);
		good(en->name, first);
	}
}

/* An error says what would have been right, with the bounds as docs/OPTIONS.md writes them. */
static void test_describes(void **state)
{
	(void)state;
	static const char *const cases[][3] = {
		{"sync-interval", "0s", "a duration as 500ms, 1s or 1m30s, from 10ms to 24h, not \"0s\""},
		{"barrier-size", "1", "a size as 64MiB, 1GB or bytes, from 1MiB to 64GiB, not \"1\""},
		{"checkpoint-frames", "x", "a number, from 10 to 1000000, not \"x\""},
		{"retention", "1", "takes true or false, not \"1\""},
		{"nonsense", "1s", "there are sync-interval, staging-size"},
		{"nonsense", "1s", "snapshot-renew"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bad(cases[i][0], cases[i][1]);
		if (!strstr(e.text, cases[i][2]))
			fail_msg("%s", e.text);
	}
}

static const struct flag *find_flag(const char *name)
{
	for (const struct flag *f = command_replicate.flags; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static void test_each_is_a_flag(void **state)
{
	(void)state;
	for (const struct option_entry *en = option_table; en->name; en++) {
		const struct flag *f = find_flag(en->name);
		assert_non_null(f);
		assert_int_equal(f->type, en->type == OPTION_FLAG ? FLAG_BOOL : FLAG_STRING);
	}
}

static void bound(char *out, size_t size, enum option_type type, int64_t v)
{
	if (type == OPTION_DURATION && v % 3600000)
		snprintf(out, size, "%" PRId64 "ms", v);
	else if (type == OPTION_DURATION)
		snprintf(out, size, "%" PRId64 "h", v / 3600000);
	else if (type == OPTION_SIZE && v >> 30)
		snprintf(out, size, "%" PRId64 "GiB", v >> 30);
	else if (type == OPTION_SIZE)
		snprintf(out, size, "%" PRId64 "MiB", v >> 20);
	else
		snprintf(out, size, "%" PRId64, v);
}

/* Run from the root of the source, as tests/run.sh does. */
static void test_docs(void **state)
{
	(void)state;
	struct buf docs;
	buf_init(&docs, 1 << 20);
	if (fs_read_file("docs/OPTIONS.md", &docs, &e))
		fail_msg("%s", e.text);
	for (const struct option_entry *en = option_table; en->name; en++) {
		char row[512], low[32], high[32];
		bound(low, sizeof(low), en->type, en->min);
		bound(high, sizeof(high), en->type, en->max);
		if (en->type == OPTION_FLAG)
			snprintf(row, sizeof(row), "| `%s` | true or false | %s | %s |\n", en->name,
				en->standard, en->help);
		else
			snprintf(row, sizeof(row), "| `%s` | %s to %s | %s | %s |\n", en->name, low, high,
				en->standard, en->help);
		if (!strstr(buf_str(&docs), row))
			fail_msg("docs/OPTIONS.md lacks: %s", row);
	}
	for (const struct flag *f = command_replicate.flags; f->name; f++) {
		char word[64];
		snprintf(word, sizeof(word), "| `%s` |", f->name);
		if (!strstr(buf_str(&docs), word))
			fail_msg("docs/OPTIONS.md lacks %s", word);
	}
	buf_free(&docs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_standards),
		cmocka_unit_test(test_describes),
		cmocka_unit_test(test_each_is_a_flag),
		cmocka_unit_test(test_docs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
