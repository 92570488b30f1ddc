/* LTX files: what we write is right by a second implementation, what others wrote is read. */
#include "base/fs.h"
#include "format/ltx.h"
#include "lib/ltx_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SAMPLE "tests/data/litestream-0.5.17-0000000000000001-0000000000000001.ltx"
#define FLAG LTX_CHECKSUM_FLAG

static uint8_t page[65536], other[65536];

static struct ltx_header header(uint32_t page_size, uint32_t commit, uint64_t min, uint64_t max)
{
	return (struct ltx_header){.flags = LTX_FLAG_NO_CHECKSUM,
		.page_size = page_size,
		.commit = commit,
		.min_txid = min,
		.max_txid = max,
		.timestamp = 1763640000123,
		.wal_offset = 32,
		.node_id = UINT64_C(0x1122334455667788),
		.ours = true,
		.before_checksum = min == 1 ? 0 : (FLAG | 5),
		.after_checksum = FLAG | 7};
}

static void assert_err(int rc, int want, const struct err *e, const char *part)
{
	if (rc != want || (part && !strstr(e->text, part)))
		print_error("rc %d (want %d): \"%s\" (want \"%s\")\n", rc, want, e->text, part ? part : "");
	assert_int_equal(rc, want);
	assert_true(!part || strstr(e->text, part));
	assert_true(want == ERR_OK || (int)e->code == want);
}

/* Encodes the given pages, filled by ltx_fill_page with seed 1. */
static void encode(struct buf *out, const struct ltx_header *h, const uint32_t *pgnos, size_t n,
	uint64_t *checksum)
{
	struct err e = ERR_INIT;
	struct ltx_encoder *enc;
	uint64_t size;
	buf_init(out, (size_t)1 << 30);
	assert_err(ltx_encoder_new(&enc, h, ltx_write_buf, out, &e), ERR_OK, &e, NULL);
	for (size_t i = 0; i < n; i++) {
		ltx_fill_page(page, h->page_size, pgnos[i], 1);
		assert_err(ltx_encoder_page(enc, pgnos[i], page, &e), ERR_OK, &e, NULL);
	}
	assert_err(ltx_encoder_finish(enc, checksum, &size, &e), ERR_OK, &e, NULL);
	assert_true(size == out->len);
	assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_FAIL);
	assert_int_equal(ltx_encoder_page(enc, 1, page, &e), ERR_FAIL);
	ltx_encoder_free(enc);
}

/* Decodes a whole file in pieces and compares pages with ltx_fill_page. */
static void decode(const struct buf *file, size_t piece, const uint32_t *pgnos, size_t n,
	struct ltx_header *h, uint64_t *checksum)
{
	struct err e = ERR_INIT;
	struct ltx_mem m = {file->data, file->len, piece, 0, 0, false};
	struct ltx_decoder *dec;
	assert_err(ltx_decoder_new(&dec, ltx_read_mem, &m, &e), ERR_OK, &e, NULL);
	*h = *ltx_decoder_header(dec);
	uint32_t pgno;
	for (size_t i = 0; i < n; i++) {
		assert_err(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK, &e, NULL);
		assert_int_equal(pgno, pgnos[i]);
		ltx_fill_page(other, h->page_size, pgno, 1);
		assert_memory_equal(page, other, h->page_size);
	}
	for (int again = 0; again < 2; again++) {
		assert_err(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK, &e, NULL);
		assert_int_equal(pgno, 0);
	}
	*checksum = ltx_decoder_file_checksum(dec);
	ltx_decoder_free(dec);
}

/* The same with pages taken raw and unpacked in batches of random sizes. Files of the frame form
 * say that they can't be read so. */
