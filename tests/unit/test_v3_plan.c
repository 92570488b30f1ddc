/* Which of Litestream 0.3's files a restore takes. */
#include "restore/v3.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define NOW 100000
#define A UINT64_C(0xaaaaaaaaaaaaaaaa)
#define B UINT64_C(0xbbbbbbbbbbbbbbbb)

struct bed {
	struct v3_set set;
	struct restore_plan plan;
	struct err e;
};

static void snapshot(struct bed *b, uint64_t generation, uint32_t index, int64_t ms)
{
	const struct v3_file f = {generation, true, index, 0, 100, ms};
	assert_int_equal(v3_set_add(&b->set, &f), ERR_OK);
}

static void segment(struct bed *b, uint64_t generation, uint32_t index, uint64_t offset, int64_t ms)
{
	const struct v3_file f = {generation, false, index, offset, 10, ms};
	assert_int_equal(v3_set_add(&b->set, &f), ERR_OK);
}

/* Generation A: a snapshot at 0 and at 2, WALs 0 to 3 of two segments each, from 1000 ms on, one
 * each 100 ms; B: a snapshot at 0 and a WAL, from 5000 ms on. */
static void two_generations(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	snapshot(b, A, 0, 1000);
	for (uint32_t i = 0; i < 4; i++) {
		if (i == 2)
			snapshot(b, A, 2, 1450);
		segment(b, A, i, 0, 1100 + i * 200);
		segment(b, A, i, 4152, 1200 + i * 200);
	}
	snapshot(b, B, 0, 5000);
	segment(b, B, 0, 0, 5100);
	v3_set_sort(&b->set);
}

static int plan(struct bed *b, struct restore_target t)
{
	restore_plan_free(&b->plan);
	err_clear(&b->e);
	int rc = v3_plan_make(&b->set, &t, NOW, &b->plan, &b->e);
	assert_int_equal(rc, b->e.code);
	return rc;
}

/* The plan begins with this snapshot, has so many segments, and the last is this one. */
static void expect(struct bed *b, struct restore_target t, uint64_t generation, uint32_t from,
	size_t segments, uint32_t last, uint64_t offset)
{
	if (plan(b, t))
		fail_msg("%s", b->e.text);
	assert_int_equal(b->plan.n_v3, segments + 1);
	const struct v3_file *first = b->plan.v3, *end = &b->plan.v3[segments];
	assert_true(first->snapshot && first->generation == generation && first->index == from);
	if (segments)
		assert_true(!end->snapshot && end->index == last && end->offset == offset);
}

static void expect_error(struct bed *b, struct restore_target t, int code, const char *text)
{
	int rc = plan(b, t);
	if (rc != code || !strstr(b->e.text, text))
		fail_msg("%d: %s", rc, b->e.text);
}

static void bed_free(struct bed *b)
{
	restore_plan_free(&b->plan);
	v3_set_free(&b->set);
}

static void test_latest(void **state)
{
	(void)state;
	struct bed b;
	two_generations(&b);
	expect(&b, (struct restore_target){0}, B, 0, 1, 0, 0);
	assert_int_equal(v3_plan_time(&b.plan), 5100);
	expect(&b, (struct restore_target){.generation = A}, A, 2, 4, 3, 4152);
	/* The one that was written last, not the one that began last. */
	segment(&b, A, 4, 0, 9000);
	v3_set_sort(&b.set);
	expect(&b, (struct restore_target){0}, A, 2, 5, 4, 0);
	bed_free(&b);
}

static void test_index(void **state)
{
	(void)state;
	struct bed b;
	two_generations(&b);
	expect(&b, (struct restore_target){.generation = A, .by_index = true}, A, 0, 2, 0, 4152);
	expect(&b, (struct restore_target){.generation = A, .by_index = true, .index = 1}, A, 0, 4, 1,
		4152);
	expect(&b, (struct restore_target){.generation = A, .by_index = true, .index = 2}, A, 2, 2, 2,
		4152);
	expect(&b, (struct restore_target){.by_index = true}, B, 0, 1, 0, 0);
	expect_error(&b, (struct restore_target){.generation = A, .by_index = true, .index = 4},
		ERR_NO_BACKUP, "ends at index 00000003");
	expect_error(&b, (struct restore_target){.by_index = true, .index = 1}, ERR_NO_BACKUP,
		"ends at index 00000000");
	bed_free(&b);
}

