/*
 * Restores from replicas that were built transaction by transaction, on a store in memory and on a
 * folder: they come back byte for byte, in the right place, with what replicate needs beside them.
 */
#include "lib/restore_bed.h"

#include "base/fs.h"
#include "conf/state.h"
#include "lib/ltx_build.h"
#include "lib/rounds.h"
#include "lib/tmpdir.h"
#include "restore/apply.h"
#include "source/pagesums.h"
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

/* ---- what comes back ---- */

static void check_every_state(const char *url, bool ours)
{
	for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
		struct bed b;
		bed_open(&b, url, page_size, ours);
		ship_history(&b);
		for (uint64_t t = 1; t <= b.r.txid; t++)
			expect_state(&b, t, t);
		expect_state(&b, 0, b.r.txid);
		bed_close(&b);
	}
}

static void test_every_state_of_every_page_size(void **state)
{
	(void)state;
	check_every_state("mem://restore", true);
	check_every_state("mem://restore", false);
}

static void test_every_state_from_a_folder(void **state)
{
	(void)state;
	check_every_state(NULL, true);
}

static void test_levels_and_overlaps(void **state)
{
	(void)state;
	for (int ours = 0; ours < 2; ours++) {
		struct bed b;
		bed_open(&b, "mem://restore", 1024, ours);
		ship_history(&b);
		replica_put(&b.r, 9, 1, 4);
		replica_put(&b.r, 1, 3, 6); /* begins inside the snapshot */
		replica_put(&b.r, 2, 5, 8); /* and this one inside the one before */
		expect_state(&b, 0, 9);
		assert_int_equal(b.result.files, 3); /* L9, L2 5-8, L0 9 */
		expect_state(&b, 8, 8);
		expect_state(&b, 6, 6);
		for (uint64_t t = 1; t <= 4; t++)
			replica_delete(&b.r, 0, t, t);
		expect_state(&b, 5, 5);
		bed_close(&b);
	}
}

static void test_by_time(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, NULL, 1024, true);
	ship_history(&b);
	for (uint64_t t = 1; t <= b.r.txid; t++) {
		assert_int_equal(bed_restore(&b, 0, REPLICA_START_MS + (int64_t)t * 1000 + 500), ERR_OK);
		assert_int_equal(b.result.txid, t);
		assert_true(replica_is_state(&b.r, t, b.db));
		unlink(b.db);
	}
	assert_int_equal(bed_restore(&b, 0, REPLICA_START_MS), ERR_NO_BACKUP);
	assert_int_equal(left_behind(&b), 0);
	bed_close(&b);
}

/* Hundreds of files, more than the window holds at once. */
static void test_many_increments(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 4096, true);
	for (int i = 0; i < 500; i++)
		replica_ship(&b.r, 300 + (uint32_t)i % 7, 5);
	expect_state(&b, 0, 500);
	bed_close(&b);
}

/* A file larger than a part, and than the window's share of a thread. */
static void test_large_files(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 65536, true);
	replica_ship(&b.r, 600, 0);
	replica_ship(&b.r, 600, 400);
	replica_ship(&b.r, 610, 10);
	expect_state(&b, 0, 3);
	expect_state(&b, 1, 1);
	bed_close(&b);
}

/* Any history, merged in any way, some of what is covered twice taken away: every TXID at which a
 * file ends and to which a way leads comes back. */
static void test_random_replicas(void **state)
{
	(void)state;
	srand(20261120);
	for (int round = 0; round < ROUNDS(60); round++) {
		struct bed b;
		bed_open(&b, "mem://restore", 512u << rand() % 4, rand() % 4 != 0);
		uint32_t last = 1 + (uint32_t)rand() % 25;
		for (uint32_t t = 1; t <= last; t++)
			replica_commit(&b.r, 2 + (uint32_t)rand() % 40, (uint32_t)rand() % 6);
		for (int i = 0; i < 12; i++) {
			uint64_t min = 1 + (uint64_t)rand() % last,
					 max = min + (uint64_t)rand() % (last - min + 1);
			replica_put(&b.r, 1 + rand() % 8, min, max);
		}
		if (rand() % 2)
			replica_put(&b.r, 9, 1, 1 + (uint64_t)rand() % last);
		for (uint64_t t = 1; t <= last; t++)
			if (rand() % 3)
				replica_put(&b.r, 0, t, t);
		for (uint64_t t = 1; t <= last; t++) {
			int rc = bed_restore(&b, t, 0);
			assert_true(rc == ERR_OK || rc == ERR_NO_BACKUP || rc == ERR_DAMAGED);
			assert_int_equal(left_behind(&b), rc == ERR_OK);
			if (rc)
				continue;
			assert_true(replica_is_state(&b.r, t, b.db));
			unlink(b.db);
		}
		replica_put(&b.r, 9, 1, last);
		expect_state(&b, 0, last);
		bed_close(&b);
	}
}

