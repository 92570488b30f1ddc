/* LTX files that are cut, altered or wrong: refused with the reason, in either page form. */
#include "base/endian.h"
#include "format/ltx.h"
#include "lib/ltx_build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lz4.h>
#include <lz4frame.h>

#define PAGE 512
#define FLAG LTX_CHECKSUM_FLAG

static uint8_t page[65536];

/* Reads all of it; the pages' content goes into *sum. */
static int read_all(const uint8_t *p, size_t n, uint64_t *sum, struct err *e)
{
	struct ltx_mem m = {p, n, SIZE_MAX, 0, 0, false};
	struct ltx_decoder *dec;
	uint32_t pgno;
	*sum = 0;
	int rc = ltx_decoder_new(&dec, ltx_read_mem, &m, e);
	if (rc)
		return rc;
	do {
		rc = ltx_decoder_page(dec, &pgno, page, e);
		if (!rc && pgno)
			*sum = ltx_checksum_xor(
				*sum, ltx_page_checksum(pgno, page, ltx_decoder_header(dec)->page_size));
	} while (!rc && pgno);
	if (rc) { /* and so it stays */
		struct err again = ERR_INIT;
		assert_int_equal(ltx_decoder_page(dec, &pgno, page, &again), rc);
	}
	ltx_decoder_free(dec);
	return rc;
}

/* The same with the pages taken raw, where that can be. */
static int read_all_raw(const uint8_t *p, size_t n, struct err *e)
{
	struct ltx_mem m = {p, n, SIZE_MAX, 0, 0, false};
	struct ltx_decoder *dec;
	struct ltx_unpacker *u = malloc(sizeof(*u));
	struct ltx_pages_sum sum = {0};
	struct ltx_raw raw = {1, NULL, 0};
	bool is_raw = false;
	uint64_t page_sum, pages;
	assert_non_null(u);
	int rc = ltx_decoder_new(&dec, ltx_read_mem, &m, e);
	if (rc) {
		free(u);
		return rc;
	}
	ltx_unpacker_init(u, ltx_decoder_header(dec)->page_size);
	rc = ltx_decoder_is_raw(dec, &is_raw, e);
	while (!rc && is_raw && raw.pgno) {
		rc = ltx_decoder_raw(dec, &raw, e);
		if (!rc && raw.pgno)
			rc = ltx_unpack(u, raw.data, raw.n, page, &sum, &page_sum, e);
	}
	if (!rc && is_raw)
		rc = ltx_decoder_end(dec, &sum, e);
	ltx_decoder_free(dec);
	free(u);
	return is_raw || rc ? rc : read_all(p, n, &pages, e);
}

static void refuse(struct ltx_build *b, const char *part)
{
	struct err e = ERR_INIT;
	uint64_t sum;
	int rc = read_all(b->file.data, b->file.len, &sum, &e);
	if (rc != ERR_DAMAGED || !strstr(e.text, part))
		fail_msg("rc %d, \"%s\" (want \"%s\")", rc, e.text, part);
	rc = read_all_raw(b->file.data, b->file.len, &e);
	if (rc != ERR_DAMAGED || !e.text[0])
		fail_msg("raw: rc %d, \"%s\"", rc, e.text);
	ltx_build_free(b);
}

static struct ltx_header plain(uint32_t commit, uint64_t min)
{
	return (struct ltx_header){.flags = 2,
		.page_size = PAGE,
		.commit = commit,
		.min_txid = min,
		.max_txid = min + 1,
		.wal_offset = 32};
}

static void sample(struct ltx_build *b, bool frames)
{
	struct ltx_header h = plain(4, 1);
	ltx_build_start(b, &h, frames);
	for (uint32_t pgno = 1; pgno <= 4; pgno++) {
		ltx_fill_page(page, PAGE, pgno, 3);
		ltx_build_page(b, pgno, page);
	}
	ltx_build_end(b, 0);
}

static void test_every_truncation(void **state)
{
	(void)state;
	for (int frames = 0; frames < 2; frames++) {
		struct ltx_build b;
		struct err e = ERR_INIT;
		uint64_t sum;
		sample(&b, frames);
		assert_int_equal(read_all(b.file.data, b.file.len, &sum, &e), ERR_OK);
		for (size_t n = 0; n < b.file.len; n++) {
			uint8_t *cut = malloc(n + 1);
			assert_non_null(cut);
			memcpy(cut, b.file.data, n);
			err_clear(&e);
			assert_int_equal(read_all(cut, n, &sum, &e), ERR_DAMAGED);
			assert_int_equal(read_all_raw(cut, n, &e), ERR_DAMAGED);
			assert_true(e.text[0]);
			free(cut);
		}
		assert_int_equal(buf_append(&b.file, "x", 1), ERR_OK);
		refuse(&b, "more bytes follow");
	}
}