static void decode_raw(
	const struct buf *file, size_t piece, const uint32_t *pgnos, size_t n, bool frames)
{
	struct err e = ERR_INIT;
	struct ltx_mem m = {file->data, file->len, piece, 0, 0, false};
	struct ltx_decoder *dec;
	struct ltx_raw raw;
	struct ltx_pages_sum all = {0}, batch = {0};
	struct ltx_unpacker *u = malloc(sizeof(*u));
	bool is_raw;
	assert_err(ltx_decoder_new(&dec, ltx_read_mem, &m, &e), ERR_OK, &e, NULL);
	uint32_t page_size = ltx_decoder_header(dec)->page_size;
	ltx_unpacker_init(u, page_size);
	assert_err(ltx_decoder_is_raw(dec, &is_raw, &e), ERR_OK, &e, NULL);
	assert_int_equal(is_raw, !frames && n > 0);
	for (size_t i = 0; is_raw && i < n; i++) {
		uint64_t sum;
		assert_err(ltx_decoder_raw(dec, &raw, &e), ERR_OK, &e, NULL);
		assert_int_equal(raw.pgno, pgnos[i]);
		assert_true(raw.n <= ltx_raw_max(page_size));
		assert_err(ltx_unpack(u, raw.data, raw.n, page, &batch, &sum, &e), ERR_OK, &e, NULL);
		ltx_fill_page(other, page_size, pgnos[i], 1);
		assert_memory_equal(page, other, page_size);
		assert_true(sum == ltx_page_checksum(pgnos[i], page, page_size));
		if (rand() % 3 == 0) {
			ltx_pages_sum_add(u, &all, &batch);
			batch = (struct ltx_pages_sum){0};
		}
	}
	if (is_raw) {
		ltx_pages_sum_add(u, &all, &batch);
		assert_err(ltx_decoder_raw(dec, &raw, &e), ERR_OK, &e, NULL);
		assert_int_equal(raw.pgno, 0);
		assert_err(ltx_decoder_end(dec, &all, &e), ERR_OK, &e, NULL);
	}
	ltx_decoder_free(dec);
	free(u);
}

/* What an index entry points at decodes to that page. */
static void check_index(const struct buf *file, uint32_t page_size, const uint32_t *pgnos, size_t n)
{
	struct err e = ERR_INIT;
	struct ltx_index_entry *entries = NULL;
	size_t count = 0, have = 0, need = 1;
	for (int round = 0; need; round++) {
		assert_true(round < 4);
		assert_err(ltx_index_decode(
					   file->data + file->len - have, have, file->len, &entries, &count, &need, &e),
			ERR_OK, &e, NULL);
		assert_true(need == 0 || need > have);
		have = need;
	}
	assert_int_equal(count, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(entries[i].pgno, pgnos[i]);
		assert_true(entries[i].offset + entries[i].size <= file->len);
		const uint8_t *p = file->data + entries[i].offset;
		assert_err(
			ltx_page_decode(p, entries[i].size, page_size, pgnos[i], page, &e), ERR_OK, &e, NULL);
		ltx_fill_page(other, page_size, pgnos[i], 1);
		assert_memory_equal(page, other, page_size);
		assert_err(ltx_page_decode(p, entries[i].size, page_size, pgnos[i] + 1, page, &e),
			ERR_DAMAGED, &e, "page index");
	}
	free(entries);
}

/* Field by field, through their bytes: padding in the structs may hold anything. */
static void assert_same_header(const struct ltx_header *a, const struct ltx_header *b)
{
	uint8_t x[LTX_HEADER_SIZE], y[LTX_HEADER_SIZE];
	struct err e = ERR_INIT;
	assert_int_equal(ltx_header_encode(a, x, &e), ERR_OK);
	assert_int_equal(ltx_header_encode(b, y, &e), ERR_OK);
	assert_memory_equal(x, y, LTX_HEADER_SIZE);
}

