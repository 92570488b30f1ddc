/* When a source looks again. */
#include "source/wake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MS INT64_C(1000)
#define S INT64_C(1000000)

/* One turn at `now`; when the next one is wanted. */
static int64_t turn(struct wake *w, bool event, bool captured, int64_t now)
{
	if (event || captured)
		wake_moved(w, now);
	wake_heard(w, event, captured, now);
	return now + wake_pause(w, now, false);
}

/* Turns until only the slow timer is left; when it comes. */
static int64_t quieten(struct wake *w, int64_t next)
{
	int64_t now;
	do {
		now = next;
		next = turn(w, false, false, now);
	} while (next - now < WAKE_SLOW_US);
	return next;
}

/* The same after an event. */
static int64_t settle(struct wake *w, int64_t now)
{
	return quieten(w, turn(w, true, false, now));
}

static void pauses_grow_until_a_second_was_quiet(void **state)
{
	(void)state;
	struct wake w = {0};
	int64_t start = 5 * S, now = start, pause = 0;
	int64_t next = turn(&w, true, false, now);
	while (next - now < WAKE_SLOW_US) {
		assert_true(pause == 0 || next - now == 2 * pause);
		pause = next - now;
		now = next;
		next = turn(&w, false, false, now);
	}
	assert_in_range(now - start, WAKE_QUIET_US, 3 * WAKE_QUIET_US);
}

/* A day of nothing: the looks become rare, and after a change they begin anew. */
static void looks_become_rare(void **state)
{
	(void)state;
	struct wake w = {0};
	int64_t start = 5 * S, now = settle(&w, start);
	int looks = 0;
	for (; now - start < 24 * 3600 * S; looks++) {
		int64_t next = turn(&w, false, false, now);
		assert_in_range(next - now, WAKE_SLOW_US, WAKE_SLOW_MOST_US);
		now = next;
	}
	assert_in_range(looks, 24, 30);
	assert_in_range(settle(&w, now) - now, WAKE_SLOW_US, WAKE_SLOW_US + 5 * S);
}

/* What it finds after hours makes it come again soon. */
static void a_late_find_is_followed_soon(void **state)
{
	(void)state;
	struct wake w = {0};
	int64_t now = settle(&w, 5 * S);
	for (int i = 0; i < 8; i++)
		now = turn(&w, false, false, now);
	int64_t next = quieten(&w, turn(&w, false, true, now));
	assert_in_range(next - now, WAKE_SLOW_US, WAKE_SLOW_US + 5 * S);
	next = turn(&w, false, false, next);
	assert_in_range(turn(&w, false, false, next) - next, WAKE_SLOW_US, WAKE_SLOW_US);
}

static void events_that_never_come_are_noticed(void **state)
{
	(void)state;
	struct wake w = {0};
	int64_t now = turn(&w, false, true, settle(&w, 5 * S));
	assert_false(wake_is_deaf(&w));
	now = turn(&w, false, true, quieten(&w, now));
	assert_true(wake_is_deaf(&w));
	for (int i = 0; i < 20; i++) {
		int64_t next = turn(&w, false, false, now);
		assert_true(next - now <= WAKE_BLIND_US);
		now = next;
	}
	/* They come after all. */
	settle(&w, now);
	assert_false(wake_is_deaf(&w));
}

static void a_turn_that_overtakes_its_event_is_no_sign(void **state)
{
	(void)state;
	struct wake w = {0};
	int64_t next = settle(&w, 5 * S);
	for (int i = 1; i < 10; i++) {
		/* Somebody asks (sync) a while before the slow timer, and finds a commit. */
		next = quieten(&w, turn(&w, false, true, next - 50 * MS));
		assert_false(wake_is_deaf(&w));
	}
}

static void an_event_between_two_finds_counts(void **state)
{
	(void)state;
	struct wake w = {0};
	for (int i = 1; i < 10; i++) {
		int64_t next = settle(&w, i * 10 * WAKE_SLOW_US);
		turn(&w, false, true, next);
		assert_false(wake_is_deaf(&w));
	}
}

/* Turns of a steady writer for so long, with so many frames a second; the pause at the end. */
static int64_t write_for(struct wake *w, int64_t *now, int64_t us, int64_t rate)
{
	int64_t start = *now, done = 0, pause = 0;
	for (; *now - start < us; *now += pause) {
		int64_t written = (*now - start) * rate / S;
		if (written > done)
			wake_moved(w, *now);
		wake_commits(w, (uint32_t)(written - done), *now);
		done = written;
		pause = wake_pause(w, *now, false);
		/* Each write makes an event until the timer takes over. */
		if (!w->steady && pause > S / rate)
			pause = S / rate;
	}
	return pause;
}

/* Short at full speed, long where little is written; and after a moment's standstill of a quick
 * writer not so long that it fills the WAL meanwhile. */
static void the_pace_remembers_full_speed(void **state)
{
	(void)state;
	struct wake w = {0};
	int64_t now = 5 * S;
	assert_in_range(write_for(&w, &now, 5 * S, 700), 40 * MS, WAKE_STEADY_MOST_US);
	assert_int_equal(write_for(&w, &now, 5 * S, 100000), WAKE_STEADY_LEAST_US);
	assert_in_range(write_for(&w, &now, 2 * S, 700), WAKE_STEADY_LEAST_US, 20 * MS);
	assert_in_range(write_for(&w, &now, 60 * S, 700), 40 * MS, WAKE_STEADY_MOST_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_grow_until_a_second_was_quiet),
		cmocka_unit_test(looks_become_rare),
		cmocka_unit_test(a_late_find_is_followed_soon),
		cmocka_unit_test(events_that_never_come_are_noticed),
		cmocka_unit_test(a_turn_that_overtakes_its_event_is_no_sign),
		cmocka_unit_test(the_pace_remembers_full_speed),
		cmocka_unit_test(an_event_between_two_finds_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
