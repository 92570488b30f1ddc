/*
 * watcher DB - an app that only reads a database that restore -f keeps up to date.
 *
 * In each read transaction `commits` of writer 1 (tools/writer) must hold 1 to k without a hole, k
 * no lower than the last time, two looks must agree, and PRAGMA integrity_check say "ok". Every
 * eighth transaction has a connection of its own. SIGTERM ends it. Anything but that, and "busy",
 * ends it with 1. The last line of stdout is a JSON object: reads, busy answers, changes seen, the
 * last k.
 */
#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRESH_EACH 8
#define BUSY_MS 5000

static volatile sig_atomic_t stop;
static int64_t reads, busy, changes, last;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void fail(sqlite3 *db, const char *what)
{
	fprintf(stderr, "watcher: %s: %s\n", what, db ? sqlite3_errmsg(db) : "");
	exit(1);
}

/* The first row of a query, its first two columns as numbers and the first as text; false = busy.
 */
static bool ask(sqlite3 *db, const char *sql, int64_t out[2], char text[100])
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW && out) {
		out[0] = sqlite3_column_int64(st, 0);
		out[1] = sqlite3_column_int64(st, 1);
	}
	if (rc == SQLITE_ROW && text)
		snprintf(text, 100, "%s", (const char *)sqlite3_column_text(st, 0));
	if (rc != SQLITE_ROW && rc != SQLITE_DONE && (rc & 0xff) != SQLITE_BUSY)
		fail(db, sql);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

static bool read_once(sqlite3 *db)
{
	static const char sql[] =
		"SELECT count(*), ifnull(max(seq), 0) FROM commits WHERE writer = 1 AND seq > 0";
	int64_t first[2] = {0, 0}, second[2] = {0, 0};
	char said[100] = "";
	if (!ask(db, "BEGIN", NULL, NULL))
		return false;
	bool ok = ask(db, sql, first, NULL) && ask(db, "PRAGMA integrity_check(1)", NULL, said) &&
			  ask(db, sql, second, NULL);
	ask(db, "COMMIT", NULL, NULL);
	if (!ok)
		return false;
	if (strcmp(said, "ok") != 0)
		fail(NULL, said);
	if (first[0] != first[1] || memcmp(first, second, sizeof(first)) != 0 || first[1] < last) {
		fprintf(stderr,
			"watcher: %" PRId64 " rows up to %" PRId64 ", then %" PRId64 " up to %" PRId64
			", before that %" PRId64 "\n",
			first[0], first[1], second[0], second[1], last);
		exit(1);
	}
	changes += first[1] > last;
	last = first[1];
	return true;
}

static sqlite3 *open_database(const char *path)
{
	sqlite3 *db = NULL;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		fail(db, path);
	sqlite3_busy_timeout(db, BUSY_MS);
	return db;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: watcher DB\n");
		return 2;
	}
	signal(SIGTERM, on_term);
	sqlite3 *kept = open_database(argv[1]);
	for (int64_t n = 0; !stop; n++) {
		bool fresh = n % FRESH_EACH == 0;
		sqlite3 *db = fresh ? open_database(argv[1]) : kept;
		bool ok = read_once(db);
		reads += ok;
		busy += !ok;
		if (fresh)
			sqlite3_close(db);
		usleep(1000);
	}
	sqlite3_close(kept);
	printf("{\"reads\":%" PRId64 ",\"busy\":%" PRId64 ",\"changes\":%" PRId64 ",\"last\":%" PRId64
		   "}\n",
		reads, busy, changes, last);
	return 0;
}
