/*
 * LTX files, as Litestream 0.5 writes them (superfly/ltx), read and written as streams.
 *
 * (The byte layout is explained in ltx_header.c and in docs/FORMATS.md.)
 *
 * We write: flag NoChecksum, WAL offset 32, WAL size 0, salts 0, pages in the LZ4 block form.
 * We read: pages in the block form and in the LZ4 frame form (Litestream before 0.5.16).
 * Header bytes 80 to 99, zero in Litestream's files, are ours: "DLS1", the database checksum before
 * the file, the one after it (0 = unknown).
 */
#ifndef FORMAT_LTX_H
#define FORMAT_LTX_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LTX_HEADER_SIZE 100
#define LTX_TRAILER_SIZE 16
#define LTX_PAGE_HEADER_SIZE 6
#define LTX_CHECKSUM_FLAG (UINT64_C(1) << 63) /* set in every checksum that is known */
#define LTX_FLAG_NO_CHECKSUM UINT32_C(2)

struct ltx_header {
	uint32_t flags;
	uint32_t page_size; /* 512 to 65536, a power of two */
	uint32_t commit;    /* size of the database after this file, in pages; never 0 when written */
	uint64_t min_txid;  /* 1 <= min_txid <= max_txid; 1 means the file holds every page */
	uint64_t max_txid;
	int64_t timestamp;           /* ms since 1970 */
	uint64_t pre_apply_checksum; /* 0 under NoChecksum */
	uint64_t wal_offset, wal_size;
	uint32_t wal_salt1, wal_salt2;
	uint64_t node_id;
	bool ours;                /* bytes 80-83 are "DLS1" */
	uint64_t before_checksum; /* ours: database checksum before this file, 0 = unknown */
	uint64_t after_checksum;  /* ours: after it, 0 = unknown */
};

/* The page that SQLite never stores: the one with byte 2^30. */
uint32_t ltx_lock_page(uint32_t page_size);

bool ltx_valid_page_size(uint32_t page_size);

/* CRC-64/ISO over the big-endian page number and the page, LTX_CHECKSUM_FLAG set. */
uint64_t ltx_page_checksum(uint32_t pgno, const void *page, uint32_t page_size);

/*
 * The database checksum is the XOR of its pages' checksums (lock page left out), with
 * LTX_CHECKSUM_FLAG set. Adds a page to it, or takes one away: the same operation. Start with 0.
 */
uint64_t ltx_checksum_xor(uint64_t db_checksum, uint64_t page_checksum);

/* Writes / reads the 100 header bytes. Decoding checks what LTX demands (magic, page size, TXIDs,
 * flags) and returns ERR_DAMAGED with the reason. Encoding refuses an invalid header: ERR_FAIL. */
int ltx_header_encode(const struct ltx_header *h, uint8_t out[LTX_HEADER_SIZE], struct err *e);
int ltx_header_decode(const uint8_t in[LTX_HEADER_SIZE], struct ltx_header *h, struct err *e);

/* ---- writing ---- */

/* Takes n bytes of the file, in order. Returns ERR_OK or a code that ends the encoding. */
typedef int (*ltx_write_fn)(void *ctx, const void *p, size_t n, struct err *e);

struct ltx_encoder;

/*
 * Begins a file. `h` is copied; flags, WAL fields are set by us as described above. Whatever
 * before/after checksums are in `h` are written (h->ours decides whether). Memory: 32 KiB, a page
 * and about 3 bytes a page for the index (24 MiB for 32 GiB of 4 KiB pages). ERR_FAIL for a header
 * that LTX forbids, and for commit 0 or a before checksum with min_txid 1.
 */
int ltx_encoder_new(struct ltx_encoder **out, const struct ltx_header *h, ltx_write_fn write,
	void *ctx, struct err *e);

/*
 * Adds a page of h->page_size bytes. Page numbers ascend. Refused with ERR_FAIL: a page number out
 * of order, 0, the lock page, a page past commit, and, in a file with min_txid 1, a gap; the
 * encoder is then as it was before. After a failed write (write's code) the file is lost.
 */
int ltx_encoder_page(struct ltx_encoder *enc, uint32_t pgno, const void *page, struct err *e);

/*
 * Ends the file: terminator, page index, trailer. ERR_FAIL when a file with min_txid 1 lacks pages.
 * *file_checksum, *size: of the whole file (either may be NULL). The encoder must still be freed.
 */
int ltx_encoder_finish(
	struct ltx_encoder *enc, uint64_t *file_checksum, uint64_t *size, struct err *e);

void ltx_encoder_free(struct ltx_encoder *enc); /* NULL is fine */

/* ---- reading ---- */

