/*
 * A replica of anybody's: LTX files that are right by themselves, or torn, and objects of
 * Litestream 0.3, in any number, order and contradiction; planned, fetched and applied. A restore
 * ends with a code of its own and a sentence, beside the target nothing is left, and what it calls
 * done has the size that it says.
 *
 *   byte 0     page size, LZ4's form, what is asked for
 *   then files  kind (1: level, 10 a snapshot of 0.3, 11 a segment), min, max (1 each)
 *     LTX:      flags (1), commit (4), before, after (1 each), pages (1), of each: distance,
 * content and, with flag 1, the length of LZ4's data, which is then the fuzzer's 0.3:      length
 * (2), content
 */
#include "scratch.h"

#include "lib/ltx_build.h"
#include "lib/v3_build.h"

#include "base/clock.h"
#include "base/log.h"
#include "restore/restore.h"
#include "store/mem.h"

#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILES 12
#define PAGES 8

static uint8_t page[65536];

struct bytes {
	const uint8_t *p, *end;
};

static uint8_t next_byte(struct bytes *b)
{
	return b->p < b->end ? *b->p++ : 0;
}

static uint32_t next_be32(struct bytes *b)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++)
		v = v << 8 | next_byte(b);
	return v;
}

/* Of the first page so much that it can be a database's. */
static void make_page(uint32_t pgno, uint8_t fill, uint32_t page_size)
{
	memset(page, fill, page_size);
	if (pgno == 1 && fill < 0xf0) {
		memset(page, 0, 100);
		memcpy(page, "SQLite format 3", 16);
		page[16] = (uint8_t)(page_size >> 8);
		page[17] = (uint8_t)(page_size == 65536 ? 1 : page_size);
		page[18] = page[19] = 2;
		page[21] = 64;
		page[22] = page[23] = 32;
	}
}

static void add_page(
	struct ltx_build *b, struct bytes *in, uint32_t pgno, bool raw, uint32_t page_size)
{
	make_page(pgno, next_byte(in), page_size);
	size_t n = raw ? next_byte(in) : 0;
	if (!raw || n > (size_t)(in->end - in->p)) {
		ltx_build_page(b, pgno, page);
		return;
	}
	ltx_build_raw_page(b, pgno, 1, in->p, n, page);
	in->p += n;
}

static uint64_t checksum(uint8_t v)
{
	return v % 4 ? LTX_CHECKSUM_FLAG | v % 4 : 0;
}

static void put_ltx(struct store *s, struct bytes *in, int level, uint64_t min, uint64_t max,
	uint32_t page_size, bool frames)
{
	struct ltx_build b;
	char name[64], prefix[16], base[LTX_NAME_SIZE];
	uint8_t flags = next_byte(in);
	struct ltx_header h = {.flags = 2,
		.page_size = page_size,
		.min_txid = flags & 2 ? min + 1 : min,
		.max_txid = max,
		.timestamp = INT64_C(1700000000000) + (int64_t)max * 1000,
		.ours = flags & 4};
	h.commit = next_be32(in);
	h.before_checksum = checksum(next_byte(in));
	h.after_checksum = checksum(next_byte(in));
	uint8_t pages = next_byte(in) % (PAGES + 1);
	ltx_build_start(&b, &h, frames);
	for (uint32_t i = 0, pgno = 0; i < pages; i++) {
		pgno += 1 + next_byte(in) % (flags & 8 ? 200 : 2);
		add_page(&b, in, pgno, flags & 1, page_size);
	}
	if (flags & 16) /* a page number that the index has, and its room has not */
		add_page(&b, in, next_be32(in), flags & 1, page_size);
	ltx_build_end(&b, 0);
	store_level_prefix(s, level, prefix);
	ltx_format_name(min, max, base);
	snprintf(name, sizeof(name), "%s%s", prefix, base);
	size_t torn = flags & 32 ? next_byte(in) % (LTX_HEADER_SIZE + LTX_TRAILER_SIZE) : 0;
	const struct store_body body = {.data = b.file.data, .fd = -1, .size = b.file.len - torn};
	const struct store_put_opts o = {.timestamp_ms = h.timestamp};
	must(store_put(s, name, &body, &o, NULL) == ERR_OK);
	ltx_build_free(&b);
}

static void put_v3(struct store *s, struct bytes *in, bool snapshot, uint8_t index, uint8_t offset)
{
	struct v3_file f = {.generation = 1 + index % 2,
		.snapshot = snapshot,
		.index = index / 2,
		.offset = snapshot ? 0 : (uint64_t)offset * 8,
		.modified_ms = V3_BUILD_START_MS + index};
	size_t n = (size_t)next_byte(in) << 8;
	n |= next_byte(in);
	n = n < (size_t)(in->end - in->p) ? n : (size_t)(in->end - in->p);
	if (offset & 1)
		v3_put_raw(s, &f, in->p, n);
	else
		v3_put(s, &f, in->p, n);
	in->p += n;
}

static void make_replica(struct store *s, struct bytes *in, uint8_t first)
{
	uint32_t page_size = first & 1 ? 512 : first & 2 ? 65536 : 1024;
	for (int i = 0; i < FILES && in->p < in->end; i++) {
		uint8_t kind = next_byte(in) % 12, a = next_byte(in), b = next_byte(in);
		uint64_t min = a ? a : 1, max = min + b % 16;
		if (a == 255)
			min = max = UINT64_MAX;
		if (kind >= 10)
			put_v3(s, in, kind == 10, a, b);
		else
			put_ltx(s, in, kind, kind == 9 ? 1 : min, max, page_size, first & 4);
	}
}

static void restore(struct store *s, uint8_t first, struct restore_target target)
{
	struct stat st;
	struct err e = ERR_INIT;
	struct restore_result result = {0};
	const char *db = scratch_path("app.db");
	const struct restore_options o = {
		.target = target, .output = db, .state_dir = "", .parallelism = 1, .dry_run = first & 64};
	int rc = restore_run(s, &o, &result, &e);
	restore_plan_free(&result.plan);
	must(rc == ERR_OK || ((rc == ERR_DAMAGED || rc == ERR_NO_BACKUP || rc == ERR_UNSUPPORTED ||
							  rc == ERR_NOMEM || rc == ERR_FULL) &&
							 *e.text));
	must(scratch_count() == (rc == ERR_OK && !o.dry_run));
	if (rc || o.dry_run)
		return;
	must(stat(db, &st) == 0 && (uint64_t)st.st_size == result.bytes);
	must(result.bytes == (uint64_t)result.n_page * result.page_size);
	unlink(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, data + size};
	struct store *s;
	scratch_make();
	log_set_level(LOG_ERROR);
	must(store_open(&s, "mem://fuzz", NULL, NULL) == ERR_OK);
	uint8_t first = next_byte(&in), ask = next_byte(&in);
	make_replica(s, &in, first);
	restore(s, first, (struct restore_target){0});
	if (first & 8)
		restore(s, first, (struct restore_target){.txid = ask});
	if (first & 16)
		restore(
			s, first, (struct restore_target){.timestamp_ms = INT64_C(1700000000500) + ask * 1000});
	store_close(s);
	store_mem_forget(NULL);
	return 0;
}
