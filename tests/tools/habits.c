/*
 * habits [options] HABIT DB - an app with one habit, whose commits are numbered and can be judged.
 *
 * As writer's, its rows in `commits` are (writer, seq, body), seq 1, 2, 3 … without a hole; bodies
 * are sealed (lib/sealed.h) and say where their commit ends. What is rolled back has a seq below 1:
 * in no database may there be one. The index is for integrity_check, which compares it with the
 * rows.
 *
 * HABIT: steady      a row at a time, autocommit
 *        long        2 to 60 rows in up to 120 ms; one in four is rolled back, others in
 * part spill       the same, larger than the cache: frames of it are in the WAL before it ends big
 * 20 to 600 KB in a row; the tenth last is made small again fleeting    opens the database, commits
 * one to three times, closes it vacuum      commits, and at times VACUUM checkpoint  commits, and
 * wal_checkpoint: PASSIVE, FULL, RESTART or TRUNCATE by chance readers     six connections with
 * read transactions of different age, more than there are read marks; what they see must not move
 *        dying       as long, and checkpoints, until kill -9 at one of the points of
 * lib/pausevfs.h: after its frames are written and before they are published is one, half published
 * another -w N    this writer's number (1) -S N    seed (1) -n N    turns, then the end; 0 = no
 * limit (0) -r N    turns a second, on the average (20) -T MS   busy timeout (30000) -p N    page
 * size of a database that is new -y X    PRAGMA synchronous (NORMAL) -c N    PRAGMA
 * wal_autocheckpoint (SQLite's own default) -a PATH what is noted outside of SQLite (lib/noted.h):
 * `enum noted` below, in this order, added up over all runs. The last number that was acknowledged
 * is the first.
 *
 * SIGTERM ends it after the turn that runs. An error that SQLite must not give, or a snapshot that
 * moves, ends it with 1.
 */
#include "lib/noted.h"
#include "lib/number.h"
#include "lib/pausevfs.h"
#include "lib/sealed.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODY_MAX 600000
#define READERS 6

enum noted { ACKED, COMMITS, ROLLED_BACK, BUSY, DEATHS, VACUUMS, CHECKPOINTS, READS, NOTED };

struct app {
	int64_t id, seed, turns, rate, timeout_ms, page_size;
	const char *synchronous, *autocheckpoint, *db_path, *noted_path;
	const struct habit *habit;
	struct chance chance;
	sqlite3 *db;
	sqlite3_stmt *insert;
	int64_t *noted;
	int64_t seq;
	int64_t lives; /* dying: turns before it is armed, each turn at another point */
};

struct habit {
	const char *name;
	void (*turn)(struct app *a);
};

static uint8_t body[BODY_MAX + 8];
static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void die(struct app *a, sqlite3 *db, const char *what)
{
	fprintf(stderr, "%s %" PRId64 ": %s: %s (%d)\n", a->habit->name, a->id, what,
		db ? sqlite3_errmsg(db) : "no database", db ? sqlite3_extended_errcode(db) : 0);
	exit(1);
}

static void sleep_ms(struct app *a, int64_t up_to)
{
	usleep((useconds_t)chance_below(&a->chance, up_to * 1000 + 1));
}

/* True unless the database was busy. */
static bool went(struct app *a, sqlite3 *db, int rc, const char *what)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return true;
	if ((rc & 0xff) != SQLITE_BUSY)
		die(a, db, what);
	a->noted[BUSY]++;
	return false;
}

/* Runs it until it isn't busy. */
static void exec(struct app *a, const char *sql)
{
	while (!went(a, a->db, sqlite3_exec(a->db, sql, NULL, NULL, NULL), sql))
		;
}

/* ---- connections ---- */

static sqlite3 *connect_to(struct app *a)
{
	sqlite3 *db = NULL;
	if (sqlite3_open(a->db_path, &db) != SQLITE_OK)
		die(a, db, a->db_path);
	sqlite3_busy_timeout(db, (int)a->timeout_ms);
	return db;
}

