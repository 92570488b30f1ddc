/* Desired state, credentials, names and options: what is believed and what is refused, and why. */
#include "conf/desired.h"

#include "base/fs.h"
#include "conf/names.h"
#include "conf/state.h"
#include "lib/tmpdir.h"

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

#define HEAD "{\"version\":1,\"app\":\"my-app\",\"running\":true,\"databases\":["
#define DB(extra)                                                                \
	"{\"id\":\"my-app-1f\",\"storage_dir\":\"/s/my-app--db\",\"file\":\"a.db\"," \
	"\"replica\":\"s3://b/a\",\"uid\":1000,\"gid\":1001" extra "}"

static int parse(struct desired *d, const char *text, struct err *e)
{
	err_clear(e);
	const struct options base = OPTIONS_DEFAULT;
	return desired_parse(d, text, strlen(text), "my-app", &base, "my-app.json", e);
}

static void refused(const char *text, const char *why)
{
	struct desired d;
	struct err e;
	assert_int_equal(parse(&d, text, &e), ERR_USAGE);
	if (!strstr(e.text, why))
		fail_msg("\"%s\" doesn't say \"%s\"", e.text, why);
	desired_free(&d);
}

static void test_whole(void **state)
{
	(void)state;
	struct desired d;
	struct err e;
	const char *text = HEAD DB(",\"container_path\":\"/app\",\"mount\":true,\"options\":"
							   "{\"sync-interval\":\"1m30s\",\"no-barrier\":\"true\","
							   "\"staging-size\":\"64MiB\",\"checkpoint-frames\":\"1000\"}") "]}";
	assert_int_equal(parse(&d, text, &e), ERR_OK);
	assert_true(d.running);
	assert_int_equal(d.n_databases, 1);
	const struct desired_database *db = &d.databases[0];
	assert_string_equal(db->path, "/s/my-app--db/a.db");
	assert_string_equal(db->container_path, "/app");
	assert_int_equal(db->uid, 1000);
	assert_int_equal(db->gid, 1001);
	assert_true(db->mount);
	assert_int_equal(db->options.sync_interval_ms, 90000);
	assert_int_equal(db->options.staging_max, 64 << 20);
	assert_int_equal(db->options.checkpoint_frames, 1000);
	assert_true(db->options.no_barrier);
	assert_false(db->options.any_filesystem);
	desired_free(&d);
	desired_free(&d);
}

static void test_defaults(void **state)
{
	(void)state;
	struct desired d;
	struct err e;
	assert_int_equal(parse(&d, HEAD DB("") "]}", &e), ERR_OK);
	assert_null(d.databases[0].container_path);
	assert_false(d.databases[0].mount);
	assert_int_equal(d.databases[0].options.sync_interval_ms, 1000);
	desired_free(&d);
	assert_int_equal(parse(&d, HEAD "]}", &e), ERR_OK);
	assert_int_equal(d.n_databases, 0);
	desired_free(&d);
}

static void test_mistakes(void **state)
{
	(void)state;
	refused("", "is not JSON");
	refused("[]", "not a JSON object");
	refused(HEAD "]} x", "is not JSON");
	refused(HEAD "],\"runing\":true}", "unknown key \"runing\"");
	refused(HEAD DB(",\"option\":{}") "]}", "unknown key \"option\"");
	refused(HEAD DB(",\"options\":{\"sync-intervall\":\"1s\"}") "]}", "unknown option");
	refused(HEAD DB(",\"options\":{\"sync-interval\":1}") "]}", "must be a text");
	refused(HEAD DB(",\"options\":{\"sync-interval\":\"1\"}") "]}", "takes a duration");
	refused(
		HEAD DB(",\"options\":{\"sync-interval\":\"1ms\"}") "]}", "from 10ms to 24h, not \"1ms\"");
	refused(HEAD DB(",\"options\":{\"no-barrier\":\"yes\"}") "]}", "true or false");
	refused(HEAD DB(",\"options\":{\"staging-size\":\"99999999999999GB\"}") "]}", "takes a size");
	refused(HEAD DB(",\"gid\":3") "]}", "is not JSON"); /* a key twice */
	refused(HEAD "{\"id\":\"a\"}]}", "\"storage_dir\" is missing");
	refused(HEAD DB("") "," DB("") "]}", "comes twice");
	refused("{\"version\":2,\"app\":\"my-app\",\"running\":true,\"databases\":[]}", "version 2");
	refused("{\"version\":1,\"app\":\"other\",\"running\":true,\"databases\":[]}", "\"other\"");
	refused("{\"version\":1,\"app\":\"my-app\",\"running\":1,\"databases\":[]}", "true or false");
}

