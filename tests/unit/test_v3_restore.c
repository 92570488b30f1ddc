/*
 * Restores of what Litestream 0.3 writes: the result is, byte for byte, what SQLite makes of the
 * snapshot and the WALs; and what is damaged or missing is named.
 */
#include "lib/v3_build.h"

#include "base/fs.h"
#include "conf/state.h"
#include "lib/tmpdir.h"
#include "restore/restore.h"
#include "restore/v3apply.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct bed {
	char *dir;
	char replica[300], out_dir[300], out[310];
	struct store *store;
	struct v3_bed app;
	struct restore_result result;
	struct err e;
};

static void bed_open(struct bed *b, uint32_t page_size)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->replica, sizeof(b->replica), "%s/replica", b->dir);
	snprintf(b->out_dir, sizeof(b->out_dir), "%s/out", b->dir);
	snprintf(b->out, sizeof(b->out), "%s/app.db", b->out_dir);
	assert_int_equal(fs_mkdirs(b->out_dir, 0700), 0);
	assert_int_equal(store_open(&b->store, b->replica, NULL, &b->e), ERR_OK);
	v3_bed_open(&b->app, b->store, b->dir, page_size);
}

static void bed_close(struct bed *b)
{
	v3_bed_close(&b->app);
	store_close(b->store);
	tmpdir_free(b->dir);
}

static int restore(struct bed *b, struct restore_target t)
{
	const struct restore_options o = {.target = t, .output = b->out};
	err_clear(&b->e);
	int rc = restore_run(b->store, &o, &b->result, &b->e);
	restore_plan_free(&b->result.plan);
	assert_int_equal(rc, b->e.code);
	return rc;
}

static size_t left_behind(const struct bed *b)
{
	DIR *d = opendir(b->out_dir);
	size_t n = 0;
	for (const struct dirent *ent = readdir(d); ent; ent = readdir(d))
		n += strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0;
	closedir(d);
	return n;
}

static void expect_same(struct bed *b, struct restore_target t, const char *as)
{
	size_t n, m;
	if (restore(b, t))
		fail_msg("%s", b->e.text);
	uint8_t *ours = v3_slurp(b->out, &n), *theirs = v3_slurp(as, &m);
	assert_int_equal(n, m);
	assert_memory_equal(ours, theirs, n);
	assert_int_equal(b->result.bytes, n);
	assert_int_equal(b->result.proof, RESTORE_NOT_PROVEN);
	/* Beside it what the next replicate must know. */
	char *state = state_default_dir(b->out);
	assert_int_equal(left_behind(b), 2);
	assert_int_equal(fs_remove_tree(state), 0);
	free(state);
	free(ours);
	free(theirs);
	unlink(b->out);
}

static void expect_error(struct bed *b, struct restore_target t, int code, const char *text)
{
	int rc = restore(b, t);
	if (rc != code || !strstr(b->e.text, text))
		fail_msg("%d: %s", rc, b->e.text);
	assert_int_equal(left_behind(b), 0);
}

/* LZ4 has several ways to say the same: what was changed is noticed, or it makes no difference. */
static void expect_error_or_same(struct bed *b, const char *text)
{
	size_t n, m;
	int rc = restore(b, (struct restore_target){0});
	if (rc) {
		assert_true(rc == ERR_DAMAGED && strstr(b->e.text, text) && left_behind(b) == 0);
		return;
	}
	uint8_t *ours = v3_slurp(b->out, &n), *theirs = v3_slurp(b->app.reference, &m);
	assert_true(n == m && memcmp(ours, theirs, n) == 0);
	free(ours);
	free(theirs);
	unlink(b->out);
}

/* Some transaction: rows come, go, change; the database shrinks; pages are freed, never written. */
static void any_transaction(struct v3_bed *a)
{
	char sql[200];
	switch (rand() % 8) {
	case 0:
		snprintf(sql, sizeof(sql), "DELETE FROM t WHERE a > %d", rand() % 60);
		break;
	case 1:
		snprintf(sql, sizeof(sql), "VACUUM");
		break;
	case 2:
		/* Pages that a rollback leaves in the WAL, behind the last commit. */
		snprintf(sql, sizeof(sql),
			"PRAGMA cache_size = 3; BEGIN; UPDATE t SET b = randomblob(900); "
			"INSERT INTO t(b) SELECT randomblob(400) FROM t; ROLLBACK");
		break;
	case 3:
		snprintf(sql, sizeof(sql), "INSERT INTO t(b) VALUES (zeroblob(%d))", rand() % 90000);
		break;
	default:
		snprintf(sql, sizeof(sql),
			"UPDATE t SET b = randomblob(%d) WHERE a %% 5 = %d;"
			"INSERT INTO t(b) VALUES (randomblob(%d))",
			rand() % 3000, rand() % 5, rand() % 3000);
	}
	v3_bed_sql(a, sql);
}

