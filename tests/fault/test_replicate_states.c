/* What a replicator does when something is not well, and how it gets well again. */
#include "lib/one_node.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "conf/state.h"
#include "format/ltxset.h"
#include "store/fault.h"
#include "store/mem.h"

#include <errno.h>
#include <fcntl.h>
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

/* A database of 100 rows beside a store that can be broken. */
static int setup(void **state)
{
	struct bed *b = bed_with_faults();
	*state = b;
	if (!b)
		return -1;
	app_create(b->db, 100);
	return 0;
}

static void start(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
}

static void restart(struct bed *b)
{
	ship_close(&b->s);
	start(b);
}

static void check_same(struct bed *b)
{
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_true(ship_same(b->db, b->inner, b->dir));
}

static void break_store(
	enum store_op op, unsigned nth, unsigned times, enum store_fault_action action, int code)
{
	struct store_fault f = {
		.op = op, .nth = nth, .times = times, .action = action, .code = code, .cut = 50};
	assert_int_equal(store_fault_add("f", &f), 0);
}

/* ---- well ---- */

static void test_sync_ships_what_was_committed(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	assert_int_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
	assert_int_equal(ship_status(&b->s).txid, 1);
	app_change(b->db);
	check_same(b);
	assert_int_equal(ship_status(&b->s).txid, 2);
	/* Nothing new: no file, no request. */
	uint64_t calls = store_fault_calls("f", STORE_OP_ANY);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	ship_for(&b->s, 50);
	assert_int_equal(store_fault_calls("f", STORE_OP_ANY), calls);
	assert_int_equal(ship_status(&b->s).txid, 2);
	assert_true(replicator_drained(b->s.r));
	assert_int_equal(ship_status(&b->s).pending_bytes, 0);
	assert_int_equal(ship_status(&b->s).pending_transactions, 0);
}

/* The turn that a sync asked for is the one that lets a database go which nobody uses any more. */
static void test_sync_while_it_is_let_go(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	char shm[320];
	snprintf(shm, sizeof(shm), "%s-shm", b->db);
	app_change(b->db);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ship_sync(&b->s, 5000), ERR_OK);
		ship_skip(700); /* nobody else is there, and for long enough after a few of these */
	}
	assert_int_equal(access(shm, F_OK), -1);
}

static void test_one_upload_an_interval(void **state)
{
	struct bed *b = *state;
	b->cfg.sync_interval_ms = 3600000;
	start(b);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	app_change(b->db);
	ship_for(&b->s, 50);
	assert_int_equal(ship_status(&b->s).uploads, 1);
	assert_true(ship_status(&b->s).pending_bytes > 0);
	/* An insert, and an update unless it happened to match no row. */
	assert_in_range(ship_status(&b->s).pending_transactions, 1, 2);
	assert_true(ship_status(&b->s).lag_since_ms > 0);
	ship_skip(3600000);
	app_change(b->db);
	ship_for(&b->s, 300);
	assert_int_equal(ship_status(&b->s).uploads, 2);
	/* After a quiet interval the first change goes at once. */
	ship_skip(3600000);
	app_change(b->db);
	ship_for(&b->s, 300);
	assert_int_equal(ship_status(&b->s).uploads, 3);
	check_same(b);
}

static void test_shapes(void **state)
{
	struct bed *b = *state;
	static const int sizes[] = {512, 1024, 8192, 65536};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char sql[512], db[300];
		snprintf(db, sizeof(db), "%s/shape%d.db", b->dir, sizes[i]);
		snprintf(b->url, sizeof(b->url), "mem://shape%d", sizes[i]);
		memcpy(b->inner, b->url, sizeof(b->inner));
		snprintf(sql, sizeof(sql),
			"PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
			"CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)",
			sizes[i]);
		app_sql(db, sql);
		memcpy(b->db, db, sizeof(b->db));
		start(b);
		check_same(b);
		app_sql(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
					"INSERT INTO t(b) SELECT randomblob(700) FROM n");
		check_same(b);
		/* Shrinks, grows, shrinks and grows within one upload. */
		app_sql(db, "DELETE FROM t WHERE a > 100; PRAGMA incremental_vacuum; VACUUM");
		check_same(b);
		app_sql(db, "DELETE FROM t WHERE a > 50; VACUUM;"
					"INSERT INTO t(b) VALUES (zeroblob(300000)); DELETE FROM t WHERE a > 60;"
					"PRAGMA incremental_vacuum(20); INSERT INTO t(b) VALUES (zeroblob(200000))");
		check_same(b);
		app_sql(db, "DROP TABLE t; CREATE TABLE u(a)");
		check_same(b);
		ship_close(&b->s);
	}
}