/* The page with byte 2^30 is in no file and zero in the database. */
static void test_lock_page(void **state)
{
	(void)state;
	enum { PAGE = 65536 };
	uint32_t lock = ltx_lock_page(PAGE);
	struct bed b;
	bed_open(&b, "mem://restore", PAGE, true);
	/* By hand: a GiB of zeros, with pages of sense around the lock page. */
	static uint8_t first[PAGE], page[PAGE];
	replica_commit(&b.r, 1, 0);
	memcpy(first, b.r.states[1].image, PAGE);
	ltx_fill_page(page, PAGE, 7, 7);
	static const uint8_t zeros[PAGE];
	struct ltx_header h = {.page_size = PAGE,
		.commit = lock + 2,
		.min_txid = 1,
		.max_txid = 2,
		.timestamp = REPLICA_START_MS,
		.ours = true};
	struct buf file;
	buf_init(&file, (size_t)64 << 20);
	for (int pass = 0; pass < 2; pass++) { /* the checksum of the first goes into the second */
		struct ltx_encoder *enc;
		uint64_t sum = 0;
		buf_reset(&file);
		assert_int_equal(ltx_encoder_new(&enc, &h, ltx_write_buf, &file, &b.e), ERR_OK);
		for (uint32_t pgno = 1; pgno <= lock + 2; pgno++) {
			if (pgno == lock)
				continue;
			const uint8_t *p = pgno == 1 ? first : pgno + 1 == lock || pgno > lock ? page : zeros;
			assert_int_equal(ltx_encoder_page(enc, pgno, p, &b.e), ERR_OK);
			if (!pass)
				sum = ltx_checksum_xor(sum, ltx_page_checksum(pgno, p, PAGE));
		}
		assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &b.e), ERR_OK);
		ltx_encoder_free(enc);
		h.after_checksum = sum;
	}
	replica_put_bytes(&b.r, 9, 1, 2, file.data, file.len);
	buf_free(&file);
	if (bed_restore(&b, 0, 0))
		fail_msg("%s", b.e.text);
	assert_int_equal(b.result.proof, RESTORE_PROVEN);
	int fd = open(b.db, O_RDONLY);
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, (off_t)(lock + 2) * PAGE);
	assert_true(st.st_blocks * 512 <= 8 * PAGE);
	for (uint32_t pgno = lock - 2; pgno <= lock + 2; pgno++) {
		static uint8_t got[PAGE];
		assert_int_equal(pread(fd, got, PAGE, (off_t)(pgno - 1) * PAGE), PAGE);
		bool filled = pgno + 1 == lock || pgno > lock;
		assert_memory_equal(got, filled ? page : zeros, PAGE);
	}
	close(fd);
	bed_close(&b);
}

static void test_zero_pages_stay_holes(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 65536, true);
	replica_commit(&b.r, 200, 0);
	struct replica_state *s = &b.r.states[1];
	memset(s->image + 65536, 0, (size_t)199 * 65536);
	s->checksum = 0;
	for (uint32_t pgno = 1; pgno <= 200; pgno++)
		s->checksum = ltx_checksum_xor(
			s->checksum, ltx_page_checksum(pgno, s->image + (size_t)(pgno - 1) * 65536, 65536));
	replica_put(&b.r, 0, 1, 1);
	assert_int_equal(bed_restore(&b, 0, 0), ERR_OK);
	assert_true(replica_is_state(&b.r, 1, b.db));
	struct stat st;
	assert_int_equal(stat(b.db, &st), 0);
	assert_true(st.st_blocks * 512 < 5 * 65536);
	bed_close(&b);
}

/* ---- long listings ---- */