/* A database with one member replaced. */
static void bad_member(const char *key, const char *value, const char *why)
{
	static const char *const keys[] = {"id", "storage_dir", "file", "replica", "uid", "gid"};
	static const char *const good[] = {"\"i\"", "\"/s\"", "\"f\"", "\"/r\"", "1", "1"};
	char text[4096] = HEAD "{";
	for (size_t i = 0; i < 6; i++) {
		size_t n = strlen(text);
		snprintf(text + n, sizeof(text) - n, "%s\"%s\":%s", i ? "," : "", keys[i],
			strcmp(keys[i], key) == 0 ? value : good[i]);
	}
	strcat(text, "}]}");
	refused(text, why);
}

static void test_members(void **state)
{
	(void)state;
	bad_member("id", "\"../x\"", "can't be an id");
	bad_member("id", "\"\"", "can't be an id");
	bad_member("storage_dir", "\"s\"", "absolute folder");
	bad_member("storage_dir", "\"/s/../etc\"", "absolute folder");
	bad_member("storage_dir", "\"/s//t\"", "absolute folder");
	bad_member("storage_dir", "\"/s/\"", "absolute folder");
	bad_member("file", "\"a/b\"", "name of a database");
	bad_member("file", "\"a-wal\"", "name of a database");
	bad_member("replica", "\"\"", "not a URL");
	bad_member("replica", "\"s3://b\\n\"", "not a URL");
	bad_member("uid", "-1", "must be a number, 0 or more");
	bad_member("uid", "4294967295", "is more than");
	bad_member("uid", "1.5", "must be a number");
	bad_member("gid", "null", "\"gid\" must be");
}

static void test_names(void **state)
{
	(void)state;
	char long_app[65], long_file[130];
	memset(long_app, 'a', sizeof(long_app));
	memset(long_file, 'f', sizeof(long_file));
	long_app[63] = long_file[128] = '\0';
	assert_true(name_is_app("a") && name_is_app("my-app.2") && name_is_app(long_app));
	long_app[63] = 'a', long_app[64] = '\0';
	assert_false(name_is_app(long_app));
	assert_false(name_is_app("") || name_is_app("A") || name_is_app("-a") || name_is_app(".a"));
	assert_false(name_is_app("a/b") || name_is_app("--global") || name_is_app("a\n"));
	assert_true(
		name_is_file("production.sqlite3") && name_is_file("_A") && name_is_file(long_file));
	long_file[128] = 'f', long_file[129] = '\0';
	assert_false(name_is_file(long_file));
	assert_false(name_is_file("a-wal") || name_is_file("a-shm") || name_is_file("a-journal"));
	assert_false(name_is_file(".hidden") || name_is_file("..") || name_is_file("a b"));
	assert_true(name_is_storage("my-app--db") && !name_is_storage("a.b") && !name_is_storage(""));
	assert_true(name_is_folder("/a") && name_is_folder("/a/b.c/d e"));
	assert_false(name_is_folder("/") || name_is_folder("a") || name_is_folder("/a/./b"));
	assert_false(name_is_folder("/a/..") || name_is_folder("/a\n"));
}

/* ---- files ---- */

static char *dir;

static int make_dir(void **state)
{
	(void)state;
	dir = tmpdir_new();
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	tmpdir_free(dir);
	return 0;
}

static void put(const char *name, const char *text, mode_t mode)
{
	struct err e = ERR_INIT;
	assert_int_equal(fs_replace_file(tmpdir_path(dir, name), text, strlen(text), mode, &e), ERR_OK);
	assert_int_equal(chmod(tmpdir_path(dir, name), mode), 0);
}

