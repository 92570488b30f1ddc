/*
 * kill -9 at each step of sync, upload, compaction, snapshot and deletion, by name. A point is a
 * kind of change to a kind of file (lib/crash.h); the process ends before it happens, or, of a
 * write, in its middle. The other tests of crashes end it at the Nth change, whatever that is, for
 * every N; this one is sure of what was hit, and asks for all that must be true:
 *
 *   - at that moment the replica can be restored, is proven, and is a state that the app's
 *     database was in, with all that a sync had acknowledged;
 *   - the next life goes on, and what was in the replica stays as it was;
 *   - it uploads what changed, not the database;
 *   - it leaves no temporary files: in the state folder, beside the database, and, a day later, in
 *     the replica.
 *
 * Steps of a checkpoint, which SQLite makes: test_checkpoint_crash.c. Of a restore:
 * test_restore_crash.c, which ends the process at every change of a file and the next one too. Of
 * the store's answer: a put is sent to a folder here, so what a server has and did not answer is
 * "put: named" and what comes after it.
 */
#include "lib/crash_bed.h"

#define COMMITS 18 /* in a life */
#define LIVES 8
#define OLD_LIVES 3 /* until there is something to delete */
#define DAY_MS (INT64_C(24) * 3600 * 1000)

/* How many of them a life must have: 1 = the first is tried, 2 = the second too. */
static const struct point {
	const char *name, *call, *path;
	int tries;
} points[] = {
	{"manifest: not named", "rename", "*/replica/litestream.json", 1}, /* in the first life only */
	{"start: lock of the state folder", "truncate", "*-litestream/lock", 1},
	{"start: a staging of before goes", "unlink", "*-litestream/staging-*", 2},
	{"capture: the staging is made", "create", "*-litestream/staging-*", 2},
	{"freeze: the file is made", "create", "*-litestream/ltx/0/*.tmp", 2},
	{"freeze: half of it", "write", "*-litestream/ltx/0/*.tmp", 2},
	{"freeze: half of the slot", "write", "*-litestream/ltx/frozen*", 2},
	{"freeze: the slot is not durable", "fsync", "*-litestream/ltx/frozen*", 2},
	{"freeze: it has no name", "rename", "*-litestream/ltx/0/*.ltx", 2},
	{"put: before anything is sent", "create", "*/replica/ltx/0/~*", 2},
	{"put: half of it", "write", "*/replica/ltx/0/~*", 2},
	{"put: all of it, not named", "link", "*/replica/ltx/0/*.ltx", 2},
	{"put: named, not answered", "unlink", "*/replica/ltx/0/~*", 2},
	{"settle: after the answer", "create", "*-litestream/state.json.tmp-*", 2},
	{"settle: half of the state", "write", "*-litestream/state.json.tmp-*", 2},
	{"settle: the state has no name", "rename", "*-litestream/state.json", 2},
	{"settle: its name is not durable", "fsync", "*-litestream", 2},
	{"page table: made", "create", "*-litestream/pages.tmp*", 1},
	{"page table: half of it", "write", "*-litestream/pages.tmp*", 1},
	{"page table: not named", "rename", "*-litestream/pages", 1},
	{"merge: half of it", "write", "*-litestream/ltx/1/*.tmp*", 1},
	{"merge: not named", "rename", "*-litestream/ltx/1/*.ltx", 1},
	{"merge: before it is sent", "create", "*/replica/ltx/1/~*", 1},
	{"merge: sent, not named", "link", "*/replica/ltx/1/*.ltx", 1},
	{"merge: named, not answered", "unlink", "*/replica/ltx/1/~*", 1},
	{"copies: dropped after a merge", "unlink", "*-litestream/ltx/0/*.ltx", 2},
	{"snapshot: a page into the copy", "write", "*-litestream/staging-spool", 2},
	{"snapshot: half of its file", "write", "*-litestream/ltx/9/*.tmp*", 1},
	{"snapshot: its file has no name", "rename", "*-litestream/ltx/9/*.ltx", 1},
	{"snapshot: half of it is sent", "write", "*/replica/ltx/9/~*", 1},
	{"snapshot: sent, not named", "link", "*/replica/ltx/9/*.ltx", 1},
	{"snapshot: named, not answered", "unlink", "*/replica/ltx/9/~*", 1},
	{"snapshot: its file is not removed", "unlink", "*-litestream/ltx/9/*.ltx", 1},
	{"deletion: of an L0", "unlink", "*/replica/ltx/0/*.ltx", 2},
	{"deletion: of an L1", "unlink", "*/replica/ltx/1/*.ltx", 1},
	{"deletion: of a snapshot", "unlink", "*/replica/ltx/9/*.ltx", 1},
	{"inventory: half of it", "write", "*-litestream/inventory.tmp*", 1},
	{"inventory: not named", "rename", "*-litestream/inventory", 1},
};