static void put_name(struct store *s, uint64_t txid)
{
	char name[LTX_NAME_SIZE], path[64];
	struct err e = ERR_INIT;
	struct store_body body = {.data = "x", .fd = -1, .size = 1};
	ltx_format_name(txid, txid, name);
	snprintf(path, sizeof(path), "ltx/0/%s", name);
	assert_int_equal(store_put(s, path, &body, &(struct store_put_opts){0}, &e), ERR_OK);
}

/* As many L0 files as `counts` says, `gaps[i]` TXIDs left out before each run; listed in waves they
 * are what they are when listed in order. Returns the LISTs of the former. */
static uint64_t list_runs(const unsigned *counts, const uint64_t *gaps, size_t n)
{
	struct store *far, *near;
	struct ltx_set in_waves, in_order;
	struct err e = ERR_INIT;
	uint64_t txid = 0;
	assert_int_equal(store_fault_register("long", "mem://long", &e), ERR_OK);
	assert_int_equal(store_open(&far, "fault://long", NULL, &e), ERR_OK);
	assert_int_equal(store_open(&near, "mem://long", NULL, &e), ERR_OK);
	for (size_t i = 0; i < n; i++)
		txid += gaps[i] + counts[i];
	/* From the last one down: that is quickest where a list is searched from its start. */
	for (size_t i = n; i > 0; txid -= gaps[--i])
		for (unsigned k = 0; k < counts[i - 1]; k++)
			put_name(near, txid--);
	ltxset_init(&in_waves);
	ltxset_init(&in_order);
	assert_int_equal(restore_list(far, &in_waves, &e), ERR_OK);
	assert_int_equal(restore_list(near, &in_order, &e), ERR_OK);
	assert_int_equal(in_waves.count, in_order.count);
	for (size_t i = 0; i < in_order.count; i++)
		assert_int_equal(in_waves.files[i].min_txid, in_order.files[i].min_txid);
	uint64_t lists = store_fault_calls("long", STORE_OP_LIST);
	ltxset_free(&in_waves);
	ltxset_free(&in_order);
	store_close(far);
	store_close(near);
	store_fault_forget();
	store_mem_forget(NULL);
	return lists;
}

static void test_long_listings(void **state)
{
	(void)state;
	/* Ten levels, and what a second, third, fourth round trip asks for. */
	const struct {
		unsigned counts[3];
		uint64_t gaps[3];
		size_t runs;
		uint64_t lists;
	} cases[] = {
		{{999}, {0}, 1, 10},
		{{1000}, {0}, 1, 14},
		{{1001}, {0}, 1, 14},
		{{1000 + 4 * 999 - 1}, {0}, 1, 14},
		{{1000 + 4 * 999}, {0}, 1, 14},
		{{1000 + 4 * 999 + 1}, {0}, 1, 30},
		{{6500}, {12345}, 1, 30},
		{{1000, 1, 1}, {0, 4000, 25000}, 3, 50},
		/* Where many TXIDs are missing a wave begins behind them. */
		{{1500, 1500}, {0, 5000000}, 2, 30},
		{{1000, 1, 3000}, {7, 998, UINT64_C(1) << 40}, 3, 30},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i += ROUNDS_STEP)
		assert_int_equal(list_runs(cases[i].counts, cases[i].gaps, cases[i].runs), cases[i].lists);
}

static void test_long_listing_that_fails(void **state)
{
	(void)state;
	for (unsigned nth = 1; nth <= 14; nth++) {
		struct store *s;
		struct ltx_set set;
		struct err e = ERR_INIT;
		assert_int_equal(store_fault_register("long", NULL, &e), ERR_OK);
		assert_int_equal(store_open(&s, "fault://long", NULL, &e), ERR_OK);
		for (uint64_t txid = 1; txid <= 1500; txid++)
			put_name(s, txid);
		struct store_fault rule = {.op = STORE_OP_LIST, .nth = nth, .times = 1, .code = ERR_DENIED};
		store_fault_add("long", &rule);
		ltxset_init(&set);
		assert_int_equal(restore_list(s, &set, &e), ERR_DENIED);
		ltxset_free(&set);
		store_close(s);
		store_fault_forget();
		store_mem_forget(NULL);
	}
}

static void test_empty_replica(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	assert_int_equal(bed_restore(&b, 0, 0), ERR_NO_BACKUP);
	assert_true(b.result.empty_replica);
	ship_history(&b);
	assert_int_equal(bed_restore(&b, 77, 0), ERR_NO_BACKUP);
	assert_false(b.result.empty_replica);
	assert_int_equal(bed_restore(&b, 0, INT64_MAX / 2), ERR_USAGE);
	assert_int_equal(left_behind(&b), 0);
	bed_close(&b);
}