/* ---- the store fails ---- */

static void test_store_down_at_start(void **state)
{
	struct bed *b = *state;
	break_store(STORE_OP_ANY, 0, 0, STORE_FAULT_FAIL, ERR_UNREACHABLE);
	start(b);
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	assert_int_equal(ship_status(&b->s).code, ERR_UNREACHABLE);
	assert_int_equal(ship_sync(&b->s, 60000), ERR_AGAIN);
	/* A minute of retries with backoff is a handful of requests. */
	assert_true(store_fault_calls("f", STORE_OP_ANY) < 12);
	store_fault_heal("f");
	check_same(b);
	assert_int_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
	assert_string_equal(ship_status(&b->s).reason, "");
	assert_true(ship_status(&b->s).last_error[0] != '\0');
}

/* Every call in turn is struck once, by a failure or by an answer that gets lost. */
static void sweep_store(struct bed *b, enum store_fault_action action)
{
	for (unsigned n = 1;; n++) {
		uint64_t before = store_fault_calls("f", STORE_OP_ANY);
		break_store(STORE_OP_ANY, n, 1, action, ERR_UNREACHABLE);
		app_change(b->db);
		start(b);
		check_same(b);
		app_change(b->db);
		check_same(b);
		ship_close(&b->s);
		uint64_t calls = store_fault_calls("f", STORE_OP_ANY) - before;
		store_fault_heal("f");
		if (n > calls)
			break;
		assert_true(n < 100);
	}
}

static void test_every_call_fails_once(void **state)
{
	sweep_store(*state, STORE_FAULT_FAIL);
}

static void test_every_answer_is_lost_once(void **state)
{
	sweep_store(*state, STORE_FAULT_LOSE_ANSWER);
}

static void test_denied_gives_the_pin_up(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	break_store(STORE_OP_PUT, 0, 0, STORE_FAULT_FAIL, ERR_DENIED);
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_DENIED));
	assert_int_equal(ship_sync(&b->s, 5000), ERR_DENIED);
	ship_skip(31000);
	ship_for(&b->s, 30);
	/* Nobody holds the WAL any more: it can be truncated, and goes with its last user. */
	char wal[300];
	snprintf(wal, sizeof(wal), "%s-wal", b->db);
	app_change(b->db);
	app_sql(b->db, "PRAGMA wal_checkpoint(TRUNCATE)");
	assert_int_equal(access(wal, F_OK), -1);
	app_change(b->db);
	store_fault_heal("f");
	assert_true(ship_until(&b->s, REPLICATOR_REPLICATING));
	check_same(b);
}

static void test_full_staging_gives_the_pin_up(void **state)
{
	struct bed *b = *state;
	b->cfg.staging_max = 200000;
	start(b);
	check_same(b);
	uint64_t txid = ship_status(&b->s).txid;
	break_store(STORE_OP_ANY, 0, 0, STORE_FAULT_FAIL, ERR_UNREACHABLE);
	app_change(b->db);
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	app_sql(b->db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
				   "INSERT INTO t(b) SELECT randomblob(900) FROM n");
	ship_for(&b->s, 100);
	assert_true(ship_status(&b->s).pending_bytes <= 200000 + 65536);
	char wal[300];
	snprintf(wal, sizeof(wal), "%s-wal", b->db);
	app_sql(b->db, "PRAGMA wal_checkpoint(TRUNCATE)");
	assert_int_equal(access(wal, F_OK), -1);
	store_fault_heal("f");
	check_same(b);
	/* What waited, then the difference, however large. */
	assert_int_equal(ship_status(&b->s).txid, txid + 2);
}

/* ---- the disk fails ---- */

static long until_failure;
static int failure;

static bool strikes(void)
{
	return until_failure > 0 && --until_failure == 0;
}

static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (!strikes())
		return pwrite(fd, p, n, off);
	errno = failure;
	return -1;
}

static int bad_fsync(int fd)
{
	(void)fd;
	if (!strikes())
		return 0; /* the machine stays up */
	errno = failure;
	return -1;
}

static int bad_renameat(int od, const char *o, int nd, const char *n)
{
	if (!strikes())
		return renameat(od, o, nd, n);
	errno = failure;
	return -1;
}

static int bad_openat(int dir, const char *path, int flags, mode_t mode)
{
	if (!(flags & O_CREAT) || !strikes())
		return openat(dir, path, flags, mode);
	errno = failure;
	return -1;
}