static void pragma(struct app *a, const char *name, const char *value)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "PRAGMA %s = %s", name, value);
	exec(a, sql);
}

static void read_last(struct app *a)
{
	sqlite3_stmt *st = NULL;
	int rc;
	do {
		sqlite3_finalize(st);
		rc = sqlite3_prepare_v2(
			a->db, "SELECT max(seq) FROM commits WHERE writer = ?1", -1, &st, NULL);
		sqlite3_bind_int64(st, 1, a->id);
		rc = rc == SQLITE_OK ? sqlite3_step(st) : rc;
	} while (!went(a, a->db, rc, "reading the last number"));
	a->seq = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
}

static void open_database(struct app *a)
{
	char size[32];
	a->db = connect_to(a);
	snprintf(size, sizeof(size), "%" PRId64, a->page_size);
	if (a->page_size)
		pragma(a, "page_size", size);
	pragma(a, "journal_mode", "WAL");
	pragma(a, "synchronous", a->synchronous);
	if (a->autocheckpoint)
		pragma(a, "wal_autocheckpoint", a->autocheckpoint);
	exec(a, "CREATE TABLE IF NOT EXISTS commits(writer INTEGER, seq INTEGER, body BLOB,"
			" PRIMARY KEY(writer, seq)) WITHOUT ROWID");
	exec(a, "CREATE INDEX IF NOT EXISTS lengths ON commits(length(body))");
	int rc;
	do
		rc = sqlite3_prepare_v2(
			a->db, "INSERT OR REPLACE INTO commits VALUES(?1, ?2, ?3)", -1, &a->insert, NULL);
	while (!went(a, a->db, rc, "preparing"));
	read_last(a);
}

static void close_database(struct app *a)
{
	sqlite3_finalize(a->insert);
	sqlite3_close(a->db);
	a->db = NULL;
}

/* ---- transactions ---- */

/* A row of a commit that ends with number `last`; again until it isn't busy. */
static void put(struct app *a, int64_t seq, int64_t last, size_t bytes)
{
	struct sealed_row row = {a->id, seq, last};
	sealed_fill(body, bytes, &row, &a->chance);
	int rc;
	do {
		sqlite3_bind_int64(a->insert, 1, a->id);
		sqlite3_bind_int64(a->insert, 2, seq);
		sqlite3_bind_blob64(a->insert, 3, body, bytes, SQLITE_STATIC);
		sqlite3_step(a->insert);
		rc = sqlite3_reset(a->insert);
	} while (!went(a, a->db, rc, "inserting"));
}

static size_t some_bytes(struct app *a, int64_t from, int64_t to)
{
	return (size_t)(from + chance_below(&a->chance, to - from + 1));
}

/* Rows that nobody may ever see again, and damage to those that are there. */
static void spoil(struct app *a, int64_t rows, int64_t bytes)
{
	char sql[160];
	for (int64_t i = 1; i <= rows; i++)
		put(a, -i, -i, some_bytes(a, SEALED_MIN, bytes));
	snprintf(sql, sizeof(sql),
		"UPDATE commits SET body = 'rolled back' WHERE writer = %" PRId64 " AND seq > %" PRId64,
		a->id, a->seq - 10);
	exec(a, sql);
}

static void acknowledged(struct app *a, int64_t rows)
{
	a->seq += rows;
	a->noted[COMMITS]++;
	__atomic_store_n(&a->noted[ACKED], a->seq, __ATOMIC_RELEASE);
}

static void roll_back(struct app *a, int64_t rows, int64_t bytes, int64_t pause_ms)
{
	exec(a, "BEGIN IMMEDIATE");
	spoil(a, rows, bytes);
	sleep_ms(a, pause_ms);
	exec(a, "ROLLBACK");
	a->noted[ROLLED_BACK]++;
}

