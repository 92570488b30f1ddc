/* Which replicas are found below a URL, and what is told of each, whatever lies there. */
#include "lib/replica.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "restore/discover.h"
#include "store/fault.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *dir;
static struct store *replicas, *self;
static struct discovery found;
static struct err e;

static int setup(void **state)
{
	(void)state;
	e = (struct err)ERR_INIT;
	log_set_level(LOG_ERROR + 1);
	dir = tmpdir_new();
	return store_fault_register("f", dir, &e) ||
		   discover_open(&replicas, &self, "fault://f", NULL, &e);
}

static int teardown(void **state)
{
	(void)state;
	discovery_free(&found);
	store_close(replicas);
	store_close(self);
	store_fault_forget();
	tmpdir_free(dir);
	return 0;
}

/* A replica of n transactions at dir/path. */
static void make(const char *path, uint64_t n)
{
	char *at = fs_join(dir, path);
	struct replica *r = malloc(sizeof(*r));
	struct store *s;
	assert_int_equal(store_open(&s, at, NULL, &e), ERR_OK);
	replica_init(r, s, 4096, true);
	for (uint64_t t = 1; t <= n; t++)
		replica_ship(r, 20 + (uint32_t)t, 3);
	replica_free(r);
	store_close(s);
	free(r);
	free(at);
}

static void put(const char *name, const char *text)
{
	struct store_body body = {.data = text, .fd = -1, .size = strlen(text)};
	struct store *s;
	assert_int_equal(store_open(&s, dir, NULL, &e), ERR_OK);
	assert_int_equal(store_put(s, name, &body, NULL, &e), ERR_OK);
	store_close(s);
}

static void put_manifest(const char *path, const char *app, const char *database)
{
	char name[600], text[400];
	snprintf(name, sizeof(name), "%s%s" MANIFEST_NAME, path, *path ? "/" : "");
	snprintf(text, sizeof(text),
		"{\"version\": 1, \"app\": \"%s\", \"database\": \"%s\", \"storage\": \"%s--db\","
		" \"owner\": 32767, \"mode\": \"0640\"}",
		app, database, app);
	put(name, text);
}

static void search(void)
{
	discovery_free(&found);
	e = (struct err)ERR_INIT;
	if (discover(replicas, self, &found, &e))
		fail_msg("%s", e.text);
}

static const struct discovered *at(const char *path)
{
	for (size_t i = 0; i < found.count; i++)
		if (strcmp(found.list[i].path, path) == 0)
			return &found.list[i];
	fail_msg("'%s' was not found", path);
	return NULL;
}

static void test_nothing(void **state)
{
	(void)state;
	search();
	assert_int_equal(found.count, 0);
	put("notes/2026/todo.txt", "x");
	/* Named as ours, and nothing of ours in it. */
	put("archive/0000/picture.jpg", "x");
	put("archive/ltx/old", "x");
	search();
	assert_int_equal(found.count, 0);
	assert_false(found.cut);
}

static void test_the_url_itself(void **state)
{
	(void)state;
	make("", 4);
	put_manifest("", "my-app", "one.db");
	search();
	assert_int_equal(found.count, 1);
	const struct discovered *d = at("");
	assert_true(d->has_manifest);
	assert_string_equal(d->manifest.app, "my-app");
	assert_string_equal(d->manifest.database, "one.db");
	assert_string_equal(d->manifest.storage, "my-app--db");
	assert_int_equal(d->err.code, ERR_OK);
	assert_int_equal(d->txid, 4);
	assert_int_equal(d->timestamp_ms, REPLICA_START_MS + 4000);
	assert_int_equal(d->bytes, 24 * 4096);
}

static void test_many_at_any_depth(void **state)
{
	(void)state;
	make("b", 2);
	put_manifest("b", "b", "b.db");
	make("prod/eu/a", 3);
	put_manifest("prod/eu/a", "a", "a.db");
	/* One below another, and one that has no manifest. */
	make("b/jobs", 5);
	put_manifest("b/jobs", "b", "jobs.db");
	make("litestreams-own", 1);
	search();
	assert_int_equal(found.count, 4);
	assert_string_equal(found.list[0].path, "b");
	assert_string_equal(found.list[1].path, "b/jobs");
	assert_string_equal(found.list[2].path, "litestreams-own");
	assert_string_equal(found.list[3].path, "prod/eu/a");
	assert_int_equal(at("b")->txid, 2);
	assert_int_equal(at("b/jobs")->txid, 5);
	assert_int_equal(at("prod/eu/a")->txid, 3);
	assert_int_equal(at("litestreams-own")->txid, 1);
	assert_false(at("litestreams-own")->has_manifest);
	assert_string_equal(at("prod/eu/a")->manifest.database, "a.db");
}

