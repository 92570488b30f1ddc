/* litestream.json, read: what of it is believed. Whoever can write to the bucket wrote it. */
#include "conf/manifest.h"

#include "lib/tmpdir.h"

#include "base/buf.h"
#include "replicate/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct manifest_facts facts;
static struct err e;

static int read_text(const char *text)
{
	memset(&facts, 0xff, sizeof(facts));
	e = (struct err)ERR_INIT;
	return manifest_read(text, strlen(text), &facts, &e);
}

/* One more key in a manifest that is otherwise good. */
static void read_with(const char *key, const char *value)
{
	char text[1024];
	snprintf(
		text, sizeof(text), "{\"version\": 1, \"fencing\": \"strong\", \"%s\": %s}", key, value);
	if (read_text(text) != ERR_OK)
		fail_msg("%s: %s", text, e.text);
}

static void test_all_of_it(void **state)
{
	(void)state;
	assert_int_equal(
		read_text(
			"{\"version\": 1, \"database\": \"production.sqlite3\", \"app\": \"my-app\","
			"\"storage\": \"my-app--db\", \"container_path\": \"/app/db\", \"owner\": 32767,"
			"\"group\": 32767, \"mode\": \"0640\", \"plugin_version\": \"1.0.0\","
			"\"host\": \"web-1.example\", \"fencing\": \"strong\", \"of_the_future\": [1, {}]}"),
		ERR_OK);
	assert_string_equal(facts.app, "my-app");
	assert_string_equal(facts.database, "production.sqlite3");
	assert_string_equal(facts.storage, "my-app--db");
	assert_string_equal(facts.container_path, "/app/db");
	assert_string_equal(facts.host, "web-1.example");
	assert_int_equal(facts.owner, 32767);
	assert_int_equal(facts.mode, 0640);
	assert_string_equal(facts.doubted, "");
}

static void test_what_we_write_is_believed(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	const char *db = tmpdir_path(dir, "production.sqlite3");
	struct buf text;
	fclose(fopen(db, "w"));
	buf_init(&text, MANIFEST_MAX);
	const struct manifest m = {.database = db,
		.app = "my-app",
		.storage_name = "my-app--db",
		.container_path = "/app/db/litestream"};
	assert_int_equal(manifest_make(&m, &text, &e), ERR_OK);
	assert_int_equal(manifest_read(text.data, text.len, &facts, &e), ERR_OK);
	assert_string_equal(facts.app, "my-app");
	assert_string_equal(facts.database, "production.sqlite3");
	assert_string_equal(facts.container_path, "/app/db/litestream");
	assert_int_not_equal(facts.mode, 0);
	/* Also where the tests are root's: that is as if no owner were said. */
	assert_true(facts.owner == geteuid() || geteuid() > 65535);
	buf_free(&text);
	tmpdir_free(dir);
}

static void test_nothing_is_needed(void **state)
{
	(void)state;
	assert_int_equal(read_text("{\"version\": 1}"), ERR_OK);
	assert_string_equal(facts.app, "");
	assert_string_equal(facts.database, "");
	assert_int_equal(facts.owner, 0);
	assert_int_equal(facts.mode, 0);
	assert_string_equal(facts.doubted, "");
}

