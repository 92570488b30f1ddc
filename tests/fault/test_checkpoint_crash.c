/*
 * kill -9 at each step that SQLite makes for us: taking and handing over the pin, the PASSIVE
 * checkpoint, the barrier, letting go of a database that nobody uses any more. A step is a call of
 * SQLite that changes a file or a lock (lib/pausevfs.h); the process ends before it happens. Steps
 * are told apart by what they are and what was done before; one of each kind is tried, with FULL=1
 * a later one too.
 *
 * Besides what test_crash_points.c asks for: the app goes on at once, without a busy timeout; its
 * database is in order; and its own TRUNCATE checkpoint finds nobody in its way.
 */
#include "lib/crash_bed.h"
#include "lib/pausevfs.h"

#include "base/clock.h"

#define PAIRS_MAX 400
#define STEP_MAX 64

/* All pairs of steps that lives were seen to make, shared with them. */
struct seen {
	size_t n;
	struct pair {
		char before[STEP_MAX], step[STEP_MAX];
		bool tried;
	} pairs[PAIRS_MAX];
};

static struct seen *seen;
static struct crash_bed bed;

/* ---- in the child ---- */

static char before[STEP_MAX];
static const struct pair *target; /* NULL: only look */
static int target_nth;
static bool beside_passive; /* the app is to commit while our checkpoint writes */

static void note(const char *what)
{
	for (size_t i = 0; i < seen->n; i++)
		if (strcmp(seen->pairs[i].before, before) == 0 && strcmp(seen->pairs[i].step, what) == 0)
			return;
	if (seen->n == PAIRS_MAX)
		return;
	struct pair *p = &seen->pairs[seen->n++];
	snprintf(p->before, sizeof(p->before), "%s", before);
	snprintf(p->step, sizeof(p->step), "%s", what);
}

static void step(const char *what)
{
	if (!target)
		note(what);
	else if (strcmp(target->before, before) == 0 && strcmp(target->step, what) == 0 &&
			 --target_nth == 0)
		crash_now();
	snprintf(before, sizeof(before), "%s", what);
	/* So that it does not meet the end of the WAL, and the barrier follows. */
	if (beside_passive && strcmp(what, "write db") == 0) {
		beside_passive = false;
		commit(&bed);
	}
}

static void nothing(enum pause_point at)
{
	(void)at;
}

/* Until the database is let go: -wal and -shm vanish. */
static void until_let_go(struct ship *s)
{
	char shm[300];
	snprintf(shm, sizeof(shm), "%s-shm", bed.db);
	for (int i = 0; i < 200 && access(shm, F_OK) == 0; i++) {
		ship_skip(100);
		s->turn_due = 0;
		ship_for(s, 2);
	}
}

static int live(struct ship *s)
{
	int rc = sync_all(s, &bed);
	s->no_upkeep = true;
	for (int round = 0; round < 4 && !rc; round++) {
		for (int i = 0; i < 8; i++)
			commit(&bed);
		beside_passive = round % 2;
		rc = sync_all(s, &bed);
		ship_for(s, 4);
	}
	if (rc)
		return rc;
	bed.told->open = false;
	agent_do(&bed.app, "close");
	until_let_go(s);
	agent_do(&bed.app, "open %s", bed.db);
	bed.told->open = true;
	commit(&bed);
	return sync_all(s, &bed);
}

static int life(const struct pair *at, int nth)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct ship s;
		target = at;
		target_nth = nth;
		crash_arm(-1);
		pausevfs_install(nothing);
		pausevfs_steps(step);
		int rc = ship_open(&s, &bed.cfg);
		rc = rc ? rc : live(&s);
		if (!rc)
			ship_close(&s);
		_exit(rc ? 1 : 0);
	}
	return crash_code(pid);
}

/* ---- here ---- */

/* The app, right after the crash. */
static void check_app(void)
{
	if (!bed.told->open)
		agent_do(&bed.app, "open %s", bed.db);
	bed.told->open = true;
	agent_do(&bed.app, "timeout 0");
	commit(&bed);
	assert_string_equal(agent_sql(&bed.app, "PRAGMA wal_checkpoint(TRUNCATE)"), "0");
	assert_string_equal(agent_sql(&bed.app, "PRAGMA integrity_check"), "ok");
	agent_do(&bed.app, "timeout 5000");
	commit(&bed);
}

static bool at_pair(struct pair *p, int nth)
{
	int code = life(p, nth);
	if (code == 0)
		return false; /* by another order of things it did not come to that */
	if (code != CRASH_EXIT)
		fail_msg("%s, then %s: %d", p->before, p->step, code);
	p->tried = true;
	uint64_t max = check_restorable(&bed);
	uint64_t unshipped = bed.told->begun - bed.told->acked;
	check_app();
	check_goes_on(&bed, max, unshipped + 2);
	return true;
}

static bool tried(const char *step)
{
	for (size_t i = 0; i < seen->n; i++)
		if (seen->pairs[i].tried && strcmp(seen->pairs[i].step, step) == 0)
			return true;
	return false;
}

static void test_each_step(void **state)
{
	(void)state;
	static const char *const must[] = {"open db", "open wal", "lock READ0 shared",
		"unlock READ0 shared", "lock CKPT exclusive", "unlock CKPT exclusive", "sync wal",
		"write db", "sync db", "lock WRITE exclusive", "unlock WRITE exclusive", "close db",
		"delete wal", "delete shm"};
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(seen != MAP_FAILED);
	crash_bed_open(&bed);
	bed.cfg.checkpoint_frames = 20;
	bed.cfg.barrier_bytes = 10000;
	for (int i = 0; i < 2; i++)
		assert_int_equal(life(NULL, 0), 0);
	unsigned crashes = 0;
	for (size_t i = 0; i < seen->n; i++)
		for (int nth = 1; nth <= (getenv("FULL") ? 8 : 1); nth += 7)
			crashes += at_pair(&seen->pairs[i], nth);
	print_message("%zu kinds of steps, %u crashes\n", seen->n, crashes);
	for (size_t i = 0; getenv("SHOW") && i < seen->n; i++)
		fprintf(stderr, "%-24s -> %s%s\n", seen->pairs[i].before, seen->pairs[i].step,
			seen->pairs[i].tried ? "" : " (not tried)");
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		if (!tried(must[i]))
			fail_msg("no crash before: %s", must[i]);
	crash_bed_close(&bed);
	munmap(seen, sizeof(*seen));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_step)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
