/*
 * A snapshot that is sent in parts to a real S3 server by a process that is killed in the middle:
 * the next one sends only what is not there. What nobody will go on with is given up.
 *
 * Each life is a process of its own. One that is to be killed kills itself at a record of its
 * upload, so that it is always in the middle.
 */
#include "lib/image.h"
#include "lib/server.h"
#include "lib/ship.h"
#include "lib/tmpdir.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/internal.h"
#include "replicate/resume.h"
#include "replicate/snapshots.h"
#include "replicate/upkeep.h"
#include "store/store.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define ROWS 180000 /* of 400 random bytes: above 64 MiB */
#define TURNS 20000

static char *dir;
static char db[256], url[400], uploads[300], snapshots[300], prefix[64];
static const char *bucket;

/* ---- lives ---- */

static unsigned records_left; /* 0 = it lives on */

static bool is_of_uploads(int dir_fd)
{
	struct stat named, open;
	return !stat(uploads, &named) && !fstat(dir_fd, &open) && named.st_dev == open.st_dev &&
		   named.st_ino == open.st_ino;
}

static int rename_and_die(int from_dir, const char *from, int to_dir, const char *to)
{
	int rc = renameat(from_dir, from, to_dir, to);
	if (!rc && is_of_uploads(to_dir) && records_left && --records_left == 0)
		kill(getpid(), SIGKILL);
	return rc;
}

/* Makes the snapshot that is due. Exit code: 10 + requests that it took, at most 240. */
static int make_and_count(struct ship *s)
{
	struct store_counts before, after;
	store_get_counts(s->r->store, &before);
	if (!ship_snapshot(s))
		return 1;
	store_get_counts(s->r->store, &after);
	uint64_t n = after.put - before.put;
	return 10 + (n < 230 ? (int)n : 230);
}

static int sweep(struct ship *s)
{
	struct err e = ERR_INIT;
	int rc = upkeep_unfinished(s->r, true, &e);
	if (rc)
		fprintf(stderr, "sweep: %s\n", e.text);
	return rc ? 1 : 0;
}

static int check(struct ship *s)
{
	return image_snapshot_is_right(url, s->r->shared.txid) ? 0 : 1;
}

/* Runs `what` in a process of its own; its exit code, or -1 when it was killed. */
static int life(int (*what)(struct ship *), unsigned killed_at)
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		static struct fs_ops ops;
		struct ship s;
		struct replicator_config cfg = ship_config(db, url);
		log_set_level(getenv("SHOW") ? LOG_DEBUG : LOG_ERROR);
		ops = fs_system_ops;
		ops.renameat = rename_and_die;
		fs_set_ops(&ops);
		int rc = ship_open(&s, &cfg);
		s.no_upkeep = true;
		if (!rc)
			rc = ship_sync(&s, 0);
		records_left = killed_at;
		int code = rc ? 1 : what(&s);
		if (!rc)
			ship_close(&s);
		_exit(code);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return -1;
	}
	return WEXITSTATUS(status);
}

/* ---- what is there ---- */

static size_t count_lines(const char *command)
{
	size_t n = 0;
	FILE *f = popen(command, "r");
	assert_non_null(f);
	for (int c; (c = fgetc(f)) != EOF;)
		n += c == '\n';
	assert_int_equal(pclose(f), 0);
	return n;
}

/* Unfinished uploads in the bucket below this folder of the replica. */
static size_t unfinished(const char *folder)
{
	char command[600];
	snprintf(
		command, sizeof(command), "tests/servers/s3.py uploads %s %s/%s", bucket, prefix, folder);
	return count_lines(command);
}

static size_t records(void)
{
	char command[600];
	snprintf(command, sizeof(command), "find '%s' -type f 2>/dev/null || true", uploads);
	return count_lines(command);
}

/* Parts that the record in the folder tells of. */
static int parts_recorded(void)
{
	char command[600];
	snprintf(command, sizeof(command), "cat '%s'/* | grep token | grep -o '\\\\n[0-9]* ' ||true",
		uploads);
	return (int)count_lines(command);
}

