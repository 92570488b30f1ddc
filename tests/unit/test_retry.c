#include "store/retry.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

/* A clock that only sleeping moves. */
static int64_t now_us;
static int sleeps;

static int64_t wall(void)
{
	return now_us / 1000;
}

static int64_t mono(void)
{
	return now_us;
}

static void sleep_us(int64_t us)
{
	now_us += us;
	sleeps++;
}

static const struct clock_ops clock_ops = {wall, mono, wall, sleep_us};

static int set_up(void **state)
{
	(void)state;
	now_us = 5000000;
	sleeps = 0;
	clock_set_ops(&clock_ops);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	clock_set_ops(NULL);
	return 0;
}

static void counts_attempts(void **state)
{
	(void)state;
	struct retry r;
	retry_init(&r, 4, 1000000, NULL, NULL);
	assert_true(retry_pause(&r, 0));
	assert_true(retry_pause(&r, 0));
	assert_true(retry_pause(&r, 0));
	assert_false(retry_pause(&r, 0));
	retry_init(&r, 1, 1000000, NULL, NULL);
	assert_false(retry_pause(&r, 0));
	assert_int_equal(r.attempts, 1);
}

/* Each pause is below its ceiling, and over many they fill it: that is full jitter. */
static void pauses_grow_to_a_cap(void **state)
{
	(void)state;
	enum { RUNS = 400, STEPS = 9 };
	int64_t sum[STEPS] = {0}, longest[STEPS] = {0}, shortest[STEPS];
	for (int run = 0; run < RUNS; run++) {
		struct retry r;
		retry_init(&r, STEPS + 1, INT64_C(1000000000), NULL, NULL);
		for (int i = 0; i < STEPS; i++) {
			int64_t before = now_us;
			assert_true(retry_pause(&r, 0));
			int64_t took = now_us - before;
			sum[i] += took;
			if (took > longest[i])
				longest[i] = took;
			if (run == 0 || took < shortest[i])
				shortest[i] = took;
		}
	}
	for (int i = 0; i < STEPS; i++) {
		int64_t ceiling = (int64_t)RETRY_BASE_MS * 1000 << i;
		if (ceiling > (int64_t)RETRY_CAP_MS * 1000)
			ceiling = (int64_t)RETRY_CAP_MS * 1000;
		assert_true(longest[i] <= ceiling);
		assert_true(longest[i] > ceiling * 9 / 10);
		assert_true(shortest[i] < ceiling / 10);
		assert_in_range(sum[i] / RUNS, ceiling * 4 / 10, ceiling * 6 / 10);
	}
}

static void waits_for_what_the_server_asks(void **state)
{
	(void)state;
	struct retry r;
	retry_init(&r, 10, 1000000, NULL, NULL);
	int64_t before = now_us;
	assert_true(retry_pause(&r, 7000));
	assert_int_equal(now_us - before, 7000000);
	before = now_us;
	assert_true(retry_pause(&r, 3600000));
	assert_int_equal(now_us - before, (int64_t)RETRY_AFTER_MAX_MS * 1000);
}

static void ends_at_its_deadline(void **state)
{
	(void)state;
	struct retry r;
	int64_t begin = now_us;
	retry_init(&r, 1000000, 60000, NULL, NULL);
	assert_int_equal(retry_left_ms(&r), 60000);
	while (retry_pause(&r, 0))
		assert_true(now_us - begin < 60000000);
	/* It doesn't begin a pause that ends too late. */
	assert_true(now_us - begin < 60000000);
	assert_true(now_us - begin > 45000000);
	now_us += 100000000;
	assert_int_equal(retry_left_ms(&r), 1);
}

static int64_t suspended_us; /* by the next sleep */

static int64_t boot(void)
{
	return (now_us + suspended_us) / 1000;
}

static void sleep_into_a_suspension(int64_t us)
{
	now_us += us;
	suspended_us = INT64_C(3600000000);
}

static void stop_in_a_sleep(int64_t us)
{
	now_us += us + INT64_C(3600000000);
}

/* The process is stopped or the machine suspended in the middle of a pause, for longer than all
 * attempts together may take: none follows. */
static void a_long_sleep_is_the_end(void **state)
{
	(void)state;
	static const struct clock_ops stopped = {wall, mono, wall, stop_in_a_sleep};
	static const struct clock_ops suspended = {wall, mono, boot, sleep_into_a_suspension};
	const struct clock_ops *clocks[] = {&stopped, &suspended};
	for (int i = 0; i < 2; i++) {
		struct retry r;
		suspended_us = 0;
		clock_set_ops(clocks[i]);
		retry_init(&r, 10, 60000, NULL, NULL);
		assert_false(retry_pause(&r, 1000));
		assert_int_equal(r.attempts, 1);
	}
}

static void progress_begins_anew(void **state)
{
	(void)state;
	struct retry r;
	retry_init(&r, 2, 1000000, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		int64_t before = now_us;
		assert_true(retry_pause(&r, 0));
		assert_true(now_us - before <= RETRY_BASE_MS * 1000);
		retry_progress(&r);
	}
}

static bool after_three(void *ctx)
{
	return ++*(int *)ctx > 3;
}

static void cancel_ends_a_pause(void **state)
{
	(void)state;
	struct retry r;
	int asked = 0;
	retry_init(&r, 10, 1000000, after_three, &asked);
	assert_false(retry_pause(&r, 30000));
	assert_int_equal(sleeps, 3);
	assert_true(now_us - 5000000 < 1000000);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(counts_attempts),
		TEST(pauses_grow_to_a_cap),
		TEST(waits_for_what_the_server_asks),
		TEST(ends_at_its_deadline),
		TEST(a_long_sleep_is_the_end),
		TEST(progress_begins_anew),
		TEST(cancel_ends_a_pause),
	};
	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
