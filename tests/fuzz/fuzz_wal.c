/*
 * WAL, wal-index header and database header: bytes from anywhere. Checksums that don't fit are made
 * to fit in a second round, so that what lies behind them is reached.
 */
#include "base/endian.h"
#include "format/dbheader.h"
#include "format/wal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Number of frames, from the first, that verify. */
static uint32_t verify_frames(const struct wal_header *h, const uint8_t *data, size_t size)
{
	uint32_t s[2] = {h->cksum[0], h->cksum[1]}, n = 0;
	for (;;) {
		uint64_t at = wal_frame_offset(n + 1, h->page_size);
		if (at + WAL_FRAME_HEADER_SIZE + h->page_size > size)
			return n;
		struct wal_frame_header f;
		wal_frame_header_decode(data + at, &f);
		bool same = wal_frame_verify(h->big_end_cksum, data + at, h->page_size, h->salt, s);
		must(same == (memcmp(f.salt, h->salt, 8) == 0 && f.cksum[0] == s[0] && f.cksum[1] == s[1]));
		if (!same)
			return n;
		n++;
	}
}

static void wal(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct wal_header h;
	if (size < WAL_HEADER_SIZE)
		return;
	int rc = wal_header_decode(data, &h, &e);
	must(rc == ERR_OK || (rc == ERR_DATABASE && *e.text));
	if (!rc)
		verify_frames(&h, data, size);
}

/* The same bytes with a right magic and right checksums, here by the plainest code. */
static void seal(bool big_end, uint8_t *p, size_t n, uint32_t s[2])
{
	for (size_t i = 0; i < n; i += 8) {
		s[0] += (big_end ? get_be32(p + i) : get_le32(p + i)) + s[1];
		s[1] += (big_end ? get_be32(p + i + 4) : get_le32(p + i + 4)) + s[0];
	}
}

static void sealed_wal(const uint8_t *data, size_t size)
{
	if (size < WAL_HEADER_SIZE)
		return;
	uint8_t *p = malloc(size);
	must(p != NULL);
	memcpy(p, data, size);
	bool big_end = data[3] & 1;
	put_be32(p, 0x377f0682u | big_end);
	put_be32(p + 4, 3007000);
	put_be32(p + 8, 512u << data[11] % 8);
	uint32_t s[2] = {0, 0}, frames = 0, page_size = get_be32(p + 8);
	seal(big_end, p, 24, s);
	put_be32(p + 24, s[0]);
	put_be32(p + 28, s[1]);
	for (size_t at = 32; at + 24 + page_size <= size; at += 24 + page_size, frames++) {
		seal(big_end, p + at, 8, s);
		seal(big_end, p + at + 24, page_size, s);
		memcpy(p + at + 8, p + 16, 8);
		put_be32(p + at + 16, s[0]);
		put_be32(p + at + 20, s[1]);
	}
	struct wal_header h;
	must(wal_header_decode(p, &h, NULL) == ERR_OK);
	must(verify_frames(&h, p, size) == frames);
	free(p);
}

static void wal_index(const uint8_t *data, size_t size)
{
	struct wal_index_header h;
	if (size < WAL_INDEX_HEADER_SIZE)
		return;
	if (wal_index_header_decode(data, &h))
		must(h.is_init && h.version == WAL_INDEX_VERSION);
	uint32_t frame = get_be32(data) | 1, region, offset;
	wal_index_pgno_slot(frame, &region, &offset);
	must(offset <= 32768 / 2 - 4 && offset % 4 == 0);
}

static void database(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct db_header h;
	if (size < DB_HEADER_SIZE)
		return;
	int rc = db_header_decode(data, &h, &e);
	must(rc ? rc == ERR_DATABASE && *e.text : db_valid_page_size(h.page_size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	wal(data, size);
	sealed_wal(data, size);
	wal_index(data, size);
	database(data, size);
	return 0;
}