static void round_trip(
	uint32_t page_size, uint32_t commit, uint64_t min, const uint32_t *pgnos, size_t n)
{
	struct ltx_header h = header(page_size, commit, min, min + 3), got;
	struct buf file;
	uint64_t written, read;
	encode(&file, &h, pgnos, n, &written);
	const size_t pieces[] = {SIZE_MAX, 1, 100, 4097};
	for (size_t i = 0; i < 4; i++) {
		decode(&file, pieces[i], pgnos, n, &got, &read);
		assert_same_header(&got, &h);
		assert_true(read == written);
		decode_raw(&file, pieces[i], pgnos, n, false);
	}
	check_index(&file, page_size, pgnos, n);

	/* The second implementation makes the same bytes, and the frame form of them is read too. */
	for (int frames = 0; frames < 2; frames++) {
		struct ltx_build b;
		ltx_build_start(&b, &h, frames);
		for (size_t i = 0; i < n; i++) {
			ltx_fill_page(page, page_size, pgnos[i], 1);
			ltx_build_page(&b, pgnos[i], page);
		}
		ltx_build_end(&b, 0);
		if (!frames) {
			assert_int_equal(b.file.len, file.len);
			assert_memory_equal(b.file.data, file.data, file.len);
		} else {
			for (size_t i = 0; i < 4; i++)
				decode(&b.file, pieces[i], pgnos, n, &got, &read);
			decode_raw(&b.file, SIZE_MAX, pgnos, n, true);
			check_index(&b.file, page_size, pgnos, n);
		}
		ltx_build_free(&b);
	}
	buf_free(&file);
}

static void test_round_trip_every_page_size(void **state)
{
	(void)state;
	const uint32_t all[] = {1, 2, 3, 4, 5}, some[] = {2, 130, 131, 70000};
	for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
		round_trip(page_size, 5, 1, all, 5);
		round_trip(page_size, 70000, 9, some, page_size == 16384 ? 3 : 4);
		round_trip(page_size, 1, 2, NULL, 0);
	}
}

static void test_lock_page_numbers(void **state)
{
	(void)state;
	assert_int_equal(ltx_lock_page(512), 2097153);
	assert_int_equal(ltx_lock_page(4096), 262145);
	assert_int_equal(ltx_lock_page(65536), 16385);
}

/* A full file over the lock page, and one that ends on it: the page before it is the last. */
static void test_lock_page_is_left_out(void **state)
{
	(void)state;
	const uint32_t lock = ltx_lock_page(65536);
	for (uint32_t commit = lock - 1; commit <= lock + 1; commit++) {
		struct err e = ERR_INIT;
		struct buf out;
		struct ltx_encoder *enc;
		struct ltx_header h = header(65536, commit, 1, 1);
		buf_init(&out, (size_t)1 << 30);
		assert_int_equal(ltx_encoder_new(&enc, &h, ltx_write_buf, &out, &e), ERR_OK);
		memset(page, 0, sizeof(page));
		for (uint32_t pgno = 1; pgno <= commit; pgno++) {
			if (pgno == lock)
				assert_err(ltx_encoder_page(enc, pgno, page, &e), ERR_FAIL, &e, "lock page");
			else
				assert_err(ltx_encoder_page(enc, pgno, page, &e), ERR_OK, &e, NULL);
		}
		assert_err(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_OK, &e, NULL);
		ltx_encoder_free(enc);

		struct ltx_mem m = {out.data, out.len, SIZE_MAX, 0, 0, false};
		struct ltx_decoder *dec;
		assert_int_equal(ltx_decoder_new(&dec, ltx_read_mem, &m, &e), ERR_OK);
		uint32_t pgno = 0, last = 0, count = 0;
		do {
			last = pgno;
			assert_err(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK, &e, NULL);
			count += pgno != 0;
		} while (pgno);
		assert_int_equal(last, commit == lock ? lock - 1 : commit);
		assert_int_equal(count, commit >= lock ? commit - 1 : commit);
		ltx_decoder_free(dec);
		buf_free(&out);
	}
}

