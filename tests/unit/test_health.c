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
	now_us += INT64_C(60000000);
	health_set(&h, "db", HEALTH_SOURCE, REPLICATOR_REPLICATING, NULL);
	trouble_for(&h, REPLICATOR_BEHIND, "the disk is full", 5);
	assert_int_equal(said("the disk is full"), 2);
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
		TEST(test_waiting_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
