/*
 * The spool against a model of a database that is written, grown, shrunk and vacuumed all the time:
 * at each cut it must be exactly the state that the cut leads to.
 *
 * The model does what the source, the staging and the cut do (source.h, staging.h, cut.c): capture
 * lags behind what is committed, an image shows what is committed, pages by which the database grew
 * come without a frame and show what the file holds there, which may be from before a shrink.
 */
#include "replicate/spool.h"

#include "base/fs.h"
#include "format/ltx.h"
#include "lib/tmpdir.h"
#include "replicate/staging.h"

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
#define MOST 400 /* pages of the model */
#define FRAMES 40
#define PENDING 64

struct transaction {
	uint32_t pgno[FRAMES];
	uint32_t value[FRAMES];
	uint32_t count, n_page;
	bool truncate; /* a checkpoint cut the file off behind it */
};

/* A state of the database: what each page holds, those past its end too, as far as the file has
 * them. */
struct image {
	uint32_t value[MOST + 1];
	uint32_t n_page;
};

struct bed {
	char *dir;
	char path[256], staging_path[256];
	struct spool *s;
	struct staging *staging;
	struct err e;

	uint64_t seed;
	uint32_t next_value;
	struct image now, captured;
	struct transaction pending[PENDING];
	uint32_t n_pending;
	uint32_t min_n_page, table_n_page;
	bool unproven, copying;
	unsigned compared;
};

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));
	b->dir = tmpdir_new();
	snprintf(b->path, sizeof(b->path), "%s/staging-spool", b->dir);
	snprintf(b->staging_path, sizeof(b->staging_path), "%s/staging-a", b->dir);
	if (spool_new(&b->s, b->path, &b->e) || staging_new(&b->staging, b->staging_path, &b->e))
		return -1;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	fs_set_ops(NULL);
	spool_free(b->s);
	staging_free(b->staging);
	assert_int_equal(access(b->path, F_OK), -1);
	tmpdir_free(b->dir);
	free(b);
	return 0;
}

static uint32_t below(struct bed *b, uint32_t n)
{
	b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(b->seed >> 33) % n;
}

/* Page content: 0 = zeros, else its value over and over. */
static const void *page_of(uint32_t value)
{
	static uint32_t page[SIZE / 4];
	for (size_t i = 0; i < SIZE / 4; i++)
		page[i] = value;
	return page;
}

/* ---- the app ---- */

static void apply(struct image *m, const struct transaction *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		m->value[t->pgno[i]] = t->value[i];
	m->n_page = t->n_page;
	if (t->truncate)
		memset(&m->value[m->n_page + 1], 0, (MOST - m->n_page) * sizeof(m->value[0]));
}

static uint32_t new_size(struct bed *b, uint32_t n_page)
{
	switch (below(b, 8)) {
	case 0: /* VACUUM, or an emptied table with auto_vacuum */
		return 1 + below(b, n_page);
	case 1:
	case 2:
		return n_page + below(b, MOST - n_page + 1);
	default:
		return n_page;
	}
}

/* Writes some pages; of those by which it grows, not every one, and sometimes one past its end. */
static void commit(struct bed *b)
{
	if (b->n_pending == PENDING)
		return;
	struct transaction *t = &b->pending[b->n_pending++];
	memset(t, 0, sizeof(*t));
	t->n_page = new_size(b, b->now.n_page);
	t->count = 1 + below(b, FRAMES);
	for (uint32_t i = 0; i < t->count; i++) {
		t->pgno[i] = 1 + below(b, below(b, 10) ? t->n_page : MOST);
		t->value[i] = below(b, 6) ? ++b->next_value : 0;
	}
	t->truncate = below(b, 2);
	apply(&b->now, t);
}

/* ---- the replicator ---- */

static void stage(struct bed *b, uint32_t pgno, uint32_t value, bool image)
{
	enum staging_origin origin = image ? STAGING_IMAGE : STAGING_FRAME;
	assert_int_equal(staging_put(b->staging, pgno, page_of(value), origin, &b->e), 0);
	if (b->copying)
		assert_int_equal(spool_put(b->s, pgno, page_of(value), image, &b->e), 0);
}

static void commit_staging(struct bed *b)
{
	struct source_point p = {.n_page = b->captured.n_page, .min_n_page = b->min_n_page};
	assert_int_equal(staging_commit(b->staging, &p, &b->e), 0);
}

static void capture_one(struct bed *b)
{
	struct transaction *t = &b->pending[0];
	for (uint32_t i = 0; i < t->count; i++)
		stage(b, t->pgno[i], t->value[i], false);
	apply(&b->captured, t);
	if (t->n_page < b->min_n_page)
		b->min_n_page = t->n_page;
	memmove(&b->pending[0], &b->pending[1], --b->n_pending * sizeof(*t));
	commit_staging(b);
}

