/*
 * hostile KIND FOLDER   makes a replica of that kind in FOLDER, of files that no replicator writes.
 *
 * Checksums are right wherever they can be: so that nothing is refused for their sake. The kinds
 * are in the table below; "hostile" alone prints them, one a line.
 */
#include "lib/ltx_build.h"
#include "lib/v3_build.h"

#include "base/endian.h"
#include "base/fs.h"
#include "format/ltxset.h"

#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE 4096
#define NO_CHECKSUM 2
#define BOMB ((size_t)64 << 20) /* bytes that a bomb claims to become */

static const char *folder;
static uint8_t page[65536];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static struct ltx_header header(uint64_t min, uint64_t max, uint32_t commit)
{
	return (struct ltx_header){.flags = NO_CHECKSUM,
		.page_size = PAGE_SIZE,
		.commit = commit,
		.min_txid = min,
		.max_txid = max,
		.timestamp = INT64_C(1700000000000) + (int64_t)(max % 1000) * 1000};
}

static void write_file(const char *path, const void *p, size_t n)
{
	char parent[600];
	snprintf(parent, sizeof(parent), "%s", path);
	*strrchr(parent, '/') = '\0';
	must(fs_mkdirs(parent, 0755) == 0, parent);
	FILE *f = fopen(path, "wb");
	must(f && fwrite(p, 1, n, f) == n && fclose(f) == 0, path);
}

static void put(int level, uint64_t min, uint64_t max, const struct buf *file)
{
	char name[LTX_NAME_SIZE], path[600];
	ltx_format_name(min, max, name);
	snprintf(path, sizeof(path), "%s/ltx/%d/%s", folder, level, name);
	write_file(path, file->data, file->len);
}

static void add_page(struct ltx_build *b, uint32_t pgno)
{
	memset(page, (int)pgno | 1, sizeof(page));
	if (pgno == 1) {
		memset(page, 0, 100);
		memcpy(page, "SQLite format 3", 16);
		memcpy(page + 16, "\x10\x00\x02\x02\x00\x40\x20\x20", 8);
	}
	ltx_build_page(b, pgno, page);
}

/* L0 `txid` with the pages of the list, which ends with a negative number; commit as given. */
static void put_l0(uint64_t txid, uint32_t commit, const int64_t *pages)
{
	struct ltx_build b;
	const struct ltx_header h = header(txid, txid, commit);
	ltx_build_start(&b, &h, false);
	for (; *pages >= 0; pages++)
		add_page(&b, (uint32_t)*pages);
	ltx_build_end(&b, 0);
	put(0, txid, txid, &b.file);
	ltx_build_free(&b);
}

#define PAGES(...) ((const int64_t[]){__VA_ARGS__, -1})

static void put_base(void)
{
	put_l0(1, 3, PAGES(1, 2, 3));
}

static void most_pages(void)
{
	put_base();
	put_l0(2, UINT32_MAX, PAGES(2));
}

static void page_zero(void)
{
	put_base();
	put_l0(2, 3, PAGES(0));
}

/* With pages of 64 KiB, and so much in them that there is room for as many as the commit says. */
static void lock_page(void)
{
	struct ltx_build b;
	struct ltx_header h = header(1, 1, 4);
	for (uint64_t txid = 1; txid <= 2; txid++) {
		h.min_txid = h.max_txid = txid;
		h.page_size = 65536;
		h.commit = txid == 1 ? 4 : 16386;
		ltx_build_start(&b, &h, false);
		for (uint32_t pgno = 1; pgno <= 4; pgno++) {
			ltx_fill_page(page, 65536, pgno, 1);
			ltx_build_page(&b, pgno, page);
		}
		if (txid == 2)
			ltx_build_page(&b, 16385, page);
		ltx_build_end(&b, 0);
		put(0, txid, txid, &b.file);
		ltx_build_free(&b);
	}
}

static void beyond_commit(void)
{
	put_base();
	put_l0(2, 3, PAGES(1, INT64_C(0xffffffff)));
}

static void page_twice(void)
{
	put_base();
	put_l0(2, 3, PAGES(2, 2));
}

static void pages_backwards(void)
{
	put_base();
	put_l0(2, 3, PAGES(3, 1));
}

