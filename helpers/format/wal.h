/*
 * SQLite's write-ahead log and the header of its wal-index, as bytes.
 *
 * (Layouts are explained in wal.c; they are those of SQLite's src/wal.c and fileformat2.html.)
 */
#ifndef FORMAT_WAL_H
#define FORMAT_WAL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAL_HEADER_SIZE 32
#define WAL_FRAME_HEADER_SIZE 24
#define WAL_INDEX_HEADER_SIZE 48 /* one of the two copies */
#define WAL_INDEX_VERSION 3007000

struct wal_header {
	bool big_end_cksum; /* magic 0x377f0683: checksums over big-endian words */
	uint32_t version;   /* 3007000 */
	uint32_t page_size;
	uint32_t checkpoint_seq;
	uint8_t salt[8];   /* raw: what frames repeat */
	uint32_t cksum[2]; /* over the first 24 bytes; seed of the first frame */
};

struct wal_frame_header {
	uint32_t pgno;
	uint32_t commit; /* size of the database in pages in a commit frame, else 0 */
	uint8_t salt[8];
	uint32_t cksum[2];
};

/* The WAL's checksum over n bytes (a multiple of 8), continued in s[2]. */
void wal_checksum(bool big_end, const void *p, size_t n, uint32_t s[2]);

/* ERR_DATABASE with the reason for a bad magic, version (WAL2), page size or checksum. */
int wal_header_decode(const uint8_t in[WAL_HEADER_SIZE], struct wal_header *h, struct err *e);

void wal_frame_header_decode(const uint8_t in[WAL_FRAME_HEADER_SIZE], struct wal_frame_header *h);

/* Offset of frame n (from 1) in the file. */
uint64_t wal_frame_offset(uint32_t n, uint32_t page_size);

/*
 * Continues the running checksum s[2] over a frame (header's first 8 bytes, then the page) and
 * compares: true when the salt is `salt` and the stored checksum is the computed one. s is the
 * computed checksum afterwards, in either case.
 */
bool wal_frame_verify(
	bool big_end, const uint8_t *frame, uint32_t page_size, const uint8_t salt[8], uint32_t s[2]);

/*
 * The wal-index header. Its integers are in the machine's own byte order, except the salts, which
 * are raw.
 */
struct wal_index_header {
	uint32_t version;
	uint32_t change;
	uint8_t is_init;
	uint8_t big_end_cksum;
	uint32_t page_size; /* 0 while nothing was committed since recovery */
	uint32_t mx_frame;
	uint32_t n_page;
	uint32_t frame_cksum[2];
	uint8_t salt[8];
	uint32_t cksum[2];
};

/*
 * Reads the 48 bytes of one copy. False unless is_init, the checksum over the first 40 bytes
 * (native order) and the version are right. Comparing the copies, with barriers, is the caller's
 * part.
 */
bool wal_index_header_decode(const uint8_t in[WAL_INDEX_HEADER_SIZE], struct wal_index_header *h);

/*
 * The checkpoint information behind the two copies (byte 96 on): offsets into the first region.
 */
#define WAL_INDEX_NBACKFILL 96
#define WAL_INDEX_READ_MARK(k) (100 + 4 * (k)) /* k = 0 .. 4 */
#define WAL_INDEX_LOCKS 120
#define WAL_INDEX_NBACKFILL_ATTEMPTED 128
#define WAL_INDEX_READ_MARKS 5

/* The page number of frame n according to the hash blocks: block of the shared memory that holds it
 * (32 KiB regions) and byte offset in it. The first region holds 4062 frames, others 4096. */
void wal_index_pgno_slot(uint32_t frame, uint32_t *region, uint32_t *offset);

#endif