/* Commits so many rows; `spoilt` more are undone in the middle. */
static void commit(struct app *a, int64_t rows, int64_t bytes, int64_t pause_ms, int64_t spoilt)
{
	exec(a, "BEGIN IMMEDIATE");
	for (int64_t i = 1; i <= rows; i++) {
		put(a, a->seq + i, a->seq + rows, some_bytes(a, SEALED_MIN, bytes));
		if (i == rows / 2 + 1 && spoilt > 0) {
			exec(a, "SAVEPOINT part");
			spoil(a, spoilt, bytes);
			exec(a, "ROLLBACK TO part");
			exec(a, "RELEASE part");
		}
		sleep_ms(a, pause_ms / rows);
	}
	exec(a, "COMMIT");
	acknowledged(a, rows);
}

static void checkpoint(struct app *a)
{
	static const int modes[] = {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL,
		SQLITE_CHECKPOINT_RESTART, SQLITE_CHECKPOINT_TRUNCATE};
	/* While it waits for readers nobody can write. */
	sqlite3_busy_timeout(a->db, 50);
	int rc = sqlite3_wal_checkpoint_v2(a->db, NULL, modes[chance_below(&a->chance, 4)], NULL, NULL);
	went(a, a->db, rc, "wal_checkpoint");
	sqlite3_busy_timeout(a->db, (int)a->timeout_ms);
	a->noted[CHECKPOINTS]++;
}

/* ---- habits ---- */

static void steady(struct app *a)
{
	put(a, a->seq + 1, a->seq + 1, some_bytes(a, SEALED_MIN, 300));
	acknowledged(a, 1);
}

static void go_long(struct app *a, int64_t rows, int64_t bytes, int64_t pause_ms)
{
	if (chance_once_in(&a->chance, 4))
		roll_back(a, rows, bytes, pause_ms);
	else
		commit(a, rows, bytes, pause_ms, chance_once_in(&a->chance, 3) ? rows / 2 : 0);
}

static void take_long(struct app *a)
{
	go_long(a, 2 + chance_below(&a->chance, 59), 400, chance_below(&a->chance, 120));
}

static void spill(struct app *a)
{
	exec(a, "PRAGMA cache_size = 10");
	go_long(a, 10 + chance_below(&a->chance, 40), 6000, chance_below(&a->chance, 80));
}

static void big(struct app *a)
{
	exec(a, "BEGIN IMMEDIATE");
	put(a, a->seq + 1, a->seq + 1, some_bytes(a, 20000, BODY_MAX));
	if (a->seq > 10)
		put(a, a->seq - 9, a->seq - 9, some_bytes(a, SEALED_MIN, 100));
	exec(a, "COMMIT");
	acknowledged(a, 1);
}

static void fleeting(struct app *a)
{
	close_database(a);
	open_database(a);
	for (int64_t i = chance_below(&a->chance, 3); i >= 0; i--)
		steady(a);
}

/* Ever more seldom: each writes the whole database, which grows. */
static void vacuum(struct app *a)
{
	commit(a, 2, 200, 0, 0);
	if (!chance_once_in(&a->chance, 10 + a->seq / 4))
		return;
	exec(a, "VACUUM");
	a->noted[VACUUMS]++;
}

static void checkpoints(struct app *a)
{
	commit(a, 3, 200, 0, 0);
	checkpoint(a);
}

static int64_t look(struct app *a, sqlite3 *db)
{
	static const char sql[] = "SELECT sum(seq) FROM (SELECT seq FROM commits"
							  " ORDER BY writer DESC, seq DESC LIMIT 100)";
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	rc = rc == SQLITE_OK ? sqlite3_step(st) : rc;
	int64_t sum = went(a, db, rc, sql) ? sqlite3_column_int64(st, 0) : -1;
	sqlite3_finalize(st);
	return sum;
}

