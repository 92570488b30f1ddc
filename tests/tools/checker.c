/*
 * checker DB [WRITER:NOTED ...] - is a restored database one that the writers could have left?
 *
 * Checks: PRAGMA integrity_check; no table of a replicator's (`_litestream…`) in the schema; for
 * each writer in `commits` the numbers 1 to k without a hole; for each WRITER:NOTED given, k is at
 * least NOTED. Opens the file read-only and immutable: nothing appears beside it. Prints one line a
 * writer and each fault; exit 1 when there is one.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int faults;

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK) {
		printf("FAULT %s: %s\n", sql, sqlite3_errmsg(db));
		exit(1);
	}
	return st;
}

static void check_integrity(sqlite3 *db)
{
	sqlite3_stmt *st = prepare(db, "PRAGMA integrity_check");
	bool ok = false;
	while (sqlite3_step(st) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(st, 0);
		ok = text && strcmp(text, "ok") == 0;
		if (!ok)
			printf("FAULT integrity_check: %s\n", text ? text : "(nothing)");
	}
	faults += !ok;
	sqlite3_finalize(st);
}

static void check_schema(sqlite3 *db)
{
	sqlite3_stmt *st = prepare(db, "SELECT name FROM sqlite_schema WHERE name LIKE '%litestream%'");
	while (sqlite3_step(st) == SQLITE_ROW) {
		printf("FAULT in the schema: %s\n", (const char *)sqlite3_column_text(st, 0));
		faults++;
	}
	sqlite3_finalize(st);
}

static void check_noted(int64_t writer, int64_t last, int count, char **noted)
{
	for (int i = 0; i < count; i++) {
		char *end;
		if (strtoll(noted[i], &end, 10) != writer || *end != ':')
			continue;
		int64_t at_least = strtoll(end + 1, NULL, 10);
		if (last >= at_least)
			continue;
		printf("FAULT writer %" PRId64 ": %" PRId64 " was acknowledged, %" PRId64
			   " is the last here\n",
			writer, at_least, last);
		faults++;
	}
}

static int check_writers(sqlite3 *db, int count, char **noted)
{
	int writers = 0, rc;
	sqlite3_stmt *st = prepare(db, "SELECT writer, min(seq), max(seq), count(*) FROM commits"
								   " GROUP BY writer ORDER BY writer");
	for (; (rc = sqlite3_step(st)) == SQLITE_ROW; writers++) {
		int64_t writer = sqlite3_column_int64(st, 0), first = sqlite3_column_int64(st, 1);
		int64_t last = sqlite3_column_int64(st, 2), rows = sqlite3_column_int64(st, 3);
		printf("writer %" PRId64 ": %" PRId64 " to %" PRId64 ", %" PRId64 " rows\n", writer, first,
			last, rows);
		/* (writer, seq) is the primary key: as many rows as numbers means no hole. */
		if (first != 1 || rows != last) {
			printf("FAULT writer %" PRId64 ": a hole\n", writer);
			faults++;
		}
		check_noted(writer, last, count, noted);
	}
	if (rc != SQLITE_DONE) {
		printf("FAULT reading commits: %s\n", sqlite3_errmsg(db));
		faults++;
	}
	sqlite3_finalize(st);
	return writers;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: checker DB [WRITER:NOTED ...]\n");
		return 2;
	}
	sqlite3 *db = NULL;
	char *uri = sqlite3_mprintf("file:%s?immutable=1", argv[1]);
	if (!uri || sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL)) {
		printf("FAULT %s: %s\n", argv[1], sqlite3_errmsg(db));
		return 1;
	}
	check_integrity(db);
	check_schema(db);
	if (check_writers(db, argc - 2, argv + 2) < argc - 2) {
		printf("FAULT a writer that was noted has no row\n");
		faults++;
	}
	sqlite3_close(db);
	sqlite3_free(uri);
	return faults != 0;
}