static void last_txid(void)
{
	put_base();
	put_l0(UINT64_MAX, 3, PAGES(1));
}

static void page_sizes(void)
{
	struct ltx_build b;
	struct ltx_header h = header(2, 2, 3);
	put_base();
	h.page_size = 512;
	ltx_build_start(&b, &h, false);
	add_page(&b, 2);
	ltx_build_end(&b, 0);
	put(0, 2, 2, &b.file);
	ltx_build_free(&b);
}

static void page_size(void)
{
	struct ltx_build b;
	struct ltx_header h = header(1, 1, 3);
	h.page_size = UINT32_C(1) << 31;
	ltx_build_start(&b, &h, false);
	ltx_build_end(&b, 0);
	put(0, 1, 1, &b.file);
	ltx_build_free(&b);
}

static void other_header(void)
{
	struct ltx_build b;
	const struct ltx_header h = header(7, 9, 3);
	put_base();
	ltx_build_start(&b, &h, false);
	add_page(&b, 2);
	ltx_build_end(&b, 0);
	put(0, 2, 2, &b.file);
	ltx_build_free(&b);
}

/* A block of LZ4 that becomes as many bytes as it is long times 255. */
static void block_bomb(void)
{
	struct ltx_build b;
	const struct ltx_header h = header(1, 1, 1);
	size_t n = BOMB / 255 / 64;
	uint8_t *p = malloc(n);
	must(p != NULL, "memory");
	memset(p, 0xff, n);
	memcpy(p, "\x1f\x00\x01\x00", 4);
	p[n - 1] = 0;
	ltx_build_start(&b, &h, false);
	ltx_build_raw_page(&b, 1, 1, p, n, page);
	ltx_build_end(&b, 0);
	put(0, 1, 1, &b.file);
	ltx_build_free(&b);
	free(p);
}

/* A whole frame, of BOMB bytes, in the place of a page. */
static void frame_bomb(void)
{
	struct ltx_build b;
	const struct ltx_header h = header(1, 1, 1);
	size_t n;
	uint8_t *zeros = calloc(1, BOMB), *p = v3_compress(zeros, BOMB, &n);
	must(zeros != NULL, "memory");
	ltx_build_start(&b, &h, true);
	ltx_build_raw_page(&b, 1, 0, p, n, page);
	ltx_build_end(&b, 0);
	put(0, 1, 1, &b.file);
	ltx_build_free(&b);
	free(zeros);
	free(p);
}

/* The index's length reaches before the file's beginning. */
static void index_length(void)
{
	struct ltx_build b;
	const struct ltx_header h = header(1, 1, 1);
	ltx_build_start(&b, &h, false);
	add_page(&b, 1);
	b.index_length_off = UINT64_C(1) << 63;
	ltx_build_end(&b, 0);
	put(0, 1, 1, &b.file);
	ltx_build_free(&b);
}

static void torn(void)
{
	struct ltx_build b;
	const struct ltx_header h = header(1, 1, 2);
	ltx_build_start(&b, &h, false);
	add_page(&b, 1);
	add_page(&b, 2);
	ltx_build_end(&b, 0);
	b.file.len -= 20;
	put(0, 1, 1, &b.file);
	ltx_build_free(&b);
}

/* Names that lead out of the replica, and into its level folders from elsewhere. */
static void links(void)
{
	char path[600];
	put_base();
	snprintf(path, sizeof(path), "%s/ltx/0/0000000000000002-0000000000000002.ltx", folder);
	must(symlink("/dev/zero", path) == 0, path);
}

static void fifo(void)
{
	char path[600];
	put_base();
	snprintf(path, sizeof(path), "%s/ltx/0/0000000000000002-0000000000000002.ltx", folder);
	must(mkfifo(path, 0644) == 0, path);
}

/* ---- Litestream 0.3 ---- */

static void put_v3_raw(const char *name, const void *p, size_t n)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/generations/8a3ee2e0bed0ac13/%s", folder, name);
	write_file(path, p, n);
}

static void put_v3(const char *name, const void *p, size_t n)
{
	size_t packed;
	uint8_t *z = v3_compress(p, n, &packed);
	put_v3_raw(name, z, packed);
	free(z);
}

