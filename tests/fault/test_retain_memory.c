/*
 * Retention with the Nth allocation failing, for each N: it says so, and nothing may be deleted.
 */
#include "lib/no_memory.h"
#include "replicate/retain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define HOUR INT64_C(3600000)

#if NO_MEMORY_POSSIBLE

/* Two uploads long ago and a snapshot: of the three files one may go. */
static const struct replica_file files[] = {
	{0, 1, 1, 1000, HOUR, HOUR},
	{0, 2, 2, 1000, 2 * HOUR, 2 * HOUR},
	{9, 1, 2, 2000, 2 * HOUR, 3 * HOUR},
};

static int decide_with_failure(unsigned nth, bool keep[3], struct err *e)
{
	struct retain_policy p;
	retain_policy_init(&p);
	fail_at = nth;
	__atomic_store_n(&calls, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&armed, true, __ATOMIC_RELEASE);
	int rc = retain_decide(files, 3, &p, 10000 * HOUR, keep, e);
	__atomic_store_n(&armed, false, __ATOMIC_RELEASE);
	return rc;
}

static void test_nothing_goes(void **state)
{
	(void)state;
	int rc = ERR_NOMEM;
	unsigned failed = 0;
	for (unsigned n = 1; rc != ERR_OK; n++) {
		bool keep[3] = {false, false, false};
		struct err e = ERR_INIT;
		assert_in_range(n, 1, 20);
		rc = decide_with_failure(n, keep, &e);
		assert_true(rc == ERR_OK || rc == ERR_NOMEM);
		assert_int_equal(keep[0], rc == ERR_NOMEM);
		assert_true(keep[1] && keep[2]);
		if (rc == ERR_NOMEM) {
			assert_non_null(strstr(e.text, "deciding what the replica keeps"));
			failed++;
		}
	}
	assert_int_equal(failed, 4); /* the reasons, and the three tables */
}

#else

static void test_nothing_goes(void **state)
{
	(void)state;
	skip();
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_goes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
