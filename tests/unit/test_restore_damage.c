/*
 * What a restore must refuse, and that it then leaves nothing behind: forks, altered and truncated
 * files, stores and file systems that fail.
 */
#include "lib/restore_bed.h"
#include "lib/rounds.h"

#include "base/fs.h"
#include "conf/state.h"
#include "restore/apply.h"
#include "store/fault.h"

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

/* ---- two writers (F8) ---- */

/* A second line that goes its own way from TXID `from` on. */
static void fork_of(const struct bed *b, struct replica *other, uint64_t from, uint64_t to)
{
	replica_init(other, b->store, b->r.page_size, true);
	while (other->txid < to) {
		uint64_t t = other->txid + 1;
		if (t >= from)
			other->seed += 1000;
		replica_commit(other, b->r.states[t].n_page, 2);
	}
}

static void test_fork_is_planned_around(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	for (int i = 0; i < 10; i++)
		replica_commit(&b.r, 20, 2);
	struct replica other;
	fork_of(&b, &other, 6, 10);
	replica_put(&b.r, 9, 1, 7);
	replica_put(&other, 0, 8, 8); /* the stranger's */
	replica_put(&b.r, 1, 6, 8);
	replica_put(&b.r, 0, 9, 9);
	replica_put(&b.r, 0, 10, 10);
	expect_state(&b, 0, 10);
	/* At TXID 8 the stranger's file is a candidate as well, and doesn't fit. */
	expect_state(&b, 8, 8);
	replica_delete(&b.r, 1, 6, 8);
	expect_damaged(&b, "L0 0000000000000009-0000000000000009.ltx was not written on top of L0 "
					   "0000000000000008-0000000000000008.ltx");
	replica_free(&other);
	bed_close(&b);
}

/* Where TXIDs overlap no header tells: the database checksum does, and another way is tried. */
static void test_fork_behind_an_overlap(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	for (int i = 0; i < 8; i++)
		replica_commit(&b.r, 20, 2);
	struct replica other;
	fork_of(&b, &other, 4, 8);
	replica_put(&other, 9, 1, 6); /* a snapshot of the wrong line */
	replica_put(&b.r, 0, 1, 1);
	replica_put(&b.r, 1, 2, 4);
	replica_put(&b.r, 1, 5, 8);
	expect_state(&b, 0, 8);
	replica_delete(&b.r, 1, 2, 4);
	expect_damaged(&b, "what was restored is not what was replicated");
	replica_free(&other);
	bed_close(&b);
}

static void test_full_file_ends_the_search(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	replica_commit(&b.r, 20, 2);
	replica_commit(&b.r, 20, 2);
	struct replica other;
	fork_of(&b, &other, 1, 1);
	replica_put(&other, 0, 1, 1);
	/* TXID 2 wrote every page (a takeover): what is under it doesn't matter. */
	memset(b.r.states[2].changed, 1, 20);
	replica_put(&b.r, 0, 2, 2);
	expect_state(&b, 0, 2);
	assert_int_equal(b.result.files, 1);
	replica_free(&other);
	bed_close(&b);
}

/* ---- damage ---- */

/* Each byte of each file in turn: whatever it means, it must not pass. */
static void test_every_altered_byte_is_found(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 512, true);
	replica_ship(&b.r, 3, 0);
	replica_ship(&b.r, 3, 1);
	for (uint64_t t = 1; t <= 2; t++) {
		struct buf file;
		buf_init(&file, 1 << 20);
		replica_encode(&b.r, t, t, &file);
		for (size_t i = 0; i < file.len; i += ROUNDS_STEP) {
			file.data[i] ^= (uint8_t)(1 << i % 8);
			replica_put_bytes(&b.r, 0, t, t, file.data, file.len);
			int rc = bed_restore(&b, 0, 0);
			if (rc != ERR_DAMAGED || left_behind(&b))
				fail_msg("byte %zu of TXID %" PRIu64 ": code %d, %s", i, t, rc, b.e.text);
			assert_non_null(strstr(
				b.e.text, t == 1 ? "0001-0000000000000001.ltx" : "0002-0000000000000002.ltx"));
			file.data[i] ^= (uint8_t)(1 << i % 8);
		}
		replica_put_bytes(&b.r, 0, t, t, file.data, file.len);
		buf_free(&file);
	}
	expect_state(&b, 0, 2);
	bed_close(&b);
}

