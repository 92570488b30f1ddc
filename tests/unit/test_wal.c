/*
 * The WAL against SQLite itself: logs and wal-index headers that SQLite wrote are read, and a log
 * that we turned into the other byte order is recovered by SQLite.
 */
#include "base/endian.h"
#include "base/fs.h"
#include "format/dbheader.h"
#include "format/wal.h"
#include "lib/tmpdir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

static char *dir;

static void sql(sqlite3 *db, const char *text)
{
	char *message = NULL;
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
}

static int query(sqlite3 *db, const char *text)
{
	sqlite3_stmt *stmt;
	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	int v = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return v;
}

/* A database in WAL mode with `rows` rows in `rows` commits and nothing checkpointed. */
static sqlite3 *make_database(const char *name, uint32_t page_size, int rows)
{
	sqlite3 *db;
	char text[200];
	assert_int_equal(sqlite3_open(tmpdir_path(dir, name), &db), SQLITE_OK);
	snprintf(text, sizeof(text), "PRAGMA page_size=%u; PRAGMA journal_mode=WAL;", page_size);
	sql(db, text);
	sql(db, "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)");
	for (int i = 0; i < rows; i++)
		sql(db, "INSERT INTO t VALUES(randomblob(300))");
	return db;
}

static void slurp(const char *name, const char *suffix, struct buf *out)
{
	struct err e = ERR_INIT;
	char file[64];
	snprintf(file, sizeof(file), "%s%s", name, suffix);
	buf_init(out, 64 << 20);
	assert_int_equal(fs_read_file(tmpdir_path(dir, file), out, &e), ERR_OK);
}

/* Frames that verify, the last commit's frame and size. */
static uint32_t scan(const struct buf *wal, const struct wal_header *h, uint32_t *last_commit,
	uint32_t *n_page, uint32_t cksum[2])
{
	uint32_t s[2] = {h->cksum[0], h->cksum[1]}, n = 0;
	*last_commit = *n_page = 0;
	for (;; n++) {
		uint64_t at = wal_frame_offset(n + 1, h->page_size);
		if (at + WAL_FRAME_HEADER_SIZE + h->page_size > wal->len ||
			!wal_frame_verify(h->big_end_cksum, wal->data + at, h->page_size, h->salt, s))
			return n;
		struct wal_frame_header f;
		wal_frame_header_decode(wal->data + at, &f);
		assert_true(f.pgno > 0 && f.cksum[0] == s[0] && f.cksum[1] == s[1]);
		if (f.commit) {
			*last_commit = n + 1;
			*n_page = f.commit;
			memcpy(cksum, s, sizeof(s));
		}
	}
}

/* Log and shared memory agree: last frame, size, checksum, salts, and the page number of each. */
static void compare_with_index(const struct buf *wal, const struct buf *shm, uint32_t page_size)
{
	struct err e = ERR_INIT;
	struct wal_header h;
	assert_int_equal(wal_header_decode(wal->data, &h, &e), ERR_OK);
	assert_int_equal(h.page_size, page_size);
	uint32_t last_commit, n_page, cksum[2] = {0};
	uint32_t frames = scan(wal, &h, &last_commit, &n_page, cksum);
	struct wal_index_header index, copy;
	assert_true(wal_index_header_decode(shm->data, &index));
	assert_true(wal_index_header_decode(shm->data + WAL_INDEX_HEADER_SIZE, &copy));
	assert_memory_equal(&index, &copy, sizeof(index));
	assert_int_equal(index.mx_frame, frames);
	assert_int_equal(index.mx_frame, last_commit);
	assert_int_equal(index.n_page, n_page);
	assert_int_equal(index.page_size, page_size);
	assert_int_equal(index.big_end_cksum, h.big_end_cksum);
	assert_memory_equal(index.salt, h.salt, 8);
	assert_memory_equal(index.frame_cksum, cksum, sizeof(cksum));
	for (uint32_t n = 1; n <= frames; n++) {
		uint32_t region, offset, pgno;
		wal_index_pgno_slot(n, &region, &offset);
		assert_true((size_t)region * 32768 + offset + 4 <= shm->len);
		memcpy(&pgno, shm->data + (size_t)region * 32768 + offset, 4);
		assert_int_equal(pgno, get_be32(wal->data + wal_frame_offset(n, page_size)));
	}
}

