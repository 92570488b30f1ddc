/* What Litestream 0.3 wrote, as bytes: names, LZ4 frames, WALs. */
#include "format/v3.h"

#include "base/endian.h"
#include "format/dbheader.h"
#include "lib/tmpdir.h"
#include "lib/v3_build.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- names ---- */

static void test_names(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		struct v3_file f;
	} good[] = {
		{"generations/c2917f0dba5c4124/snapshots/00000000.snapshot.lz4",
			{.generation = UINT64_C(0xc2917f0dba5c4124), .snapshot = true}},
		{"generations/0000000000000001/snapshots/7fffffff.snapshot.lz4",
			{.generation = 1, .snapshot = true, .index = INT32_MAX}},
		{"generations/c2917f0dba5c4124/wal/0000001c_00000000.wal.lz4",
			{.generation = UINT64_C(0xc2917f0dba5c4124), .index = 28}},
		{"generations/c2917f0dba5c4124/wal/00000000_000111b8.wal.lz4",
			{.generation = UINT64_C(0xc2917f0dba5c4124), .offset = 0x111b8}},
		{"generations/c2917f0dba5c4124/wal/00000000_123456789.wal.lz4",
			{.generation = UINT64_C(0xc2917f0dba5c4124), .offset = UINT64_C(0x123456789)}},
		{"generations/c2917f0dba5c4124/wal/00000000_ffffffffffffffff.wal.lz4",
			{.generation = UINT64_C(0xc2917f0dba5c4124), .offset = UINT64_MAX}},
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct v3_file f = {0};
		char name[V3_NAME_SIZE];
		assert_true(v3_parse_name(good[i].name, &f));
		assert_int_equal(f.generation, good[i].f.generation);
		assert_int_equal(f.snapshot, good[i].f.snapshot);
		assert_int_equal(f.index, good[i].f.index);
		assert_int_equal(f.offset, good[i].f.offset);
		assert_string_equal(v3_format_name(&f, name), good[i].name);
	}
}

static void test_other_names(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"generations/",
		"generations/c2917f0dba5c4124/",
		"generations/c2917f0dba5c412/snapshots/00000000.snapshot.lz4",
		"generations/c2917f0dba5c41244/snapshots/00000000.snapshot.lz4",
		"generations/C2917F0DBA5C4124/snapshots/00000000.snapshot.lz4",
		"generations/c2917f0dba5c4124/snapshots/80000000.snapshot.lz4",
		"generations/c2917f0dba5c4124/snapshots/0000000.snapshot.lz4",
		"generations/c2917f0dba5c4124/snapshots/00000000.snapshot.lz4.tmp",
		"generations/c2917f0dba5c4124/snapshots/00000000_00000000.snapshot.lz4",
		"generations/c2917f0dba5c4124/wal/00000000.wal.lz4",
		"generations/c2917f0dba5c4124/wal/00000000_0000000.wal.lz4",
		"generations/c2917f0dba5c4124/wal/00000000_00000000000000000.wal.lz4",
		"generations/c2917f0dba5c4124/wal/00000000_0000000g.wal.lz4",
		"generations/c2917f0dba5c4124/wal/00000000_00000000.wal",
		"/generations/c2917f0dba5c4124/wal/00000000_00000000.wal.lz4",
		"ltx/0/0000000000000001-0000000000000001.ltx",
	};
	struct v3_file f;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (v3_parse_name(bad[i], &f))
			fail_msg("%s", bad[i]);
}

static void test_words(void **state)
{
	(void)state;
	uint64_t g;
	uint32_t i;
	assert_true(v3_parse_generation("c2917f0dba5c4124", &g) && g == UINT64_C(0xc2917f0dba5c4124));
	assert_false(v3_parse_generation("c2917f0dba5c412", &g));
	assert_false(v3_parse_generation("c2917f0dba5c41240", &g));
	assert_false(v3_parse_generation("C2917F0DBA5C4124", &g));
	assert_true(v3_parse_index("0", &i) && i == 0);
	assert_true(v3_parse_index("1C", &i) && i == 28);
	assert_true(v3_parse_index("7fffffff", &i) && i == V3_INDEX_MAX);
	assert_false(v3_parse_index("80000000", &i));
	assert_false(v3_parse_index("", &i));
	assert_false(v3_parse_index("-1", &i));
	assert_false(v3_parse_index("000000001", &i));
}