static void test_every_truncation_is_found(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 512, true);
	replica_ship(&b.r, 3, 0);
	replica_ship(&b.r, 3, 1);
	struct buf file;
	buf_init(&file, 1 << 20);
	replica_encode(&b.r, 2, 2, &file);
	for (size_t n = 0; n < file.len; n += (n < 110 ? 1 : 7) * ROUNDS_STEP) {
		replica_put_bytes(&b.r, 0, 2, 2, file.data, n);
		expect_damaged(&b, "0000000000000002-0000000000000002.ltx");
	}
	buf_free(&file);
	bed_close(&b);
}

/* A size that no file could hold is refused before room is made for it. */
static void test_absurd_size(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 65536, true);
	replica_ship(&b.r, 3, 0);
	struct buf file;
	buf_init(&file, 1 << 20);
	replica_encode(&b.r, 1, 1, &file);
	file.data[12] = 0xff; /* the highest byte of the size in pages */
	replica_put_bytes(&b.r, 0, 1, 1, file.data, file.len);
	expect_damaged(&b, "more than the files of the plan");
	buf_free(&file);
	bed_close(&b);
}

/* Right by themselves, wrong together. */
static void test_files_that_don_t_belong(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	replica_ship(&b.r, 10, 0);
	replica_ship(&b.r, 10, 2);
	struct buf file;
	buf_init(&file, 1 << 20);
	replica_encode(&b.r, 1, 1, &file); /* under another's name */
	replica_put_bytes(&b.r, 0, 2, 2, file.data, file.len);
	expect_damaged(&b, "its name does not");
	buf_free(&file);

	struct replica small;
	replica_init(&small, b.store, 512, false);
	replica_commit(&small, 10, 0);
	replica_commit(&small, 10, 2);
	replica_put(&small, 0, 2, 2);
	expect_damaged(&b, "pages have 1024 bytes");
	replica_free(&small);
	bed_close(&b);
}

/* Litestream's files have no database checksum: a page that no file has can't pass for zeros. */
static void test_missing_pages(void **state)
{
	(void)state;
	for (int ours = 0; ours < 2; ours++) {
		struct bed b;
		bed_open(&b, "mem://restore", 1024, ours);
		replica_ship(&b.r, 10, 0);
		replica_commit(&b.r, 14, 0);
		struct replica_state *s = &b.r.states[2];
		memset(s->changed + 11, 0, 2);
		replica_put(&b.r, 0, 2, 2);
		if (ours)
			expect_damaged(&b, "database checksum");
		else
			expect_damaged(&b, "page 12 and 1 more");
		bed_close(&b);
	}
}

static void test_not_a_database(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, false);
	replica_commit(&b.r, 4, 0);
	memset(b.r.states[1].image, 'x', 100);
	replica_put(&b.r, 0, 1, 1);
	expect_damaged(&b, "not a usable SQLite database");
	bed_close(&b);
}

/* ---- the store ---- */

static void retention_runs(void *ctx, const char *name)
{
	(void)name;
	struct bed *b = ctx;
	replica_put(&b->r, 1, 1, 9);
	for (uint64_t t = 1; t <= 8; t++)
		replica_delete(&b->r, 0, t, t);
}