static void any_history(struct v3_bed *a)
{
	v3_bed_snapshot(a);
	for (int wals = 1 + rand() % 5; wals > 0; wals--) {
		for (int n = rand() % 12; n > 0; n--) {
			any_transaction(a);
			if (rand() % 3)
				v3_bed_ship(a);
		}
		v3_bed_ship(a);
		if (wals > 1 && a->at.offset)
			v3_bed_restart(a);
	}
	v3_bed_settle(a);
}

/* With room for everything, for little and for next to nothing: large transactions wait in a file.
 */
static void test_any_history(void **state)
{
	(void)state;
	static const size_t rooms[] = {1, 20000, (size_t)4 << 20};
	for (int round = 0; round < 90; round++) {
		struct bed b;
		bed_open(&b, 512u << rand() % 8);
		any_history(&b.app);
		v3_apply_bytes = rooms[round % 3];
		expect_same(&b, (struct restore_target){0}, b.app.reference);
		bed_close(&b);
	}
	v3_apply_bytes = (size_t)4 << 20;
}

/* Each segment's time means the state up to it. */
static void test_each_time(void **state)
{
	(void)state;
	struct bed b;
	char as[320];
	bed_open(&b, 1024);
	v3_bed_snapshot(&b.app);
	int64_t times[30];
	size_t n = 0;
	for (int i = 0; i < 30; i++) {
		any_transaction(&b.app);
		v3_bed_ship(&b.app);
		times[n] = b.app.now_ms - 1;
		snprintf(as, sizeof(as), "%s/as-%zu", b.dir, n++);
		char sql[400];
		snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", as);
		v3_bed_sql(&b.app, sql);
		if (i % 7 == 6)
			v3_bed_restart(&b.app);
	}
	for (size_t i = 0; i < n; i++) {
		sqlite3 *db;
		char sql[700];
		if (restore(&b, (struct restore_target){.timestamp_ms = times[i]}))
			fail_msg("%s", b.e.text);
		assert_in_range(b.result.timestamp_ms, V3_BUILD_START_MS, times[i]);
		snprintf(sql, sizeof(sql),
			"ATTACH '%s/as-%zu' AS other; CREATE TEMP TABLE same(x CHECK (x = 0));"
			"INSERT INTO same SELECT count(*) FROM (SELECT * FROM main.t EXCEPT SELECT * FROM "
			"other.t);"
			"INSERT INTO same SELECT count(*) FROM (SELECT * FROM other.t EXCEPT SELECT * FROM "
			"main.t)",
			b.dir, i);
		assert_int_equal(sqlite3_open(b.out, &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
		sqlite3_close(db);
		unlink(b.out);
	}
	bed_close(&b);
}

/* Three WALs of three segments. */
static void small_history(struct bed *b)
{
	bed_open(b, 512);
	v3_bed_snapshot(&b->app);
	for (int i = 0; i < 9; i++) {
		v3_bed_sql(&b->app, "INSERT INTO t(b) VALUES (randomblob(1500))");
		v3_bed_ship(&b->app);
		if (i % 3 == 2 && i < 8)
			v3_bed_restart(&b->app);
	}
	v3_bed_settle(&b->app);
}

/* The i-th of the replica's files: the snapshot, then segments. */
static struct v3_file file_at(struct bed *b, size_t i)
{
	struct restore_target latest = {0};
	const struct restore_options o = {.target = latest, .output = b->out, .dry_run = true};
	assert_int_equal(restore_run(b->store, &o, &b->result, &b->e), ERR_OK);
	assert_int_equal(b->result.plan.n_v3, 10);
	struct v3_file f = b->result.plan.v3[i];
	restore_plan_free(&b->result.plan);
	return f;
}

static void remove_object(struct bed *b, const struct v3_file *f, char name[V3_NAME_SIZE])
{
	struct store_delete_result gone;
	const char *names[] = {v3_format_name(f, name)};
	assert_int_equal(store_delete(b->store, names, 1, &gone, &b->e), ERR_OK);
}

static void test_missing_segments(void **state)
{
	(void)state;
	for (size_t i = 0; i < 10; i++) {
		struct bed b;
		char name[V3_NAME_SIZE];
		small_history(&b);
		const struct v3_file f = file_at(&b, i);
		remove_object(&b, &f, name);
		/* The last segment of a WAL is the one whose lack can't be seen. */
		if (i == 0)
			expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "no snapshot");
		else if (i % 3)
			expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, name);
		bed_close(&b);
	}
}

static int take(void *ctx, const void *p, size_t n, struct err *e)
{
	struct buf *out = ctx;
	return buf_append(out, p, n) ? err_nomem(e, "reading an object") : ERR_OK;
}

