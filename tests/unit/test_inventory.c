/* What is known of the files in a replica: kept in order, over a restart, beside a listing. */
#include "replicate/inventory.h"

#include "base/fs.h"
#include "base/log.h"
#include "lib/tmpdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#define URL "mem://r"
#define NOW INT64_C(1800000000000)

struct bed {
	char *dir;
	struct inventory inv;
	struct ltx_set set;
	struct err e;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	log_set_level(LOG_ERROR + 1);
	b->dir = tmpdir_new();
	inventory_init(&b->inv);
	ltxset_init(&b->set);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	inventory_free(&b->inv);
	ltxset_free(&b->set);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static void add(struct bed *b, int level, uint64_t min, uint64_t max, int64_t ms)
{
	struct replica_file f = {level, min, max, 100 + max, ms, ms + 7000};
	assert_int_equal(inventory_add(&b->inv, &f, &b->e), ERR_OK);
}

static void list(struct bed *b, int level, uint64_t min, uint64_t max, int64_t modified)
{
	struct ltx_file f = {level, min, max, 100 + max, modified};
	assert_int_equal(ltxset_add(&b->set, &f), ERR_OK);
}

static void load(struct bed *b)
{
	ltxset_sort(&b->set);
	assert_int_equal(inventory_load(&b->inv, &b->set, false, b->dir, URL, NOW, &b->e), ERR_OK);
}

static struct replica_file *copy(struct bed *b, size_t *n)
{
	struct replica_file *files;
	assert_int_equal(inventory_copy(&b->inv, &files, n, &b->e), ERR_OK);
	return files;
}

/* The file of this name; it must be there. */
static struct replica_file get(struct bed *b, int level, uint64_t min, uint64_t max)
{
	size_t n;
	struct replica_file *files = copy(b, &n), found = {.level = -1};
	for (size_t i = 0; i < n; i++)
		if (files[i].level == level && files[i].min_txid == min && files[i].max_txid == max)
			found = files[i];
	free(files);
	assert_int_equal(found.level, level);
	return found;
}

/* Random additions and removals beside a plain table. */
static void test_against_a_model(void **state)
{
	struct bed *b = *state;
	static bool there[3][40];
	uint32_t seed = 7;
	for (int step = 0; step < 3000; step++) {
		struct replica_file gone[5];
		size_t n = 0;
		for (int k = 0; k < 5; k++) {
			seed = seed * 1664525 + 1013904223;
			int level = (int)(seed >> 16) % 3, txid = (int)(seed >> 20) % 40;
			if (seed >> 31) {
				add(b, level, (uint64_t)txid + 1, (uint64_t)txid + 1, 1000);
				there[level][txid] = true;
			} else {
				gone[n++] = (struct replica_file){
					.level = level, .min_txid = (uint64_t)txid + 1, .max_txid = (uint64_t)txid + 1};
			}
		}
		for (size_t i = 0; i < n; i++)
			there[gone[i].level][gone[i].min_txid - 1] = false;
		inventory_remove(&b->inv, gone, n);
		size_t count, want = 0;
		struct replica_file *files = copy(b, &count);
		for (int level = 0; level < 3; level++)
			for (int t = 0; t < 40; t++)
				want += there[level][t];
		assert_int_equal(count, want);
		for (size_t i = 0; i < count; i++) {
			assert_true(there[files[i].level][files[i].min_txid - 1]);
			assert_true(i == 0 || replica_file_compare(&files[i - 1], &files[i]) < 0);
		}
		free(files);
	}
}

static void test_totals(void **state)
{
	struct bed *b = *state;
	struct inventory_totals t;
	inventory_get_totals(&b->inv, &t);
	assert_int_equal(t.files, 0);
	assert_int_equal(t.latest_txid, 0);
	add(b, 0, 7, 7, 7000);
	add(b, 9, 1, 5, 5000);
	add(b, 2, 1, 3, 3000);
	add(b, 0, 6, 6, 6000);
	inventory_get_totals(&b->inv, &t);
	assert_int_equal(t.files, 4);
	assert_int_equal(t.bytes, 107 + 105 + 103 + 106);
	assert_int_equal(t.earliest_txid, 3);
	assert_int_equal(t.earliest_ms, 3000);
	assert_int_equal(t.latest_txid, 7);
	assert_int_equal(t.latest_ms, 7000);
	assert_int_equal(t.snapshot_ms, 5000);
	assert_int_equal(t.snapshot_txid, 5);
	struct replica_file gone = {.level = 2, .min_txid = 1, .max_txid = 3};
	inventory_remove(&b->inv, &gone, 1);
	inventory_get_totals(&b->inv, &t);
	assert_int_equal(t.earliest_txid, 5);
}

/* ---- over a restart ---- */

static void restart(struct bed *b)
{
	uint64_t saved;
	assert_int_equal(inventory_save(&b->inv, b->dir, URL, &saved, &b->e), ERR_OK);
	assert_int_equal(saved, inventory_changes(&b->inv));
	inventory_free(&b->inv);
	inventory_init(&b->inv);
	assert_false(inventory_known(&b->inv));
}

static void test_restart(void **state)
{
	struct bed *b = *state;
	add(b, 0, 1, 1, NOW - 90000);
	add(b, 0, 2, 2, NOW - 80000);
	add(b, 1, 1, 2, NOW - 80000);
	add(b, 9, 1, 2, NOW - 80000);
	restart(b);
	/* 1 was deleted meanwhile, 3 was not yet saved; the store's times are later. */
	list(b, 0, 2, 2, NOW - 60000);
	list(b, 0, 3, 3, NOW - 50000);
	list(b, 1, 1, 2, NOW - 40000);
	list(b, 9, 1, 2, NOW - 30000);
	load(b);
	assert_true(inventory_known(&b->inv));
	size_t n;
	free(copy(b, &n));
	assert_int_equal(n, 4);
	struct replica_file f = get(b, 0, 2, 2);
	assert_int_equal(f.timestamp_ms, NOW - 80000);
	assert_int_equal(f.uploaded_ms, NOW - 73000);
	assert_int_equal(f.size, 102);
	assert_int_equal(get(b, 9, 1, 2).timestamp_ms, NOW - 80000);
	assert_int_equal(get(b, 0, 3, 3).timestamp_ms, NOW - 50000);
	assert_int_equal(get(b, 0, 3, 3).uploaded_ms, NOW);
}

/* Another file of the same name is not the one that we knew. */
static void test_another_file(void **state)
{
	struct bed *b = *state;
	add(b, 2, 1, 5, 1000);
	restart(b);
	struct ltx_file f = {2, 1, 5, 999, NOW - 1};
	assert_int_equal(ltxset_add(&b->set, &f), ERR_OK);
	load(b);
	assert_int_equal(get(b, 2, 1, 5).timestamp_ms, 0);
	assert_int_equal(get(b, 2, 1, 5).size, 999);
}

/* An audit's listing: what it does not show stays, in order and once. */
static void test_beside_a_listing(void **state)
{
	struct bed *b = *state;
	size_t n;
	for (uint64_t txid = 1; txid <= 9; txid += 2)
		add(b, 0, txid, txid, (int64_t)txid * 1000);
	list(b, 0, 3, 3, NOW - 1);
	list(b, 0, 4, 4, NOW - 1);
	list(b, 9, 1, 4, NOW - 1);
	ltxset_sort(&b->set);
	assert_int_equal(inventory_load(&b->inv, &b->set, true, b->dir, URL, NOW, &b->e), ERR_OK);
	const uint64_t want[] = {1, 3, 4, 5, 7, 9, 4};
	struct replica_file *files = copy(b, &n);
	assert_int_equal(n, 7);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(files[i].max_txid, want[i]);
	assert_int_equal(files[4].timestamp_ms, 7000);
	assert_int_equal(files[4].uploaded_ms, 14000);
	free(files);
}

static void test_another_replica(void **state)
{
	struct bed *b = *state;
	add(b, 9, 1, 5, 1000);
	restart(b);
	list(b, 9, 1, 5, NOW - 1);
	assert_int_equal(
		inventory_load(&b->inv, &b->set, false, b->dir, "mem://other", NOW, &b->e), ERR_OK);
	assert_int_equal(get(b, 9, 1, 5).timestamp_ms, 0);
}

/* Any damaged byte, any cut: as if it were not there. */
static void test_damaged(void **state)
{
	struct bed *b = *state;
	char path[400];
	struct buf text;
	add(b, 9, 1, 5, 1000);
	restart(b);
	list(b, 9, 1, 5, NOW - 1);
	snprintf(path, sizeof(path), "%s/inventory", b->dir);
	buf_init(&text, 4096);
	assert_int_equal(fs_read_file(path, &text, &b->e), ERR_OK);
	assert_int_equal(text.len, 24 + 32 + 8);
	for (size_t i = 0; i < 2 * text.len; i++) {
		size_t n = i < text.len ? text.len : i - text.len;
		if (i < text.len)
			text.data[i] ^= 0x40;
		assert_int_equal(fs_replace_file(path, text.data, n, 0600, &b->e), ERR_OK);
		if (i < text.len)
			text.data[i] ^= 0x40;
		inventory_clear(&b->inv);
		load(b);
		assert_int_equal(get(b, 9, 1, 5).timestamp_ms, 0);
	}
	buf_free(&text);
}

/* 32 bytes a file. */
static void test_size(void **state)
{
	struct bed *b = *state;
	for (uint64_t t = 1; t <= 2000; t++)
		add(b, 0, t, t, NOW + (int64_t)t);
	restart(b);
	char path[400];
	struct stat st;
	snprintf(path, sizeof(path), "%s/inventory", b->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 2000 * 32 + 32);
	assert_true(sizeof(struct replica_file) <= 48);
}

/* ---- what a listing can't tell ---- */

/* Unknown L0s: the store's time, below what follows, above what was before. */
static void test_guesses(void **state)
{
	struct bed *b = *state;
	add(b, 0, 3, 3, NOW - 5000);
	add(b, 1, 5, 6, NOW - 2000);
	restart(b);
	list(b, 0, 1, 1, NOW - 9000);
	list(b, 0, 2, 2, NOW - 100); /* uploaded late */
	list(b, 0, 3, 3, NOW - 90);
	list(b, 0, 4, 4, NOW - 80);
	list(b, 0, 6, 6, NOW - 9999999);
	list(b, 0, 7, 7, NOW + 5000); /* the server's clock is ahead */
	list(b, 0, 8, 8, 0);
	list(b, 1, 5, 6, NOW - 70);
	list(b, 2, 1, 3, NOW - 60);
	list(b, 3, 1, 2, NOW - 50);
	load(b);
	assert_int_equal(get(b, 0, 1, 1).timestamp_ms, NOW - 9000);
	assert_int_equal(get(b, 0, 2, 2).timestamp_ms, NOW - 5000);
	assert_int_equal(get(b, 0, 3, 3).timestamp_ms, NOW - 5000);
	assert_int_equal(get(b, 0, 4, 4).timestamp_ms, NOW - 2000);
	assert_int_equal(get(b, 0, 6, 6).timestamp_ms, NOW - 2000);
	assert_int_equal(get(b, 0, 7, 7).timestamp_ms, NOW);
	assert_int_equal(get(b, 0, 8, 8).timestamp_ms, NOW);
	/* A higher level that ends with a known one has its time, others are asked. */
	assert_int_equal(get(b, 2, 1, 3).timestamp_ms, NOW - 5000);
	assert_int_equal(get(b, 3, 1, 2).timestamp_ms, 0);
}

/* Age comes first, then whether L1 has it. */
static void test_l0_by_status(void **state)
{
	struct bed *b = *state;
	struct inventory_l0 l0;
	inventory_count_l0(&b->inv, NOW, &l0);
	assert_int_equal(l0.too_recent + l0.not_compacted + l0.eligible, 0);
	for (int i = 1; i <= 10; i++)
		add(b, 0, (uint64_t)i, (uint64_t)i, NOW + i * 1000 - 7000); /* came in 7 s later */
	add(b, 1, 1, 2, NOW - 7000);
	add(b, 1, 3, 4, NOW - 7000);
	add(b, 2, 1, 9, NOW - 7000);
	add(b, 9, 1, 10, NOW - 7000);
	inventory_count_l0(&b->inv, NOW + 6000, &l0);
	assert_int_equal(l0.too_recent, 4);
	assert_int_equal(l0.not_compacted, 2);
	assert_int_equal(l0.eligible, 4);
	inventory_count_l0(&b->inv, NOW + 3000, &l0);
	assert_int_equal(l0.too_recent, 7);
	assert_int_equal(l0.not_compacted, 0);
	assert_int_equal(l0.eligible, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_against_a_model),
		TEST(test_totals),
		TEST(test_restart),
		TEST(test_another_file),
		TEST(test_beside_a_listing),
		TEST(test_another_replica),
		TEST(test_damaged),
		TEST(test_size),
		TEST(test_guesses),
		TEST(test_l0_by_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