/* ---- the target ---- */

static void test_existing_targets(void **state)
{
	(void)state;
	static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	for (size_t i = 0; i < 4; i++) {
		char path[300], text[400];
		snprintf(path, sizeof(path), "%s%s", b.db, endings[i]);
		snprintf(text, sizeof(text), "cannot restore, output path already exists: %s", path);
		touch(path);
		assert_int_equal(bed_restore(&b, 0, 0), ERR_EXISTS);
		assert_string_equal(b.e.text, text);
		unlink(path);
		assert_int_equal(symlink("/nowhere/at/all", path), 0);
		assert_int_equal(bed_restore(&b, 0, 0), ERR_EXISTS);
		unlink(path);
	}
	assert_int_equal(left_behind(&b), 0);
	snprintf(b.db, sizeof(b.db), "%s/missing/app.db", b.dir);
	assert_int_equal(bed_restore(&b, 0, 0), ERR_IO);
	snprintf(b.db, sizeof(b.db), "%s/", b.dir);
	assert_int_equal(bed_restore(&b, 0, 0), ERR_USAGE);
	bed_close(&b);
}

/* Somebody makes the file while the restore runs: theirs stays. */
static void make_target(void *ctx, const char *name)
{
	(void)name;
	struct bed *b = ctx;
	touch(b->db);
}