static int read_app(struct err *e)
{
	struct desired d;
	err_clear(e);
	int rc = desired_read(&d, dir, "my-app", geteuid(), e);
	desired_free(&d);
	return rc;
}

static void test_files(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	assert_int_equal(read_app(&e), ERR_NOT_FOUND);
	put("my-app.json", HEAD "]}", 0600);
	assert_int_equal(read_app(&e), ERR_OK);
	put("my-app.json", HEAD "]}", 0620);
	assert_int_equal(read_app(&e), ERR_DENIED);
	assert_non_null(strstr(e.text, "can be written by others"));
	put("my-app.json", HEAD "]}", 0600);
	assert_int_equal(fs_rename(tmpdir_path(dir, "my-app.json"), tmpdir_path(dir, "real.json")), 0);
	assert_int_equal(symlink("real.json", tmpdir_path(dir, "my-app.json")), 0);
	assert_int_equal(read_app(&e), ERR_DENIED);
	assert_non_null(strstr(e.text, "symbolic link"));
	unlink(tmpdir_path(dir, "my-app.json"));
	assert_int_equal(mkfifo(tmpdir_path(dir, "my-app.json"), 0600), 0);
	assert_int_equal(read_app(&e), ERR_DENIED);
	assert_non_null(strstr(e.text, "not a regular file"));
}

static int64_t interval(void)
{
	struct desired d;
	struct err e = ERR_INIT;
	assert_int_equal(desired_read(&d, dir, "my-app", geteuid(), &e), ERR_OK);
	int64_t ms = d.databases[0].options.sync_interval_ms;
	desired_free(&d);
	return ms;
}

/* An option of all apps, of the app, of its database: the nearest holds. */
static void test_layers(void **state)
{
	(void)state;
	struct err e;
	put("my-app.json", HEAD DB("") "]}", 0600);
	assert_int_equal(interval(), 1000);
	put("--global.json", "{\"version\":1,\"options\":{\"sync-interval\":\"7s\"}}", 0600);
	assert_int_equal(interval(), 7000);
	put("my-app.json", HEAD DB("") "],\"options\":{\"sync-interval\":\"8s\"}}", 0600);
	assert_int_equal(interval(), 8000);
	put("my-app.json",
		HEAD DB(
			",\"options\":{\"sync-interval\":\"9s\"}") "],"
													   "\"options\":{\"sync-interval\":\"8s\"}}",
		0600);
	assert_int_equal(interval(), 9000);
	put("--global.json", "{\"version\":1,\"options\":{\"sync-interval\":\"7\"}}", 0600);
	assert_int_equal(read_app(&e), ERR_USAGE);
	assert_non_null(strstr(e.text, "--global.json: option sync-interval takes a duration"));
	put("--global.json", "{\"version\":2}", 0600);
	assert_int_equal(read_app(&e), ERR_USAGE);
	put("--global.json", "{\"version\":1,\"apps\":[]}", 0600);
	assert_int_equal(read_app(&e), ERR_USAGE);
}

static bool runs(const char *boot)
{
	struct desired d;
	struct err e = ERR_INIT;
	char text[300];
	snprintf(text, sizeof(text), HEAD "],\"boot\":\"%s\"}", boot);
	put("my-app.json", text, 0600);
	assert_int_equal(desired_read(&d, dir, "my-app", geteuid(), &e), ERR_OK);
	bool running = d.running;
	desired_free(&d);
	return running;
}

/* What is not started at boot runs in the boot that it was started in. */
static void test_boot(void **state)
{
	(void)state;
	char now[STATE_WORD_MAX];
	if (!state_boot_id(now))
		skip();
	assert_true(runs(now));
	assert_false(runs("00000000-0000-0000-0000-000000000000"));
	assert_false(runs(""));
}

static void test_owner(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	if (geteuid() != 0)
		skip();
	put("my-app.json", HEAD "]}", 0600);
	assert_int_equal(chown(tmpdir_path(dir, "my-app.json"), 12345, 12345), 0);
	assert_int_equal(read_app(&e), ERR_DENIED);
	assert_non_null(strstr(e.text, "belongs to uid 12345"));
}

