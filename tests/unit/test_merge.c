/* Merging LTX files: the same as applying them one after the other, or refused with the reason. */
#include "lib/no_memory.h"

#include "format/ltx_merge.h"
#include "lib/ltx_build.h"
#include "lib/replica.h"
#include "store/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_INPUTS 12
#define MAX_PAGE 24 /* page numbers of random histories */
#define FLAG LTX_CHECKSUM_FLAG

struct inputs {
	size_t n;
	struct buf bytes[MAX_INPUTS];
	char names[MAX_INPUTS][16];
	struct ltx_mem mem[MAX_INPUTS];
	struct ltx_merge_input in[MAX_INPUTS];
};

static struct err e;
static struct ltx_merge_result result;

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Adds a file whose bytes `b` the inputs then own. */
static void add_input(struct inputs *s, struct buf b, uint64_t min, uint64_t max)
{
	size_t i = s->n++;
	assert_true(i < MAX_INPUTS);
	s->bytes[i] = b;
	snprintf(s->names[i], sizeof(s->names[i]), "file-%zu", i);
	s->in[i] = (struct ltx_merge_input){s->names[i], min, max, ltx_read_mem, &s->mem[i]};
}

static void free_inputs(struct inputs *s)
{
	for (size_t i = 0; i < s->n; i++)
		buf_free(&s->bytes[i]);
	s->n = 0;
}

/* The inputs from `from` on, `n` of them, into out (which is then the caller's). */
static int merge_some(struct inputs *s, size_t from, size_t n, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++)
		s->mem[i] = (struct ltx_mem){s->bytes[i].data, s->bytes[i].len, 5000, 0, 0, false};
	buf_init(out, (size_t)1 << 30);
	e = (struct err)ERR_INIT;
	return ltx_merge(s->in + from, n, ltx_write_buf, out, NULL, &result, &e);
}

static void assert_merged(struct inputs *s, const struct buf *want)
{
	struct buf got;
	int rc = merge_some(s, 0, s->n, &got);
	if (rc)
		fail_msg("%d %s", rc, e.text);
	assert_int_equal(got.len, want->len);
	assert_memory_equal(got.data, want->data, want->len);
	assert_true(result.size == got.len);
	buf_free(&got);
}

static void assert_refused(
	struct inputs *s, enum ltx_merge_fault fault, size_t culprit, const char *part)
{
	struct buf got;
	int rc = merge_some(s, 0, s->n, &got);
	if (rc != ERR_DAMAGED || !strstr(e.text, part))
		fail_msg("%d \"%s\" (want \"%s\")", rc, e.text, part);
	assert_int_equal(result.fault, fault);
	assert_int_equal(result.culprit, culprit);
	buf_free(&got);
	free_inputs(s);
}

/* ---- databases of ours: the model writes the merged file from its images ---- */

static uint32_t next_size(uint32_t size, uint32_t *seed)
{
	uint32_t what = next_random(seed) % 8;
	if (what == 0) /* VACUUM */
		return 1 + size / 3;
	return what < 4 ? size + next_random(seed) % 6 : size;
}

static void add_files(struct inputs *s, const struct replica *r, uint64_t from, uint64_t to)
{
	for (uint64_t t = from; t <= to; t++) {
		struct buf b;
		buf_init(&b, SIZE_MAX / 2);
		replica_encode(r, t, t, &b);
		add_input(s, b, t, t);
	}
}

static void compare_with_model(struct replica *r, uint64_t from, uint64_t to)
{
	struct inputs s = {0};
	struct buf want;
	add_files(&s, r, from, to);
	buf_init(&want, SIZE_MAX / 2);
	replica_encode(r, from, to, &want);
	assert_merged(&s, &want);
	buf_free(&want);
	free_inputs(&s);
}

static void test_histories_of_ours(void **state)
{
	(void)state;
	uint32_t seed = 1;
	for (uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
		for (int ours = 0; ours < 2; ours++) {
			struct replica r;
			uint32_t size = 5;
			replica_init(&r, NULL, page_size, ours);
			for (int t = 0; t < 20; t++)
				replica_commit(&r, size = next_size(size, &seed), next_random(&seed) % 5);
			for (int i = 0; i < 12; i++) {
				uint64_t from = i < 3 ? 1 : 1 + next_random(&seed) % 20;
				uint64_t to = from + next_random(&seed) % MAX_INPUTS;
				compare_with_model(&r, from, to < 20 ? to : 20);
			}
			replica_free(&r);
		}
	}
}

