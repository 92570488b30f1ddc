/*
 * An app's own wal_checkpoint(TRUNCATE), and how it felt. For the programs that are apps.
 */
#ifndef LIB_TRUNCATE_H
#define LIB_TRUNCATE_H

#include "lib/samples.h"

#include <sqlite3.h>
#include <stdint.h>

struct truncates {
	int64_t calls, busy; /* busy: SQLite said so, by SQLITE_BUSY or in its answer's first column */
	struct samples latency;
};

/* One, on this connection, with its busy timeout. Any other error ends the program. */
void truncates_call(struct truncates *t, sqlite3 *db);

/* Writes "truncate_calls":…,"truncate_busy":… and the durations, as samples_json does. */
void truncates_json(struct truncates *t, FILE *out);

#endif
