/* What is found out about a replica before anything is shipped there. */
#include "lib/store_bed.h"

#include "replicate/manifest.h"
#include "replicate/survey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct survey found;

static int count(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o, (void)e;
	++*(int *)ctx;
	return ERR_OK;
}

static int objects(struct bed *b)
{
	int n = 0;
	assert_int_equal(store_list(b->s, "", NULL, 0, count, &n, &b->e), ERR_OK);
	return n;
}

static void test_an_empty_replica(void **state)
{
	struct bed *b = *state;
	assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
	assert_false(found.weak_fencing);
	assert_true(found.may_delete);
	assert_false(found.versioned);
	assert_false(found.occupied);
	assert_int_equal(objects(b), 0);
}

static void deny(enum store_op op, int code)
{
	struct store_fault f = {.op = op, .action = STORE_FAULT_FAIL, .code = code};
	assert_int_equal(store_fault_add(FAULTS, &f), 0);
}

static void test_credentials_that_may_not_delete(void **state)
{
	struct bed *b = *state;
	deny(STORE_OP_DELETE, ERR_DENIED);
	assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
	assert_false(found.may_delete);
	assert_false(found.weak_fencing);
	assert_int_equal(objects(b), 1);
}

/* A deletion that fails otherwise says nothing of what is allowed. */
static void test_a_deletion_that_fails(void **state)
{
	struct bed *b = *state;
	deny(STORE_OP_DELETE, ERR_UNREACHABLE);
	assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
	assert_true(found.may_delete);
}

/* Whatever replication needs is needed now. */
static void test_other_denials_are_errors(void **state)
{
	struct bed *b = *state;
	static const enum store_op ops[] = {STORE_OP_LIST, STORE_OP_GET, STORE_OP_PUT};
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		store_fault_heal(FAULTS);
		deny(ops[i], ERR_DENIED);
		assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_DENIED);
	}
}

static void test_occupied(void **state)
{
	struct bed *b = *state;
	put(b, "notes.txt", "no replica");
	assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
	assert_false(found.occupied);
	put(b, "ltx/9/0000000000000001-0000000000000007.ltx", "x");
	assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
	assert_true(found.occupied);
	assert_string_equal(found.app, "");
	put(b, MANIFEST_NAME,
		"{\"version\":1,\"app\":\"my-app\",\"database\":\"one.db\",\"host\":\"web-1.example\"}");
	assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
	assert_string_equal(found.app, "my-app");
	assert_string_equal(found.database, "one.db");
	assert_string_equal(found.host, "web-1.example");
	assert_int_equal(objects(b), 3);
}

/* What stands in the bucket is anybody's: nothing of it reaches a terminal that is no name. */
static void test_a_manifest_that_is_not_believed(void **state)
{
	struct bed *b = *state;
	static const char *const texts[] = {"", "not JSON", "[]",
		"{\"app\":1,\"database\":null,\"host\":{}}",
		"{\"app\":\"../x\",\"database\":\"a/b\",\"host\":\"a\\u001b[2Jb\"}",
		"{\"app\":\"a b\",\"database\":\"x-wal\",\"host\":\"\"}",
		"{\"host\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"};
	put(b, "ltx/0/0000000000000001-0000000000000001.ltx", "x");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put(b, MANIFEST_NAME, texts[i]);
		assert_int_equal(survey_replica(b->s, &found, &b->e), ERR_OK);
		assert_true(found.occupied);
		assert_string_equal(found.app, "");
		assert_string_equal(found.database, "");
		assert_string_equal(found.host, "");
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_empty_replica),
		TEST(test_credentials_that_may_not_delete),
		TEST(test_a_deletion_that_fails),
		TEST(test_other_denials_are_errors),
		TEST(test_occupied),
		TEST(test_a_manifest_that_is_not_believed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