static void test_sqlite_writes_every_page_size(void **state)
{
	(void)state;
	for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
		char name[32];
		snprintf(name, sizeof(name), "size-%u", page_size);
		sqlite3 *db = make_database(name, page_size, 20);
		struct buf wal, shm, file;
		slurp(name, "-wal", &wal);
		slurp(name, "-shm", &shm);
		slurp(name, "", &file);
		compare_with_index(&wal, &shm, page_size);
		struct err e = ERR_INIT;
		struct db_header h;
		assert_int_equal(db_header_decode(file.data, &h, &e), ERR_OK);
		assert_int_equal(h.page_size, page_size);
		assert_int_equal(h.read_version, 2);
		buf_free(&wal);
		buf_free(&shm);
		buf_free(&file);
		sqlite3_close(db);
	}
}

/* More frames than the first two blocks of the wal-index hold: 4062 and 4096. */
static void test_index_over_regions(void **state)
{
	(void)state;
	sqlite3 *db = make_database("regions", 512, 0);
	sql(db, "BEGIN");
	for (int i = 0; i < 9000; i++)
		sql(db, "INSERT INTO t VALUES(randomblob(400))");
	sql(db, "COMMIT");
	struct buf wal, shm;
	slurp("regions", "-wal", &wal);
	slurp("regions", "-shm", &shm);
	assert_true(shm.len >= 3 * 32768);
	compare_with_index(&wal, &shm, 512);
	buf_free(&wal);
	buf_free(&shm);
	sqlite3_close(db);
}

static void sums(bool big_end, const uint8_t *p, size_t n, uint32_t s[2])
{
	for (size_t i = 0; i < n; i += 8) {
		s[0] += (big_end ? get_be32(p + i) : get_le32(p + i)) + s[1];
		s[1] += (big_end ? get_be32(p + i + 4) : get_le32(p + i + 4)) + s[0];
	}
}

/* Turns the log into one of the byte order that it doesn't have. */
static void convert(struct buf *wal, bool big_end, uint32_t page_size)
{
	uint8_t *p = wal->data;
	uint32_t s[2] = {0, 0};
	put_be32(p, 0x377f0682u | big_end);
	sums(big_end, p, 24, s);
	put_be32(p + 24, s[0]);
	put_be32(p + 28, s[1]);
	for (uint8_t *f = p + 32; f + 24 + page_size <= p + wal->len; f += 24 + page_size) {
		sums(big_end, f, 8, s);
		sums(big_end, f + 24, page_size, s);
		put_be32(f + 16, s[0]);
		put_be32(f + 20, s[1]);
	}
}

static void write_file(const char *name, const struct buf *b)
{
	struct err e = ERR_INIT;
	assert_int_equal(fs_replace_file(tmpdir_path(dir, name), b->data, b->len, 0600, &e), ERR_OK);
}

/* SQLite recovers the converted log, so it is a right one; and so say we. Then SQLite goes on in
 * that order, and we read that too. */
static void test_both_byte_orders(void **state)
{
	(void)state;
	sqlite3 *db = make_database("order", 4096, 30);
	struct buf wal, file, shm;
	struct wal_header h, turned;
	struct err e = ERR_INIT;
	slurp("order", "-wal", &wal);
	slurp("order", "", &file);
	sqlite3_close(db);
	assert_int_equal(wal_header_decode(wal.data, &h, &e), ERR_OK);
	convert(&wal, !h.big_end_cksum, 4096);
	assert_int_equal(wal_header_decode(wal.data, &turned, &e), ERR_OK);
	assert_true(turned.big_end_cksum == !h.big_end_cksum);
	uint32_t last, n_page, cksum[2], frames = scan(&wal, &turned, &last, &n_page, cksum);
	assert_int_equal(wal_frame_offset(frames + 1, 4096), wal.len);

	write_file("turned", &file);
	write_file("turned-wal", &wal);
	buf_free(&wal);
	assert_int_equal(sqlite3_open(tmpdir_path(dir, "turned"), &db), SQLITE_OK);
	assert_int_equal(query(db, "SELECT count(*) FROM t"), 30);
	sql(db, "INSERT INTO t VALUES(1)");
	slurp("turned", "-wal", &wal);
	slurp("turned", "-shm", &shm);
	assert_int_equal(wal_header_decode(wal.data, &turned, &e), ERR_OK);
	assert_true(turned.big_end_cksum == !h.big_end_cksum);
	assert_true(scan(&wal, &turned, &last, &n_page, cksum) > frames);
	compare_with_index(&wal, &shm, 4096);
	sqlite3_close(db);
	buf_free(&wal);
	buf_free(&file);
	buf_free(&shm);
}

