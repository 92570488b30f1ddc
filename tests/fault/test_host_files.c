/*
 * The database's files after a bad day of the host, or after an administrator's: put back from a
 * backup, cut off, removed, exchanged for another's, by rename or in place, while we run and while
 * we don't.
 */
#include "lib/agent.h"
#include "lib/crash.h"
#include "lib/outcome.h"

#include "base/fs.h"

struct place {
	struct bed b; /* first: teardown's */
	struct agent app;
};

static void shell(const struct bed *b, const char *command)
{
	char all[1500];
	snprintf(all, sizeof(all), "cd '%s' && { %s; }", b->dir, command);
	if (system(all) != 0)
		fail_msg("failed: %s", all);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct bed *b = &p->b;
	b->dir = scene_begin();
	agent_start(&p->app);
	snprintf(b->db, sizeof(b->db), "%s/app.db", b->dir);
	snprintf(b->url, sizeof(b->url), "file://%s/replica", b->dir);
	b->cfg = ship_config(b->db, b->url);
	*state = p;
	return 0;
}

static int end(void **state)
{
	struct place *p = *state;
	agent_stop(&p->app);
	return teardown(state);
}

/* ---- what happens ---- */

#define RIGHT OUTCOME_RIGHT
#define REPLACED OUTCOME_REPLACED
#define BROKEN OUTCOME_BROKEN
#define KEPT OUTCOME_KEPT

/*
 * In the folder of app.db are older.db, newer.db, other.db (whole, without a WAL), older-wal of an
 * earlier generation of app.db's, and other-wal. What comes of it while we are down, and while we
 * run.
 *
 * RIGHT: the difference is shipped. REPLACED: another inode, or another database by what it holds;
 * a person says whether it is the one. BROKEN: SQLite finds the files to be malformed (a WAL that
 * is not of this database is believed: nothing in it says whose it is), and a restore brings it
 * back. KEPT: our connection and the app's have an index of frames that are gone from the disk.
 * Nothing is shipped of that; the next start, which recovers the WAL as SQLite would, ships what is
 * left.
 */
static const struct event {
	const char *name, *command;
	enum outcome down, running;
} events[] = {
	{"older in place", "cat older.db >app.db", RIGHT, RIGHT},
	{"older in place, WAL removed", "rm -f app.db-wal app.db-shm; cat older.db >app.db", RIGHT,
		RIGHT},
	{"older by rename", "mv older.db app.db", REPLACED, REPLACED},
	{"older by rename, WAL removed", "rm -f app.db-wal app.db-shm; mv older.db app.db", REPLACED,
		REPLACED},
	{"newer in place", "cat newer.db >app.db", BROKEN, BROKEN},
	{"newer in place, WAL removed", "rm -f app.db-wal app.db-shm; cat newer.db >app.db", RIGHT,
		RIGHT},
	{"newer by rename", "mv newer.db app.db", REPLACED, REPLACED},
	{"newer by rename, WAL removed", "rm -f app.db-wal app.db-shm; mv newer.db app.db", REPLACED,
		REPLACED},
	{"other in place", "cat other.db >app.db", RIGHT, RIGHT},
	{"other in place, WAL removed", "rm -f app.db-wal app.db-shm; cat other.db >app.db", REPLACED,
		REPLACED},
	{"other by rename", "mv other.db app.db", REPLACED, REPLACED},
	{"other by rename, WAL removed", "rm -f app.db-wal app.db-shm; mv other.db app.db", REPLACED,
		REPLACED},
	{"WAL emptied", "truncate -s 0 app.db-wal", RIGHT, KEPT},
	{"WAL cut in a frame", "truncate -s -1000 app.db-wal", RIGHT, KEPT},
	{"WAL cut to its half", "truncate -s $(($(stat -c %s app.db-wal) / 2)) app.db-wal", RIGHT,
		KEPT},
	{"WAL removed", "rm -f app.db-wal", RIGHT, RIGHT},
	{"WAL and index removed", "rm -f app.db-wal app.db-shm", RIGHT, RIGHT},
	{"index removed", "rm -f app.db-shm", RIGHT, RIGHT},
	{"older WAL in place", "cat older-wal >app.db-wal", RIGHT, KEPT},
	{"older WAL by rename", "mv older-wal app.db-wal", RIGHT, RIGHT},
	{"other's WAL in place", "cat other-wal >app.db-wal", BROKEN, BROKEN},
	{"other's WAL by rename", "mv other-wal app.db-wal", BROKEN, BROKEN},
};

#define EVENTS (sizeof(events) / sizeof(events[0]))

static void change(struct bed *b, unsigned n)
{
	char sql[200];
	snprintf(sql, sizeof(sql), "UPDATE t SET b = randomblob(400) WHERE a = %u", 1 + n * 37 % 300);
	app_sql(b->db, sql);
}

/* A life that follows the database; it ends by kill -9. */
static int live(struct ship *s, void *bed)
{
	struct bed *b = bed;
	int rc = ship_sync(s, 0);
	for (unsigned i = 0; i < 3 && !rc; i++) {
		change(b, i);
		rc = ship_sync(s, 0);
	}
	if (!rc)
		crash_now();
	return rc;
}