/* One of them begins, or ends. */
static void readers(struct app *a)
{
	static struct {
		sqlite3 *db;
		int64_t saw;
	} all[READERS];
	int64_t i = chance_below(&a->chance, READERS);
	if (!all[i].db) {
		all[i].db = connect_to(a);
		sqlite3_exec(all[i].db, "BEGIN", NULL, NULL, NULL);
		all[i].saw = look(a, all[i].db);
		return;
	}
	if (all[i].saw >= 0 && look(a, all[i].db) != all[i].saw)
		die(a, all[i].db, "a snapshot moved");
	sqlite3_close(all[i].db);
	all[i].db = NULL;
	a->noted[READS]++;
}

static struct app *the_dying;

static void on_point(enum pause_point at)
{
	struct app *a = the_dying;
	if (chance_once_in(&a->chance, 3)) {
		a->noted[DEATHS]++;
		kill(getpid(), SIGKILL);
	}
	pausevfs_arm(at);
}

static void dying(struct app *a)
{
	static const enum pause_point points[] = {PAUSE_PUBLISH, PAUSE_WAL_SYNC, PAUSE_WAL_WRITE,
		PAUSE_DB_WRITE, PAUSE_CKPT_HEADER, PAUSE_CKPT_STORED};
	if (a->lives-- <= 0)
		pausevfs_arm(points[chance_below(&a->chance, sizeof(points) / sizeof(points[0]))]);
	go_long(a, 1 + chance_below(&a->chance, 8), 300, 5);
	if (chance_once_in(&a->chance, 4))
		checkpoint(a);
}

/* ---- the program ---- */

static const struct habit habits[] = {
	{"steady", steady},
	{"long", take_long},
	{"spill", spill},
	{"big", big},
	{"fleeting", fleeting},
	{"vacuum", vacuum},
	{"checkpoint", checkpoints},
	{"readers", readers},
	{"dying", dying},
};

static void usage(void)
{
	fprintf(stderr, "usage: habits [-w N] [-S SEED] [-n TURNS] [-r TURNS] [-T MS] [-p BYTES]"
					" [-y SYNCHRONOUS] [-c PAGES] [-a FILE] HABIT DB\n");
	exit(2);
}

static void options(struct app *a, int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "w:S:n:r:T:p:y:c:a:")) != -1;) {
		int64_t *numbers['z'] = {['w'] = &a->id,
			['S'] = &a->seed,
			['n'] = &a->turns,
			['r'] = &a->rate,
			['T'] = &a->timeout_ms,
			['p'] = &a->page_size};
		if (c == 'y')
			a->synchronous = optarg;
		else if (c == 'c')
			a->autocheckpoint = optarg;
		else if (c == 'a')
			a->noted_path = optarg;
		else if (c >= 'z' || !numbers[c] || !number_take(numbers[c], optarg))
			usage();
	}
	if (optind != argc - 2 || a->rate < 1)
		usage();
	for (size_t i = 0; i < sizeof(habits) / sizeof(habits[0]); i++)
		if (strcmp(habits[i].name, argv[optind]) == 0)
			a->habit = &habits[i];
	if (!a->habit)
		usage();
	a->db_path = argv[optind + 1];
}

static void begin(struct app *a)
{
	static int64_t nowhere[NOTED];
	a->noted = a->noted_path ? noted_map(a->noted_path, NOTED) : nowhere;
	if (!a->noted) {
		perror(a->noted_path);
		exit(1);
	}
	a->chance = chance_of((uint64_t)a->seed, (uint64_t)a->id);
	if (a->habit->turn == dying) {
		the_dying = a;
		a->lives = 3 + chance_below(&a->chance, 30);
		a->synchronous = "FULL"; /* for PAUSE_WAL_SYNC */
		pausevfs_install(on_point);
	}
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
}

int main(int argc, char **argv)
{
	struct app a = {.id = 1, .rate = 20, .timeout_ms = 30000, .seed = 1, .synchronous = "NORMAL"};
	options(&a, argc, argv);
	begin(&a);
	open_database(&a);
	for (int64_t turn = 0; !stop && (a.turns == 0 || turn < a.turns); turn++) {
		a.habit->turn(&a);
		sleep_ms(&a, 2000 / a.rate);
	}
	close_database(&a);
	return 0;
}