static ssize_t bad_write(int fd, const void *p, size_t n)
{
	if (!strikes())
		return write(fd, p, n);
	errno = failure;
	return -1;
}

/* Every change of a file in turn fails once; all gets shipped in the end. */
static void sweep_disk(struct bed *b, int errnum)
{
	struct fs_ops ops = fs_system_ops;
	ops.pwrite = bad_pwrite;
	ops.write = bad_write;
	ops.fsync = bad_fsync;
	ops.renameat = bad_renameat;
	ops.openat = bad_openat;
	failure = errnum;
	for (long n = 1;; n++) {
		assert_true(n < 200);
		app_change(b->db);
		until_failure = n;
		fs_set_ops(&ops);
		int rc = ship_open(&b->s, &b->cfg);
		if (!rc) {
			assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
			app_change(b->db);
			assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
			ship_close(&b->s);
		} else {
			source_watch_free(b->s.watch);
			memset(&b->s, 0, sizeof(b->s));
		}
		scene_no_fsync();
		if (!rc)
			assert_true(ship_same(b->db, b->inner, b->dir));
		if (until_failure > 0)
			break;
	}
}

static void test_every_write_fails_once(void **state)
{
	sweep_disk(*state, EIO);
}

static void test_disk_is_full_once(void **state)
{
	sweep_disk(*state, ENOSPC);
}

/* ---- the database changes its nature ---- */

static void move(const struct bed *b, const char *from, const char *to)
{
	char a[300], c[300];
	snprintf(a, sizeof(a), "%s/%s", b->dir, from);
	snprintf(c, sizeof(c), "%s/%s", b->dir, to);
	assert_int_equal(rename(a, c), 0);
}

static void test_another_database_waits_for_a_person(void **state)
{
	struct bed *b = *state;
	char other[300];
	start(b);
	check_same(b);
	snprintf(other, sizeof(other), "%s/other.db", b->dir);
	app_create(other, 10);
	move(b, "app.db", "kept.db");
	move(b, "other.db", "app.db");
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	app_change(b->db);
	ship_for(&b->s, 50);
	assert_int_equal(ship_sync(&b->s, 1000), ERR_FAIL);
	assert_int_equal(ship_max_txid(b->inner), 1);
	restart(b);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_max_txid(b->inner), 1);
	b->cfg.accept = true;
	restart(b);
	check_same(b);
	assert_int_equal(ship_max_txid(b->inner), 2);
	b->cfg.accept = false;
	restart(b);
	app_change(b->db);
	check_same(b);
}

/* What a person saw and accepted is not what stands there by now. */
static void test_a_word_is_about_one_file(void **state)
{
	struct bed *b = *state;
	struct stat seen;
	char other[300];
	start(b);
	check_same(b);
	for (int i = 0; i < 2; i++) {
		snprintf(other, sizeof(other), "%s/other%d.db", b->dir, i);
		app_create(other, 10);
	}
	move(b, "app.db", "kept.db");
	move(b, "other0.db", "app.db");
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(stat(b->db, &seen), 0);
	b->cfg.accept = true;
	b->cfg.seen_dev = seen.st_dev;
	b->cfg.seen_ino = seen.st_ino;
	move(b, "app.db", "seen.db");
	move(b, "other1.db", "app.db");
	restart(b);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_max_txid(b->inner), 1);
	move(b, "app.db", "other1.db");
	move(b, "seen.db", "app.db");
	restart(b);
	check_same(b);
	assert_int_equal(ship_max_txid(b->inner), 2);
	/* It was for one upload: the next one has to be accepted anew. */
	move(b, "app.db", "seen.db");
	move(b, "other1.db", "app.db");
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_max_txid(b->inner), 2);
}

static void test_the_former_database_comes_back(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	ship_close(&b->s);
	move(b, "app.db", "kept.db");
	app_create(b->db, 10);
	start(b);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	ship_close(&b->s);
	move(b, "kept.db", "app.db");
	start(b);
	app_change(b->db);
	check_same(b);
	assert_int_equal(ship_max_txid(b->inner), 2);
}

static void test_an_emptied_database_is_another_one(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	ship_close(&b->s);
	app_sql(b->db, "DROP TABLE t; VACUUM");
	start(b);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_max_txid(b->inner), 1);
	b->cfg.accept = true;
	restart(b);
	check_same(b);
}

/* VACUUM with another page size, while nobody looks: accepted, it begins with a snapshot. */
static void test_another_page_size(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	ship_close(&b->s);
	app_sql(b->db, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM;"
				   "PRAGMA journal_mode = WAL");
	start(b);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	b->cfg.accept = true;
	restart(b);
	check_same(b);
	assert_true(ship_has(b->inner, LTX_SNAPSHOT_LEVEL, 1, 2));
	b->cfg.accept = false;
	restart(b);
	app_change(b->db);
	check_same(b);
}

