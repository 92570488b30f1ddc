/* litestream.json: what is written, and which names are believed. */
#include "replicate/manifest.h"

#include "lib/tmpdir.h"

#include "conf/names.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

static char *of(char c, size_t n)
{
	char *s = malloc(n + 1);
	memset(s, c, n);
	s[n] = '\0';
	return s;
}

static void test_names(void **state)
{
	(void)state;
	static const char *const apps[] = {"a", "my-app", "0.x", "a--b"};
	static const char *const no_apps[] = {"", "-a", ".a", "A", "a_b", "a/b", "a b", "\xc3\xa4"};
	static const char *const storages[] = {"a", "A_b-C", "-x", "my-app--db"};
	static const char *const no_storages[] = {"", "a.b", "a/b", ".."};
	static const char *const files[] = {"db", "_x.sqlite3", "a-b.c", "wal", "a-walx"};
	static const char *const no_files[] = {
		"", ".db", "-x", "a/b", "a-wal", "a-shm", "a-journal", "a b", "..", "a\n"};
	for (size_t i = 0; i < sizeof(apps) / sizeof(apps[0]); i++)
		assert_true(name_is_app(apps[i]));
	for (size_t i = 0; i < sizeof(no_apps) / sizeof(no_apps[0]); i++)
		assert_false(name_is_app(no_apps[i]));
	for (size_t i = 0; i < sizeof(storages) / sizeof(storages[0]); i++)
		assert_true(name_is_storage(storages[i]));
	for (size_t i = 0; i < sizeof(no_storages) / sizeof(no_storages[0]); i++)
		assert_false(name_is_storage(no_storages[i]));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_true(name_is_file(files[i]));
	for (size_t i = 0; i < sizeof(no_files) / sizeof(no_files[0]); i++)
		assert_false(name_is_file(no_files[i]));
}

static void check_length(bool (*is)(const char *), size_t max)
{
	char *longest = of('a', max), *longer = of('a', max + 1);
	assert_true(is(longest));
	assert_false(is(longer));
	free(longest);
	free(longer);
}

static void test_lengths(void **state)
{
	(void)state;
	check_length(name_is_app, 63);
	check_length(name_is_storage, 45);
	check_length(name_is_file, 128);
}

static json_t *make(const struct manifest *m)
{
	struct buf b;
	struct err e = ERR_INIT;
	buf_init(&b, MANIFEST_MAX);
	assert_int_equal(manifest_make(m, &b, &e), ERR_OK);
	json_t *root = json_loads(buf_str(&b), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	buf_free(&b);
	return root;
}

static const char *text(const json_t *root, const char *key)
{
	return json_string_value(json_object_get(root, key));
}

static void test_content(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	const char *db = tmpdir_path(dir, "production.sqlite3");
	FILE *f = fopen(db, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(chmod(db, 04751), 0);
	json_t *root = make(&(struct manifest){
		.database = db,
		.app = "my-app",
		.storage_name = "my-app--db",
		.container_path = "/app/db",
		.weak_fencing = true,
	});
	assert_int_equal(json_integer_value(json_object_get(root, "version")), 1);
	assert_string_equal(text(root, "database"), "production.sqlite3");
	assert_string_equal(text(root, "app"), "my-app");
	assert_string_equal(text(root, "storage"), "my-app--db");
	assert_string_equal(text(root, "container_path"), "/app/db");
	assert_string_equal(text(root, "mode"), "0640");
	assert_string_equal(text(root, "fencing"), "weak");
	assert_true(json_is_integer(json_object_get(root, "owner")));
	/* Never a path of this host. */
	char *all = json_dumps(root, 0);
	assert_null(strstr(all, dir));
	free(all);
	json_decref(root);
	tmpdir_free(dir);
}

/* What a reader would refuse is not written; nor is a file's owner that isn't there. */
static void test_left_out(void **state)
{
	(void)state;
	json_t *root = make(&(struct manifest){
		.database = "/nowhere/strange name",
		.app = "../x",
		.storage_name = "a/b",
		.container_path = "relative\n",
	});
	static const char *const absent[] = {
		"database", "app", "storage", "container_path", "owner", "group", "mode"};
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		assert_null(json_object_get(root, absent[i]));
	assert_string_equal(text(root, "fencing"), "strong");
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