/* After a restart of the log the frames of before still lie behind: their salts tell. */
static void test_old_frames_do_not_verify(void **state)
{
	(void)state;
	sqlite3 *db = make_database("restart", 1024, 25);
	sql(db, "PRAGMA wal_checkpoint(RESTART); INSERT INTO t VALUES(2)");
	struct buf wal, shm;
	struct err e = ERR_INIT;
	struct wal_header h;
	slurp("restart", "-wal", &wal);
	slurp("restart", "-shm", &shm);
	assert_int_equal(wal_header_decode(wal.data, &h, &e), ERR_OK);
	uint32_t last, n_page, cksum[2], frames = scan(&wal, &h, &last, &n_page, cksum);
	assert_true(frames >= 1 && frames < 10);
	assert_true(wal_frame_offset(frames + 1, 1024) < wal.len);
	compare_with_index(&wal, &shm, 1024);
	sqlite3_close(db);
	buf_free(&wal);
	buf_free(&shm);
}

static void test_every_flipped_bit_is_seen(void **state)
{
	(void)state;
	sqlite3 *db = make_database("flip", 512, 2);
	struct buf wal, shm;
	slurp("flip", "-wal", &wal);
	slurp("flip", "-shm", &shm);
	sqlite3_close(db);
	struct wal_header h, got;
	struct err e = ERR_INIT;
	assert_int_equal(wal_header_decode(wal.data, &h, &e), ERR_OK);
	for (size_t bit = 0; bit < 8 * WAL_HEADER_SIZE; bit++) {
		wal.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		err_clear(&e);
		assert_int_equal(wal_header_decode(wal.data, &got, &e), ERR_DATABASE);
		assert_true(e.text[0]);
		wal.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * (WAL_FRAME_HEADER_SIZE + 512); bit++) {
		uint32_t s[2] = {h.cksum[0], h.cksum[1]};
		wal.data[WAL_HEADER_SIZE + bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(wal_frame_verify(h.big_end_cksum, wal.data + WAL_HEADER_SIZE, 512, h.salt, s));
		wal.data[WAL_HEADER_SIZE + bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	struct wal_index_header index;
	for (size_t bit = 0; bit < 8 * WAL_INDEX_HEADER_SIZE; bit++) {
		shm.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(wal_index_header_decode(shm.data, &index));
		shm.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	memset(shm.data, 0, WAL_INDEX_HEADER_SIZE); /* as SQLite makes it; its checksum is right */
	assert_false(wal_index_header_decode(shm.data, &index));
	for (uint8_t init = 0; init < 2; init++) {
		const uint32_t version = WAL_INDEX_VERSION;
		uint32_t s[2] = {0, 0};
		memcpy(shm.data, &version, 4);
		shm.data[12] = init;
		sums(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__, shm.data, 40, s);
		memcpy(shm.data + 40, s, 8);
		assert_true(wal_index_header_decode(shm.data, &index) == (init == 1));
	}
	buf_free(&wal);
	buf_free(&shm);
}

/* WAL2 gets its own sentence: checksums are right, the version isn't. */
static void test_other_versions(void **state)
{
	(void)state;
	uint8_t in[WAL_HEADER_SIZE] = {0};
	struct wal_header h;
	struct err e = ERR_INIT;
	put_be32(in, 0x377f0682);
	put_be32(in + 4, 3021000);
	put_be32(in + 8, 4096);
	assert_int_equal(wal_header_decode(in, &h, &e), ERR_DATABASE);
	assert_non_null(strstr(e.text, "WAL2"));
	put_be32(in + 4, 3007000);
	put_be32(in + 8, 4095);
	assert_int_equal(wal_header_decode(in, &h, &e), ERR_DATABASE);
	assert_non_null(strstr(e.text, "page size 4095"));
}

static void test_offsets(void **state)
{
	(void)state;
	assert_true(wal_frame_offset(1, 4096) == 32);
	assert_true(wal_frame_offset(2, 512) == 32 + 24 + 512);
	assert_true(wal_frame_offset(UINT32_MAX, 65536) == 32 + (uint64_t)4294967294u * 65560);
}

static int make_dir(void **state)
{
	(void)state;
	dir = tmpdir_new();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	tmpdir_free(dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sqlite_writes_every_page_size),
		cmocka_unit_test(test_index_over_regions),
		cmocka_unit_test(test_both_byte_orders),
		cmocka_unit_test(test_old_frames_do_not_verify),
		cmocka_unit_test(test_every_flipped_bit_is_seen),
		cmocka_unit_test(test_other_versions),
		cmocka_unit_test(test_offsets),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