static void test_what_is_not_believed(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{"app", "\"../x\""},
		{"app", "\"\""},
		{"app", "\"-rf\""},
		{"app", "\"a b\""},
		{"app", "1"},
		{"app", "null"},
		{"app", "[\"a\"]"},
		{"app", "\"A\""},
		{"app", "\"a\\n\""},
		{"app", "\"\\u00e4\""},
		{"app", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
		{"database", "\"/etc/passwd\""},
		{"database", "\"../db\""},
		{"database", "\"..\""},
		{"database", "\"db-wal\""},
		{"database", "\"-db\""},
		{"database", "\".hidden\""},
		{"storage", "\"../../etc\""},
		{"storage", "\"a/b\""},
		{"storage", "\"/etc\""},
		{"storage", "\"a.b\""},
		{"storage", "\"\""},
		{"storage", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
		{"container_path", "\"app/db\""},
		{"container_path", "\"/\""},
		{"container_path", "\"/app/../etc\""},
		{"container_path", "\"/app/\""},
		{"container_path", "\"/app:ro\""},
		{"container_path", "\"/app db\""},
		{"container_path", "\"/proc\""},
		{"container_path", "\"/sys/kernel\""},
		{"container_path", "\"/dev/shm\""},
		{"container_path", "\"//x\""},
		{"host", "\"a\\u001b[2J\""},
		{"host", "\"$(id)\""},
		{"host", "{}"},
		{"owner", "-1"},
		{"owner", "65536"},
		{"owner", "4294967297"},
		{"owner", "1.0"},
		{"owner", "\"32767\""},
		{"owner", "true"},
		{"mode", "416"},
		{"mode", "\"\""},
		{"mode", "\"0888\""},
		{"mode", "\"rw\""},
		{"mode", "\"0000000640\""},
		{"mode", "\"-640\""},
		{"mode", "\" 640\""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		read_with(cases[i][0], cases[i][1]);
		if (strcmp(facts.doubted, cases[i][0]) != 0)
			fail_msg("%s: %s is believed", cases[i][0], cases[i][1]);
		assert_string_equal(facts.app, "");
		assert_string_equal(facts.database, "");
		assert_string_equal(facts.storage, "");
		assert_string_equal(facts.container_path, "");
		assert_string_equal(facts.host, "");
		assert_int_equal(facts.owner, 0);
		assert_int_equal(facts.mode, 0);
	}
}

static void test_doubts_are_listed(void **state)
{
	(void)state;
	assert_int_equal(
		read_text("{\"version\": 1, \"app\": 1, \"database\": 1, \"storage\": 1, \"host\": 1,"
				  "\"container_path\": 1, \"owner\": \"x\", \"mode\": 1}"),
		ERR_OK);
	assert_string_equal(facts.doubted, "app, database, storage, container_path, host, owner, mode");
}

static void test_modes_lose_all_but_reading_and_writing(void **state)
{
	(void)state;
	read_with("mode", "\"4777\"");
	assert_int_equal(facts.mode, 0666);
	read_with("mode", "\"0111\"");
	assert_int_equal(facts.mode, 0);
	read_with("mode", "\"600\"");
	assert_int_equal(facts.mode, 0600);
}

static void test_what_is_none(void **state)
{
	(void)state;
	static const char *const texts[] = {"", "[]", "null", "not JSON", "{\"version\": 1", "{}",
		"{\"version\": 2}", "{\"version\": \"1\"}", "{\"version\": 1} {\"version\": 1}",
		"{\"version\": 1, \"app\": \"a\", \"app\": \"b\"}", "{\"version\": 1, \"app\": \"\xff\"}",
		"{\"version\": 1, \"app\": \"a\\u0000b\"}"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(read_text(texts[i]), ERR_USAGE);
		assert_string_equal(facts.app, "");
		assert_non_null(strstr(e.text, MANIFEST_NAME));
	}
}

/* Depth times anything, n bytes of it. */
static int read_deep(const char *open, size_t n)
{
	char *text = malloc(n + 1);
	size_t len = strlen(open);
	for (size_t i = 0; i < n; i++)
		text[i] = open[i % len];
	text[n] = '\0';
	int rc = manifest_read(text, n, &facts, &e);
	free(text);
	return rc;
}

static void test_deep_and_long_ones(void **state)
{
	(void)state;
	assert_int_equal(read_deep("[", MANIFEST_MAX), ERR_USAGE);
	assert_non_null(strstr(e.text, "nested"));
	assert_int_equal(read_deep("{\"a\":", MANIFEST_MAX), ERR_USAGE);
	assert_non_null(strstr(e.text, "nested"));
	assert_int_equal(read_deep(" ", MANIFEST_MAX + 1), ERR_USAGE);
	assert_non_null(strstr(e.text, "larger than 65536"));
	/* Brackets in a text are letters. */
	assert_int_equal(read_text("{\"version\": 1, \"x\": \"[[[[[[[[[[\\\"[[[[{{{{{{{{\"}"), ERR_OK);
	assert_int_equal(read_text("{\"version\": 1, \"x\": [[[[[[[[]]]]]]]]}"), ERR_USAGE);
	assert_int_equal(read_text("{\"version\": 1, \"x\": [[[[[[]]]]]]}"), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_it),
		cmocka_unit_test(test_what_we_write_is_believed),
		cmocka_unit_test(test_nothing_is_needed),
		cmocka_unit_test(test_what_is_not_believed),
		cmocka_unit_test(test_doubts_are_listed),
		cmocka_unit_test(test_modes_lose_all_but_reading_and_writing),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_deep_and_long_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