static void killed_life(struct bed *b)
{
	assert_int_equal(crash_life(&b->cfg, -1, live, b), CRASH_EXIT);
}

/* An app's connection, so that the WAL stays. */
static void connect_app(struct place *p, const char *db)
{
	agent_do(&p->app, "open %s", db);
	agent_sql(&p->app, "SELECT count(*) FROM t");
}

/* Another database and its WAL: once. */
static void prepare_other(struct place *p)
{
	struct bed *b = &p->b;
	char other[300];
	shell(b, "mkdir kept");
	snprintf(other, sizeof(other), "%s/kept/other.db", b->dir);
	app_create(other, 250);
	connect_app(p, other);
	app_sql(other, "UPDATE t SET b = randomblob(400)");
	shell(b, "cp kept/other.db-wal kept/other-wal");
	agent_do(&p->app, "close");
}

/* The newer one is app.db and its WAL, folded, and a commit more. */
static void prepare(struct place *p)
{
	struct bed *b = &p->b;
	char newer[300];
	shell(b, "rm -rf app.db* .app.db* replica older* newer*; cp kept/* .");
	app_create(b->db, 300);
	connect_app(p, b->db);
	change(b, 0);
	shell(b, "cp app.db-wal older-wal");
	agent_do(&p->app, "close");
	shell(b, "cp app.db older.db");
	killed_life(b);
	shell(b, "cp app.db newer.db; cp app.db-wal newer.db-wal");
	snprintf(newer, sizeof(newer), "%s/newer.db", b->dir);
	app_sql(newer, "UPDATE t SET b = randomblob(400) WHERE a = 200;"
				   "INSERT INTO t(b) VALUES (randomblob(9000))");
}

enum when { WHEN_DOWN, WHEN_RUNNING, WHEN_BESIDE_AN_APP };

static void happen(struct place *p, const struct event *ev, enum when when)
{
	struct bed *b = &p->b;
	struct held h;
	prepare(p);
	if (when != WHEN_DOWN) {
		reopen(b);
		assert_int_equal(ship_sync(&b->s, 0), 0);
		if (when == WHEN_BESIDE_AN_APP)
			connect_app(p, b->db);
		change(b, 50);
		assert_int_equal(ship_sync(&b->s, 0), 0);
	}
	held_note(&h, b);
	shell(b, ev->command);
	if (when == WHEN_BESIDE_AN_APP)
		agent_do(&p->app, "close");
	if (when == WHEN_DOWN)
		reopen(b);
	/* What follows a person's word is the same, whenever it happened. */
	if (when == WHEN_DOWN || getenv("FULL"))
		outcome_is(b, &h, when == WHEN_DOWN ? ev->down : ev->running, ev->name);
	else
		outcome_lasts(b, &h, ev->running, ev->name);
	ship_close(&b->s);
}

static void test_while_down(void **state)
{
	prepare_other(*state);
	for (size_t i = 0; i < EVENTS; i++)
		happen(*state, &events[i], WHEN_DOWN);
}

static void test_while_we_run(void **state)
{
	prepare_other(*state);
	for (size_t i = 0; i < EVENTS; i++)
		happen(*state, &events[i], WHEN_RUNNING);
}

/* An app has it open all the while. */
static void test_beside_an_app(void **state)
{
	size_t step = getenv("FULL") ? 1 : 5;
	prepare_other(*state);
	for (size_t i = 1; i < EVENTS; i += step)
		happen(*state, &events[i], WHEN_BESIDE_AN_APP);
}

/* A database of several slices, of which an older state was put back in place, and the WAL is as we
 * left it: what differs is one upload, or whoever restores in between gets half of each. */
static void test_no_state_of_two(void **state)
{
	struct place *p = *state;
	struct bed *b = &p->b;
	struct held h;
	app_create(b->db, 300);
	app_sql(b->db, "CREATE TABLE u(a INTEGER PRIMARY KEY, g INTEGER, b BLOB);"
				   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)"
				   "INSERT INTO u SELECT i, 1, randomblob(900) FROM n");
	shell(b, "cp app.db older.db");
	app_sql(b->db, "UPDATE u SET g = 2 WHERE a % 40 = 1");
	killed_life(b);
	held_note(&h, b);
	shell(b, "cat older.db >app.db");
	reopen(b);
	expect(b, &h, OUTCOME_RIGHT, __func__);
	for (uint64_t txid = 1; txid <= ship_max_txid(b->url); txid++) {
		char to[300];
		snprintf(to, sizeof(to), "%s/between.db", b->dir);
		restore_txid(b, txid, to);
		shell(
			b, "[ $(sqlite3 between.db 'SELECT count(DISTINCT g) FROM u WHERE a % 40 = 1') = 1 ]");
		shell(b, "rm -f between.db*");
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_while_down),
		TEST(test_while_we_run),
		TEST(test_beside_an_app),
		TEST(test_no_state_of_two),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