static void test_waits_for_a_database(void **state)
{
	struct bed *b = *state;
	unlink(b->db);
	start(b);
	assert_true(ship_until(&b->s, REPLICATOR_WAITING));
	assert_int_equal(store_fault_calls("f", STORE_OP_ANY), 0);
	assert_int_equal(ship_sync(&b->s, 1000), ERR_NOT_FOUND);
	app_create(b->db, 5);
	assert_true(ship_until(&b->s, REPLICATOR_REPLICATING));
	check_same(b);
}

/* So that a restore can leave there what goes with its file: it holds the folder until all is
 * there. */
static void test_gives_the_folder_up_without_a_database(void **state)
{
	struct bed *b = *state;
	struct state_dir *held = NULL;
	char *folder = state_default_dir(b->db);
	start(b);
	check_same(b);
	assert_int_equal(state_dir_open(&held, folder, &b->e), ERR_AGAIN);
	move(b, "app.db", "kept.db");
	assert_true(ship_until(&b->s, REPLICATOR_WAITING));
	ship_for(&b->s, 50);
	assert_int_equal(state_dir_open(&held, folder, &b->e), ERR_OK);
	move(b, "kept.db", "app.db");
	ship_for(&b->s, 50);
	ship_skip(10000);
	ship_for(&b->s, 50);
	assert_int_equal(ship_status(&b->s).state, REPLICATOR_WAITING);
	assert_int_equal(ship_sync(&b->s, 1000), ERR_NOT_FOUND);
	state_dir_close(held);
	assert_true(ship_until(&b->s, REPLICATOR_REPLICATING));
	assert_int_equal(state_dir_open(&held, folder, &b->e), ERR_AGAIN);
	app_change(b->db);
	check_same(b);
	assert_int_equal(ship_max_txid(b->inner), 2);
	free(folder);
}

/* Another database is judged as if it had come while nobody looked. */
static void test_another_database_after_none(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	move(b, "app.db", "kept.db");
	assert_true(ship_until(&b->s, REPLICATOR_WAITING));
	app_create(b->db, 10);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_max_txid(b->inner), 1);
}

static void test_not_a_database(void **state)
{
	struct bed *b = *state;
	FILE *f = fopen(b->db, "w");
	fprintf(f, "%4000s", "this is a letter");
	fclose(f);
	start(b);
	assert_true(ship_until(&b->s, REPLICATOR_UNUSABLE));
	assert_int_equal(ship_status(&b->s).code, ERR_DATABASE);
	assert_int_equal(ship_sync(&b->s, 1000), ERR_DATABASE);
	assert_int_equal(ship_max_txid(b->inner), 0);
}

/* ---- state folders ---- */

static void test_second_replicator_of_a_folder(void **state)
{
	struct bed *b = *state;
	struct replicator *second = NULL;
	struct err e = ERR_INIT;
	start(b);
	assert_int_equal(replicator_open(&second, &b->cfg, &e), ERR_AGAIN);
	char pid[32];
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	assert_non_null(strstr(e.text, pid));
}

static char *inside(struct bed *b, const char *name)
{
	char *dir = state_default_dir(b->db), *path = fs_join(dir, name);
	free(dir);
	return path;
}

/* The page table of an earlier TXID is brought forward, from copies or from the replica. */
static void test_old_page_table(void **state)
{
	struct bed *b = *state;
	char *pages = inside(b, "pages"), *kept = inside(b, "kept"), *copies = inside(b, "ltx");
	start(b);
	check_same(b);
	restart(b);
	assert_int_equal(link(pages, kept), 0);
	for (int i = 0; i < 3; i++) {
		app_change(b->db);
		check_same(b);
	}
	for (int without_copies = 0; without_copies < 2; without_copies++) {
		ship_close(&b->s);
		unlink(pages);
		assert_int_equal(link(kept, pages), 0);
		if (without_copies)
			assert_int_equal(fs_remove_tree(copies), 0);
		app_sql(b->db, "UPDATE t SET b = randomblob(400) WHERE a = 5");
		uint64_t txid = ship_max_txid(b->inner), gets = store_fault_calls("f", STORE_OP_GET);
		start(b);
		check_same(b);
		assert_int_equal(ship_max_txid(b->inner), txid + 1);
		/* One for the last header; the missing files besides. */
		gets = store_fault_calls("f", STORE_OP_GET) - gets;
		assert_true(without_copies ? gets > 3 : gets <= 2);
		char *file = inside(b, "ltx/0/0000000000000005-0000000000000005.ltx");
		struct stat st;
		if (!without_copies)
			assert_true(stat(file, &st) == 0 && st.st_size < 15000);
		free(file);
	}
	free(pages);
	free(kept);
	free(copies);
}

