#include "lib/ledger.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES 300
#define TOUCHED_MAX 4
#define GROWS_EVERY 20

/* splitmix64's last step: a number that looks like chance. */
static uint64_t mix(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* What row `id` holds since operation n. */
static void content(uint64_t id, uint64_t n, uint8_t out[BYTES])
{
	for (size_t i = 0; i < BYTES; i += 4) {
		uint64_t word = mix(id << 32 ^ n << 8 ^ i);
		memcpy(out + i, &word, 4);
	}
}

static uint64_t rows_at(uint64_t rows, uint64_t n)
{
	return rows + n / GROWS_EVERY;
}

/* The rows that operation n writes; they may come twice. */
static size_t touched(uint64_t rows, uint64_t n, uint64_t ids[TOUCHED_MAX + 1])
{
	size_t k = 0, count = 1 + mix(n) % TOUCHED_MAX;
	uint64_t all = rows_at(rows, n - 1);
	for (size_t i = 0; i < count; i++) {
		uint64_t chance = mix(n * 8 + i + 1), range = chance % 5 ? all / 10 : all;
		ids[k++] = 1 + chance / 5 % range;
	}
	if (n % GROWS_EVERY == 0)
		ids[k++] = rows_at(rows, n);
	return k;
}

static void write_row(struct agent *a, uint64_t id, uint64_t n)
{
	uint8_t bytes[BYTES];
	char hex[2 * BYTES + 1];
	content(id, n, bytes);
	for (size_t i = 0; i < BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	agent_sql(a, "INSERT OR REPLACE INTO ledger VALUES (%" PRIu64 ", x'%s')", id, hex);
}

void ledger_create(struct agent *a, uint64_t rows)
{
	agent_sql(a, "PRAGMA page_size = 1024");
	agent_sql(a, "PRAGMA journal_mode = WAL");
	agent_sql(a, "BEGIN");
	agent_sql(a, "CREATE TABLE ledger(id INTEGER PRIMARY KEY, bytes BLOB)");
	agent_sql(a, "CREATE TABLE at(n INTEGER)");
	agent_sql(a, "INSERT INTO at VALUES (0)");
	for (uint64_t id = 1; id <= rows; id++)
		write_row(a, id, 0);
	agent_sql(a, "COMMIT");
}

void ledger_do(struct agent *a, uint64_t rows, uint64_t n)
{
	uint64_t ids[TOUCHED_MAX + 1];
	size_t k = touched(rows, n, ids);
	agent_sql(a, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < k; i++)
		write_row(a, ids[i], n);
	agent_sql(a, "UPDATE at SET n = %" PRIu64, n);
	agent_sql(a, "COMMIT");
}

/* ---- comparing ---- */

/* since[id] = the operation that wrote row `id` last. */
static uint64_t *replay(uint64_t rows, uint64_t n)
{
	uint64_t *since = calloc(rows_at(rows, n) + 1, sizeof(*since));
	if (!since)
		abort();
	for (uint64_t op = 1; op <= n; op++) {
		uint64_t ids[TOUCHED_MAX + 1];
		for (size_t k = touched(rows, op, ids); k > 0; k--)
			since[ids[k - 1]] = op;
	}
	return since;
}

static bool is_row(sqlite3_stmt *q, uint64_t id, uint64_t since)
{
	uint8_t bytes[BYTES];
	content(id, since, bytes);
	return (uint64_t)sqlite3_column_int64(q, 0) == id && sqlite3_column_bytes(q, 1) == BYTES &&
		   memcmp(sqlite3_column_blob(q, 1), bytes, BYTES) == 0;
}

static bool compare_rows(sqlite3 *db, uint64_t rows, uint64_t n)
{
	sqlite3_stmt *q = NULL;
	uint64_t *since = replay(rows, n), id = 0;
	bool same = sqlite3_prepare_v2(db, "SELECT id, bytes FROM ledger ORDER BY id", -1, &q, NULL) ==
				SQLITE_OK;
	while (same && sqlite3_step(q) == SQLITE_ROW) {
		id++;
		same = id <= rows_at(rows, n) && is_row(q, id, since[id]);
	}
	if (!same || id != rows_at(rows, n)) {
		fprintf(stderr,
			"ledger: row %" PRIu64 " of %" PRIu64 " is not as operation %" PRIu64 " left it\n", id,
			rows_at(rows, n), n);
		same = false;
	}
	sqlite3_finalize(q);
	free(since);
	return same;
}

static bool read_text(sqlite3 *db, const char *sql, char out[200])
{
	sqlite3_stmt *q = NULL;
	bool ok =
		sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW;
	if (ok)
		snprintf(out, 200, "%s", (const char *)sqlite3_column_text(q, 0));
	else
		fprintf(stderr, "ledger: %s: %s\n", sql, sqlite3_errmsg(db));
	sqlite3_finalize(q);
	return ok;
}

bool ledger_check(const char *path, uint64_t rows, uint64_t *n)
{
	sqlite3 *db = NULL;
	char at[200] = "", sound[200] = "";
	bool ok = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
			  read_text(db, "SELECT n FROM at", at) &&
			  read_text(db, "PRAGMA integrity_check", sound);
	*n = strtoull(at, NULL, 10);
	if (ok && strcmp(sound, "ok") != 0) {
		fprintf(stderr, "ledger: integrity_check: %s\n", sound);
		ok = false;
	}
	ok = ok && compare_rows(db, rows, *n);
	sqlite3_close(db);
	return ok;
}
