/*
 * The process may open N descriptors more than it has, for every N: SQLite, readdir and whatever
 * else doesn't go through base/fs.h gets none either. And a timer whose signals interrupt system
 * calls (there is no SA_RESTART) thousands of times a second. Over uploads, upkeep and restores;
 * what must be true after each life says lib/host_bed.h.
 */
#include "lib/host_bed.h"
#include "lib/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define MOST 40 /* no life here needs more descriptors */

/* ---- descriptors ---- */

static struct rlimit usual;
static unsigned room;

static int lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	return fd;
}

static void few_descriptors(bool begin)
{
	struct rlimit l = usual;
	if (begin)
		l.rlim_cur = (rlim_t)lowest_free() + room;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

/* True: everything was shipped with so few. */
static bool one_life(struct bed *b, bool upkeep)
{
	if (upkeep)
		ship_skip(DAY_MS + DAY_MS / 10);
	snprintf(b->what, sizeof(b->what), "%u descriptors", room);
	witness_commit(&b->w);
	bed_begin(b);
	b->around = few_descriptors;
	bool opened = open_if_possible(b);
	if (opened)
		live(b, upkeep);
	bool enough = opened && b->w.acked == b->w.number && !*ship_status(&b->s).upkeep_error;
	bed_settle(b, opened, upkeep, true);
	return enough;
}

static void sweep(bool upkeep, unsigned rounds)
{
	struct sweep s;
	struct bed b;
	unsigned refused = 0;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	bed_open(&b);
	for (sweep_begin(&s, rounds); sweep_next(&s);) {
		room = s.at > MOST ? MOST : s.at - 1;
		bool enough = one_life(&b, upkeep);
		refused += !enough;
		assert_true(enough || room < MOST);
		sweep_saw(&s, MOST / 2);
	}
	assert_true(refused > 1);
	bed_close(&b);
}

static void test_few_descriptors_for_uploads(void **state)
{
	(void)state;
	sweep(false, 10);
}

static void test_few_descriptors_for_an_upkeep(void **state)
{
	(void)state;
	sweep(true, 5);
}

/* A restore with so few, or interrupted: it is right, or there is nothing. */
static int one_restore(struct bed *b)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/limited.db", b->dir);
	witness_begin(&b->w);
	around(b, true);
	int rc = ship_restore(b->w.url, path);
	around(b, false);
	assert_true(witness_no_leak(&b->w));
	assert_int_equal(access(path, F_OK), rc ? -1 : 0);
	unlink(path);
	return rc;
}

static void ship_something(struct bed *b)
{
	bed_open(b);
	assert_true(open_if_possible(b));
	live(b, false);
	ship_close(&b->s);
	assert_int_equal(b->w.acked, 1);
}

static void test_few_descriptors_for_a_restore(void **state)
{
	(void)state;
	struct bed b;
	unsigned refused = 0;
	ship_something(&b);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	b.around = few_descriptors;
	for (room = 0; room <= MOST; room++)
		refused += one_restore(&b) != 0;
	assert_true(refused > 2 && refused < MOST / 2);
	assert_true(witness_restored(&b.w, true));
	bed_close(&b);
}

/* ---- signals ---- */

static volatile sig_atomic_t signals;

static void note(int sig)
{
	(void)sig;
	signals++;
}

static void rain(bool begin)
{
	struct itimerval t = {{0, begin ? 150 : 0}, {0, begin ? 150 : 0}};
	struct sigaction a = {.sa_handler = note};
	assert_int_equal(sigaction(SIGALRM, &a, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &t, NULL), 0);
}

static void test_signals(void **state)
{
	(void)state;
	struct bed b;
	bed_open(&b);
	for (int day = 0; day < 3; day++) {
		ship_skip(DAY_MS + DAY_MS / 10);
		snprintf(b.what, sizeof(b.what), "day %d", day);
		witness_commit(&b.w);
		bed_begin(&b);
		b.around = rain;
		assert_true(open_if_possible(&b));
		live(&b, true);
		assert_int_equal(b.w.acked, b.w.number);
		assert_string_equal(ship_status(&b.s).last_error, "");
		bed_settle(&b, true, true, true);
		b.around = rain;
		assert_int_equal(one_restore(&b), ERR_OK);
	}
	assert_true(signals > 100);
	bed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_descriptors_for_uploads),
		cmocka_unit_test(test_few_descriptors_for_an_upkeep),
		cmocka_unit_test(test_few_descriptors_for_a_restore),
		cmocka_unit_test(test_signals),
	};
	return cmocka_run_group_tests_name("limits of the host", tests, NULL, NULL);
}
