#include "lib/v3_build.h"

#include "base/endian.h"

#include <lz4frame.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "v3_build: %s\n", what);
	abort();
}

uint8_t *v3_slurp(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	*n = 0;
	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	uint8_t *p = malloc(*n + 1);
	must(p && fread(p, 1, *n, f) == *n, path);
	fclose(f);
	return p;
}

static void spit(const char *path, const void *data, size_t n)
{
	FILE *f = fopen(path, "wb");
	must(f && fwrite(data, 1, n, f) == n && !fclose(f), path);
}

uint8_t *v3_compress(const void *data, size_t n, size_t *out)
{
	LZ4F_preferences_t how = {.frameInfo = {.blockSizeID = LZ4F_max4MB,
								  .blockMode = LZ4F_blockIndependent,
								  .contentChecksumFlag = LZ4F_contentChecksumEnabled}};
	size_t most = LZ4F_compressFrameBound(n, &how);
	uint8_t *p = malloc(most);
	must(p != NULL, "memory");
	*out = LZ4F_compressFrame(p, most, data, n, &how);
	must(!LZ4F_isError(*out), "LZ4F_compressFrame");
	return p;
}

void v3_put_raw(struct store *s, const struct v3_file *f, const void *data, size_t n)
{
	char name[V3_NAME_SIZE];
	struct err e = ERR_INIT;
	const struct store_body body = {.data = data, .fd = -1, .size = n};
	const struct store_put_opts opts = {.timestamp_ms = f->modified_ms};
	must(!store_put(s, v3_format_name(f, name), &body, &opts, &e), e.text);
}

void v3_put(struct store *s, const struct v3_file *f, const void *data, size_t n)
{
	size_t size;
	uint8_t *p = v3_compress(data, n, &size);
	v3_put_raw(s, f, p, size);
	free(p);
}

/* ---- an app ---- */

void v3_bed_sql(struct v3_bed *b, const char *sql)
{
	char *why = NULL;
	int rc = sqlite3_exec(b->app, sql, NULL, NULL, &why);
	must(rc == SQLITE_OK, why ? why : sql);
}

void v3_bed_open(struct v3_bed *b, struct store *s, const char *dir, uint32_t page_size)
{
	char sql[200];
	memset(b, 0, sizeof(*b));
	b->store = s;
	snprintf(b->db, sizeof(b->db), "%s/source.db", dir);
	snprintf(b->wal, sizeof(b->wal), "%s-wal", b->db);
	snprintf(b->reference, sizeof(b->reference), "%s/reference.db", dir);
	b->generation = b->at.generation = UINT64_C(0x00c0ffee12345678);
	b->now_ms = V3_BUILD_START_MS;
	must(sqlite3_open(b->db, &b->app) == SQLITE_OK, "sqlite3_open");
	snprintf(sql, sizeof(sql),
		"PRAGMA page_size = %u; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
		"PRAGMA synchronous = OFF; CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)",
		page_size);
	v3_bed_sql(b, sql);
	v3_bed_sql(b, "PRAGMA wal_checkpoint(TRUNCATE)");
}

void v3_bed_close(struct v3_bed *b)
{
	sqlite3_close(b->app);
	unlink(b->db);
	unlink(b->reference);
}

static struct v3_file next_file(struct v3_bed *b, bool snapshot)
{
	struct v3_file f = b->at;
	f.snapshot = snapshot;
	f.offset = snapshot ? 0 : f.offset;
	f.modified_ms = b->now_ms;
	b->now_ms += 1000;
	return f;
}

void v3_bed_snapshot(struct v3_bed *b)
{
	size_t n;
	uint8_t *p = v3_slurp(b->db, &n);
	const struct v3_file f = next_file(b, true);
	v3_put(b->store, &f, p, n);
	spit(b->reference, p, n);
	free(p);
}

/* Where the last commit in a WAL's n bytes ends: what a rollback left lies behind it. */
static size_t committed_end(const uint8_t *wal, size_t n)
{
	struct v3_wal w;
	struct wal_frame_header h;
	size_t end = 0;
	if (n < WAL_HEADER_SIZE)
		return 0;
	v3_wal_begin(&w, get_be32(wal + 8));
	must(v3_wal_header(&w, wal, NULL) == ERR_OK, "the WAL's header");
	while (w.offset + WAL_FRAME_HEADER_SIZE + w.page_size <= n &&
		   v3_wal_frame(&w, wal + w.offset, &h, NULL) == ERR_OK)
		end = h.commit ? w.offset : end;
	return end;
}

void v3_bed_ship(struct v3_bed *b)
{
	size_t n;
	uint8_t *p = v3_slurp(b->wal, &n);
	n = committed_end(p, n);
	if (n > b->at.offset) {
		const struct v3_file f = next_file(b, false);
		v3_put(b->store, &f, p + f.offset, n - f.offset);
		b->at.offset = n;
	}
	free(p);
}

/* What Litestream's restore does with each WAL. */
static void replay(const struct v3_bed *b)
{
	char wal[310];
	size_t n;
	sqlite3 *db;
	uint8_t *p = v3_slurp(b->wal, &n);
	snprintf(wal, sizeof(wal), "%s-wal", b->reference);
	spit(wal, p, b->at.offset);
	free(p);
	must(sqlite3_open(b->reference, &db) == SQLITE_OK &&
			 sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) == SQLITE_OK,
		"the reference");
	sqlite3_close(db);
	unlink(wal);
}

void v3_bed_settle(struct v3_bed *b)
{
	if (b->at.offset)
		replay(b);
}

void v3_bed_restart(struct v3_bed *b)
{
	v3_bed_settle(b);
	v3_bed_sql(b, "PRAGMA wal_checkpoint(TRUNCATE)");
	b->at.index++;
	b->at.offset = 0;
}

uint8_t *v3_build_two_wals(struct store *s, const char *dir, size_t *n)
{
	struct v3_bed app;
	v3_bed_open(&app, s, dir, 512);
	v3_bed_snapshot(&app);
	v3_bed_sql(&app, "INSERT INTO t(b) VALUES (randomblob(9000))");
	v3_bed_ship(&app);
	v3_bed_restart(&app);
	v3_bed_sql(&app, "UPDATE t SET b = randomblob(3000)");
	v3_bed_ship(&app);
	v3_bed_settle(&app);
	uint8_t *expected = v3_slurp(app.reference, n);
	v3_bed_close(&app);
	return expected;
}