static void test_vanished_files_are_planned_around(void **state)
{
	(void)state;
	struct bed b;
	struct err e = ERR_INIT;
	assert_int_equal(store_fault_register("vanish", "mem://vanish", &e), ERR_OK);
	bed_open(&b, "fault://vanish", 1024, true);
	ship_history(&b);
	struct store_fault rule = {.op = STORE_OP_GET,
		.times = 1,
		.action = STORE_FAULT_HOOK,
		.hook = retention_runs,
		.ctx = &b};
	store_fault_add("vanish", &rule);
	expect_state(&b, 0, 9);
	bed_close(&b);
	store_fault_forget();
}

/* What the store says comes through as it is, and nothing is left. */
static void test_store_failures(void **state)
{
	(void)state;
	static const struct {
		enum store_op op;
		int code, expect;
		unsigned nth;
	} cases[] = {
		{STORE_OP_LIST, ERR_DENIED, ERR_DENIED, 1},
		{STORE_OP_LIST, ERR_UNREACHABLE, ERR_UNREACHABLE, 3},
		{STORE_OP_GET, ERR_UNREACHABLE, ERR_UNREACHABLE, 1},
		{STORE_OP_GET, ERR_UNREACHABLE, ERR_UNREACHABLE, 5},
		{STORE_OP_GET, ERR_DENIED, ERR_DENIED, 9},
		{STORE_OP_GET, ERR_NOT_FOUND, ERR_DAMAGED, 1}, /* listed again and again, never there */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bed b;
		struct err e = ERR_INIT;
		assert_int_equal(store_fault_register("bad", "mem://bad", &e), ERR_OK);
		bed_open(&b, "fault://bad", 1024, true);
		ship_history(&b);
		struct store_fault rule = {.op = cases[i].op,
			.nth = cases[i].nth,
			.action = STORE_FAULT_FAIL,
			.code = cases[i].code};
		store_fault_add("bad", &rule);
		assert_int_equal(bed_restore(&b, 0, 0), cases[i].expect);
		assert_true(strlen(b.e.text) > 10);
		assert_int_equal(left_behind(&b), 0);
		store_fault_heal("bad");
		expect_state(&b, 0, 9);
		bed_close(&b);
		store_fault_forget();
	}
}

/* ---- every file call fails once ---- */

static unsigned calls, fail_at;

static bool strikes(void)
{
	return __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == fail_at;
}

static int failing(int rc)
{
	errno = EIO;
	return rc;
}

static int f_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return strikes() ? failing(-1) : fs_system_ops.openat(dirfd, path, flags, mode);
}
static ssize_t f_write(int fd, const void *p, size_t n)
{
	return strikes() ? failing(-1) : fs_system_ops.write(fd, p, n);
}
static ssize_t f_pread(int fd, void *p, size_t n, off_t off)
{
	return strikes() ? failing(-1) : fs_system_ops.pread(fd, p, n, off);
}
static ssize_t f_pwrite(int fd, const void *p, size_t n, off_t off)
{
	return strikes() ? failing(-1) : fs_system_ops.pwrite(fd, p, n, off);
}
static int f_fsync(int fd)
{
	return strikes() ? failing(-1) : fs_system_ops.fsync(fd);
}
static int f_ftruncate(int fd, off_t size)
{
	return strikes() ? failing(-1) : fs_system_ops.ftruncate(fd, size);
}
static int f_renameat(int a, const char *from, int b, const char *to)
{
	return strikes() ? failing(-1) : fs_system_ops.renameat(a, from, b, to);
}
static int f_linkat(int a, const char *from, int b, const char *to, int flags)
{
	return strikes() ? failing(-1) : fs_system_ops.linkat(a, from, b, to, flags);
}
static int f_renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	return strikes() ? failing(-1) : fs_system_ops.renameat2(a, from, b, to, flags);
}
static int f_unlinkat(int dirfd, const char *path, int flags)
{
	return strikes() ? failing(-1) : fs_system_ops.unlinkat(dirfd, path, flags);
}
static int f_mkdirat(int dirfd, const char *path, mode_t mode)
{
	return strikes() ? failing(-1) : fs_system_ops.mkdirat(dirfd, path, mode);
}

