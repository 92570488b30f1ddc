/* What goes wrong between two steps: between freeze and settle, turn and work, one life and the
 * next.
 */
#include "lib/one_node.h"
#include "lib/tmpdir.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/freeze.h"
#include "store/fault.h"
#include "store/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define URL "fault://f"
#define INNER "mem://f" /* the same store, never broken */

/* ---- a disk that fails when told to ---- */

#define BOTH_PLACES 2 /* of a frozen file: the slot, and then the file itself */

static int failing_fsyncs; /* the next so many */
static bool no_journal;

static int quick_fsync(int fd)
{
	(void)fd;
	if (failing_fsyncs == 0)
		return 0; /* the machine stays up */
	failing_fsyncs--;
	errno = ENOSPC;
	return -1;
}

static int quick_renameat(int od, const char *o, int nd, const char *n)
{
	if (!no_journal || !strstr(n, "state.json"))
		return renameat(od, o, nd, n);
	errno = EIO;
	return -1;
}

static int setup(void **state)
{
	static struct fs_ops ops;
	struct bed *b = calloc(1, sizeof(*b));
	struct err e = ERR_INIT;
	b->dir = scene_begin();
	failing_fsyncs = 0;
	no_journal = false;
	ops = fs_system_ops;
	ops.fsync = ops.fdatasync = quick_fsync;
	ops.renameat = quick_renameat;
	fs_set_ops(&ops);
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	assert_int_equal(store_fault_register("f", NULL, &e), ERR_OK);
	app_create(b->db, 100);
	b->cfg = ship_config(b->db, URL);
	*state = b;
	return 0;
}

static void start(struct bed *b)
{
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
}

static void check_same(struct bed *b)
{
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_true(ship_same(b->db, INNER, b->dir));
}

/* Turns until there is a cut for the work. */
static void cut(struct bed *b)
{
	int64_t wait;
	bool work = false;
	for (int i = 0; i < 1000 && !work; i++)
		replicator_turn(b->s.r, &wait, &work);
	assert_true(work);
}

/* ---- freeze ---- */

/* A freeze that fails leaves no trace in the page table, nor in its file: pages that were not
 * shipped do not count as shipped in the next life. */
static void test_failed_freeze(void **state)
{
	struct bed *b = *state;
	struct err e = ERR_INIT;
	struct staging *pages;
	struct pagesums table;
	struct frozen frozen;
	struct source_point point = {.n_page = 3, .min_n_page = 1};
	struct ltx_header h = {.page_size = 512, .commit = 3, .min_txid = 2, .max_txid = 2};
	char path[300], folder[300], page[512] = "a page";
	snprintf(path, sizeof(path), "%s/staging-x", b->dir);
	snprintf(folder, sizeof(folder), "%s/ltx/0", b->dir);
	assert_int_equal(fs_mkdirs(folder, 0700), 0);
	assert_int_equal(staging_new(&pages, path, &e), 0);
	staging_reset(pages, 512, 1);
	for (uint32_t pgno = 2; pgno <= 3; pgno++)
		assert_int_equal(staging_put(pages, pgno, page, STAGING_FRAME, &e), 0);
	assert_int_equal(staging_commit(pages, &point, &e), 0);
	pagesums_init(&table, 512);
	assert_int_equal(pagesums_set(&table, 1, LTX_CHECKSUM_FLAG | 7), 0);
	uint64_t before = table.checksum;
	failing_fsyncs = BOTH_PLACES;
	assert_int_equal(freeze(folder, pages, &h, &table, &frozen, &e), ERR_FULL);
	assert_int_equal(table.n_page, 1);
	assert_true(table.checksum == before);
	assert_int_equal(freeze(folder, pages, &h, &table, &frozen, &e), 0);
	assert_int_equal(table.n_page, 3);
	assert_true(table.checksum == frozen.header.after_checksum);
	staging_free(pages);
	pagesums_free(&table);
}

/* ---- turn and work ---- */

static struct ship *interrupted;
static struct clock_ops between;

/* The work runs while a turn is under way: at the moment when it asks for the time. */
static int64_t work_between(void)
{
	struct ship *s = interrupted;
	int64_t wait;
	interrupted = NULL;
	clock_set_ops(ship_clock());
	replicator_work(s->r, &wait);
	return clock_mono_us();
}