#define SNAPSHOT "snapshots/00000000.snapshot.lz4"
#define SEGMENT "wal/00000000_00000000.wal.lz4"

static void put_v3_base(void)
{
	uint8_t *db = calloc(2, PAGE_SIZE);
	must(db != NULL, "memory");
	memcpy(db, "SQLite format 3", 16);
	memcpy(db + 16, "\x10\x00\x02\x02\x00\x40\x20\x20", 8);
	put_v3(SNAPSHOT, db, (size_t)2 * PAGE_SIZE);
	free(db);
}

static void v3_zeros(void)
{
	uint8_t *zeros = calloc(1, BOMB);
	must(zeros != NULL, "memory");
	put_v3(SNAPSHOT, zeros, BOMB);
	free(zeros);
}

/* A right frame whose header says that its content has 2^63 bytes. */
static void v3_content_size(void)
{
	static const uint8_t text[64] = "SQLite format 3";
	LZ4F_preferences_t how = {.frameInfo = {.contentSize = sizeof(text)}};
	uint8_t p[200];
	size_t n = LZ4F_compressFrame(p, sizeof(p), text, sizeof(text), &how);
	must(!LZ4F_isError(n), "LZ4F_compressFrame");
	p[13] = 0x80;
	put_v3_raw(SNAPSHOT, p, n);
}

/* A WAL of one frame, with right checksums, of page pgno, after which there are `commit`. */
static void put_wal(uint32_t wal_page_size, uint32_t pgno, uint32_t commit)
{
	size_t n = WAL_HEADER_SIZE + WAL_FRAME_HEADER_SIZE + PAGE_SIZE;
	uint8_t *p = calloc(1, n), *f = p + WAL_HEADER_SIZE;
	uint32_t s[2] = {0, 0};
	must(p != NULL, "memory");
	put_be32(p, 0x377f0683u);
	put_be32(p + 4, 3007000);
	put_be32(p + 8, wal_page_size);
	wal_checksum(true, p, 24, s);
	put_be32(p + 24, s[0]);
	put_be32(p + 28, s[1]);
	put_be32(f, pgno);
	put_be32(f + 4, commit);
	memset(f + WAL_FRAME_HEADER_SIZE, 'x', PAGE_SIZE);
	wal_checksum(true, f, 8, s);
	wal_checksum(true, f + WAL_FRAME_HEADER_SIZE, PAGE_SIZE, s);
	put_be32(f + 16, s[0]);
	put_be32(f + 20, s[1]);
	put_v3_base();
	put_v3(SEGMENT, p, n);
	free(p);
}

static void v3_page_size(void)
{
	put_wal(65536, 2, 2);
}

static void v3_page_beyond(void)
{
	put_wal(PAGE_SIZE, UINT32_MAX, 2);
}

static void v3_page_zero(void)
{
	put_wal(PAGE_SIZE, 0, 2);
}

static void v3_gap(void)
{
	put_v3_base();
	put_v3("wal/00000000_ffffffffffffffff.wal.lz4", "x", 1);
	put_v3("wal/ffffffff_00000000.wal.lz4", "x", 1);
}

static const struct {
	const char *name;
	void (*make)(void);
} kinds[] = {
	{"most-pages", most_pages},
	{"page-zero", page_zero},
	{"lock-page", lock_page},
	{"beyond-commit", beyond_commit},
	{"page-twice", page_twice},
	{"pages-backwards", pages_backwards},
	{"last-txid", last_txid},
	{"page-sizes", page_sizes},
	{"page-size", page_size},
	{"other-header", other_header},
	{"block-bomb", block_bomb},
	{"frame-bomb", frame_bomb},
	{"index-length", index_length},
	{"torn", torn},
	{"links", links},
	{"fifo", fifo},
	{"v3-zeros", v3_zeros},
	{"v3-content-size", v3_content_size},
	{"v3-page-size", v3_page_size},
	{"v3-page-beyond", v3_page_beyond},
	{"v3-page-zero", v3_page_zero},
	{"v3-gap", v3_gap},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (argc < 3) {
			puts(kinds[i].name);
		} else if (strcmp(argv[1], kinds[i].name) == 0) {
			folder = argv[2];
			kinds[i].make();
			return 0;
		}
	}
	return argc < 3 ? 0 : 2;
}
