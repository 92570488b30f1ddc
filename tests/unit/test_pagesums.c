/* The page table: its checksum stays right, and its file comes back whole or not at all. */
#include "base/fs.h"
#include "format/ltx.h"
#include "lib/tmpdir.h"
#include "source/pagesums.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static uint64_t sum_of(uint32_t pgno)
{
	uint8_t page[512];
	memset(page, (int)pgno, sizeof(page));
	return ltx_page_checksum(pgno, page, sizeof(page));
}

static void fill(struct pagesums *p, uint32_t n)
{
	pagesums_init(p, 512);
	for (uint32_t i = 1; i <= n; i++)
		assert_int_equal(pagesums_set(p, i, sum_of(i)), ERR_OK);
	p->txid = 7;
}

static uint64_t expected(uint32_t n)
{
	uint64_t sum = 0;
	for (uint32_t i = 1; i <= n; i++)
		sum = ltx_checksum_xor(sum, sum_of(i));
	return sum;
}

static void test_checksum_follows_every_change(void **state)
{
	(void)state;
	struct pagesums p;
	fill(&p, 100);
	assert_int_equal(p.checksum, expected(100));
	assert_int_equal(pagesums_set(&p, 50, sum_of(1000)), ERR_OK);
	assert_int_not_equal(p.checksum, expected(100));
	assert_int_equal(pagesums_set(&p, 50, sum_of(50)), ERR_OK);
	assert_int_equal(p.checksum, expected(100));
	assert_int_equal(pagesums_resize(&p, 40), ERR_OK);
	assert_int_equal(p.checksum, expected(40));
	assert_int_equal(pagesums_get(&p, 41), 0);
	assert_int_equal(pagesums_resize(&p, 60), ERR_OK);
	assert_int_equal(p.checksum, expected(40));
	assert_int_equal(pagesums_get(&p, 50), 0); /* unknown, not what was there before */
	assert_int_equal(pagesums_get(&p, 0), 0);
	pagesums_free(&p);
	pagesums_free(&p);
}

static void test_a_page_far_behind_leaves_unknown_ones(void **state)
{
	(void)state;
	struct pagesums p;
	pagesums_init(&p, 4096);
	assert_int_equal(p.checksum, 0);
	assert_int_equal(pagesums_set(&p, 5000, sum_of(5000)), ERR_OK);
	assert_int_equal(p.n_page, 5000);
	assert_int_equal(pagesums_get(&p, 4999), 0);
	assert_int_equal(p.checksum, sum_of(5000));
	pagesums_free(&p);
}

static void test_file_comes_back(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	const char *path = tmpdir_path(dir, "pages");
	struct err e = ERR_INIT;
	uint32_t sizes[] = {0, 1, 8191, 8192, 8193, 20000};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct pagesums p, q;
		fill(&p, sizes[i]);
		pagesums_init(&q, 0);
		assert_int_equal(pagesums_save(&p, path, &e), ERR_OK);
		assert_int_equal(pagesums_load(&q, path, &e), ERR_OK);
		assert_int_equal(q.n_page, sizes[i]);
		assert_int_equal(q.page_size, 512);
		assert_int_equal(q.txid, 7);
		assert_int_equal(q.checksum, p.checksum);
		for (uint32_t k = 1; k <= sizes[i]; k++)
			assert_int_equal(pagesums_get(&q, k), sum_of(k));
		pagesums_free(&p);
		pagesums_free(&q);
	}
	tmpdir_free(dir);
}

/* Every byte altered, and every length cut: never a table. */
static void test_damage_is_always_seen(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	const char *path = tmpdir_path(dir, "pages");
	struct err e = ERR_INIT;
	struct pagesums p, q;
	fill(&p, 5);
	assert_int_equal(pagesums_save(&p, path, &e), ERR_OK);
	struct buf good;
	buf_init(&good, 1024);
	assert_int_equal(fs_read_file(path, &good, &e), ERR_OK);
	pagesums_init(&q, 0);
	for (size_t i = 0; i < good.len; i++) {
		good.data[i] ^= 0x40;
		assert_int_equal(fs_replace_file(path, good.data, good.len, 0600, &e), ERR_OK);
		assert_int_equal(pagesums_load(&q, path, &e), ERR_DAMAGED);
		good.data[i] ^= 0x40;
		assert_int_equal(fs_replace_file(path, good.data, i, 0600, &e), ERR_OK);
		assert_int_equal(pagesums_load(&q, path, &e), ERR_DAMAGED);
	}
	assert_null(q.sums);
	assert_int_equal(fs_unlink(path), 0);
	assert_int_equal(pagesums_load(&q, path, &e), ERR_NOT_FOUND);
	buf_free(&good);
	pagesums_free(&p);
	tmpdir_free(dir);
}

static int calls, fail_at;

static bool now(void)
{
	return ++calls == fail_at;
}

static ssize_t failing_write(int fd, const void *p, size_t n)
{
	return now() ? (errno = ENOSPC, -1) : write(fd, p, n);
}

static int failing_fsync(int fd)
{
	return now() ? (errno = EIO, -1) : fsync(fd);
}

static int failing_rename(int a, const char *from, int b, const char *to)
{
	return now() ? (errno = EIO, -1) : renameat(a, from, b, to);
}

/* Whichever call fails, the old file is whole and nothing lies about. */
static void test_a_failed_save_leaves_the_old_file(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	const char *path = tmpdir_path(dir, "pages");
	struct err e = ERR_INIT;
	struct pagesums old, new, q;
	fill(&old, 3);
	fill(&new, 9);
	struct fs_ops ops = fs_system_ops;
	ops.write = failing_write;
	ops.fsync = failing_fsync;
	ops.renameat = failing_rename;
	int rc = ERR_FAIL;
	for (fail_at = 1; rc != ERR_OK; fail_at++) {
		assert_in_range(fail_at, 1, 20);
		assert_int_equal(pagesums_save(&old, path, &e), ERR_OK);
		calls = 0;
		fs_set_ops(&ops);
		rc = pagesums_save(&new, path, &e);
		fs_set_ops(NULL);
		pagesums_init(&q, 0);
		assert_int_equal(pagesums_load(&q, path, &e), ERR_OK);
		/* The last step, the folder's fsync, comes after the new one is in place. */
		assert_true(q.n_page == 3 || q.n_page == 9);
		if (rc == ERR_OK)
			assert_int_equal(q.n_page, 9);
		pagesums_free(&q);
		char command[4200];
		snprintf(command, sizeof(command), "test $(ls %s | wc -l) -eq 1", dir);
		assert_int_equal(system(command), 0);
	}
	assert_true(fail_at > 5);
	pagesums_free(&old);
	pagesums_free(&new);
	tmpdir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checksum_follows_every_change),
		cmocka_unit_test(test_a_page_far_behind_leaves_unknown_ones),
		cmocka_unit_test(test_file_comes_back),
		cmocka_unit_test(test_damage_is_always_seen),
		cmocka_unit_test(test_a_failed_save_leaves_the_old_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