static void test_header_bytes(void **state)
{
	(void)state;
	struct ltx_header h = header(4096, 3, 2, 2);
	h.flags = 0;
	h.wal_offset = 99;
	h.wal_salt1 = 1;
	h.pre_apply_checksum = FLAG;
	struct buf file;
	encode(&file, &h, NULL, 0, NULL);
	static const uint8_t want[LTX_HEADER_SIZE] = {'L', 'T', 'X', '1', 0, 0, 0, 2, 0, 0, 0x10, 0, 0,
		0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0x01, 0x9a, 0xa1, 0x22, 0xbe,
		0x7b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 'D', 'L', 'S', '1', 0x80, 0, 0,
		0, 0, 0, 0, 5, 0x80, 0, 0, 0, 0, 0, 0, 7};
	assert_memory_equal(file.data, want, sizeof(want));
	buf_free(&file);
}

/* The file that Litestream's VFS 0.5.17 wrote: a table t with a row "hello". */
static void test_litestream_sample(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct buf file;
	buf_init(&file, 65536);
	assert_err(fs_read_file(SAMPLE, &file, &e), ERR_OK, &e, NULL);
	struct ltx_mem m = {file.data, file.len, 7, 0, 0, false};
	struct ltx_decoder *dec;
	assert_err(ltx_decoder_new(&dec, ltx_read_mem, &m, &e), ERR_OK, &e, NULL);
	const struct ltx_header *h = ltx_decoder_header(dec);
	assert_int_equal(h->page_size, 4096);
	assert_int_equal(h->commit, 3);
	assert_true(h->min_txid == 1 && h->max_txid == 1 && !h->ours && h->timestamp == 0x1a1f883ea93);
	uint32_t pgno;
	for (uint32_t want = 1; want <= 3; want++) {
		assert_err(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK, &e, NULL);
		assert_int_equal(pgno, want);
		if (pgno == 1)
			assert_string_equal((char *)page, "SQLite format 3");
	}
	assert_err(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK, &e, NULL);
	assert_int_equal(pgno, 0);
	assert_true(ltx_decoder_file_checksum(dec) == UINT64_C(0xc9e31fdb153235cf));
	ltx_decoder_free(dec);

	struct ltx_index_entry *entries;
	size_t count, need;
	assert_err(ltx_index_decode(file.data, file.len, file.len, &entries, &count, &need, &e), ERR_OK,
		&e, NULL);
	assert_int_equal(count, 3);
	assert_int_equal(entries[0].offset, 100);
	assert_err(ltx_page_decode(file.data + entries[2].offset, entries[2].size, 4096, 3, page, &e),
		ERR_OK, &e, NULL);
	free(entries);
	buf_free(&file);
}

/* LiteFS-like files, which keep database checksums: these are verified. */
static void test_tracked_checksums(void **state)
{
	(void)state;
	struct ltx_header h = {.page_size = 1024, .commit = 2, .min_txid = 1, .max_txid = 4};
	uint64_t sum = 0;
	for (int wrong = 0; wrong < 2; wrong++) {
		struct ltx_build b;
		ltx_build_start(&b, &h, false);
		for (uint32_t pgno = 1; pgno <= 2; pgno++) {
			ltx_fill_page(page, 1024, pgno, 1);
			ltx_build_page(&b, pgno, page);
			if (!wrong)
				sum = ltx_checksum_xor(sum, ltx_page_checksum(pgno, page, 1024));
		}
		ltx_build_end(&b, wrong ? sum ^ 1 : sum);
		struct err e = ERR_INIT;
		struct ltx_mem m = {b.file.data, b.file.len, SIZE_MAX, 0, 0, false};
		struct ltx_decoder *dec;
		assert_err(ltx_decoder_new(&dec, ltx_read_mem, &m, &e), ERR_OK, &e, NULL);
		uint32_t pgno;
		assert_int_equal(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK);
		assert_int_equal(ltx_decoder_page(dec, &pgno, page, &e), ERR_OK);
		assert_err(ltx_decoder_page(dec, &pgno, page, &e), wrong ? ERR_DAMAGED : ERR_OK, &e,
			wrong ? "post-apply" : NULL);
		ltx_decoder_free(dec);
		ltx_build_free(&b);
	}
}