/* A flipped bit is found, or it is one of LZ4's ways to say the same: then nothing is different. */
static void test_every_flipped_bit(void **state)
{
	(void)state;
	for (int frames = 0; frames < 2; frames++) {
		struct ltx_build b;
		struct err e = ERR_INIT;
		uint64_t want, sum;
		size_t same = 0;
		sample(&b, frames);
		assert_int_equal(read_all(b.file.data, b.file.len, &want, &e), ERR_OK);
		for (size_t bit = 0; bit < 8 * b.file.len; bit++) {
			b.file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			int rc = read_all(b.file.data, b.file.len, &sum, &e);
			assert_int_equal(read_all_raw(b.file.data, b.file.len, &e), rc);
			assert_true(rc == ERR_DAMAGED || (rc == ERR_OK && sum == want));
			same += rc == ERR_OK;
			b.file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_true(same < 100);
		ltx_build_free(&b);
	}
}

static void test_headers(void **state)
{
	(void)state;
	static const struct {
		struct ltx_header h;
		const char *part;
	} bad[] = {
		{{.flags = 3, .page_size = 512, .min_txid = 1, .max_txid = 1}, "flags 00000003"},
		{{.flags = 2, .page_size = 256, .min_txid = 1, .max_txid = 1}, "page size 256"},
		{{.flags = 2, .page_size = 513, .min_txid = 1, .max_txid = 1}, "page size 513"},
		{{.flags = 2, .page_size = 131072, .min_txid = 1, .max_txid = 1}, "page size 131072"},
		{{.flags = 2, .page_size = 0, .min_txid = 1, .max_txid = 1}, "page size 0"},
		{{.flags = 2, .page_size = 512, .min_txid = 0, .max_txid = 1}, "TXIDs"},
		{{.flags = 2, .page_size = 512, .min_txid = 3, .max_txid = 2}, "TXIDs"},
		{{.flags = 2, .page_size = 512, .min_txid = 3, .max_txid = 3, .pre_apply_checksum = FLAG},
			"pre-apply"},
		{{.flags = 0, .page_size = 512, .min_txid = 1, .max_txid = 3, .pre_apply_checksum = FLAG},
			"pre-apply"},
		{{.flags = 0, .page_size = 512, .min_txid = 3, .max_txid = 3}, "pre-apply"},
		{{.flags = 0, .page_size = 512, .min_txid = 3, .max_txid = 3, .pre_apply_checksum = 1},
			"pre-apply"},
		{{.flags = 2, .page_size = 512, .min_txid = 1, .max_txid = 1, .wal_salt2 = 1}, "salts"},
		{{.flags = 2, .page_size = 512, .min_txid = 1, .max_txid = 1, .wal_size = 1}, "WAL size"},
		{{.flags = 2, .page_size = 512, .min_txid = 1, .max_txid = 1, .wal_offset = FLAG},
			"negative"},
		{{.flags = 2,
			 .page_size = 512,
			 .min_txid = 2,
			 .max_txid = 2,
			 .ours = true,
			 .after_checksum = 5},
			"database checksum"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ltx_build b;
		ltx_build_start(&b, &bad[i].h, false);
		refuse(&b, bad[i].part);
	}
	struct ltx_build b;
	sample(&b, false);
	memcpy(b.file.data, "<!DOCTYPE html>", 15);
	refuse(&b, "not an LTX file");
}

/* Pages in the order given, the file otherwise right. */
static void refuse_pages(uint32_t commit, uint64_t min, uint32_t page_size, const uint32_t *pgnos,
	size_t n, const char *part)
{
	struct ltx_build b;
	struct ltx_header h = plain(commit, min);
	h.page_size = page_size;
	ltx_build_start(&b, &h, false);
	memset(page, 0, page_size);
	for (size_t i = 0; i < n; i++)
		ltx_build_page(&b, pgnos[i], page);
	ltx_build_end(&b, 0);
	refuse(&b, part);
}

static void test_page_numbers(void **state)
{
	(void)state;
	refuse_pages(9, 2, PAGE, (uint32_t[]){3, 2}, 2, "page 2 after page 3");
	refuse_pages(9, 2, PAGE, (uint32_t[]){3, 3}, 2, "page 3 after page 3");
	refuse_pages(9, 2, PAGE, (uint32_t[]){10}, 1, "9 pages");
	refuse_pages(9, 1, PAGE, (uint32_t[]){2}, 1, "every page");
	refuse_pages(9, 1, PAGE, (uint32_t[]){1, 3}, 2, "every page");
	refuse_pages(9, 1, PAGE, (uint32_t[]){1, 2}, 2, "all 9 pages");
	refuse_pages(9, 1, PAGE, NULL, 0, "all 9 pages");
	refuse_pages(20000, 2, 65536, (uint32_t[]){16385}, 1, "lock page");
}

static void refuse_raw(unsigned flags, const void *data, size_t n, const char *part)
{
	struct ltx_build b;
	struct ltx_header h = plain(9, 2);
	ltx_build_start(&b, &h, false);
	ltx_build_raw_page(&b, 4, flags, data, n, page);
	ltx_build_end(&b, 0);
	refuse(&b, part);
}

static void test_blocks(void **state)
{
	(void)state;
	char data[4096];
	memset(page, 7, sizeof(page));
	refuse_raw(2, "x", 1, "unknown flags 0002");
	refuse_raw(1, "", 0, "LZ4 block");
	refuse_raw(1, data, 1000, "can't be a page");
	for (int size = PAGE - 1; size <= PAGE + 1; size += 2) {
		int n = LZ4_compress_default((char *)page, data, size, sizeof(data));
		refuse_raw(1, data, (size_t)n, "page 4 at byte 100: ");
	}
	memset(data, 0xff, sizeof(data));
	refuse_raw(1, data, 300, "LZ4 block");
}

static size_t frame(char *out, const LZ4F_frameInfo_t *info, size_t content)
{
	LZ4F_preferences_t prefs = {.frameInfo = *info};
	size_t n = LZ4F_compressFrame(out, 300000, page, content, &prefs);
	assert_false(LZ4F_isError(n));
	return n;
}

/* A page's frame with the header that is asked for: LZ4F_compressFrame would lower the block size.
 */
static size_t frame_in_steps(char *out, const LZ4F_frameInfo_t *info)
{
	LZ4F_preferences_t prefs = {.frameInfo = *info};
	LZ4F_cctx *cctx;
	assert_false(LZ4F_isError(LZ4F_createCompressionContext(&cctx, LZ4F_VERSION)));
	size_t n = LZ4F_compressBegin(cctx, out, 300000, &prefs);
	n += LZ4F_compressUpdate(cctx, out + n, 300000 - n, page, PAGE, NULL);
	n += LZ4F_compressEnd(cctx, out + n, 300000 - n, NULL);
	LZ4F_freeCompressionContext(cctx);
	assert_true(n < 300000);
	return n;
}

static void test_frames(void **state)
{
	(void)state;
	char *data = malloc(300000);
	assert_non_null(data);
	memset(page, 7, sizeof(page));
	LZ4F_frameInfo_t info = {
		.blockSizeID = LZ4F_max64KB, .contentChecksumFlag = LZ4F_contentChecksumEnabled};
	refuse_raw(0, data, frame(data, &info, PAGE - 1), "511 bytes");
	refuse_raw(0, data, frame(data, &info, PAGE + 1), "more than a page");
	refuse_raw(0, data, frame(data, &info, 0), "0 bytes");
	size_t n = frame(data, &info, PAGE);
	data[n - 1] ^= 1;
	refuse_raw(0, data, n, "LZ4 frame");
	refuse_raw(0, "\x50\x2a\x4d\x18\x04\0\0\0skip", 12, "no LZ4 frame");
	info.contentChecksumFlag = LZ4F_noContentChecksum;
	refuse_raw(0, data, frame(data, &info, PAGE), "no checksum");
	info.contentChecksumFlag = LZ4F_contentChecksumEnabled;
	info.blockSizeID = LZ4F_max256KB;
	refuse_raw(0, data, frame_in_steps(data, &info), "blocks over 64 KiB");
	info.blockSizeID = LZ4F_max64KB;
	info.dictID = 7;
	refuse_raw(0, data, frame_in_steps(data, &info), "a dictionary");
	free(data);
}

/* Two frames for one page: the second one stands where the next page header must be. */
static void test_exactly_one_frame(void **state)
{
	(void)state;
	char data[2048];
	memset(page, 7, sizeof(page));
	LZ4F_preferences_t prefs = {.frameInfo = {.blockSizeID = LZ4F_max64KB,
									.contentChecksumFlag = LZ4F_contentChecksumEnabled}};
	size_t n = LZ4F_compressFrame(data, sizeof(data), page, PAGE, &prefs);
	memcpy(data + n, data, n);
	refuse_raw(0, data, 2 * n, "page ");

	struct err e = ERR_INIT;
	uint8_t alone[2048] = {0, 0, 0, 4, 0, 0};
	memcpy(alone + 6, data, 2 * n);
	assert_int_equal(ltx_page_decode(alone, 6 + n, PAGE, 4, page, &e), ERR_OK);
	assert_int_equal(ltx_page_decode(alone, 6 + 2 * n, PAGE, 4, page, &e), ERR_DAMAGED);
	assert_int_equal(ltx_page_decode(alone, 6 + n - 1, PAGE, 4, page, &e), ERR_DAMAGED);
}

static void test_trailer(void **state)
{
	(void)state;
	struct ltx_build b;
	struct ltx_header h = plain(9, 2);
	ltx_build_start(&b, &h, false);
	ltx_build_end(&b, FLAG);
	refuse(&b, "post-apply");
	h.flags = 0;
	h.pre_apply_checksum = FLAG | 1;
	ltx_build_start(&b, &h, false);
	ltx_build_end(&b, 1);
	refuse(&b, "post-apply");
	sample(&b, false);
	b.file.data[b.file.len - 1] ^= 1;
	refuse(&b, "was altered");
	sample(&b, false);
	b.file.data[b.file.len - 8] ^= 0x80; /* the flag of the checksum */
	refuse(&b, "was altered");
}

static void sample_part(struct ltx_build *b, uint64_t index_length_off)
{
	struct ltx_header h = plain(9, 2);
	ltx_build_start(b, &h, false);
	ltx_build_page(b, 4, page);
	b->index_length_off = index_length_off;
	ltx_build_end(b, 0);
}

/* An index that lies, in a file whose checksum is right. */
static void test_index(void **state)
{
	(void)state;
	struct ltx_build b;
	struct ltx_header h = plain(9, 2);
	memset(page, 0, PAGE);
	ltx_build_start(&b, &h, false);
	ltx_build_page(&b, 4, page);
	b.index.data[0] = 5;
	ltx_build_end(&b, 0);
	struct err e = ERR_INIT;
	struct ltx_index_entry *entries;
	size_t count, need;
	assert_int_equal(
		ltx_index_decode(b.file.data, b.file.len, b.file.len, &entries, &count, &need, &e),
		ERR_OK); /* alone it looks fine; the page it leads to says 4 */
	free(entries);
	refuse(&b, "page index");

	sample_part(&b, 3);
	refuse(&b, "page index");
	for (int wrong = 1; wrong <= 2; wrong++) { /* its offset, its size */
		ltx_build_start(&b, &h, false);
		ltx_build_page(&b, 4, page);
		b.index.data[wrong]++;
		ltx_build_end(&b, 0);
		assert_int_equal(
			ltx_index_decode(b.file.data, b.file.len, b.file.len, &entries, &count, &need, &e),
			ERR_DAMAGED);
		refuse(&b, "page index");
	}
}

static void test_index_length(void **state)
{
	(void)state;
	struct ltx_build b;
	struct err e = ERR_INIT;
	struct ltx_index_entry *entries;
	size_t count, need = 77;
	sample(&b, false);
	const uint64_t lengths[] = {
		0, 1, b.index.len - 1, b.index.len + 1, b.file.len, FLAG, UINT64_MAX, UINT64_MAX - 23};
	uint8_t *at = b.file.data + b.file.len - 24;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		put_be64(at, lengths[i]);
		assert_int_equal(
			ltx_index_decode(b.file.data, b.file.len, b.file.len, &entries, &count, &need, &e),
			ERR_DAMAGED);
	}
	ltx_build_free(&b);
	struct ltx_header h = plain(9, 2);
	for (int twice = 0; twice < 2; twice++) { /* pages out of order, one of them twice */
		ltx_build_start(&b, &h, false);
		ltx_build_page(&b, 4, page);
		ltx_build_page(&b, twice ? 4 : 3, page);
		ltx_build_end(&b, 0);
		assert_int_equal(
			ltx_index_decode(b.file.data, b.file.len, b.file.len, &entries, &count, &need, &e),
			ERR_DAMAGED);
		ltx_build_free(&b);
	}
	const uint8_t tail[24] = {0};
	assert_int_equal(ltx_index_decode(tail, 24, 24, &entries, &count, &need, &e), ERR_DAMAGED);
}

/* A store that fails at any call: its own error comes back, nothing is said about damage. */
static void test_reader_fails(void **state)
{
	(void)state;
	struct ltx_build b;
	sample(&b, true);
	for (unsigned fail_at = 1;; fail_at++) {
		struct ltx_mem m = {b.file.data, b.file.len, 50, 0, fail_at, false};
		struct err e = ERR_INIT;
		struct ltx_decoder *dec;
		uint32_t pgno = 1;
		int rc = ltx_decoder_new(&dec, ltx_read_mem, &m, &e);
		if (!rc) {
			while (!rc && pgno)
				rc = ltx_decoder_page(dec, &pgno, page, &e);
			ltx_decoder_free(dec);
		}
		if (!rc) {
			assert_true(fail_at > 20);
			break;
		}
		assert_int_equal(rc, ERR_UNREACHABLE);
		assert_non_null(strstr(e.text, "the test's reader fails"));
	}
	ltx_build_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_every_flipped_bit),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_page_numbers),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_exactly_one_frame),
		cmocka_unit_test(test_trailer),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_index_length),
		cmocka_unit_test(test_reader_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