/*
 * Gives up to n of the next bytes of the file: the number, 0 at its end, or -1 with *e set. Called
 * only in order; never asked again after 0 or -1.
 */
typedef ptrdiff_t (*ltx_read_fn)(void *ctx, void *p, size_t n, struct err *e);

struct ltx_decoder;

/* Reads the header. ERR_DAMAGED for bytes that are no LTX file or end too early; read's own error
 * otherwise. Memory: a read buffer of 64 KiB and a page; about 200 KiB more for files in the frame
 * form. commit may be 0: LTX can say that a database was emptied. */
int ltx_decoder_new(struct ltx_decoder **out, ltx_read_fn read, void *ctx, struct err *e);

/* The same with a read buffer of read_size bytes and a page: for many files at a time. */
int ltx_decoder_new_small(
	struct ltx_decoder **out, ltx_read_fn read, void *ctx, size_t read_size, struct err *e);

const struct ltx_header *ltx_decoder_header(const struct ltx_decoder *dec); /* borrowed */

/*
 * The next page into page (header's page_size bytes). *pgno = 0 at the end of the pages; then the
 * index and trailer have been read and the file checksum has been verified, and nothing follows.
 * ERR_DAMAGED, with what and where, for anything LTX forbids. Pages given out before a checksum
 * mismatch was found were not yet proven: keep them apart until the end was reached.
 */
int ltx_decoder_page(struct ltx_decoder *dec, uint32_t *pgno, void *page, struct err *e);

/* The file checksum of the trailer; valid after the end was reached. */
uint64_t ltx_decoder_file_checksum(const struct ltx_decoder *dec);

void ltx_decoder_free(struct ltx_decoder *dec); /* NULL is fine */

/* ---- reading with the pages decoded elsewhere, on several threads ---- */

/* A page as it is in the file, from its header on; valid until the next call of the decoder. */
struct ltx_raw {
	uint32_t pgno; /* 0 = the end of the pages */
	const uint8_t *data;
	size_t n;
};

/* Are the pages in the form that can be read so (LZ4 blocks)? Asked before the first page. */
int ltx_decoder_is_raw(struct ltx_decoder *dec, bool *raw, struct err *e);

/*
 * The next page, instead of ltx_decoder_page, from the first page on. At the end of the pages the
 * rest of the file is still unread: ltx_decoder_end reads and verifies it, given what ltx_unpack
 * made of all pages in their order. ERR_DAMAGED for all that can be seen without decoding, and for
 * a page in the frame form behind one in the block form.
 */
int ltx_decoder_raw(struct ltx_decoder *dec, struct ltx_raw *out, struct err *e);

/* What the pages of a file come to. Zero at first. */
struct ltx_pages_sum {
	uint64_t crc;      /* of the bytes that the file checksum covers */
	uint64_t checksum; /* XOR of the pages' checksums */
	uint64_t n;        /* pages */
};

int ltx_decoder_end(struct ltx_decoder *dec, const struct ltx_pages_sum *sum, struct err *e);

/* Tables for one page size; 32 KiB. */
struct ltx_unpacker {
	uint32_t page_size;
	struct crc64_append content, record;
};
void ltx_unpacker_init(struct ltx_unpacker *u, uint32_t page_size);

/* Decodes the n bytes of a raw page into page, adds it to *sum behind those before, and sets
 * *page_checksum. Thread-safe. ERR_DAMAGED. */
int ltx_unpack(const struct ltx_unpacker *u, const uint8_t *p, size_t n, void *page,
	struct ltx_pages_sum *sum, uint64_t *page_checksum, struct err *e);

/* *sum becomes that of its own pages and those of `next` behind them. */
void ltx_pages_sum_add(
	const struct ltx_unpacker *u, struct ltx_pages_sum *sum, const struct ltx_pages_sum *next);

/* Most bytes that a raw page can have. */
size_t ltx_raw_max(uint32_t page_size);

/* ---- page index ---- */

struct ltx_index_entry {
	uint32_t pgno;
	uint64_t offset; /* of the page header, from the start of the file */
	uint64_t size;   /* page header, length prefix and data */
};

/*
 * Reads the page index out of the last bytes of a file: `tail` are its last n bytes, file_size its
 * size. *need = 0 and *entries (free) and *count on success; when n is too small, *need is how many
 * bytes at the end are needed, and nothing else is set. ERR_DAMAGED when the index is not one.
 */
int ltx_index_decode(const uint8_t *tail, size_t n, uint64_t file_size,
	struct ltx_index_entry **entries, size_t *count, size_t *need, struct err *e);

/* Decodes one page from the bytes that an index entry names into page (page_size bytes). */
int ltx_page_decode(const uint8_t *p, size_t n, uint32_t page_size, uint32_t expect_pgno,
	void *page, struct err *e);

#endif
