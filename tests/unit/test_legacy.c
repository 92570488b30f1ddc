/* Litestream 0.3's part of a replica is counted and deleted; nothing else is. */
#include "lib/store_bed.h"

#include "replicate/legacy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GENERATION "generations/c2917f0dba5c4124/"

static struct legacy_tally t;

static bool is_there(struct bed *b, const char *name)
{
	struct store_object o;
	return store_head(b->s, name, &o, &b->e) == ERR_OK;
}

static void test_nothing(void **state)
{
	struct bed *b = *state;
	put(b, "0000/0000000000000001-0000000000000001.ltx", "12345");
	assert_int_equal(legacy_count(b->s, &t, &b->e), ERR_OK);
	assert_int_equal(t.objects + t.others + t.generations + t.bytes, 0);
	assert_int_equal(legacy_delete(b->s, NULL, NULL, &t, &b->e), ERR_OK);
	assert_int_equal(t.deleted, 0);
	assert_int_equal(store_fault_calls(FAULTS, STORE_OP_DELETE), 0);
}

static const char *const theirs[] = {
	GENERATION "snapshots/00000000.snapshot.lz4",
	GENERATION "wal/00000000_00000000.wal.lz4",
	GENERATION "wal/0000000a_00001038.wal.lz4",
	"generations/0123456789abcdef/snapshots/00000003.snapshot.lz4",
};

/* Names that look like it, of people, of other programs, of other folders. */
static const char *const others[] = {
	"generations/README.txt",
	"generations/C2917F0DBA5C4124/snapshots/00000000.snapshot.lz4",
	"generations/c2917f0dba5c412/snapshots/00000000.snapshot.lz4",
	"generations/c2917f0dba5c41244/snapshots/00000000.snapshot.lz4",
	GENERATION "snapshots/00000000.snapshot.lz4.bak",
	GENERATION "snapshots/00000000.snapshot",
	GENERATION "snapshots/0000000.snapshot.lz4",
	GENERATION "wal/00000000.wal.lz4",
	GENERATION "wal/00000000_00000000.wal.lz4/copy",
	GENERATION "notes/00000000.snapshot.lz4",
};

static const char *const elsewhere[] = {
	"generations.txt",
	"generationsc2917f0dba5c4124/snapshots/00000000.snapshot.lz4",
	"old/generations/c2917f0dba5c4124/snapshots/00000000.snapshot.lz4",
	"0000/0000000000000001-0000000000000001.ltx",
	"litestream.json",
};

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static void put_all(struct bed *b)
{
	for (size_t i = 0; i < COUNT_OF(theirs); i++)
		put(b, theirs[i], "12345");
	for (size_t i = 0; i < COUNT_OF(others); i++)
		put(b, others[i], "12345");
	for (size_t i = 0; i < COUNT_OF(elsewhere); i++)
		put(b, elsewhere[i], "12345");
}

static void check_the_rest(struct bed *b)
{
	for (size_t i = 0; i < COUNT_OF(others); i++)
		assert_true(is_there(b, others[i]));
	for (size_t i = 0; i < COUNT_OF(elsewhere); i++)
		assert_true(is_there(b, elsewhere[i]));
}

static void test_counting_changes_nothing(void **state)
{
	struct bed *b = *state;
	put_all(b);
	assert_int_equal(legacy_count(b->s, &t, &b->e), ERR_OK);
	assert_int_equal(t.generations, 2);
	assert_int_equal(t.objects, COUNT_OF(theirs));
	assert_int_equal(t.bytes, 5 * COUNT_OF(theirs));
	assert_int_equal(t.others, COUNT_OF(others));
	assert_int_equal(t.deleted, 0);
	assert_true(t.oldest_ms > 0 && t.oldest_ms <= t.newest_ms);
	assert_int_equal(store_fault_calls(FAULTS, STORE_OP_DELETE), 0);
	assert_true(is_there(b, theirs[0]));
	check_the_rest(b);
}

static void test_only_theirs_goes(void **state)
{
	struct bed *b = *state;
	put_all(b);
	assert_int_equal(legacy_delete(b->s, NULL, NULL, &t, &b->e), ERR_OK);
	assert_int_equal(t.deleted, COUNT_OF(theirs));
	for (size_t i = 0; i < COUNT_OF(theirs); i++)
		assert_false(is_there(b, theirs[i]));
	check_the_rest(b);
}

static void count_progress(void *ctx, uint64_t deleted)
{
	*(uint64_t *)ctx = deleted;
}

static void put_many(struct bed *b, int n)
{
	char name[80];
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), GENERATION "wal/%08x_00000000.wal.lz4", i);
		put(b, name, "12345");
	}
}

static void test_many_pages(void **state)
{
	struct bed *b = *state;
	uint64_t told = 0;
	put_many(b, 2000);
	put(b, others[0], "12345");
	assert_int_equal(legacy_delete(b->s, count_progress, &told, &t, &b->e), ERR_OK);
	assert_int_equal(t.generations, 1);
	assert_int_equal(t.deleted, 2000);
	assert_int_equal(told, 10000);
	assert_int_equal(legacy_count(b->s, &t, &b->e), ERR_OK);
	assert_int_equal(t.objects, 0);
	assert_int_equal(t.others, 1);
}

static void test_one_that_stays_ends_it(void **state)
{
	struct bed *b = *state;
	struct store_fault f = {.op = STORE_OP_DELETE,
		.name_contains = "/0000002a_",
		.action = STORE_FAULT_FAIL,
		.code = ERR_DENIED};
	put_many(b, 1500);
	assert_int_equal(store_fault_add(FAULTS, &f), 0);
	assert_int_equal(legacy_delete(b->s, NULL, NULL, &t, &b->e), ERR_DENIED);
	/* All others of its page are gone and counted, the next page was not begun. */
	assert_int_equal(t.deleted, 999);
	store_fault_heal(FAULTS);
	assert_true(is_there(b, GENERATION "wal/0000002a_00000000.wal.lz4"));
	assert_true(is_there(b, GENERATION "wal/000003e8_00000000.wal.lz4"));
	/* Again, and it is whole. */
	assert_int_equal(legacy_delete(b->s, NULL, NULL, &t, &b->e), ERR_OK);
	assert_int_equal(t.deleted, 501);
}

static void test_a_listing_that_fails(void **state)
{
	struct bed *b = *state;
	struct store_fault f = {
		.op = STORE_OP_LIST, .nth = 2, .action = STORE_FAULT_FAIL, .code = ERR_UNREACHABLE};
	put_many(b, 1001);
	assert_int_equal(store_fault_add(FAULTS, &f), 0);
	assert_int_equal(legacy_delete(b->s, NULL, NULL, &t, &b->e), ERR_UNREACHABLE);
	assert_int_equal(t.deleted, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counting_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_theirs_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_that_stays_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_listing_that_fails, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
