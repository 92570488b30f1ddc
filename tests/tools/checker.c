/*
 * checker [-s] DB [WRITER:NOTED ...] - is a restored database one that the writers could have left?
 *
 * Checks: PRAGMA integrity_check; no table of a replicator's (`_litestream…`) in the schema; for
 * each writer in `commits` the numbers 1 to k without a hole and none below 1 (habits rolled those
 * back); for each WRITER:NOTED given, k is at least NOTED. -s: the bodies are sealed
 * (lib/sealed.h): each is what was written, and k ends a commit. Opens the file read-only and
 * immutable: nothing appears beside it. Prints one line a writer and each fault; exit 1 when there
 * is one, and then the last line is "lost: N", numbers that were acknowledged or in a hole.
 */
#include "lib/sealed.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/old_sqlite.h"

static int faults;
static int64_t lost;

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
	sqlite3_stmt *st = prepare(db, "SELECT name FROM sqlite_master WHERE name LIKE '%litestream%'");
	while (sqlite3_step(st) == SQLITE_ROW) {
		printf("FAULT in the schema: %s\n", (const char *)sqlite3_column_text(st, 0));
		faults++;
	}
	sqlite3_finalize(st);
}

/* ---- writers ---- */

/* WRITER:NOTED. */
struct note {
	int64_t writer, last;
	bool met;
};

static void judge_note(struct note *n, int64_t last)
{
	n->met = true;
	if (last >= n->last)
		return;
	printf("FAULT writer %" PRId64 ": %" PRId64 " was acknowledged, %" PRId64 " is the last here\n",
		n->writer, n->last, last);
	faults++;
	lost += n->last - last;
}

static void check_notes(struct note *notes, int count, int64_t writer, int64_t last)
{
	for (int i = 0; i < count; i++)
		if (notes[i].writer == writer)
			judge_note(&notes[i], last);
}

static void check_numbers(int64_t writer, int64_t first, int64_t last, int64_t rows)
{
	if (first < 1) {
		printf("FAULT writer %" PRId64 ": %" PRId64 " was rolled back\n", writer, first);
		faults++;
	}
	/* (writer, seq) is the primary key: as many rows as numbers means no hole. */
	if (rows < last) {
		printf("FAULT writer %" PRId64 ": a hole, %" PRId64 " of %" PRId64 " are missing\n", writer,
			last - rows, last);
		faults++;
		lost += last - rows;
	}
}

static void check_writers(sqlite3 *db, struct note *notes, int count)
{
	int rc;
	sqlite3_stmt *st = prepare(db, "SELECT writer, min(seq), max(seq), sum(seq > 0) FROM commits"
								   " GROUP BY writer ORDER BY writer");
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		int64_t writer = sqlite3_column_int64(st, 0), first = sqlite3_column_int64(st, 1);
		int64_t last = sqlite3_column_int64(st, 2), rows = sqlite3_column_int64(st, 3);
		printf("writer %" PRId64 ": %" PRId64 " to %" PRId64 ", %" PRId64 " rows\n", writer, first,
			last, rows);
		check_numbers(writer, first, last, rows);
		check_notes(notes, count, writer, last);
	}
	if (rc != SQLITE_DONE) {
		printf("FAULT reading commits: %s\n", sqlite3_errmsg(db));
		faults++;
	}
	sqlite3_finalize(st);
	for (int i = 0; i < count; i++)
		if (!notes[i].met)
			judge_note(&notes[i], 0);
}

/* ---- sealed bodies ---- */

static void check_end(const struct sealed_row *row)
{
	if (row->seq == row->last)
		return;
	printf("FAULT writer %" PRId64 ": %" PRId64 " is the last of a commit that ends with %" PRId64
		   "\n",
		row->writer, row->seq, row->last);
	faults++;
}

static void check_seals(sqlite3 *db)
{
	struct sealed_row row = {0};
	sqlite3_stmt *st = prepare(db, "SELECT writer, seq, body FROM commits ORDER BY writer, seq");
	while (sqlite3_step(st) == SQLITE_ROW) {
		int64_t writer = sqlite3_column_int64(st, 0);
		if (writer != row.writer)
			check_end(&row);
		row.writer = writer;
		row.seq = sqlite3_column_int64(st, 1);
		const void *body = sqlite3_column_blob(st, 2);
		if (body && sealed_is_whole(body, (size_t)sqlite3_column_bytes(st, 2), &row))
			continue;
		printf("FAULT writer %" PRId64 ": the body of %" PRId64 " is not what was written\n",
			writer, row.seq);
		row.last = row.seq;
		faults++;
	}
	check_end(&row);
	sqlite3_finalize(st);
}

/* ---- the program ---- */

static void usage(void)
{
	fprintf(stderr, "usage: checker [-s] DB [WRITER:NOTED ...]\n");
	exit(2);
}

static struct note *read_notes(int count, char **words)
{
	struct note *notes = calloc((size_t)count + 1, sizeof(*notes));
	for (int i = 0; i < count; i++) {
		char colon, more;
		if (!notes ||
			sscanf(words[i], "%" SCNd64 "%c%" SCNd64 "%c", &notes[i].writer, &colon, &notes[i].last,
				&more) != 3 ||
			colon != ':')
			usage();
	}
	return notes;
}

int main(int argc, char **argv)
{
	bool sealed = argc > 1 && strcmp(argv[1], "-s") == 0;
	argc -= 1 + sealed;
	argv += 1 + sealed;
	if (argc < 1)
		usage();
	struct note *notes = read_notes(argc - 1, argv + 1);
	sqlite3 *db = NULL;
	char *uri = sqlite3_mprintf("file:%s?immutable=1", argv[0]);
	if (!uri || sqlite3_open_v2(uri, &db, OPEN_IMMUTABLE | SQLITE_OPEN_URI, NULL)) {
		printf("FAULT %s: %s\n", argv[0], sqlite3_errmsg(db));
		return 1;
	}
	check_integrity(db);
	check_schema(db);
	check_writers(db, notes, argc - 1);
	if (sealed)
		check_seals(db);
	if (faults)
		printf("lost: %" PRId64 "\n", lost);
	sqlite3_close(db);
	sqlite3_free(uri);
	free(notes);
	return faults != 0;
}