/* Cut off or changed anywhere, an object is named. */
static void test_damaged_objects(void **state)
{
	(void)state;
	struct bed b;
	small_history(&b);
	for (size_t i = 0; i < 10; i++) {
		const struct v3_file f = file_at(&b, i);
		char name[V3_NAME_SIZE];
		struct buf whole;
		buf_init(&whole, (size_t)1 << 20);
		v3_format_name(&f, name);
		assert_int_equal(store_get(b.store, name, 0, 0, take, &whole, &b.e), ERR_OK);
		for (int round = 0; round < 8; round++) {
			size_t at = (size_t)rand() % whole.len;
			v3_put_raw(b.store, &f, whole.data, at);
			expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, name);
			whole.data[at] ^= 0x20;
			v3_put_raw(b.store, &f, whole.data, whole.len);
			expect_error_or_same(&b, name);
			whole.data[at] ^= 0x20;
		}
		v3_put_raw(b.store, &f, "age-encryption.org/v1\n", 22);
		expect_error(&b, (struct restore_target){0}, ERR_UNSUPPORTED, name);
		v3_put_raw(b.store, &f, whole.data, whole.len);
		buf_free(&whole);
	}
	expect_same(&b, (struct restore_target){0}, b.app.reference);
	bed_close(&b);
}

/* In a right LZ4 frame: content that can't be where it is. */
static void test_wrong_content(void **state)
{
	(void)state;
	struct bed b;
	char text[100];
	size_t n;
	small_history(&b);
	struct v3_file f = file_at(&b, 9);
	uint8_t *wal = v3_slurp(b.app.wal, &n);
	v3_put(b.store, &f, wal + f.offset, n - f.offset - 100);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "in the middle of a frame");
	wal[n - 5] ^= 1;
	v3_put(b.store, &f, wal + f.offset, n - f.offset);
	snprintf(text, sizeof(text), "_%08" PRIx64 ".wal.lz4: the frame at byte", f.offset);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, text);
	wal[n - 5] ^= 1;
	v3_put(b.store, &f, wal + f.offset, n - f.offset);
	/* A segment that two writers wrote. */
	struct v3_file other = f;
	other.offset -= WAL_FRAME_HEADER_SIZE + 512;
	v3_put(b.store, &other, wal + other.offset, n - other.offset);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "overlaps");
	char name[V3_NAME_SIZE];
	remove_object(&b, &other, name);
	/* A first segment with another WAL's header, or none at all. */
	f = file_at(&b, 7);
	v3_put(b.store, &f, wal + WAL_HEADER_SIZE, 536);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "not a SQLite WAL");
	v3_put(b.store, &f, wal, 20);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "in the middle of a header");
	/* A snapshot that is none. */
	f = file_at(&b, 0);
	v3_put(b.store, &f, "fruit", 5);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "5 bytes are no database");
	v3_put(b.store, &f, wal, n);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "not a SQLite database");
	free(wal);
	uint8_t *db = v3_slurp(b.app.db, &n);
	v3_put(b.store, &f, db, n - 1);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "ends in the middle of page");
	free(db);
	bed_close(&b);
}

static void test_a_snapshot_alone(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, 4096);
	v3_bed_sql(&b.app, "INSERT INTO t(b) VALUES (zeroblob(9000000)), (randomblob(9000000))");
	v3_bed_sql(&b.app, "PRAGMA wal_checkpoint(TRUNCATE)");
	v3_bed_snapshot(&b.app);
	expect_same(&b, (struct restore_target){0}, b.app.reference);
	expect_error(&b, (struct restore_target){.txid = 1}, ERR_NO_BACKUP, "which have no TXIDs");
	bed_close(&b);
}

/* Objects of others are left alone. */
static void test_strangers(void **state)
{
	(void)state;
	struct bed b;
	static const char *const names[] = {"generations/README", "generations/x/y/z/very/deep/indeed",
		"generations/00c0ffee12345678/wal/00000000_00000000.wal.lz4.bak"};
	small_history(&b);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct store_body body = {.data = "?", .fd = -1, .size = 1};
		const struct store_put_opts opts = {0};
		assert_int_equal(store_put(b.store, names[i], &body, &opts, &b.e), ERR_OK);
	}
	expect_same(&b, (struct restore_target){0}, b.app.reference);
	bed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_history),
		cmocka_unit_test(test_each_time),
		cmocka_unit_test(test_missing_segments),
		cmocka_unit_test(test_damaged_objects),
		cmocka_unit_test(test_wrong_content),
		cmocka_unit_test(test_a_snapshot_alone),
		cmocka_unit_test(test_strangers),
	};
	srand(20261121);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
