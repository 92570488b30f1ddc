/*
 * SQLite's write-ahead log, as bytes. Facts: SQLite's src/wal.c and fileformat2.html, section 4.
 *
 * The log. All integers are big-endian.
 *     header            32 bytes
 *     frame 1, 2, ...   a frame header of 24 bytes and a page each
 * Header:
 *      0  4  magic: 0x377f0682, or 0x377f0683 when checksums are over big-endian words
 *      4  4  version, 3007000 (3021000 is the WAL2 of a branch of SQLite)
 *      8  4  page size (65536 is written as it is)
 *     12  4  checkpoint sequence number
 *     16  8  salts: the first counts up at each restart of the log, the second is random
 *     24  8  checksum over bytes 0 to 23
 * Frame header:
 *      0  4  page number
 *      4  4  in the last frame of a transaction the size of the database in pages, else 0
 *      8  8  salts, as in the header
 *     16  8  checksum
 * The checksum of a frame continues that of the frame before it (of the header for the first one)
 * over bytes 0 to 7 of the frame header and the page: not over the salts.
 *
 * The checksum is a pair of 32 bit sums over pairs of words x0, x1:
 *     s0 += x0 + s1;  s1 += x1 + s0
 * The words are read in the byte order that the magic says, whatever the machine is; the sums are
 * stored big-endian.
 *
 * The wal-index header lies in the first 48 bytes of the shared memory, and again in the next 48.
 * It is never moved between machines: integers are in the machine's own byte order.
 *      0  4  version, 3007000
 *      4  4  unused
 *      8  4  change counter
 *     12  1  is initialised
 *     13  1  checksums of the log are over big-endian words
 *     14  2  page size: 1 stands for 65536
 *     16  4  mxFrame: the last committed frame
 *     20  4  size of the database in pages
 *     24  8  checksum of the last committed frame
 *     32  8  salts, copied raw from the log
 *     40  8  checksum over bytes 0 to 39, over words in the machine's order
 * Behind the copies, from byte 96: nBackfill, five read marks (100), eight lock bytes (120),
 * nBackfillAttempted (128), 4 bytes unused; then, from byte 136, the page numbers of frames 1 to
 * 4062, and the hash table of the first 32 KiB. Each further 32 KiB begin with the page numbers of
 * 4096 frames.
 */
#include "format/wal.h"

#include "base/endian.h"
#include "format/dbheader.h"

#include <inttypes.h>
#include <string.h>

#define WAL_MAGIC UINT32_C(0x377f0682) /* bit 0: big-endian checksums */
#define WAL_VERSION UINT32_C(3007000)
#define WAL2_VERSION UINT32_C(3021000)
#define FRAMES_IN_FIRST_REGION 4062
#define FRAMES_IN_REGION 4096
#define FIRST_PGNO_OFFSET 136

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define NATIVE_BIG_END true
#else
#define NATIVE_BIG_END false
#endif

static inline uint32_t word(const uint8_t *p, bool swap)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return swap ? __builtin_bswap32(v) : v;
}

/* Inlined twice, so that the choice is made outside of the loop. */
__attribute__((always_inline)) static inline void sum(
	bool swap, const uint8_t *p, size_t n, uint32_t s[2])
{
	uint32_t s0 = s[0], s1 = s[1];
	for (const uint8_t *end = p + n / 8 * 8; p < end; p += 8) {
		s0 += word(p, swap) + s1;
		s1 += word(p + 4, swap) + s0;
	}
	s[0] = s0;
	s[1] = s1;
}

void wal_checksum(bool big_end, const void *p, size_t n, uint32_t s[2])
{
	if (big_end == NATIVE_BIG_END)
		sum(false, p, n, s);
	else
		sum(true, p, n, s);
}