/* True: caught up. */
static bool capture(struct bed *b)
{
	uint32_t n = below(b, 3) ? b->n_pending : below(b, b->n_pending + 1);
	while (n--)
		capture_one(b);
	if (b->n_pending)
		return false;
	b->unproven = false;
	spool_caught_up(b->s);
	return true;
}

/* cut.c: pages that no frame holds. True: there were some. */
static bool fill_missing(struct bed *b)
{
	bool filled = false;
	uint32_t old = b->min_n_page < b->table_n_page ? b->min_n_page : b->table_n_page;
	for (uint32_t pgno = old + 1; pgno <= b->captured.n_page; pgno++) {
		if (staging_has(b->staging, pgno))
			continue;
		filled = true; /* or it shrank meanwhile: the next turn tells */
		if (pgno > b->now.n_page)
			break;
		stage(b, pgno, b->now.value[pgno], true);
		b->unproven = true;
	}
	commit_staging(b);
	return filled;
}

static int compare_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct bed *b = ctx;
	(void)e;
	uint32_t value;
	memcpy(&value, page, sizeof(value));
	if (value != b->captured.value[pgno])
		fail_msg("cut %u: page %u of %u is %u instead of %u", b->compared, pgno, b->captured.n_page,
			value, b->captured.value[pgno]);
	assert_memory_equal(page, page_of(value), SIZE);
	return ERR_OK;
}

static void cut(struct bed *b, bool caught_up)
{
	if (staging_empty(b->staging) || fill_missing(b) || (b->unproven && !caught_up))
		return;
	if (b->copying && spool_is_whole(b->s)) {
		assert_int_equal(spool_end(b->s, b->captured.n_page, &b->e), 0);
		assert_int_equal(spool_take(b->s, compare_page, b, &b->e), 0);
		spool_drop(b->s);
		b->copying = false;
		b->compared++;
	}
	b->table_n_page = b->min_n_page = b->captured.n_page;
	staging_reset(b->staging, SIZE, b->captured.n_page);
}

static void slice(struct bed *b)
{
	uint32_t first = spool_next(b->s), count = 1 + below(b, 60);
	if (!first)
		return;
	for (uint32_t pgno = first; pgno < first + count && pgno <= b->now.n_page; pgno++)
		assert_int_equal(spool_copy(b->s, pgno, page_of(b->now.value[pgno]), &b->e), 0);
	spool_copied(b->s, count, b->now.n_page);
}

static void run_model(struct bed *b, uint64_t seed)
{
	b->seed = seed;
	for (uint32_t pgno = 1; pgno <= 150; pgno++)
		b->now.value[pgno] = ++b->next_value;
	b->now.n_page = b->table_n_page = b->min_n_page = 150;
	b->captured = b->now;
	staging_reset(b->staging, SIZE, 150);
	for (int turn = 0; turn < 4000; turn++) {
		for (uint32_t n = below(b, 4); n; n--)
			commit(b);
		bool caught_up = capture(b);
		if (below(b, 2))
			commit(b); /* what an image shows and no turn has captured yet */
		if (below(b, 3) == 0)
			cut(b, caught_up);
		if (!b->copying && below(b, 10) == 0) {
			assert_int_equal(spool_begin(b->s, SIZE, &b->e), 0);
			b->copying = true;
		}
		if (b->copying)
			slice(b);
	}
}

static void test_a_cut_is_what_the_spool_holds(void **state)
{
	struct bed *b = *state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		memset(&b->now, 0, sizeof(b->now));
		b->n_pending = 0;
		b->unproven = b->copying = false;
		b->compared = 0;
		run_model(b, seed);
		if (b->compared < 20)
			fail_msg("seed %u: only %u cuts had a whole spool", (unsigned)seed, b->compared);
		spool_drop(b->s);
	}
}

/* ---- small things ---- */

static void test_zeros_are_holes(void **state)
{
	struct bed *b = *state;
	struct stat st;
	assert_int_equal(spool_begin(b->s, 65536, &b->e), 0);
	uint8_t *page = calloc(1, 65536);
	for (uint32_t pgno = 1; pgno <= 100; pgno++)
		assert_int_equal(spool_copy(b->s, pgno, page, &b->e), 0);
	spool_copied(b->s, 100, 100);
	assert_int_equal(spool_next(b->s), 0);
	assert_false(spool_is_whole(b->s));
	spool_caught_up(b->s);
	assert_true(spool_is_whole(b->s));
	assert_int_equal(spool_end(b->s, 100, &b->e), 0);
	assert_int_equal(stat(b->path, &st), 0);
	assert_int_equal(st.st_size, 100 * 65536);
	assert_true(st.st_blocks * 512 < 65536);
	free(page);
}

