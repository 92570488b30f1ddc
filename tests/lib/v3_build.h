/*
 * Replicas as Litestream 0.3 writes them: a database file and WALs, made by SQLite itself, as
 * snapshots and segments in a store. And what SQLite makes of them.
 */
#ifndef TESTS_LIB_V3_BUILD_H
#define TESTS_LIB_V3_BUILD_H

#include "format/v3.h"
#include "store/store.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#define V3_BUILD_START_MS INT64_C(1700000000000)

/* Bytes of a file (free); aborts when it can't be read. A missing one has none. */
uint8_t *v3_slurp(const char *path, size_t *n);

/* n bytes as one LZ4 frame like Litestream's (free). */
uint8_t *v3_compress(const void *data, size_t n, size_t *out);

/* Puts an object under f's name, written at f->modified_ms. */
void v3_put(struct store *s, const struct v3_file *f, const void *data, size_t n);
void v3_put_raw(struct store *s, const struct v3_file *f, const void *data, size_t n);

/* An app's database that is replicated so. */
struct v3_bed {
	struct store *store;
	char db[300], wal[310];
	sqlite3 *app;
	struct v3_file at;   /* generation, index; offset = shipped of this WAL */
	int64_t now_ms;      /* of the next object; a second later each time */
	uint64_t generation; /* the same as at.generation */
	char reference[300]; /* what SQLite makes of the snapshot and the WALs so far */
};

/* Opens a new database in `dir`, in WAL mode, nothing checkpointed by itself. */
void v3_bed_open(struct v3_bed *b, struct store *s, const char *dir, uint32_t page_size);
void v3_bed_close(struct v3_bed *b);

void v3_bed_sql(struct v3_bed *b, const char *sql); /* aborts when it fails */

/* The database file is a snapshot now; the reference begins with it. */
void v3_bed_snapshot(struct v3_bed *b);

/* What the WAL has more than was shipped becomes the next segment. */
void v3_bed_ship(struct v3_bed *b);

/* The app checkpoints and truncates its WAL (all of it was shipped): the next index begins. The
 * reference does with the WAL what Litestream's restore does: SQLite opens it, and checkpoints. */
void v3_bed_restart(struct v3_bed *b);

/* The reference gets the WAL that is not over. */
void v3_bed_settle(struct v3_bed *b);

/* A replica of an app that wrote two WALs, with pages of 512 bytes, the second one a transaction of
 * a few KB; its database was made in `dir`. What it restores to (free), of n bytes. */
uint8_t *v3_build_two_wals(struct store *s, const char *dir, size_t *n);

#endif