static void test_target_that_appears_meanwhile(void **state)
{
	(void)state;
	struct bed b;
	struct err e = ERR_INIT;
	assert_int_equal(store_fault_register("race", "mem://race", &e), ERR_OK);
	bed_open(&b, "fault://race", 1024, true);
	ship_history(&b);
	struct store_fault rule = {
		.op = STORE_OP_GET, .times = 1, .action = STORE_FAULT_HOOK, .hook = make_target, .ctx = &b};
	store_fault_add("race", &rule);
	assert_int_equal(bed_restore(&b, 0, 0), ERR_EXISTS);
	struct stat st;
	assert_int_equal(stat(b.db, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(left_behind(&b), 1);
	bed_close(&b);
	store_fault_forget();
}

static void test_owner_and_mode_of_the_folder(void **state)
{
	(void)state;
	static const struct {
		mode_t folder, file;
	} cases[] = {{0755, 0644}, {0700, 0600}, {0770, 0660}, {0777, 0666}, {02750, 0640}};
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	bool root = geteuid() == 0;
	if (root)
		assert_int_equal(chown(b.dir, 12345, 12346), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(chmod(b.dir, cases[i].folder), 0);
		assert_int_equal(bed_restore(&b, 0, 0), ERR_OK);
		struct stat st;
		assert_int_equal(stat(b.db, &st), 0);
		assert_int_equal(st.st_mode & 07777, cases[i].file);
		assert_int_equal(st.st_uid, root ? 12345 : geteuid());
		if (root)
			assert_int_equal(st.st_gid, 12346);
		unlink(b.db);
	}
	bed_close(&b);
}

static void test_cancelled(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	int stop = 1;
	struct restore_options o = {.output = b.db, .state_dir = "", .cancelled = &stop};
	assert_int_equal(restore_run(b.store, &o, &b.result, &b.e), ERR_CANCELLED);
	restore_plan_free(&b.result.plan);
	assert_int_equal(left_behind(&b), 0);
	bed_close(&b);
}

static void test_dry_run(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	replica_put(&b.r, 9, 1, 8);
	touch(b.db); /* of no interest to a dry run */
	struct restore_options o = {.output = b.db, .dry_run = true};
	assert_int_equal(restore_run(b.store, &o, &b.result, &b.e), ERR_OK);
	assert_int_equal(b.result.txid, 9);
	assert_int_equal(b.result.plan.count, 2);
	assert_int_equal(b.result.bytes, 40 * 1024);
	assert_int_equal(b.result.proof, RESTORE_PROVEN);
	restore_plan_free(&b.result.plan);
	assert_int_equal(left_behind(&b), 1);
	bed_close(&b);
}

/* ---- what is left for replicate ---- */

static void check_left_state(const struct bed *b, struct state_dir *d, uint64_t txid)
{
	struct state s;
	struct err e = ERR_INIT;
	bool copied;
	assert_int_equal(state_load(d, &s, &copied, &e), ERR_OK);
	assert_false(copied);
	struct stat st;
	assert_int_equal(stat(b->db, &st), 0);
	assert_int_equal(s.ino, st.st_ino);
	assert_int_equal(s.dev, st.st_dev);
	assert_string_equal(s.replica, store_url(b->store));
	assert_int_equal(s.txid, txid);
	assert_int_equal(s.restored_of, b->r.txid);
	assert_true(s.checksum == b->r.states[txid].checksum);
	assert_int_equal(s.n_page, b->r.states[txid].n_page);
	assert_int_equal(s.page_size, b->r.page_size);
	assert_true(s.restored);
	assert_false(s.pos.resumable);
	assert_true(s.node_id != 0);
	assert_true(s.last_l0_node_id == b->r.node_id);
}

static void check_left_pages(const struct bed *b, const char *dir, uint64_t txid)
{
	struct pagesums sums;
	struct err e = ERR_INIT;
	pagesums_init(&sums, b->r.page_size);
	char *path = fs_join(dir, "pages");
	if (pagesums_load(&sums, path, &e))
		fail_msg("%s", e.text);
	free(path);
	const struct replica_state *s = &b->r.states[txid];
	assert_int_equal(sums.n_page, s->n_page);
	assert_int_equal(sums.txid, txid);
	assert_true(sums.checksum == s->checksum);
	for (uint32_t pgno = 1; pgno <= s->n_page; pgno++)
		assert_true(pagesums_get(&sums, pgno) == ltx_page_checksum(pgno,
													 s->image + (size_t)(pgno - 1) * b->r.page_size,
													 b->r.page_size));
	pagesums_free(&sums);
}

static void check_left(struct bed *b, const char *state_dir, uint64_t txid)
{
	struct restore_options o = {.target = {txid, 0}, .output = b->db, .state_dir = state_dir};
	if (restore_run(b->store, &o, &b->result, &b->e))
		fail_msg("%s", b->e.text);
	restore_plan_free(&b->result.plan);
	char *own = state_default_dir(b->db);
	const char *dir = state_dir ? state_dir : own;
	struct state_dir *d;
	struct err e = ERR_INIT;
	assert_int_equal(state_dir_open(&d, dir, &e), ERR_OK);
	check_left_state(b, d, txid);
	check_left_pages(b, dir, txid);
	state_dir_close(d);
	free(own);
}

static void test_state_for_replicate(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	char other[300];
	snprintf(other, sizeof(other), "%s/somewhere/state", b.dir);
	check_left(&b, NULL, 9);
	unlink(b.db);
	check_left(&b, NULL, 5); /* over what is there */
	unlink(b.db);
	check_left(&b, other, 3);
	bed_close(&b);
}

static void test_replicator_in_the_way(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	char *dir = state_default_dir(b.db);
	struct state_dir *d;
	struct err e = ERR_INIT;
	assert_int_equal(state_dir_open(&d, dir, &e), ERR_OK);
	struct restore_options o = {.output = b.db};
	assert_int_equal(restore_run(b.store, &o, &b.result, &b.e), ERR_AGAIN);
	restore_plan_free(&b.result.plan);
	assert_int_equal(left_behind(&b), 1);
	state_dir_close(d);
	free(dir);
	bed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state_of_every_page_size),
		cmocka_unit_test(test_every_state_from_a_folder),
		cmocka_unit_test(test_levels_and_overlaps),
		cmocka_unit_test(test_by_time),
		cmocka_unit_test(test_many_increments),
		cmocka_unit_test(test_large_files),
		cmocka_unit_test(test_random_replicas),
		cmocka_unit_test(test_lock_page),
		cmocka_unit_test(test_zero_pages_stay_holes),
		cmocka_unit_test(test_long_listings),
		cmocka_unit_test(test_long_listing_that_fails),
		cmocka_unit_test(test_empty_replica),
		cmocka_unit_test(test_existing_targets),
		cmocka_unit_test(test_target_that_appears_meanwhile),
		cmocka_unit_test(test_owner_and_mode_of_the_folder),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_dry_run),
		cmocka_unit_test(test_state_for_replicate),
		cmocka_unit_test(test_replicator_in_the_way),
	};
	/* Small files decoded as they are read, then as large ones are: by several threads. */
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	apply_raw_bytes = 0;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