static void test_time(void **state)
{
	(void)state;
	struct bed b;
	two_generations(&b);
	expect(&b, (struct restore_target){.timestamp_ms = 1000}, A, 0, 0, 0, 0);
	expect(&b, (struct restore_target){.timestamp_ms = 1100}, A, 0, 1, 0, 0);
	expect(&b, (struct restore_target){.timestamp_ms = 1399}, A, 0, 3, 1, 0);
	/* The second snapshot may hold what WAL 2 brings later: the first one, until WAL 2 is over. */
	expect(&b, (struct restore_target){.timestamp_ms = 1500}, A, 0, 5, 2, 0);
	expect(&b, (struct restore_target){.timestamp_ms = 1600}, A, 2, 2, 2, 4152);
	expect(&b, (struct restore_target){.timestamp_ms = 4999}, A, 2, 4, 3, 4152);
	expect(&b, (struct restore_target){.timestamp_ms = 5000}, B, 0, 0, 0, 0);
	expect(&b, (struct restore_target){.timestamp_ms = NOW}, B, 0, 1, 0, 0);
	expect(&b, (struct restore_target){.timestamp_ms = NOW, .generation = A}, A, 2, 4, 3, 4152);
	expect_error(&b, (struct restore_target){.timestamp_ms = 999}, ERR_NO_BACKUP,
		"the earliest state that can be restored is that of 1970-01-01T00:00:01.000Z");
	expect_error(&b, (struct restore_target){.timestamp_ms = 4999, .generation = B}, ERR_NO_BACKUP,
		"00:00:05.000Z (generation bbbbbbbbbbbbbbbb)");
	expect_error(&b, (struct restore_target){.timestamp_ms = NOW + 1}, ERR_USAGE, "in the future");
	bed_free(&b);
}

static void test_what_excludes_each_other(void **state)
{
	(void)state;
	struct bed b;
	two_generations(&b);
	expect_error(&b, (struct restore_target){.txid = 1, .timestamp_ms = 1}, ERR_USAGE, "exclude");
	expect_error(&b, (struct restore_target){.txid = 1, .generation = A}, ERR_USAGE, "exclude");
	expect_error(&b, (struct restore_target){.txid = 1, .by_index = true}, ERR_USAGE, "exclude");
	expect_error(
		&b, (struct restore_target){.timestamp_ms = 1, .by_index = true}, ERR_USAGE, "exclude");
	bed_free(&b);
}

static void test_gaps(void **state)
{
	(void)state;
	struct bed b;
	memset(&b, 0, sizeof(b));
	expect_error(&b, (struct restore_target){0}, ERR_NO_BACKUP, "no backup");
	segment(&b, A, 1, 0, 1000);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED, "no snapshot");
	expect_error(&b, (struct restore_target){.timestamp_ms = NOW}, ERR_DAMAGED, "no snapshot");
	expect_error(
		&b, (struct restore_target){.generation = B}, ERR_NO_BACKUP, "only aaaaaaaaaaaaaaaa");
	snapshot(&b, A, 0, 900);
	v3_set_sort(&b.set);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED,
		"generations/aaaaaaaaaaaaaaaa/wal/00000000_00000000.wal.lz4 is missing");
	segment(&b, A, 0, 0, 950);
	segment(&b, A, 3, 0, 1100);
	v3_set_sort(&b.set);
	expect_error(&b, (struct restore_target){0}, ERR_DAMAGED,
		"wal/00000002_00000000.wal.lz4 is missing, the next one is "
		"generations/aaaaaaaaaaaaaaaa/wal/00000003_00000000.wal.lz4");
	/* What is before the gap can be had. */
	expect(&b, (struct restore_target){.by_index = true, .index = 1}, A, 0, 2, 1, 0);
	expect(&b, (struct restore_target){.timestamp_ms = 1000}, A, 0, 2, 1, 0);
	segment(&b, A, 2, 32, 1050);
	v3_set_sort(&b.set);
	expect_error(
		&b, (struct restore_target){0}, ERR_DAMAGED, "wal/00000002_00000000.wal.lz4 is missing");
	bed_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_latest),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_what_excludes_each_other),
		cmocka_unit_test(test_gaps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
