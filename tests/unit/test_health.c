/* How a database is, and what the log hears of it: a trouble once, then ever more rarely. */
#include "replicate/health.h"

#include "base/clock.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static int64_t now_us;
static int64_t wall(void)
{
	return now_us / 1000;
}
static int64_t mono(void)
{
	return now_us;
}
static const struct clock_ops at_will = {wall, mono, wall, NULL};

static FILE *lines;

static int setup(void **state)
{
	(void)state;
	lines = tmpfile();
	now_us = INT64_C(1000000000);
	clock_set_ops(&at_will);
	log_set_level(LOG_INFO);
	log_set_fd(fileno(lines));
	return lines ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	clock_set_ops(NULL);
	log_set_fd(STDERR_FILENO);
	fclose(lines);
	return 0;
}

/* How many lines hold this. */
static int said(const char *text)
{
	char line[1024];
	int n = 0;
	rewind(lines);
	while (fgets(line, sizeof(line), lines))
		n += strstr(line, text) != NULL;
	fseek(lines, 0, SEEK_END);
	return n;
}

/* The same trouble, found again every five seconds. */
static void trouble_for(struct health *h, enum replicator_state s, const char *why, int seconds)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_FAIL, "%s", why);
	for (int i = 0; i < seconds; i += 5) {
		health_set(h, "db", HEALTH_SOURCE, s, &e);
		now_us += 5000000;
	}
}

static void test_a_trouble_is_told_ever_more_rarely(void **state)
{
	(void)state;
	struct health h;
	health_init(&h);
	trouble_for(&h, REPLICATOR_BEHIND, "nobody answers", 24 * 3600);
	assert_in_range(said("behind: nobody answers"), 24, 34);
	/* Another one, and the same after a good time, are told at once. */
	trouble_for(&h, REPLICATOR_BEHIND, "the disk is full", 5);
	assert_int_equal(said("the disk is full"), 1);
	health_set(&h, "db", HEALTH_SOURCE, REPLICATOR_REPLICATING, NULL);
	now_us += INT64_C(300000000);
	trouble_for(&h, REPLICATOR_BEHIND, "the disk is full", 5);
	assert_int_equal(said("the disk is full"), 2);
}

static void say(struct health *h, enum replicator_state s, const char *format, int n)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_UNREACHABLE, format, n);
	health_set(h, "db", HEALTH_STORE, s, s == REPLICATOR_REPLICATING ? NULL : &e);
}

/* A day without a store, whose sentences have numbers in them and take turns. */
static void test_an_outage_in_changing_words(void **state)
{
	(void)state;
	static const char *const why[] = {
		"failed to connect after %d ms", "no byte came for %d.0 s", "the server answered %d"};
	struct health h;
	health_init(&h);
	for (int i = 0; i < 24 * 3600 / 40; i++) {
		say(&h, REPLICATOR_BEHIND, why[i % 3], i);
		now_us += 40000000;
	}
	assert_in_range(said("behind:"), 24, 34);
	for (int i = 0; i < 3; i++)
		assert_true(said((const char *[]){"connect", "no byte", "answered"}[i]) > 0);
	/* The same words in another state are another trouble. */
	say(&h, REPLICATOR_DENIED, why[2], 403);
	assert_int_equal(said("denied: the server answered 403"), 1);
}

static void test_a_day_of_ever_new_words(void **state)
{
	(void)state;
	struct health h;
	char text[40];
	health_init(&h);
	for (int i = 0; i < 24 * 3600 / 40; i++) {
		snprintf(text, sizeof(text), "request %c%c%c failed", 'a' + i % 26, 'a' + i / 26 % 26,
			'a' + i / 676);
		trouble_for(&h, REPLICATOR_BEHIND, text, 5);
		now_us += 35000000;
	}
	assert_in_range(said("behind:"), 24 + 8, 34 + 8);
}

/* Every second upload fails, for a day; then it is well for an hour, and fails again. */
static void test_a_store_that_comes_and_goes(void **state)
{
	(void)state;
	struct health h;
	health_init(&h);
	health_claimed(&h, "db");
	for (int i = 0; i < 24 * 3600 / 4; i++) {
		say(&h, i % 2 ? REPLICATOR_REPLICATING : REPLICATOR_BEHIND, "after %d ms", i);
		now_us += 4000000;
	}
	int told = said("behind:");
	assert_in_range(told, 200, 24 * 12 + 10);
	assert_in_range(said("db: replicating"), told - 1, told + 1);
	say(&h, REPLICATOR_REPLICATING, "", 0);
	now_us += INT64_C(3600) * 1000000;
	say(&h, REPLICATOR_BEHIND, "after %d ms", 1);
	assert_int_equal(said("behind:"), told + 1);
}

static void test_waiting_is_told_once(void **state)
{
	(void)state;
	struct health h;
	health_init(&h);
	trouble_for(&h, REPLICATOR_WAITING, "no database yet", 24 * 3600);
	assert_int_equal(said("waiting: no database yet"), 1);
	health_set(&h, "db", HEALTH_SOURCE, REPLICATOR_STARTING, NULL);
	trouble_for(&h, REPLICATOR_WAITING, "no database yet", 5);
	assert_int_equal(said("waiting: no database yet"), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_trouble_is_told_ever_more_rarely),
		TEST(test_an_outage_in_changing_words),
		TEST(test_a_day_of_ever_new_words),
		TEST(test_a_store_that_comes_and_goes),
		TEST(test_waiting_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