#define POINTS (sizeof(points) / sizeof(points[0]))

/* Commits, each shipped; then a day, so that all there is to do for an upkeep is due. */
static int live(struct ship *s, void *bed)
{
	struct crash_bed *b = bed;
	s->no_upkeep = true;
	int rc = sync_all(s, b);
	for (int i = 0; i < COMMITS && !rc; i++) {
		ship_skip(3000);
		commit(b);
		rc = sync_all(s, b);
	}
	ship_skip(40000);
	if (!rc)
		ship_upkeep(s);
	for (int day = 0; day < 2 && !rc; day++) {
		ship_skip(DAY_MS + DAY_MS / 10);
		commit(b);
		rc = sync_all(s, b);
		/* The copy for a snapshot is made by turns in between. */
		for (int i = 0; i < 4 && !rc; i++) {
			ship_skip(i < 2 ? 40000 : DAY_MS / 12);
			ship_upkeep(s);
			ship_for(s, 15);
		}
	}
	if (!rc) /* which drops copies of what was merged */
		commit(b);
	return rc ? rc : sync_all(s, b);
}

/* A life that ends at the nth time of the point. What it skips of time is skipped here too. */
static int crashing(struct crash_bed *b, const struct point *p, int nth)
{
	ship_skip(3 * DAY_MS);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct ship s;
		crash_arm_at(p->call, p->path, nth);
		int rc = ship_open(&s, &b->cfg);
		rc = rc ? rc : live(&s, b);
		if (!rc)
			ship_close(&s);
		_exit(rc ? 1 : 0);
	}
	return crash_code(pid);
}

/* ---- the points ---- */

static void at_point(struct crash_bed *b, const struct point *p, int nth)
{
	int code = 0;
	crash_forget();
	/* Not every life merges and deletes: the next one has more to do. */
	for (int life = 0; life < LIVES && code == 0; life++)
		code = crashing(b, p, nth);
	if (code != CRASH_EXIT)
		fail_msg("%s (%d): never reached, the life ended with %d", p->name, nth, code);
	if (getenv("SHOW"))
		fprintf(stderr, "%-36s %s\n", p->name, crash_where());
	uint64_t max = check_restorable(b);
	uint64_t unshipped = b->told->begun - b->told->acked;
	for (int i = 0; i < 3; i++)
		commit(b);
	check_goes_on(b, max, unshipped + 3);
}

static void test_points(void **state)
{
	(void)state;
	struct crash_bed b;
	crash_bed_open(&b);
	at_point(&b, &points[0], 1);
	for (int i = 0; i < OLD_LIVES; i++) {
		assert_int_equal(crash_life(&b.cfg, -1, live, &b), 0);
		ship_skip(3 * DAY_MS);
	}
	for (size_t i = 1; i < POINTS; i++)
		for (int nth = 1; nth <= points[i].tries; nth++)
			at_point(&b, &points[i], nth);
	/* Two days later nothing is left of what was being put. */
	ship_skip(5 * DAY_MS);
	assert_int_equal(crash_life(&b.cfg, -1, live, &b), 0);
	check_restorable(&b);
	check_no_temporary_files(&b, ".app.db-litestream replica");
	crash_bed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_points)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