/* A cut that is dropped while a turn is under way answers no ticket. */
static void test_a_dropped_cut_answers_no_sync(void **state)
{
	struct bed *b = *state;
	struct err e = ERR_INIT;
	int64_t wait;
	bool work;
	start(b);
	check_same(b);
	app_change(b->db);
	uint64_t ticket = replicator_sync(b->s.r);
	cut(b);
	failing_fsyncs = BOTH_PLACES;
	between = *ship_clock();
	between.mono_us = work_between;
	interrupted = &b->s;
	clock_set_ops(&between);
	replicator_turn(b->s.r, &wait, &work);
	assert_null(interrupted);
	assert_int_equal(failing_fsyncs, 0);
	assert_int_equal(replicator_sync_done(b->s.r, ticket, &e), ERR_AGAIN);
	check_same(b);
}

/* A cut that is dropped while a turn is under way is in no table: what was captured behind it is
 * not shipped on top of what is missing. */
static void test_nothing_is_cut_behind_a_dropped_cut(void **state)
{
	struct bed *b = *state;
	int64_t wait;
	bool work;
	start(b);
	check_same(b);
	app_sql(b->db, "UPDATE t SET b = randomblob(400) WHERE a < 50");
	replicator_sync(b->s.r);
	cut(b);
	app_sql(b->db, "UPDATE t SET b = randomblob(400) WHERE a >= 50");
	replicator_sync(b->s.r);
	failing_fsyncs = BOTH_PLACES;
	between = *ship_clock();
	between.mono_us = work_between;
	interrupted = &b->s;
	clock_set_ops(&between);
	replicator_turn(b->s.r, &wait, &work);
	assert_null(interrupted);
	assert_int_equal(failing_fsyncs, 0);
	assert_false(work);
	check_same(b);
	assert_int_equal(ship_max_txid(INNER), 2);
}

/* A long sync interval does not let the staging run into its bound: that would cost a comparison of
 * all pages for every bound's worth of writes. */
static void test_large_cuts_before_their_time(void **state)
{
	struct bed *b = *state;
	b->cfg.sync_interval_ms = 3600000;
	b->cfg.staging_max = 400000;
	start(b);
	check_same(b);
	for (int i = 0; i < 10; i++) {
		app_sql(b->db, "INSERT INTO t(b) VALUES (randomblob(100000))");
		ship_for(&b->s, 20);
		assert_int_equal(ship_status(&b->s).state, REPLICATOR_REPLICATING);
	}
	assert_true(ship_max_txid(INNER) > 3);
	assert_int_equal(ship_status(&b->s).last_error_ms, 0);
	check_same(b);
}

/* ---- put and settle ---- */

/* Attempts to write the journal are no word from the store: who could not write it for hours looks
 * at the replica again before the next file (F4). */
static void test_journal_fails_for_hours(void **state)
{
	struct bed *b = *state;
	start(b);
	check_same(b);
	app_change(b->db);
	no_journal = true;
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	for (int i = 0; i < 4; i++) {
		ship_skip(3600000);
		ship_for(&b->s, 10);
	}
	assert_int_equal(ship_max_txid(INNER), 2);
	assert_int_equal(ship_status(&b->s).txid, 1);
	no_journal = false;
	uint64_t lists = store_fault_calls("f", STORE_OP_LIST);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_int_equal(ship_status(&b->s).txid, 2);
	app_change(b->db);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_int_equal(ship_status(&b->s).txid, 3);
	assert_int_equal(store_fault_calls("f", STORE_OP_LIST), lists + 1);
	check_same(b);
}

/* ---- one database and the next ---- */

/* Another database is copied over the file; the -wal of the former one stays. */
static void copy_over(struct bed *b)
{
	char command[1200];
	snprintf(command, sizeof(command),
		"sqlite3 '%s/other.db' 'PRAGMA journal_mode = WAL; CREATE TABLE u(a); WITH RECURSIVE n(i) "
		"AS "
		"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) INSERT INTO u SELECT "
		"randomblob(400) FROM n' >/dev/null && cat '%s/other.db' >'%s'",
		b->dir, b->dir, b->db);
	assert_int_equal(system(command), 0);
}

static void add_rows(struct bed *b)
{
	app_sql(b->db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
				   "INSERT INTO t(b) SELECT randomblob(400) FROM n");
}

/* Two states of some size are shipped. */
static void ship_two(struct bed *b)
{
	add_rows(b);
	start(b);
	check_same(b);
	app_sql(b->db, "UPDATE t SET b = 2 WHERE a = 1");
	check_same(b);
}