/* ---- any files at all, against applying them page by page ---- */

enum { FROM_BASE, CUT, FIRST_VALUE };

/* What a page is after the files: as before all of them, cut off, or FIRST_VALUE + the seed. */
struct model {
	uint32_t page[MAX_PAGE + 1];
	uint32_t commit;
	size_t cut_by[MAX_PAGE + 1];
};

static struct buf random_file(struct model *m, uint64_t txid, size_t place, uint32_t *seed)
{
	static uint8_t page[65536];
	bool all = txid == 1 || next_random(seed) % 8 == 0;
	struct ltx_header h = {.flags = 2,
		.page_size = 512,
		.commit = 1 + next_random(seed) % MAX_PAGE,
		.min_txid = txid,
		.max_txid = txid,
		.timestamp = (int64_t)txid * 1000,
		.node_id = txid,
		.wal_offset = 32};
	struct ltx_build b;
	ltx_build_start(&b, &h, next_random(seed) % 2);
	for (uint32_t pgno = 1; pgno <= h.commit; pgno++) {
		if (!all && pgno <= m->commit && next_random(seed) % 3)
			continue;
		if (!all && next_random(seed) % 40 == 0)
			continue; /* a new page that is not in the file */
		uint32_t value = next_random(seed);
		ltx_fill_page(page, 512, pgno, value);
		ltx_build_page(&b, pgno, page);
		m->page[pgno] = FIRST_VALUE + value;
	}
	ltx_build_end(&b, 0);
	for (uint32_t pgno = h.commit + 1; pgno <= MAX_PAGE; pgno++) {
		m->page[pgno] = CUT;
		m->cut_by[pgno] = place;
	}
	m->commit = h.commit;
	buf_free(&b.index);
	return b.file;
}

/* The file that holds what the model knows. */
static void write_model(const struct model *m, uint64_t min, uint64_t max, struct buf *out)
{
	uint8_t page[512];
	struct ltx_header h = {.page_size = 512,
		.commit = m->commit,
		.min_txid = min,
		.max_txid = max,
		.timestamp = (int64_t)max * 1000,
		.node_id = max};
	struct ltx_encoder *enc;
	buf_init(out, (size_t)1 << 20);
	assert_int_equal(ltx_encoder_new(&enc, &h, ltx_write_buf, out, &e), ERR_OK);
	for (uint32_t pgno = 1; pgno <= m->commit; pgno++) {
		if (m->page[pgno] == FROM_BASE)
			continue;
		ltx_fill_page(page, 512, pgno, m->page[pgno] - FIRST_VALUE);
		assert_int_equal(ltx_encoder_page(enc, pgno, page, &e), ERR_OK);
	}
	assert_int_equal(ltx_encoder_finish(enc, NULL, NULL, &e), ERR_OK);
	ltx_encoder_free(enc);
}

static uint32_t first_cut(const struct model *m)
{
	for (uint32_t pgno = 1; pgno <= m->commit; pgno++)
		if (m->page[pgno] == CUT)
			return pgno;
	return 0;
}

/* Merged in two steps the file is the same, if each can be made: a later file may hold what an
 * earlier group lacks. */
static bool merge_in_groups(struct inputs *s, size_t split, const struct buf *want)
{
	struct inputs two = {0};
	for (int part = 0; part < 2; part++) {
		struct buf b;
		size_t from = part ? split : 0, n = part ? s->n - split : split;
		if (merge_some(s, from, n, &b)) {
			assert_non_null(strstr(e.text, "no file behind it holds page"));
			buf_free(&b);
			free_inputs(&two);
			return false;
		}
		add_input(&two, b, s->in[from].min_txid, s->in[from + n - 1].max_txid);
	}
	assert_merged(&two, want);
	free_inputs(&two);
	return true;
}