static void test_order(void **state)
{
	(void)state;
	struct v3_set s;
	v3_set_init(&s);
	const struct v3_file files[] = {
		{.generation = 2, .index = 1, .offset = 0},
		{.generation = 1, .index = 1, .offset = 32, .modified_ms = 5},
		{.generation = 1, .index = 1, .offset = 32, .modified_ms = 9},
		{.generation = 1, .index = 0, .offset = 4152},
		{.generation = 1, .index = 3, .snapshot = true},
		{.generation = 1, .index = 1, .offset = 0},
		{.generation = 1, .index = 0, .snapshot = true},
	};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_int_equal(v3_set_add(&s, &files[i]), ERR_OK);
	v3_set_sort(&s);
	assert_int_equal(s.count, 6);
	assert_true(s.files[0].snapshot && s.files[0].index == 0);
	assert_true(s.files[1].snapshot && s.files[1].index == 3);
	assert_true(!s.files[2].snapshot && s.files[2].offset == 4152);
	assert_true(s.files[3].index == 1 && s.files[3].offset == 0);
	assert_int_equal(s.files[4].modified_ms, 9); /* of two listings of one name the newer */
	assert_int_equal(s.files[5].generation, 2);
	v3_set_free(&s);
}

/* ---- frames ---- */

struct source {
	const uint8_t *p;
	size_t n, at, step;
	bool fails;
};

static ptrdiff_t give(void *ctx, void *p, size_t n, struct err *e)
{
	struct source *s = ctx;
	if (s->fails) {
		err_set(e, ERR_UNREACHABLE, "no network");
		return -1;
	}
	size_t left = s->n - s->at, take = n < s->step ? n : s->step;
	take = take < left ? take : left;
	memcpy(p, s->p + s->at, take);
	s->at += take;
	return (ptrdiff_t)take;
}

/* Decodes n bytes of an object, `step` at a time each way: its length, or -1 with the code in *e.
 */
static ptrdiff_t decode(struct v3_stream *s, const void *p, size_t n, size_t step, uint8_t *out,
	size_t room, struct err *e)
{
	struct source from = {.p = p, .n = n, .step = step};
	size_t done = 0;
	err_clear(e);
	v3_stream_begin(s, give, &from);
	for (;;) {
		uint8_t more[100];
		size_t left = room - done, want = step < left ? step : left;
		/* What is too long has a wrong checksum, too: read on to the end. */
		ptrdiff_t got = left ? v3_stream_read(s, out + done, want, e)
							 : v3_stream_read(s, more, sizeof(more), e);
		if (got < 0)
			return -1;
		if (left)
			done += (size_t)got;
		if ((size_t)got < (left ? want : sizeof(more)))
			return (ptrdiff_t)done;
	}
}

#define CONTENT 70000

static uint8_t *some_content(void)
{
	uint8_t *p = malloc(CONTENT);
	assert_non_null(p);
	for (size_t i = 0; i < CONTENT; i++)
		p[i] = (uint8_t)(i % 7 ? i / 100 : (size_t)rand());
	return p;
}

static void test_frames(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct v3_stream *s;
	uint8_t *content = some_content(), *out = malloc(CONTENT + 100);
	size_t n;
	uint8_t *frame = v3_compress(content, CONTENT, &n);
	assert_int_equal(v3_stream_new(&s, &e), ERR_OK);
	static const size_t steps[] = {1, 3, 4096, 100000};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_int_equal(decode(s, frame, n, steps[i], out, CONTENT + 100, &e), CONTENT);
		assert_memory_equal(out, content, CONTENT);
	}
	/* Cut off anywhere, changed anywhere: never taken for whole. */
	for (size_t cut = 0; cut < n; cut += cut < 100 ? 1 : 37) {
		assert_int_equal(decode(s, frame, cut, 1000, out, CONTENT + 100, &e), -1);
		assert_int_equal(e.code, ERR_DAMAGED);
		assert_true(e.text[0]);
	}
	for (size_t at = 0; at < n; at += at < 50 ? 1 : 41) {
		frame[at] ^= 0x10;
		ptrdiff_t got = decode(s, frame, n, 1000, out, CONTENT + 100, &e);
		/* A match elsewhere may hold the same bytes. */
		if (got >= 0 && (got != CONTENT || memcmp(out, content, CONTENT) != 0))
			fail_msg("byte %zu may be changed", at);
		assert_true(got >= 0 || e.code == ERR_DAMAGED);
		frame[at] ^= 0x10;
	}
	assert_int_equal(decode(s, frame, n, 1000, out, CONTENT + 100, &e), CONTENT);
	v3_stream_free(s);
	free(frame);
	free(out);
	free(content);
}