/* And then it stops with something staged: the -wal stays, and the position in it is right. */
static void stop_amid(struct bed *b)
{
	b->cfg.sync_interval_ms = 3600000;
	ship_two(b);
	app_sql(b->db, "UPDATE t SET b = 1 WHERE a = 1");
	ship_for(&b->s, 20);
	assert_int_equal(ship_status(&b->s).txid, 2);
	assert_true(ship_status(&b->s).pending_bytes > 0);
	ship_close(&b->s);
}

/* Copied over while nobody looked: the position is still in the WAL, the pages are another
 * database's. That needs a person's word, in this life and the next. */
static void test_copied_over_at_a_good_position(void **state)
{
	struct bed *b = *state;
	stop_amid(b);
	copy_over(b);
	for (int life = 0; life < 2; life++) {
		start(b);
		assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
		ship_for(&b->s, 20);
		assert_int_equal(ship_max_txid(INNER), 3); /* what was staged, out of the WAL */
		ship_close(&b->s);
	}
	b->cfg.accept = true;
	start(b);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	assert_int_equal(ship_max_txid(INNER), 4);
}

/* An app rewrites everything while the store is away and the staging is full: it is the same
 * database, as its WAL shows, and no person is asked. */
static void test_rewritten_beside_a_full_staging(void **state)
{
	struct bed *b = *state;
	struct store_fault down = {
		.op = STORE_OP_ANY, .action = STORE_FAULT_FAIL, .code = ERR_UNREACHABLE};
	add_rows(b);
	b->cfg.staging_max = 100000;
	start(b);
	check_same(b);
	assert_int_equal(store_fault_add("f", &down), 0);
	app_sql(b->db, "INSERT INTO t(b) VALUES (1)");
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	app_sql(b->db, "UPDATE t SET b = randomblob(400)");
	ship_for(&b->s, 50);
	assert_int_equal(ship_status(&b->s).pending_bytes < 300000, 1);
	store_fault_heal("f");
	check_same(b);
}

/* The app rewrites everything, and a connection of it keeps the WAL. */
static void rewrite(struct bed *b)
{
	char command[800];
	snprintf(command, sizeof(command),
		"sqlite3 -cmd '.dbconfig no_ckpt_on_close on' '%s' 'PRAGMA wal_checkpoint(RESTART);"
		" UPDATE t SET b = randomblob(400)' >/dev/null",
		b->db);
	assert_int_equal(system(command), 0);
}

/* The same while no replicator is there, as a VACUUM may do it. */
static void test_rewritten_while_nobody_looked(void **state)
{
	struct bed *b = *state;
	stop_amid(b);
	rewrite(b);
	start(b);
	check_same(b);
	assert_int_equal(ship_max_txid(INNER), 3);
}

/* A commit that is frozen when the store goes away, and then the replicator. */
static void stop_without_store(struct bed *b)
{
	struct store_fault down = {
		.op = STORE_OP_ANY, .action = STORE_FAULT_FAIL, .code = ERR_UNREACHABLE};
	assert_int_equal(store_fault_add("f", &down), 0);
	app_sql(b->db, "INSERT INTO t(b) VALUES (1)");
	assert_true(ship_until(&b->s, REPLICATOR_BEHIND));
	ship_close(&b->s);
	store_fault_heal("f");
}

/* And after a life that settled only what the one before had frozen, and knows no place in the WAL.
 */
static void test_rewritten_after_a_resend(void **state)
{
	struct bed *b = *state;
	ship_two(b);
	stop_without_store(b);
	start(b);
	check_same(b);
	stop_without_store(b);
	rewrite(b);
	start(b);
	check_same(b);
}

/* A word of acceptance is for one database, not for every later one. */
static void test_accepted_once(void **state)
{
	struct bed *b = *state;
	char other[300];
	b->cfg.accept = true;
	start(b);
	check_same(b);
	app_change(b->db);
	check_same(b);
	snprintf(other, sizeof(other), "%s/other.db", b->dir);
	app_create(other, 10);
	assert_int_equal(rename(other, b->db), 0);
	assert_true(ship_until(&b->s, REPLICATOR_REPLACED));
	assert_int_equal(ship_max_txid(INNER), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_failed_freeze),
		TEST(test_a_dropped_cut_answers_no_sync),
		TEST(test_nothing_is_cut_behind_a_dropped_cut),
		TEST(test_large_cuts_before_their_time),
		TEST(test_journal_fails_for_hours),
		TEST(test_copied_over_at_a_good_position),
		TEST(test_rewritten_beside_a_full_staging),
		TEST(test_rewritten_while_nobody_looked),
		TEST(test_rewritten_after_a_resend),
		TEST(test_accepted_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