static void test_random_files(void **state)
{
	(void)state;
	uint32_t seed = 7, merged = 0, grouped = 0, refused = 0;
	for (int round = 0; round < 4000; round++) {
		struct inputs s = {0};
		struct model m = {{0}, 0, {0}};
		uint64_t first = round % 3 ? 2 + (uint64_t)round : 1;
		size_t n = 1 + next_random(&seed) % 6;
		for (size_t i = 0; i < n; i++)
			add_input(&s, random_file(&m, first + i, i, &seed), first + i, first + i);
		uint32_t hole = first_cut(&m);
		if (hole) {
			char part[32];
			snprintf(part, sizeof(part), "holds page %u", hole);
			assert_refused(&s, LTX_MERGE_NO_FIT, m.cut_by[hole] + 1, part);
			refused++;
			continue;
		}
		struct buf want;
		write_model(&m, first, first + n - 1, &want);
		assert_merged(&s, &want);
		if (n > 1)
			grouped += merge_in_groups(&s, 1 + next_random(&seed) % (n - 1), &want);
		buf_free(&want);
		free_inputs(&s);
		merged++;
	}
	assert_true(merged > 1000 && grouped > 800 && refused > 200);
}

/* ---- single files, field by field ---- */

static struct ltx_header header(uint64_t txid, uint32_t commit, uint64_t before, uint64_t after)
{
	return (struct ltx_header){.flags = 2,
		.page_size = 512,
		.commit = commit,
		.min_txid = txid,
		.max_txid = txid,
		.wal_offset = 32,
		.ours = true,
		.before_checksum = before,
		.after_checksum = after};
}

/* A file with the pages first to last of `commit`. */
static void add_pages(struct inputs *s, const struct ltx_header *h, uint32_t first, uint32_t last)
{
	static uint8_t page[65536];
	struct ltx_build b;
	ltx_build_start(&b, h, false);
	for (uint32_t pgno = first; pgno <= last; pgno++) {
		if (pgno == ltx_lock_page(h->page_size))
			continue;
		ltx_fill_page(page, h->page_size, pgno, (uint32_t)h->max_txid);
		ltx_build_page(&b, pgno, page);
	}
	ltx_build_end(&b, 0);
	buf_free(&b.index);
	add_input(s, b.file, h->min_txid, h->max_txid);
}

static void test_chain(void **state)
{
	(void)state;
	struct inputs s = {0};
	struct ltx_header a = header(5, 3, FLAG | 1, FLAG | 2), b = header(6, 3, FLAG | 3, FLAG | 4);
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &b, 2, 2);
	assert_refused(&s, LTX_MERGE_NO_FIT, 1, "file-1 was not written on top of file-0");

	/* What nobody recorded contradicts nothing. */
	struct buf out;
	b.before_checksum = 0;
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &b, 2, 2);
	assert_int_equal(merge_some(&s, 0, 2, &out), ERR_OK);
	assert_true(result.header.before_checksum == (FLAG | 1));
	assert_true(result.header.after_checksum == (FLAG | 4));
	assert_true(result.header.min_txid == 5 && result.header.max_txid == 6);
	buf_free(&out);
	free_inputs(&s);

	/* Litestream's file at the end: what it leads to is not known any more. */
	struct ltx_header theirs = header(6, 3, 0, 0);
	theirs.ours = false;
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &theirs, 2, 2);
	assert_int_equal(merge_some(&s, 0, 2, &out), ERR_OK);
	assert_true(result.header.ours && result.header.before_checksum == (FLAG | 1));
	assert_true(result.header.after_checksum == 0);
	buf_free(&out);
	free_inputs(&s);
}