/* What is wrong with one is told of that one. */
static void test_bad_ones_among_good_ones(void **state)
{
	(void)state;
	char text[MANIFEST_MAX + 2];
	make("good", 2);
	put_manifest("good", "good", "x.db");
	make("large", 1);
	memset(text, ' ', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	put("large/" MANIFEST_NAME, text);
	make("broken", 1);
	put("broken/" MANIFEST_NAME, "{\"version\": 1");
	make("liar", 1);
	put("liar/" MANIFEST_NAME, "{\"version\": 1, \"app\": \"../../etc\", \"owner\": -1}");
	put_manifest("empty", "empty", "x.db");
	make("gap", 5);
	put_manifest("gap", "gap", "x.db");
	char *lost = fs_join(dir, "gap/ltx/0/0000000000000003-0000000000000003.ltx");
	assert_int_equal(unlink(lost), 0);
	free(lost);
	search();
	assert_int_equal(found.count, 6);
	assert_int_equal(at("good")->err.code, ERR_OK);
	assert_non_null(strstr(at("large")->manifest_error, "larger"));
	assert_int_equal(at("large")->txid, 1);
	assert_non_null(strstr(at("broken")->manifest_error, "not JSON"));
	assert_string_equal(at("liar")->manifest.doubted, "app, owner");
	assert_string_equal(at("liar")->manifest.app, "");
	assert_int_equal(at("empty")->err.code, ERR_NO_BACKUP);
	assert_int_equal(at("empty")->txid, 0);
	assert_int_equal(at("gap")->err.code, ERR_DAMAGED);
}

static void deny(const char *name, int code)
{
	struct store_fault f = {
		.op = STORE_OP_LIST, .name_contains = name, .action = STORE_FAULT_FAIL, .code = code};
	assert_int_equal(store_fault_add("f", &f), 0);
}

static void test_what_may_not_be_read(void **state)
{
	(void)state;
	make("good", 2);
	put_manifest("good", "good", "x.db");
	make("secret", 2);
	deny("secret", ERR_DENIED);
	search();
	assert_int_equal(found.count, 2);
	assert_int_equal(at("secret")->err.code, ERR_DENIED);
	assert_int_equal(at("good")->txid, 2);

	/* A network that breaks: half of a list would look like all of it. */
	store_fault_heal("f");
	deny("secret/", ERR_UNREACHABLE);
	discovery_free(&found);
	assert_int_equal(discover(replicas, self, &found, &e), ERR_UNREACHABLE);
	discovery_free(&found);
	store_fault_heal("f");
	deny(NULL, ERR_DENIED);
	assert_int_equal(discover(replicas, self, &found, &e), ERR_DENIED);
}

static void test_bounds(void **state)
{
	(void)state;
	make("1/2/3/4/5/6/7/deep", 1);
	search();
	assert_int_equal(found.count, 1);
	assert_false(found.cut);
	make("1/2/3/4/5/6/7/8/too-deep", 1);
	search();
	assert_int_equal(found.count, 1);
	assert_true(found.cut);
}

static void test_too_many_folders(void **state)
{
	(void)state;
	char name[32];
	for (int i = 0; i < DISCOVER_FOLDERS_MAX; i++) {
		snprintf(name, sizeof(name), "%05d", i);
		char *path = fs_join(dir, name);
		assert_int_equal(mkdir(path, 0777), 0);
		free(path);
	}
	search();
	assert_int_equal(found.count, 0);
	assert_true(found.cut);
}

static void test_stopped(void **state)
{
	(void)state;
	make("one", 1);
	store_cancel(replicas);
	assert_int_equal(discover(replicas, self, &found, &e), ERR_CANCELLED);
	assert_int_equal(found.count, 0);
}

static void test_json(void **state)
{
	(void)state;
	make("a", 31);
	put_manifest("a", "my-app", "x.db");
	make("b", 1);
	put("b/" MANIFEST_NAME, "{\"version\": 1, \"app\": \"A\"}");
	search();
	json_t *root = discovery_json(&found);
	json_t *a = json_array_get(json_object_get(root, "replicas"), 0);
	json_t *b = json_array_get(json_object_get(root, "replicas"), 1);
	assert_string_equal(json_string_value(json_object_get(a, "path")), "a");
	assert_string_equal(json_string_value(json_object_get(a, "txid")), "000000000000001f");
	assert_string_equal(json_string_value(json_object_get(a, "mode")), "0640");
	assert_int_equal(json_integer_value(json_object_get(a, "owner")), 32767);
	assert_int_equal(json_integer_value(json_object_get(a, "code")), 0);
	assert_true(json_is_null(json_object_get(a, "error")));
	assert_true(json_is_null(json_object_get(a, "doubted")));
	assert_true(json_is_null(json_object_get(b, "app")));
	assert_true(json_is_null(json_object_get(b, "owner")));
	assert_string_equal(json_string_value(json_object_get(b, "doubted")), "app");
	assert_true(json_is_false(json_object_get(root, "cut")));
	json_decref(root);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_the_url_itself),
		TEST(test_many_at_any_depth),
		TEST(test_bad_ones_among_good_ones),
		TEST(test_what_may_not_be_read),
		TEST(test_bounds),
		TEST(test_too_many_folders),
		TEST(test_stopped),
		TEST(test_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