/* A page that was written and is zeros now is not what it was. */
static void test_zeros_over_something(void **state)
{
	struct bed *b = *state;
	b->captured.n_page = 2;
	assert_int_equal(spool_begin(b->s, SIZE, &b->e), 0);
	assert_int_equal(spool_copy(b->s, 1, page_of(7), &b->e), 0);
	assert_int_equal(spool_copy(b->s, 2, page_of(7), &b->e), 0);
	assert_int_equal(spool_copy(b->s, 1, page_of(0), &b->e), 0); /* the slice once more */
	spool_copied(b->s, 2, 2);
	assert_int_equal(spool_put(b->s, 2, page_of(0), false, &b->e), 0);
	assert_int_equal(spool_end(b->s, 2, &b->e), 0);
	assert_int_equal(spool_take(b->s, compare_page, b, &b->e), 0);
}

static int count_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)page, (void)e;
	uint32_t *last = ctx;
	assert_int_equal(pgno, *last + 1);
	*last = pgno;
	return ERR_OK;
}

/* What is read is given back: the disk holds a few MiB of it at most. */
static uint64_t punched;

static int count_fallocate(int fd, int mode, off_t off, off_t n)
{
	assert_int_equal(mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	assert_int_equal(off, punched);
	punched += (uint64_t)n;
	return fs_system_ops.fallocate(fd, mode, off, n);
}

static int no_fallocate(int fd, int mode, off_t off, off_t n)
{
	(void)fd, (void)mode, (void)off, (void)n;
	errno = EOPNOTSUPP;
	return -1;
}

static void fill_large(struct bed *b, uint32_t n)
{
	uint8_t *page = malloc(65536);
	memset(page, 5, 65536);
	assert_int_equal(spool_begin(b->s, 65536, &b->e), 0);
	for (uint32_t pgno = 1; pgno <= n; pgno++)
		assert_int_equal(spool_copy(b->s, pgno, page, &b->e), 0);
	spool_copied(b->s, n, n);
	assert_int_equal(spool_end(b->s, n, &b->e), 0);
	free(page);
}

static void test_disk_is_given_back(void **state)
{
	struct bed *b = *state;
	struct fs_ops ops = fs_system_ops;
	uint32_t last = 0;
	punched = 0;
	ops.fallocate = count_fallocate;
	fs_set_ops(&ops);
	fill_large(b, 200);
	assert_int_equal(spool_take(b->s, count_page, &last, &b->e), 0);
	assert_int_equal(last, 200);
	assert_true(punched > 200 * 65536 - (5 << 20));
	last = 0;
	ops.fallocate = no_fallocate;
	fill_large(b, 100);
	assert_int_equal(spool_take(b->s, count_page, &last, &b->e), 0);
	assert_int_equal(last, 100);
}

static int stop_at_3(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)ctx, (void)page;
	return pgno == 3 ? err_set(e, ERR_FULL, "three") : ERR_OK;
}

static int disk_errno;

static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t off)
{
	(void)fd, (void)p, (void)n, (void)off;
	errno = disk_errno;
	return -1;
}

static int bad_openat(int dir, const char *path, int flags, mode_t mode)
{
	(void)dir, (void)path, (void)flags, (void)mode;
	errno = disk_errno;
	return -1;
}

static void test_errors(void **state)
{
	struct bed *b = *state;
	struct fs_ops ops = fs_system_ops;
	assert_int_equal(spool_begin(b->s, SIZE, &b->e), 0);
	for (uint32_t pgno = 1; pgno <= 5; pgno++)
		assert_int_equal(spool_copy(b->s, pgno, page_of(pgno), &b->e), 0);
	spool_copied(b->s, 5, 5);
	ops.pwrite = bad_pwrite;
	fs_set_ops(&ops);
	disk_errno = ENOSPC;
	assert_int_equal(spool_put(b->s, 2, page_of(9), false, &b->e), ERR_FULL);
	disk_errno = EIO;
	assert_int_equal(spool_copy(b->s, 2, page_of(9), &b->e), ERR_IO);
	assert_non_null(strstr(b->e.text, b->path));
	fs_set_ops(NULL);
	assert_int_equal(spool_end(b->s, 5, &b->e), 0);
	assert_int_equal(spool_take(b->s, stop_at_3, NULL, &b->e), ERR_FULL);
	ops.openat = bad_openat;
	fs_set_ops(&ops);
	disk_errno = EDQUOT;
	assert_int_equal(spool_begin(b->s, SIZE, &b->e), ERR_FULL);
	fs_set_ops(NULL);
	assert_int_equal(spool_begin(b->s, SIZE, &b->e), 0);
	assert_int_equal(spool_next(b->s), 1);
	assert_int_equal(access(b->path, F_OK), 0);
	spool_drop(b->s);
	assert_int_equal(access(b->path, F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_cut_is_what_the_spool_holds),
		TEST(test_zeros_are_holes),
		TEST(test_zeros_over_something),
		TEST(test_disk_is_given_back),
		TEST(test_errors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
