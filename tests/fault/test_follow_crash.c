/*
 * A follower dies at the Nth change that it makes to any file, or the Nth call fails, for every N:
 * whoever opens the database next with SQLite finds one of the states that it went through, whole,
 * and the next follower goes on from there.
 */
#include "lib/crash.h"
#include "lib/faulty.h"
#include "lib/follow_bed.h"
#include "lib/sweep.h"

#include "base/fs.h"

#include <sys/wait.h>

#define FIRST 2
#define LAST 6
#define FILES 3

/* What a run begins with: the database at FIRST, as its follower left it. */
struct start {
	struct follow_bed f;
	char names[FILES][300];
	struct buf contents[FILES];
};

static void set_up(struct start *s, uint32_t page_size)
{
	struct err e = ERR_INIT;
	follow_bed_open(&s->f, NULL, page_size, true);
	struct bed *b = &s->f.b;
	b->r.lean = true;
	replica_ship(&b->r, 9, 0);
	replica_ship(&b->r, 12, 2);
	follow_bed_restore(&s->f, 0);
	assert_int_equal(follow_bed_run(&s->f, 1), ERR_OK);
	replica_ship(&b->r, 12, 3);
	replica_ship(&b->r, 20, 1);
	replica_ship(&b->r, 6, 2);
	replica_ship(&b->r, 8, 1);
	snprintf(s->names[0], sizeof(s->names[0]), "%s", b->db);
	snprintf(s->names[1], sizeof(s->names[1]), "%s-txid", b->db);
	snprintf(s->names[2], sizeof(s->names[2]), "%s/.app.db-follow", b->dir);
	for (int i = 0; i < FILES; i++) {
		buf_init(&s->contents[i], SIZE_MAX);
		assert_int_equal(fs_read_file(s->names[i], &s->contents[i], &e), ERR_OK);
	}
}

static void tear_down(struct start *s)
{
	for (int i = 0; i < FILES; i++)
		buf_free(&s->contents[i]);
	follow_bed_close(&s->f);
}

static void begin_again(const struct start *s)
{
	char journal[310];
	snprintf(journal, sizeof(journal), "%s-journal", s->names[0]);
	unlink(journal);
	for (int i = 0; i < FILES; i++) {
		FILE *f = fopen(s->names[i], "w");
		assert_non_null(f);
		assert_int_equal(fwrite(s->contents[i].data, 1, s->contents[i].len, f), s->contents[i].len);
		fclose(f);
	}
}

/* An app that reads: it rolls back what it must. */
static void read_as_app(struct start *s)
{
	follow_bed_read(&s->f);
	follow_bed_end_read(&s->f);
}

static void expect_whole(const struct start *s, const char *what, long at)
{
	for (uint64_t txid = FIRST; txid <= LAST; txid++)
		if (follow_bed_is(&s->f, txid))
			return;
	fail_msg("%s %ld left no whole state", what, at);
}

static void expect_goes_on(struct start *s, const char *what, long at)
{
	if (follow_bed_run(&s->f, 1))
		fail_msg("after %s %ld: %s", what, at, s->f.b.e.text);
	follow_bed_expect(&s->f, LAST);
}

static int crash_at(struct start *s, long at)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		crash_arm(at);
		_exit(follow_bed_run(&s->f, 1) ? 1 : 0);
	}
	return crash_code(pid);
}

/* The next one to open it is an app, or the follower itself. */
static long sweep_crashes(uint32_t page_size, bool by_app)
{
	struct start s;
	long at = 0;
	int code;
	set_up(&s, page_size);
	do {
		begin_again(&s);
		code = crash_at(&s, ++at);
		assert_true(code == 0 || code == CRASH_EXIT);
		if (by_app) {
			read_as_app(&s);
			expect_whole(&s, "the crash at change", at);
		}
		expect_goes_on(&s, "the crash at change", at);
	} while (code == CRASH_EXIT);
	tear_down(&s);
	return at;
}

static void test_crashes(void **state)
{
	(void)state;
	long n = sweep_crashes(512, true);
	print_message("%ld changes\n", n - 1);
	assert_true(n > 80);
	sweep_crashes(4096, false);
	if (getenv("FULL"))
		sweep_crashes(65536, true);
}

/* Twice: the one that was to roll back dies, too. */
static void test_crash_after_crash(void **state)
{
	(void)state;
	struct start s;
	set_up(&s, 512);
	for (long first = 12; first < 90; first += 13) {
		for (long second = 1; second < 60; second += 11) {
			begin_again(&s);
			assert_int_equal(crash_at(&s, first), CRASH_EXIT);
			crash_at(&s, second);
			read_as_app(&s);
			expect_whole(&s, "the second crash", second);
			expect_goes_on(&s, "the second crash", second);
		}
	}
	tear_down(&s);
}

/* ---- a host that fails ---- */

static void fail_once(
	struct start *s, const struct faulty_kind *kind, struct sweep *w, bool for_ever)
{
	begin_again(s);
	faulty_arm(kind, w->at, for_ever);
	int rc = follow_bed_run(&s->f, 3);
	assert_true(rc == ERR_OK || s->f.b.e.text[0]);
	sweep_saw(w, faulty_calls());
	if (*faulty_trusted("", -1))
		fail_msg("%s: %s", kind->name, faulty_trusted("", -1));
	bool struck = faulty_heal();
	follow_bed_no_fsync();
	read_as_app(s);
	expect_whole(s, kind->name, w->at);
	expect_goes_on(s, kind->name, w->at);
	if (struck && !for_ever && rc == ERR_DATABASE)
		fail_msg("%s %u: %s", kind->name, w->at, s->f.b.e.text);
}

static void test_failures(void **state)
{
	(void)state;
	struct start s;
	set_up(&s, 512);
	for (const struct faulty_kind *kind = faulty_kinds; kind->name; kind++) {
		for (int for_ever = 0; for_ever < 2; for_ever++) {
			struct sweep w;
			for (sweep_begin(&w, 12); sweep_next(&w);)
				fail_once(&s, kind, &w, for_ever);
		}
	}
	faulty_end();
	tear_down(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes),
		cmocka_unit_test(test_crash_after_crash),
		cmocka_unit_test(test_failures),
	};
	follow_bed_no_fsync();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