/* Nothing to compare with: all pages, once, and the chain goes on. */
static void test_lost_page_table(void **state)
{
	struct bed *b = *state;
	char *pages = inside(b, "pages"), *copies = inside(b, "ltx");
	start(b);
	check_same(b);
	app_change(b->db);
	check_same(b);
	ship_close(&b->s);
	unlink(pages);
	assert_int_equal(fs_remove_tree(copies), 0);
	break_store(STORE_OP_GET, 2, 1, STORE_FAULT_FAIL, ERR_NOT_FOUND);
	app_change(b->db);
	start(b);
	check_same(b);
	assert_int_equal(ship_max_txid(b->inner), 3);
	restart(b);
	app_change(b->db);
	check_same(b);
	free(pages);
	free(copies);
}

static int64_t stamp_of(struct bed *b, uint64_t txid)
{
	char name[64], folder[16], file[LTX_NAME_SIZE];
	struct store *s = NULL;
	struct store_object o = {0};
	struct err e = ERR_INIT;
	ltx_format_name(txid, txid, file);
	assert_int_equal(store_open(&s, b->inner, NULL, &e), 0);
	store_level_prefix(s, 0, folder);
	snprintf(name, sizeof(name), "%s%s", folder, file);
	assert_int_equal(store_head(s, name, &o, &e), 0);
	store_close(s);
	return o.timestamp_ms;
}

/* F9: the wall clock goes back, timestamps don't. */
static void test_timestamps_ascend(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	ship_skip(-3600 * 1000);
	b->s.turn_due = b->s.work_due = 0;
	app_change(b->db);
	check_same(b);
	restart(b);
	app_change(b->db);
	check_same(b);
	assert_int_equal(stamp_of(b, 2), stamp_of(b, 1) + 1);
	assert_int_equal(stamp_of(b, 3), stamp_of(b, 2) + 1);
	ship_skip(3600 * 1000);
}

/* Local copies take no more than allowed. */
static unsigned tables_saved;

static int count_tables(int od, const char *o, int nd, const char *n)
{
	tables_saved += strcmp(n, "pages") == 0;
	return renameat(od, o, nd, n);
}

static void test_copies_are_bounded(void **state)
{
	struct bed *b = *state;
	b->cfg.copies_max = 240000;
	start(b);
	struct fs_ops ops = *scene_no_fsync();
	ops.renameat = count_tables;
	fs_set_ops(&ops);
	tables_saved = 0;
	for (int i = 0; i < 40; i++) {
		app_change(b->db);
		assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
		if (i % 8 == 0)
			check_same(b);
	}
	scene_no_fsync();
	/* Not with each upload, though each one passes the bound. */
	assert_true(tables_saved > 0 && tables_saved <= 13);
	char command[400];
	char *copies = inside(b, "ltx/0");
	snprintf(command, sizeof(command), "n=$(cat %s/* | wc -c); [ $n -gt 0 ] && [ $n -le 240000 ]",
		copies);
	assert_int_equal(system(command), 0);
	restart(b);
	app_change(b->db);
	check_same(b);
	free(copies);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sync_ships_what_was_committed),
		TEST(test_sync_while_it_is_let_go),
		TEST(test_one_upload_an_interval),
		TEST(test_shapes),
		TEST(test_store_down_at_start),
		TEST(test_every_call_fails_once),
		TEST(test_every_answer_is_lost_once),
		TEST(test_denied_gives_the_pin_up),
		TEST(test_full_staging_gives_the_pin_up),
		TEST(test_every_write_fails_once),
		TEST(test_disk_is_full_once),
		TEST(test_another_database_waits_for_a_person),
		TEST(test_a_word_is_about_one_file),
		TEST(test_the_former_database_comes_back),
		TEST(test_an_emptied_database_is_another_one),
		TEST(test_another_page_size),
		TEST(test_waits_for_a_database),
		TEST(test_gives_the_folder_up_without_a_database),
		TEST(test_another_database_after_none),
		TEST(test_not_a_database),
		TEST(test_second_replicator_of_a_folder),
		TEST(test_old_page_table),
		TEST(test_lost_page_table),
		TEST(test_timestamps_ascend),
		TEST(test_copies_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