static void test_no_fit(void **state)
{
	(void)state;
	struct inputs s = {0};
	struct ltx_header a = header(5, 3, 0, 0), b = header(7, 3, 0, 0);
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &b, 2, 2);
	assert_refused(&s, LTX_MERGE_NO_FIT, 1, "does not begin where file-0 ends");
	b.min_txid = 5; /* overlaps */
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &b, 2, 2);
	assert_refused(&s, LTX_MERGE_NO_FIT, 1, "does not begin where file-0 ends");
	b = header(6, 3, 0, 0);
	b.page_size = 1024;
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &b, 2, 2);
	assert_refused(&s, LTX_MERGE_OTHER_SIZE, 1, "pages of 1024 bytes, file-0 before it of 512");
	b = header(6, 0, 0, 0);
	add_pages(&s, &a, 1, 1);
	add_pages(&s, &b, 1, 0);
	assert_refused(&s, LTX_MERGE_NO_FIT, 1, "leaves a database of 0 pages");
	add_pages(&s, &a, 1, 1);
	s.in[0].max_txid = 6;
	assert_refused(&s, LTX_MERGE_BAD_FILE, 0, "file-0: it holds TXID");
}

static void test_whole_checksum(void **state)
{
	(void)state;
	struct inputs s = {0};
	struct ltx_header a = header(1, 3, 0, 0), b = header(2, 2, 0, FLAG | 4);
	add_pages(&s, &a, 1, 3);
	add_pages(&s, &b, 2, 2);
	assert_refused(&s, LTX_MERGE_NO_FIT, 1, "file-1 records the database checksum");
	a.after_checksum = FLAG | 4;
	add_pages(&s, &a, 1, 3);
	assert_refused(&s, LTX_MERGE_BAD_FILE, 0, "file-0 records the database checksum");
}

/* A database of 1 GiB shrinks below the lock page and grows past it again. */
static void test_lock_page(void **state)
{
	(void)state;
	struct inputs s = {0};
	uint32_t lock = ltx_lock_page(65536);
	struct ltx_header a = header(2, lock + 9, 0, 0), b = header(3, lock - 2, 0, 0);
	struct ltx_header c = header(4, lock + 4, 0, 0);
	a.page_size = b.page_size = c.page_size = 65536;
	add_pages(&s, &a, lock - 6, lock + 9);
	add_pages(&s, &b, lock - 4, lock - 2);
	add_pages(&s, &c, lock - 1, lock + 4);
	struct buf out;
	assert_int_equal(merge_some(&s, 0, 3, &out), ERR_OK);
	struct ltx_mem mem = {out.data, out.len, SIZE_MAX, 0, 0, false};
	struct ltx_decoder *dec;
	static uint8_t page[65536], want[65536];
	assert_int_equal(ltx_decoder_new(&dec, ltx_read_mem, &mem, &e), ERR_OK);
	for (uint32_t pgno = lock - 6; pgno <= lock + 4; pgno++) {
		uint32_t got;
		if (pgno == lock)
			continue;
		assert_int_equal(ltx_decoder_page(dec, &got, page, &e), ERR_OK);
		assert_int_equal(got, pgno);
		ltx_fill_page(want, 65536, pgno, pgno < lock - 4 ? 2 : pgno < lock - 1 ? 3 : 4);
		assert_memory_equal(page, want, 65536);
	}
	uint32_t end = 1;
	assert_int_equal(ltx_decoder_page(dec, &end, page, &e), ERR_OK);
	assert_int_equal(end, 0);
	ltx_decoder_free(dec);
	buf_free(&out);
	free_inputs(&s);

	add_pages(&s, &b, lock - 4, lock - 2);
	add_pages(&s, &c, lock + 2, lock + 4);
	assert_refused(&s, LTX_MERGE_NO_FIT, 1, "no file behind it holds page 16384");
	/* The lock page is the only one that is missing, or the last. */
	b.commit = lock - 1;
	c.commit = lock;
	add_pages(&s, &b, lock - 4, lock - 2);
	add_pages(&s, &c, 7, 7);
	assert_int_equal(merge_some(&s, 0, 2, &out), ERR_OK);
	buf_free(&out);
	free_inputs(&s);
}

/* ---- failures ---- */

static void sample(struct inputs *s)
{
	struct ltx_header a = header(2, 40, 0, 0), b = header(3, 40, 0, 0), c = header(4, 40, 0, 0);
	add_pages(s, &a, 1, 40);
	add_pages(s, &b, 10, 30);
	add_pages(s, &c, 20, 40);
}

