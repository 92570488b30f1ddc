#include "lib/truncate.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

void truncates_call(struct truncates *t, sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	int64_t before = samples_now_us();
	int rc = sqlite3_prepare_v2(db, "PRAGMA wal_checkpoint(TRUNCATE)", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	bool busy = (rc & 0xff) == SQLITE_BUSY || (rc == SQLITE_ROW && sqlite3_column_int(st, 0) != 0);
	sqlite3_finalize(st);
	if (!busy && rc != SQLITE_ROW) {
		fprintf(stderr, "wal_checkpoint(TRUNCATE): %s\n", sqlite3_errmsg(db));
		exit(1);
	}
	samples_add(&t->latency, samples_now_us() - before);
	t->calls++;
	t->busy += busy;
}

void truncates_json(struct truncates *t, FILE *out)
{
	fprintf(out, "\"truncate_calls\":%" PRId64 ",\"truncate_busy\":%" PRId64, t->calls, t->busy);
	samples_json(&t->latency, "truncate", out);
}