static int parts_of_all(void)
{
	char command[600];
	snprintf(command, sizeof(command),
		"f=$(stat -c %%s '%s'/*.ltx); for i in $(seq $(((f + 5242879) / 5242880))); do echo; done",
		snapshots);
	return (int)count_lines(command);
}

static int ship_only(struct ship *s)
{
	(void)s;
	return 0;
}

/* A life that ends after some of the parts of a snapshot of its own TXID. */
static void kill_one(void)
{
	assert_int_equal(life(ship_only, 0), 0);
	app_change(db);
	assert_int_equal(life(make_and_count, 2), -1);
	assert_int_equal(unfinished("0009/"), 1);
	assert_int_equal(records(), 1);
	assert_true(parts_recorded() > 0);
	assert_true(parts_recorded() < parts_of_all());
}

static void check_all_is_well(void)
{
	assert_int_equal(life(check, 0), 0);
	assert_int_equal(unfinished("0009/"), 0);
	assert_int_equal(records(), 0);
}

/* ---- the tests ---- */

static void the_next_life_goes_on(void **state)
{
	(void)state;
	kill_one();
	int rest = parts_of_all() - parts_recorded();
	int puts = life(make_and_count, 0) - 10;
	assert_int_equal(puts, rest + 1); /* and the completion, but nothing was begun */
	check_all_is_well();
}

static void a_forgotten_one_begins_anew(void **state)
{
	(void)state;
	kill_one();
	assert_int_equal(
		server_run("s3.py", (const char *[]){"abort-uploads", bucket, prefix, NULL}), 0);
	int all = parts_of_all();
	int puts = life(make_and_count, 0) - 10;
	assert_int_equal(puts, all + 2);
	check_all_is_well();
}

static void begin_upload(const char *name)
{
	char key[200];
	snprintf(key, sizeof(key), "%s/%s", prefix, name);
	assert_int_equal(server_run("s3.py", (const char *[]){"begin-upload", bucket, key, NULL}), 0);
}

/* Given up: what is recorded as ours and has no file. Left: what is young and not recorded, under
 * another name, or has its file. */
static void what_is_left_is_given_up(void **state)
{
	(void)state;
	kill_one();
	begin_upload("0009/0000000000000001-00000000000000ff.ltx");
	begin_upload("0009/holiday.jpg");
	begin_upload("holiday.jpg");
	assert_int_equal(life(sweep, 0), 0);
	assert_int_equal(unfinished(""), 4);
	assert_int_equal(records(), 1);
	assert_int_equal(fs_remove_tree(snapshots), 0);
	assert_int_equal(life(sweep, 0), 0);
	assert_int_equal(unfinished(""), 3);
	assert_int_equal(records(), 0);
}

static int set_up_all(void **state)
{
	(void)state;
	char *endpoint = getenv("LITESTREAM_TEST_S3_ENDPOINT");
	bucket = getenv("LITESTREAM_TEST_S3_BUCKET");
	setenv("LITESTREAM_ACCESS_KEY_ID", getenv("LITESTREAM_TEST_S3_ACCESS_KEY_ID"), 1);
	setenv("LITESTREAM_SECRET_ACCESS_KEY", getenv("LITESTREAM_TEST_S3_SECRET_ACCESS_KEY"), 1);
	dir = tmpdir_new();
	snprintf(prefix, sizeof(prefix), "resume-%d", (int)getpid());
	snprintf(url, sizeof(url), "s3://%s/%s?endpoint=%s", bucket, prefix, endpoint);
	snprintf(db, sizeof(db), "%s/app.db", dir);
	snprintf(uploads, sizeof(uploads), "%s/.app.db-litestream/uploads", dir);
	snprintf(snapshots, sizeof(snapshots), "%s/.app.db-litestream/ltx/9", dir);
	app_create(db, ROWS);
	return 0;
}

static int tear_down_all(void **state)
{
	(void)state;
	tmpdir_free(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_life_goes_on),
		cmocka_unit_test(a_forgotten_one_begins_anew),
		cmocka_unit_test(what_is_left_is_given_up),
	};
	if (!server_start("ceph.sh", "LITESTREAM_TEST_S3_ENDPOINT")) {
		printf("[  SKIPPED ] snapshot_resume: radosgw is not installed\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