static void test_reads_fail(void **state)
{
	(void)state;
	struct inputs s = {0};
	sample(&s);
	for (size_t i = 0; i < s.n; i++) {
		for (unsigned at = 1;; at++) {
			struct buf out;
			for (size_t j = 0; j < s.n; j++)
				s.mem[j] = (struct ltx_mem){
					s.bytes[j].data, s.bytes[j].len, 1000, 0, j == i ? at : 0, false};
			buf_init(&out, (size_t)1 << 20);
			int rc = ltx_merge(s.in, s.n, ltx_write_buf, &out, NULL, &result, &e);
			buf_free(&out);
			if (rc == ERR_OK) {
				assert_true(at > 3);
				break;
			}
			assert_int_equal(rc, ERR_UNREACHABLE);
			assert_int_equal(result.fault, LTX_MERGE_BAD_FILE);
			assert_int_equal(result.culprit, i);
			assert_non_null(strstr(e.text, s.names[i]));
		}
	}
	/* Damage is found wherever it is, also in what is not used. */
	for (size_t i = 0; i < s.n; i++) {
		for (size_t at = 0; at < s.bytes[i].len; at += 97) {
			struct buf out;
			s.bytes[i].data[at] ^= 0x10;
			assert_int_equal(merge_some(&s, 0, s.n, &out), ERR_DAMAGED);
			s.bytes[i].data[at] ^= 0x10;
			buf_free(&out);
		}
	}
	free_inputs(&s);
}

struct stopper {
	struct buf out;
	size_t left; /* bytes until it fails or stops */
	atomic_bool *cancel;
};

static int write_until(void *ctx, const void *p, size_t n, struct err *err)
{
	struct stopper *w = ctx;
	if (n > w->left && !w->cancel)
		return err_set(err, ERR_FULL, "the test's disk is full");
	if (n > w->left)
		atomic_store(w->cancel, true);
	w->left -= n < w->left ? n : w->left;
	return ltx_write_buf(&w->out, p, n, err);
}

static void test_writes_fail_and_cancel(void **state)
{
	(void)state;
	struct inputs s = {0};
	struct buf whole;
	struct ltx_header h = header(2, 60, 0, 0);
	h.page_size = 65536;
	add_pages(&s, &h, 1, 60);
	assert_int_equal(merge_some(&s, 0, 1, &whole), ERR_OK);
	for (size_t left = 0; left < whole.len - 100000; left += 99991) {
		for (int cancel = 0; cancel < 2; cancel++) {
			atomic_bool stop = false;
			struct stopper w = {.left = left, .cancel = cancel ? &stop : NULL};
			buf_init(&w.out, (size_t)1 << 30);
			s.mem[0] = (struct ltx_mem){s.bytes[0].data, s.bytes[0].len, SIZE_MAX, 0, 0, false};
			int rc = ltx_merge(s.in, 1, write_until, &w, &stop, &result, &e);
			assert_int_equal(rc, cancel ? ERR_CANCELLED : ERR_FULL);
			assert_int_equal(result.fault, LTX_MERGE_OTHER);
			assert_true(w.out.len < whole.len);
			buf_free(&w.out);
		}
	}
	buf_free(&whole);
	free_inputs(&s);
}

static void test_allocations_fail(void **state)
{
	(void)state;
#if !NO_MEMORY_POSSIBLE
	skip();
#else
	struct inputs s = {0};
	sample(&s);
	struct buf want;
	assert_int_equal(merge_some(&s, 0, s.n, &want), ERR_OK);
	for (unsigned at = 1;; at++) {
		struct buf out;
		calls = 0;
		fail_at = at;
		armed = true;
		int rc = merge_some(&s, 0, s.n, &out);
		armed = false;
		bool struck = calls >= at;
		buf_free(&out);
		if (!struck) {
			assert_int_equal(rc, ERR_OK);
			break;
		}
		assert_int_equal(rc, ERR_NOMEM);
	}
	buf_free(&want);
	free_inputs(&s);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories_of_ours),
		cmocka_unit_test(test_random_files),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_no_fit),
		cmocka_unit_test(test_whole_checksum),
		cmocka_unit_test(test_lock_page),
		cmocka_unit_test(test_reads_fail),
		cmocka_unit_test(test_writes_fail_and_cancel),
		cmocka_unit_test(test_allocations_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