/* O_TMPFILE is refused, as by file systems that don't have it. */
static int no_tmpfile;
static int f_openat_named(int dirfd, const char *path, int flags, mode_t mode)
{
	if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE)
		return errno = EOPNOTSUPP, -1;
	return f_openat(dirfd, path, flags, mode);
}

static struct fs_ops faulty_ops(void)
{
	struct fs_ops ops = fs_system_ops;
	ops.openat = f_openat_named;
	ops.write = f_write;
	ops.pread = f_pread;
	ops.pwrite = f_pwrite;
	ops.fsync = f_fsync;
	ops.ftruncate = f_ftruncate;
	ops.renameat = f_renameat;
	ops.linkat = f_linkat;
	ops.renameat2 = f_renameat2;
	ops.mkdirat = f_mkdirat;
	return ops;
}

static void sweep(struct bed *b, const char *state_dir, unsigned least)
{
	struct fs_ops ops = faulty_ops();
	unsigned failures = 0;
	for (fail_at = 1;; fail_at++) {
		struct restore_options o = {.output = b->db, .state_dir = state_dir};
		calls = 0;
		err_clear(&b->e);
		fs_set_ops(&ops);
		int rc = restore_run(b->store, &o, &b->result, &b->e);
		fs_set_ops(NULL);
		restore_plan_free(&b->result.plan);
		failures += rc != ERR_OK;
		if (rc && (left_behind(b) || !b->e.text[0]))
			fail_msg("call %u: %s, %zu names left", fail_at, b->e.text, left_behind(b));
		if (!rc)
			assert_true(replica_is_state(&b->r, b->r.txid, b->db));
		bool over = !rc && calls < fail_at;
		char *dir = state_default_dir(b->db);
		fs_remove_tree(dir);
		free(dir);
		unlink(b->db);
		if (over)
			break;
	}
	assert_true(failures >= least);
}

/* With an unlink that fails as well: what can't be cleared up is cleared up by the next one. */
static void sweep_in_place(struct bed *b, unsigned least)
{
	struct fs_ops ops = faulty_ops();
	ops.unlinkat = f_unlinkat;
	unsigned failures = 0;
	for (fail_at = 1;; fail_at++) {
		struct restore_options o = {.output = b->db, .state_dir = "", .in_place = true};
		put_old_set(b);
		calls = 0;
		err_clear(&b->e);
		fs_set_ops(&ops);
		int rc = restore_run(b->store, &o, &b->result, &b->e);
		fs_set_ops(NULL);
		restore_plan_free(&b->result.plan);
		failures += rc != ERR_OK;
		bool over = !rc && calls < fail_at;
		expect_exchanged(b, rc);
		if (over)
			break;
	}
	assert_true(failures >= least);
}

static void test_failing_file_calls(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	for (no_tmpfile = 0; no_tmpfile < 2; no_tmpfile++) {
		sweep(&b, "", 6);
		sweep(&b, NULL, 10);
		sweep_in_place(&b, 12);
	}
	no_tmpfile = 0;
	bed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fork_is_planned_around),
		cmocka_unit_test(test_fork_behind_an_overlap),
		cmocka_unit_test(test_full_file_ends_the_search),
		cmocka_unit_test(test_every_altered_byte_is_found),
		cmocka_unit_test(test_every_truncation_is_found),
		cmocka_unit_test(test_absurd_size),
		cmocka_unit_test(test_files_that_don_t_belong),
		cmocka_unit_test(test_missing_pages),
		cmocka_unit_test(test_not_a_database),
		cmocka_unit_test(test_vanished_files_are_planned_around),
		cmocka_unit_test(test_store_failures),
		cmocka_unit_test(test_failing_file_calls),
	};
	/* Small files decoded as they are read, then as large ones are: by several threads. */
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	apply_raw_bytes = 0;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