int wal_header_decode(const uint8_t in[WAL_HEADER_SIZE], struct wal_header *h, struct err *e)
{
	uint32_t magic = get_be32(in);
	if ((magic & ~UINT32_C(1)) != WAL_MAGIC)
		return err_set(e, ERR_DATABASE, "not a SQLite WAL: it begins with %08" PRIx32, magic);
	*h = (struct wal_header){
		.big_end_cksum = magic & 1,
		.version = get_be32(in + 4),
		.page_size = get_be32(in + 8),
		.checkpoint_seq = get_be32(in + 12),
		.cksum = {get_be32(in + 24), get_be32(in + 28)},
	};
	memcpy(h->salt, in + 16, sizeof(h->salt));
	if (h->version == WAL2_VERSION)
		return err_set(e, ERR_DATABASE,
			"the database is in WAL2 mode, which only a branch of SQLite knows; "
			"set PRAGMA journal_mode=WAL");
	if (h->version != WAL_VERSION)
		return err_set(e, ERR_DATABASE, "unknown WAL version %" PRIu32, h->version);
	if (!db_valid_page_size(h->page_size))
		return err_set(
			e, ERR_DATABASE, "impossible page size %" PRIu32 " in the WAL", h->page_size);
	uint32_t s[2] = {0, 0};
	wal_checksum(h->big_end_cksum, in, 24, s);
	if (s[0] != h->cksum[0] || s[1] != h->cksum[1])
		return err_set(e, ERR_DATABASE,
			"the WAL's header has the checksum %08" PRIx32 "%08" PRIx32 ", not %08" PRIx32
			"%08" PRIx32,
			s[0], s[1], h->cksum[0], h->cksum[1]);
	return ERR_OK;
}

void wal_frame_header_decode(const uint8_t in[WAL_FRAME_HEADER_SIZE], struct wal_frame_header *h)
{
	h->pgno = get_be32(in);
	h->commit = get_be32(in + 4);
	memcpy(h->salt, in + 8, sizeof(h->salt));
	h->cksum[0] = get_be32(in + 16);
	h->cksum[1] = get_be32(in + 20);
}

uint64_t wal_frame_offset(uint32_t n, uint32_t page_size)
{
	return WAL_HEADER_SIZE + (uint64_t)(n - 1) * (WAL_FRAME_HEADER_SIZE + page_size);
}

bool wal_frame_verify(
	bool big_end, const uint8_t *frame, uint32_t page_size, const uint8_t salt[8], uint32_t s[2])
{
	wal_checksum(big_end, frame, 8, s);
	wal_checksum(big_end, frame + WAL_FRAME_HEADER_SIZE, page_size, s);
	return memcmp(frame + 8, salt, 8) == 0 && get_be32(frame + 16) == s[0] &&
		   get_be32(frame + 20) == s[1];
}

bool wal_index_header_decode(const uint8_t in[WAL_INDEX_HEADER_SIZE], struct wal_index_header *h)
{
	uint16_t page_size;
	memcpy(&page_size, in + 14, sizeof(page_size));
	*h = (struct wal_index_header){
		.version = word(in, false),
		.change = word(in + 8, false),
		.is_init = in[12],
		.big_end_cksum = in[13],
		.page_size = page_size == 1 ? 65536 : page_size,
		.mx_frame = word(in + 16, false),
		.n_page = word(in + 20, false),
		.frame_cksum = {word(in + 24, false), word(in + 28, false)},
		.cksum = {word(in + 40, false), word(in + 44, false)},
	};
	memcpy(h->salt, in + 32, sizeof(h->salt));
	uint32_t s[2] = {0, 0};
	wal_checksum(NATIVE_BIG_END, in, 40, s);
	return h->is_init && s[0] == h->cksum[0] && s[1] == h->cksum[1] &&
		   h->version == WAL_INDEX_VERSION;
}

void wal_index_pgno_slot(uint32_t frame, uint32_t *region, uint32_t *offset)
{
	if (frame <= FRAMES_IN_FIRST_REGION) {
		*region = 0;
		*offset = FIRST_PGNO_OFFSET + 4 * (frame - 1);
		return;
	}
	uint32_t n = frame - FRAMES_IN_FIRST_REGION - 1;
	*region = 1 + n / FRAMES_IN_REGION;
	*offset = 4 * (n % FRAMES_IN_REGION);
}