static void expect_refused(struct v3_stream *s, const void *p, size_t n, int code, const char *text)
{
	struct err e = ERR_INIT;
	uint8_t out[200];
	assert_int_equal(decode(s, p, n, 50, out, sizeof(out), &e), -1);
	if ((int)e.code != code || !strstr(e.text, text))
		fail_msg("%d: %s", e.code, e.text);
	assert_false(v3_stream_read_failed(s));
}

static void test_what_is_no_frame(void **state)
{
	(void)state;
	struct err e = ERR_INIT;
	struct v3_stream *s;
	size_t n;
	uint8_t *frame = v3_compress("fruit", 5, &n), out[10];
	assert_int_equal(v3_stream_new(&s, &e), ERR_OK);
	expect_refused(s, "", 0, ERR_DAMAGED, "empty");
	expect_refused(s, "SQLite format 3", 16, ERR_DAMAGED, "no LZ4 frame");
	expect_refused(s, "age-encryption.org/v1\n-> X25519 abc", 34, ERR_UNSUPPORTED, "age");
	uint8_t *two = malloc(2 * n);
	memcpy(two, frame, n);
	memcpy(two + n, frame, n);
	expect_refused(s, two, 2 * n, ERR_DAMAGED, "something follows");
	expect_refused(s, two, n + 1, ERR_DAMAGED, "something follows");
	/* A skippable frame would give nothing, silently. */
	put_le32(two, 0x184D2A50);
	expect_refused(s, two, 2 * n, ERR_DAMAGED, "no LZ4 frame");
	struct source broken = {.fails = true};
	v3_stream_begin(s, give, &broken);
	assert_int_equal(v3_stream_read(s, out, sizeof(out), &e), -1);
	assert_true(e.code == ERR_UNREACHABLE && v3_stream_read_failed(s));
	v3_stream_free(s);
	free(two);
	free(frame);
}

/* ---- WALs ---- */

static void test_wal(void **state)
{
	(void)state;
	char *dir = tmpdir_new();
	struct v3_bed b;
	struct v3_wal w;
	struct err e = ERR_INIT;
	struct wal_frame_header h;
	size_t n;
	v3_bed_open(&b, NULL, dir, 512);
	v3_bed_sql(&b, "INSERT INTO t(b) VALUES (zeroblob(3000))");
	uint8_t *wal = v3_slurp(b.wal, &n), *frame = wal + WAL_HEADER_SIZE;
	v3_wal_begin(&w, 1024);
	assert_int_equal(v3_wal_header(&w, wal, &e), ERR_DAMAGED);
	v3_wal_begin(&w, 512);
	assert_int_equal(v3_wal_header(&w, wal, &e), ERR_OK);
	const struct v3_wal begun = w;
	for (; frame < wal + n; frame += WAL_FRAME_HEADER_SIZE + 512) {
		assert_int_equal(w.offset, frame - wal);
		assert_int_equal(v3_wal_frame(&w, frame, &h, &e), ERR_OK);
		assert_int_equal(h.commit != 0, frame + WAL_FRAME_HEADER_SIZE + 512 == wal + n);
	}
	frame = wal + WAL_HEADER_SIZE;
	/* Not in place; of another WAL; changed; of page 0. */
	w = begun;
	assert_int_equal(v3_wal_frame(&w, frame + WAL_FRAME_HEADER_SIZE + 512, &h, &e), ERR_DAMAGED);
	w = begun;
	frame[8]++;
	assert_int_equal(v3_wal_frame(&w, frame, &h, &e), ERR_DAMAGED);
	assert_non_null(strstr(e.text, "salts"));
	frame[8]--;
	frame[300] ^= 1;
	w = begun;
	assert_int_equal(v3_wal_frame(&w, frame, &h, &e), ERR_DAMAGED);
	assert_non_null(strstr(e.text, "checksum"));
	assert_int_equal(w.offset, WAL_HEADER_SIZE);
	frame[300] ^= 1;
	put_be32(frame, 0);
	uint32_t sum[2] = {begun.sum[0], begun.sum[1]};
	wal_checksum(begun.header.big_end_cksum, frame, 8, sum);
	wal_checksum(begun.header.big_end_cksum, frame + WAL_FRAME_HEADER_SIZE, 512, sum);
	put_be32(frame + 16, sum[0]);
	put_be32(frame + 20, sum[1]);
	w = begun;
	assert_int_equal(v3_wal_frame(&w, frame, &h, &e), ERR_DAMAGED);
	assert_non_null(strstr(e.text, "no page"));
	free(wal);
	v3_bed_close(&b);
	tmpdir_free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_other_names),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_what_is_no_frame),
		cmocka_unit_test(test_wal),
	};
	srand(20261121);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
