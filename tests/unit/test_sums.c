/* The checksums of a replica's latest state, whoever wrote it, and nothing left behind. */
#include "lib/replica.h"
#include "lib/tmpdir.h"
#include "lib/v3_build.h"

#include "restore/apply.h"
#include "restore/restore.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct err e;

static struct pagesums read_sums(struct store *s, const char *dir)
{
	struct pagesums sums;
	struct restore_result result;
	if (restore_sums(s, dir, &sums, &result, &e))
		fail_msg("%s", e.text);
	return sums;
}

static void expect_sums(const struct pagesums *sums, const uint8_t *image, uint32_t n_page)
{
	uint32_t size = sums->page_size;
	assert_int_equal(sums->n_page, n_page);
	for (uint32_t pgno = 1; pgno <= n_page; pgno++)
		assert_true(pagesums_get(sums, pgno) ==
					ltx_page_checksum(pgno, image + (size_t)(pgno - 1) * size, size));
}

static void expect_empty(const char *dir)
{
	DIR *d = opendir(dir);
	for (const struct dirent *ent = readdir(d); ent; ent = readdir(d))
		assert_true(ent->d_name[0] == '.' && (!ent->d_name[1] || ent->d_name[1] == '.'));
	closedir(d);
}

/* Growth, a shrink, levels; decoded by this thread and by several. */
static void test_ltx(void **state)
{
	(void)state;
	const uint64_t usual = apply_raw_bytes;
	for (int i = 0; i < 4; i++) {
		char *dir = tmpdir_new();
		struct store *s;
		struct replica r;
		assert_int_equal(store_open(&s, "mem://sums", NULL, &e), ERR_OK);
		replica_init(&r, s, i % 2 ? 512 : 4096, i < 2);
		replica_ship(&r, 60, 0);
		replica_ship(&r, 90, 20);
		replica_ship(&r, 30, 5);
		replica_ship(&r, 40, 5);
		replica_put(&r, 9, 1, 2);
		replica_put(&r, 4, 3, 4);
		apply_raw_bytes = i % 2 ? 1 : usual;
		struct pagesums sums = read_sums(s, dir);
		assert_int_equal(sums.txid, 4);
		assert_true(sums.checksum == r.states[4].checksum);
		expect_sums(&sums, r.states[4].image, 40);
		expect_empty(dir);
		pagesums_free(&sums);
		replica_free(&r);
		store_close(s);
		tmpdir_free(dir);
	}
	apply_raw_bytes = usual;
}

static void test_legacy(void **state)
{
	(void)state;
	char *dir = tmpdir_new(), *made = tmpdir_new();
	struct store *s;
	size_t n;
	assert_int_equal(store_open(&s, "mem://sums-legacy", NULL, &e), ERR_OK);
	uint8_t *image = v3_build_two_wals(s, made, &n);
	struct pagesums sums = read_sums(s, dir);
	assert_int_equal(sums.txid, 0);
	assert_int_equal(sums.page_size, 512);
	expect_sums(&sums, image, (uint32_t)(n / 512));
	expect_empty(dir);
	pagesums_free(&sums);
	free(image);
	store_close(s);
	tmpdir_free(made);
	tmpdir_free(dir);
}

static void test_nothing_there(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	struct store *s;
	struct pagesums sums;
	struct restore_result result;
	assert_int_equal(store_open(&s, "mem://sums-none", NULL, &e), ERR_OK);
	assert_int_equal(restore_sums(s, dir, &sums, &result, &e), ERR_NO_BACKUP);
	expect_empty(dir);
	store_close(s);
	tmpdir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ltx),
		cmocka_unit_test(test_legacy),
		cmocka_unit_test(test_nothing_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