static void test_too_large(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char *text = malloc(DESIRED_FILE_MAX + 2);
	assert_non_null(text);
	memset(text, ' ', DESIRED_FILE_MAX + 1);
	text[DESIRED_FILE_MAX + 1] = '\0';
	put("my-app.json", text, 0600);
	free(text);
	assert_int_equal(read_app(&e), ERR_FULL);
}

static int note_app(void *ctx, const char *app, struct err *e)
{
	(void)e;
	strcat(ctx, app);
	return ERR_OK;
}

static void test_each(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	char seen[256] = "";
	put("my-app.json", "", 0600);
	put(".my-app.json.Xy12", "", 0600);
	put("Bad.json", "", 0600);
	put("my-app.json.old", "", 0600);
	assert_int_equal(desired_each(dir, note_app, seen, &e), ERR_OK);
	assert_string_equal(seen, "my-app");
	assert_int_equal(desired_each("/nonexistent/folder", note_app, seen, &e), ERR_OK);
}

#define KEYS(k) "{\"access_key_id\":\"" k "\",\"secret_access_key\":\"HUSH-HUSH\"}"

static void test_secrets(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct secrets s;
	assert_int_equal(secrets_read(&s, dir, "my-app", geteuid(), &e), ERR_OK);
	assert_null(s.access_key_id);
	put("--global.json", KEYS("GLOBAL"), 0600);
	assert_int_equal(secrets_read(&s, dir, "my-app", geteuid(), &e), ERR_OK);
	assert_string_equal(s.access_key_id, "GLOBAL");
	secrets_free(&s);
	put("my-app.json", KEYS("OWN"), 0600);
	assert_int_equal(secrets_read(&s, dir, "my-app", geteuid(), &e), ERR_OK);
	assert_string_equal(s.access_key_id, "OWN");
	assert_null(s.region);
	secrets_free(&s);
	assert_int_equal(secrets_read(&s, dir, NULL, geteuid(), &e), ERR_OK);
	assert_string_equal(s.access_key_id, "GLOBAL");
	secrets_free(&s);
}

/* A role instead of keys; not both, and not neither. */
static void test_role(void **state)
{
	(void)state;
	static const char *const wrong[] = {"{\"region\":\"r\"}", "{\"use_iam\":false}",
		"{\"access_key_id\":\"a\"}", "{\"use_iam\":true,\"session_token\":\"t\"}",
		"{\"use_iam\":true,\"access_key_id\":\"a\",\"secret_access_key\":\"b\"}"};
	struct secrets s;
	struct err e = ERR_INIT;
	const char *good =
		"{\"use_iam\":true,\"region\":\"eu-central-1\",\"sse_customer_key\":\"for SSE-C\"}";
	assert_int_equal(secrets_parse(&s, good, strlen(good), "secrets", &e), ERR_OK);
	assert_true(s.use_iam);
	assert_string_equal(s.region, "eu-central-1");
	assert_string_equal(s.sse_customer_key, "for SSE-C");
	secrets_free(&s);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(secrets_parse(&s, wrong[i], strlen(wrong[i]), "secrets", &e), ERR_USAGE);
		secrets_free(&s);
	}
}

/* A mistake in a secrets file must not put the secret into the message. */
static void test_secrets_stay_secret(void **state)
{
	(void)state;
	static const char *const broken[] = {
		"{\"access_key_id\":\"a\",\"secret_access_key\":\"HUSH-HUSH\"",
		"{\"access_key_id\":\"a\",\"secret_access_key\":\"HUSH-HUSH\" HUSH-HUSH}",
		"{\"access_key_id\":\"a\",\"secret_access_key\":[\"HUSH-HUSH\"]}",
		"{\"secret_access_key\":\"HUSH-HUSH\"}",
		"HUSH-HUSH",
	};
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct secrets s;
		struct err e = ERR_INIT;
		assert_int_equal(secrets_parse(&s, broken[i], strlen(broken[i]), "secrets", &e), ERR_USAGE);
		assert_null(strstr(e.text, "HUSH"));
		secrets_free(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_files, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_layers, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_boot, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_owner, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_too_large, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_each, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_secrets, make_dir, drop_dir),
		cmocka_unit_test(test_role),
		cmocka_unit_test(test_secrets_stay_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