static void test_database_checksum(void **state)
{
	(void)state;
	uint64_t sum = 0, a, b;
	memset(page, 1, 512);
	a = ltx_page_checksum(1, page, 512);
	b = ltx_page_checksum(2, page, 512);
	assert_true((a & FLAG) && (b & FLAG) && a != b);
	sum = ltx_checksum_xor(ltx_checksum_xor(sum, a), b);
	assert_true(sum == (FLAG | (a ^ b)));
	assert_true(ltx_checksum_xor(sum, b) == a);
}

static void test_encoder_refuses(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct buf out;
	struct ltx_encoder *enc;
	buf_init(&out, 1 << 20);
	struct ltx_header h = header(512, 10, 1, 1);
	memset(page, 0, 512);
	assert_int_equal(ltx_encoder_new(&enc, &h, ltx_write_buf, &out, &e), ERR_OK);
	assert_err(ltx_encoder_page(enc, 0, page, &e), ERR_FAIL, &e, "page 0");
	assert_err(ltx_encoder_page(enc, 2, page, &e), ERR_FAIL, &e, "every page");
	assert_int_equal(ltx_encoder_page(enc, 1, page, &e), ERR_OK);
	assert_err(ltx_encoder_page(enc, 1, page, &e), ERR_FAIL, &e, "page 1 after page 1");
	assert_err(ltx_encoder_page(enc, 3, page, &e), ERR_FAIL, &e, "every page");
	assert_err(ltx_encoder_page(enc, 11, page, &e), ERR_FAIL, &e, "10 pages");
	assert_err(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_FAIL, &e, "ends after page 1");
	for (uint32_t pgno = 2; pgno <= 10; pgno++)
		assert_int_equal(ltx_encoder_page(enc, pgno, page, &e), ERR_OK);
	assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_OK);
	ltx_encoder_free(enc);

	struct ltx_header bad[] = {h, h, h, h, h, h, h};
	bad[0].commit = 0;
	bad[1].page_size = 1000;
	bad[2].page_size = 131072;
	bad[3].min_txid = 0;
	bad[4].max_txid = 0;
	bad[5].after_checksum = 7;
	bad[6].before_checksum = FLAG;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ltx_encoder_new(&enc, &bad[i], ltx_write_buf, &out, &e), ERR_FAIL);
	ltx_encoder_free(NULL);
	buf_free(&out);
}

/* A writer that fails for every amount of room: its code comes back and sticks. */
static void test_encoder_write_fails(void **state)
{
	(void)state;
	struct ltx_header h = header(4096, 40, 1, 1);
	struct buf whole;
	uint32_t pgnos[40];
	for (uint32_t i = 0; i < 40; i++)
		pgnos[i] = i + 1;
	encode(&whole, &h, pgnos, 40, NULL);
	for (size_t room = 0; room < whole.len; room += 501) {
		struct err e = ERR_INIT;
		struct buf out;
		struct ltx_encoder *enc;
		buf_init(&out, room);
		assert_int_equal(ltx_encoder_new(&enc, &h, ltx_write_buf, &out, &e), ERR_OK);
		int rc = ERR_OK;
		for (uint32_t i = 0; i < 40 && !rc; i++)
			rc = ltx_encoder_page(enc, pgnos[i], page, &e);
		if (!rc)
			rc = ltx_encoder_finish(enc, NULL, NULL, &e);
		assert_err(rc, ERR_FULL, &e, "the buffer is full");
		assert_err(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_FULL, &e, "failed before");
		ltx_encoder_free(enc);
		buf_free(&out);
	}
	buf_free(&whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_every_page_size),
		cmocka_unit_test(test_lock_page_numbers),
		cmocka_unit_test(test_lock_page_is_left_out),
		cmocka_unit_test(test_header_bytes),
		cmocka_unit_test(test_litestream_sample),
		cmocka_unit_test(test_tracked_checksums),
		cmocka_unit_test(test_database_checksum),
		cmocka_unit_test(test_encoder_refuses),
		cmocka_unit_test(test_encoder_write_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
