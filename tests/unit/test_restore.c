/*
 * Restores from replicas that were built transaction by transaction, on a store in memory and on a
 * folder: right ones come back byte for byte, wrong ones are refused and leave nothing behind.
 */
#include "restore/restore.h"

#include "base/fs.h"
#include "conf/state.h"
#include "lib/ltx_build.h"
#include "lib/replica.h"
#include "lib/tmpdir.h"
#include "source/pagesums.h"
#include "store/fault.h"
#include "store/mem.h"

#include <dirent.h>
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

struct bed {
	char *dir; /* where things are restored to */
	char db[256];
	struct store *store;
	struct replica r;
	struct restore_result result;
	struct err e;
};

static void bed_open(struct bed *b, const char *url, uint32_t page_size, bool ours)
{
	memset(b, 0, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	char own[300];
	snprintf(own, sizeof(own), "%s/replica", b->dir);
	struct err e = ERR_INIT;
	if (store_open(&b->store, url ? url : own, NULL, &e))
		fail_msg("%s", e.text);
	replica_init(&b->r, b->store, page_size, ours);
}

static void bed_close(struct bed *b)
{
	store_close(b->store);
	store_mem_forget(NULL);
	replica_free(&b->r);
	tmpdir_free(b->dir);
}

static int bed_restore(struct bed *b, uint64_t txid, int64_t timestamp_ms)
{
	struct restore_options o = {.target = {txid, timestamp_ms}, .output = b->db, .state_dir = ""};
	err_clear(&b->e);
	int rc = restore_run(b->store, &o, &b->result, &b->e);
	restore_plan_free(&b->result.plan);
	assert_int_equal(rc, b->e.code);
	return rc;
}

/* Names in the folder besides the replica's. */
static size_t left_behind(const struct bed *b)
{
	DIR *d = opendir(b->dir);
	size_t n = 0;
	for (const struct dirent *ent = readdir(d); ent; ent = readdir(d))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 &&
			strcmp(ent->d_name, "replica") != 0)
			n++;
	closedir(d);
	return n;
}

static void expect_state(struct bed *b, uint64_t ask, uint64_t txid)
{
	if (bed_restore(b, ask, 0))
		fail_msg("TXID %" PRIu64 ": %s", ask, b->e.text);
	assert_int_equal(b->result.txid, txid);
	assert_int_equal(b->result.timestamp_ms, REPLICA_START_MS + (int64_t)txid * 1000);
	assert_int_equal(b->result.n_page, b->r.states[txid].n_page);
	assert_int_equal(b->result.proof, b->r.ours ? RESTORE_PROVEN : RESTORE_NOT_PROVEN);
	assert_true(replica_is_state(&b->r, txid, b->db));
	assert_int_equal(left_behind(b), 1);
	assert_int_equal(unlink(b->db), 0);
}

static void expect_damaged(struct bed *b, const char *text)
{
	int rc = bed_restore(b, 0, 0);
	if (rc != ERR_DAMAGED || (text && !strstr(b->e.text, text)))
		fail_msg("code %d: %s", rc, b->e.text);
	assert_int_equal(left_behind(b), 0);
}

/* ---- what comes back ---- */

/* Grows, shrinks, grows over what was cut off. */
static void ship_history(struct bed *b)
{
	static const struct {
		uint32_t n_page, writes;
	} steps[] = {{20, 0}, {20, 3}, {33, 2}, {33, 0}, {7, 1}, {7, 4}, {25, 1}, {12, 0}, {40, 5}};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		replica_ship(&b->r, steps[i].n_page, steps[i].writes);
}

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
	for (int round = 0; round < 60; round++) {
		struct bed b;
		bed_open(&b, "mem://restore", 512u << rand() % 4, rand() % 4 != 0);
		uint32_t last = 1 + (uint32_t)rand() % 25;
		for (uint32_t t = 1; t <= last; t++)
			replica_commit(&b.r, 2 + (uint32_t)rand() % 40, (uint32_t)rand() % 6);
		for (int i = 0; i < 12; i++) {
			uint64_t min = 1 + (uint64_t)rand() % last,
					 max = min + (uint64_t)rand() % (last - min + 1);
			replica_put(&b.r, 1 + rand() % 3, min, max);
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
		for (size_t i = 0; i < file.len; i++) {
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
	for (size_t n = 0; n < file.len; n += n < 110 ? 1 : 7) {
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

static void touch(const char *path)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
}

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

static void sweep(struct bed *b, const char *state_dir, unsigned least)
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
	ops.mkdirat = f_mkdirat;
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

static void test_failing_file_calls(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b, "mem://restore", 1024, true);
	ship_history(&b);
	for (no_tmpfile = 0; no_tmpfile < 2; no_tmpfile++) {
		sweep(&b, "", 6);
		sweep(&b, NULL, 10);
	}
	no_tmpfile = 0;
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
		cmocka_unit_test(test_empty_replica),
		cmocka_unit_test(test_existing_targets),
		cmocka_unit_test(test_target_that_appears_meanwhile),
		cmocka_unit_test(test_owner_and_mode_of_the_folder),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_dry_run),
		cmocka_unit_test(test_state_for_replicate),
		cmocka_unit_test(test_replicator_in_the_way),
		cmocka_unit_test(test_failing_file_calls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
