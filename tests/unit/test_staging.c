/* Captured pages: the newest wins, what a shrink made doubtful goes, bounds hold. */
#include "replicate/staging.h"

#include "base/fs.h"
#include "lib/tmpdir.h"

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

#define SIZE 512

struct bed {
	char *dir;
	char path[256];
	struct staging *s;
	struct err e;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->path, sizeof(b->path), "%s/staging-a", b->dir);
	if (staging_new(&b->s, b->path, &b->e))
		return -1;
	staging_reset(b->s, SIZE, 100);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	fs_set_ops(NULL);
	staging_free(b->s);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static int put(struct bed *b, uint32_t pgno, int fill, enum staging_origin origin)
{
	uint8_t page[SIZE];
	memset(page, fill, sizeof(page));
	return staging_put(b->s, pgno, page, origin, &b->e);
}

static int get(struct bed *b, uint32_t pgno)
{
	uint8_t page[SIZE];
	if (staging_get(b->s, pgno, page, &b->e))
		return -1;
	for (int i = 1; i < SIZE; i++)
		assert_int_equal(page[i], page[0]);
	return page[0];
}

static void commit(struct bed *b, uint32_t n_page, uint32_t min_n_page)
{
	struct source_point p = {.n_page = n_page, .min_n_page = min_n_page};
	assert_int_equal(staging_commit(b->s, &p, &b->e), ERR_OK);
}

static void test_the_newest_wins(void **state)
{
	struct bed *b = *state;
	assert_true(staging_empty(b->s));
	assert_int_equal(access(b->path, F_OK), -1);
	for (uint32_t round = 1; round <= 3; round++)
		for (uint32_t pgno = 1; pgno <= 3000; pgno += round)
			assert_int_equal(put(b, pgno, (int)(pgno % 50 + round * 50), STAGING_FRAME), ERR_OK);
	assert_int_equal(staging_count(b->s), 3000);
	assert_int_equal(staging_bytes(b->s), 3000 * SIZE);
	for (uint32_t pgno = 1; pgno <= 3000; pgno++) {
		int round = (pgno - 1) % 3 == 0 ? 3 : (pgno - 1) % 2 == 0 ? 2 : 1;
		assert_int_equal(get(b, pgno), (int)(pgno % 50) + round * 50);
	}
	assert_false(staging_has(b->s, 3001));
	assert_int_equal(get(b, 3001), -1);
	uint32_t *pages = staging_pages(b->s);
	for (uint32_t i = 0; i < 3000; i++)
		assert_int_equal(pages[i], i + 1);
	free(pages);
	staging_reset(b->s, SIZE, 10);
	assert_true(staging_empty(b->s));
	assert_int_equal(staging_bytes(b->s), 0);
	assert_int_equal(access(b->path, F_OK), -1);
}

static void test_clean_after_a_commit(void **state)
{
	struct bed *b = *state;
	assert_true(staging_clean(b->s));
	put(b, 5, 1, STAGING_FRAME);
	assert_false(staging_clean(b->s));
	commit(b, 100, 100);
	assert_true(staging_clean(b->s));
	assert_true(staging_has(b->s, 5));
}

static void test_a_shrink_drops(void **state)
{
	struct bed *b = *state;
	put(b, 40, 1, STAGING_FRAME);
	put(b, 60, 1, STAGING_FRAME);
	put(b, 90, 1, STAGING_FRAME);
	commit(b, 70, 70);
	assert_false(staging_has(b->s, 90));
	assert_true(staging_has(b->s, 60));
	/* To 50 and back to 80 in between: page 60 may be from before. */
	put(b, 75, 2, STAGING_FRAME);
	commit(b, 80, 50);
	assert_false(staging_has(b->s, 60));
	assert_false(staging_has(b->s, 75));
	assert_true(staging_has(b->s, 40));
	/* What comes after that is younger than the shrink. */
	put(b, 60, 3, STAGING_IMAGE);
	put(b, 75, 3, STAGING_IMAGE);
	commit(b, 80, 50);
	assert_int_equal(get(b, 60), 3);
	commit(b, 70, 50);
	assert_true(staging_has(b->s, 60));
	assert_false(staging_has(b->s, 75));
	assert_int_equal(staging_count(b->s), 2);
}

static void test_images_are_counted(void **state)
{
	struct bed *b = *state;
	put(b, 1, 1, STAGING_IMAGE);
	put(b, 2, 1, STAGING_IMAGE);
	put(b, 3, 1, STAGING_FRAME);
	assert_int_equal(staging_images(b->s), 2);
	put(b, 2, 2, STAGING_FRAME);
	assert_int_equal(staging_images(b->s), 1);
	put(b, 3, 2, STAGING_IMAGE);
	assert_int_equal(staging_images(b->s), 2);
	commit(b, 2, 2);
	assert_int_equal(staging_images(b->s), 1);
}

static void test_bound(void **state)
{
	struct bed *b = *state;
	staging_set_max(b->s, 3 * SIZE + 1);
	for (uint32_t pgno = 1; pgno <= 3; pgno++)
		assert_int_equal(put(b, pgno, 1, STAGING_FRAME), ERR_OK);
	assert_true(staging_at_max(b->s));
	assert_int_equal(put(b, 4, 1, STAGING_FRAME), ERR_FULL);
	assert_int_equal(put(b, 2, 9, STAGING_FRAME), ERR_OK); /* takes no room */
	assert_int_equal(get(b, 2), 9);
	staging_set_max(b->s, 0);
	assert_int_equal(put(b, 4, 1, STAGING_FRAME), ERR_OK);
}

static int pwrite_error;

static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t off)
{
	(void)fd, (void)p, (void)n, (void)off;
	errno = pwrite_error;
	return -1;
}

/* A few pages stay in memory: the disk shows with those that push them out. */
static int put_until_written(struct bed *b)
{
	int rc = ERR_OK;
	for (uint32_t pgno = 2; pgno < 200 && !rc; pgno++)
		rc = put(b, pgno, 1, STAGING_FRAME);
	return rc;
}

static void test_disk(void **state)
{
	struct bed *b = *state;
	struct fs_ops ops = fs_system_ops;
	assert_int_equal(put(b, 1, 1, STAGING_FRAME), ERR_OK);
	ops.pwrite = bad_pwrite;
	fs_set_ops(&ops);
	pwrite_error = ENOSPC;
	assert_int_equal(put_until_written(b), ERR_FULL);
	assert_false(staging_at_max(b->s));
	pwrite_error = EIO;
	assert_int_equal(put_until_written(b), ERR_IO);
	assert_non_null(strstr(b->e.text, b->path));
}

static void test_leftovers(void **state)
{
	struct bed *b = *state;
	char other[300];
	put(b, 1, 1, STAGING_FRAME);
	snprintf(other, sizeof(other), "%s/keep-me", b->dir);
	assert_int_equal(fs_replace_file(other, "x", 1, 0600, &b->e), ERR_OK);
	assert_int_equal(staging_clear_folder(b->dir, &b->e), ERR_OK);
	assert_int_equal(access(b->path, F_OK), -1);
	assert_int_equal(access(other, F_OK), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_newest_wins),
		TEST(test_clean_after_a_commit),
		TEST(test_a_shrink_drops),
		TEST(test_images_are_counted),
		TEST(test_bound),
		TEST(test_disk),
		TEST(test_leftovers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
