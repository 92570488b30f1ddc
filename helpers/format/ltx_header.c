/*
 * LTX files: layout, rules of the header, checksums.
 *
 * An LTX file holds the pages of a database that one or more transactions wrote. All integers are
 * big-endian. The facts are those of superfly/ltx (format version 3, which nothing in a file says).
 *
 *     header            100 bytes
 *     page              any number, page numbers ascending
 *     terminator        6 zero bytes: a page header with page number 0
 *     page index        varints, then its length, 8 bytes
 *     trailer           16 bytes
 *
 * Header:
 *      0  4  "LTX1"
 *      4  4  flags: 2 = NoChecksum (no database checksums are kept); no other bit is allowed
 *      8  4  page size: a power of two, 512 to 65536
 *     12  4  commit: pages of the database after this file
 *     16  8  lowest TXID, not 0; 1 means that the file holds every page
 *     24  8  highest TXID, not below the lowest
 *     32  8  time, ms since 1970
 *     40  8  database checksum before the file ("pre-apply"): 0 with NoChecksum or lowest TXID 1,
 *            otherwise bit 63 is set
 *     48  8  offset in the WAL where the frames began, 0 = from no WAL
 *     56  8  bytes of the WAL that it came from; not 0 only if the offset isn't
 *     64  8  the WAL's two salts; not 0 only if the offset isn't
 *     72  8  node ID, 0 = none
 *     80 20  zero in Litestream's files. In ours: "DLS1", database checksum before the file, after
 *            it (0 = unknown, otherwise bit 63 is set)
 * NoChecksum forbids the fields that would prove a state, so ours are in the reserved bytes: the
 * file checksum covers them, and Litestream neither checks nor, when it compacts, keeps them.
 *
 * Page:
 *      0  4  page number
 *      4  2  flags: 1 = block form (Litestream from 0.5.16 on), 0 = frame form (before)
 *      6  4  block form only: length of the data
 *      -  -  data: an LZ4 block, or exactly one LZ4 frame that says itself where it ends
 * The lock page (the one with byte 2^30, which SQLite never uses) and pages past `commit` are never
 * in a file.
 *
 * Page index: for each page three varints (7 bits a byte, lowest first, high bit = more follow):
 * page number, offset of its page header in the file, bytes from there to the next page header.
 * Then a varint 0. The length behind it counts the varints, with the 0 and without itself.
 *
 * Trailer: the database checksum after the file ("post-apply"; 0 with NoChecksum), the file
 * checksum.
 *
 * File checksum: bit 63, and CRC-64/ISO over everything in front of it, except that pages count
 * uncompressed: header; for each page its header, length if it has one, and content; terminator;
 * index with its length; post-apply checksum. (The CRC's own bit 63 is lost.)
 *
 * Database checksum: bit 63, and the XOR of the checksums of all pages but the lock page, each of
 * which is bit 63 and the CRC-64/ISO over page number and content.
 */
#include "base/digest.h"
#include "base/endian.h"
#include "format/dbheader.h"
#include "format/ltx_internal.h"

#include <inttypes.h>
#include <string.h>

#define PENDING_BYTE UINT32_C(0x40000000)
#define OUR_MARK "DLS1"

uint32_t ltx_lock_page(uint32_t page_size)
{
	return PENDING_BYTE / page_size + 1;
}

bool ltx_valid_page_size(uint32_t page_size)
{
	return db_valid_page_size(page_size);
}

uint64_t ltx_page_checksum(uint32_t pgno, const void *page, uint32_t page_size)
{
	uint8_t number[4];
	put_be32(number, pgno);
	return LTX_CHECKSUM_FLAG | crc64_iso(crc64_iso(0, number, sizeof(number)), page, page_size);
}

uint64_t ltx_checksum_xor(uint64_t db_checksum, uint64_t page_checksum)
{
	return LTX_CHECKSUM_FLAG | (db_checksum ^ page_checksum);
}

static bool is_checksum(uint64_t v)
{
	return (v & LTX_CHECKSUM_FLAG) != 0;
}

static int check_wal_fields(const struct ltx_header *h, enum err_code code, struct err *e)
{
	if (h->wal_offset > INT64_MAX || h->wal_size > INT64_MAX)
		return err_set(e, code, "LTX header: negative WAL offset or size");
	if (h->wal_offset == 0 && (h->wal_size || h->wal_salt1 || h->wal_salt2))
		return err_set(e, code, "LTX header: WAL size or salts without a WAL offset");
	return ERR_OK;
}

static int check_checksums(const struct ltx_header *h, enum err_code code, struct err *e)
{
	uint64_t pre = h->pre_apply_checksum;
	if (h->min_txid == 1 || (h->flags & LTX_FLAG_NO_CHECKSUM)) {
		if (pre)
			return err_set(
				e, code, "LTX header: pre-apply checksum %016" PRIx64 " where none may be", pre);
	} else if (!is_checksum(pre)) {
		return err_set(e, code, "LTX header: pre-apply checksum %016" PRIx64 " is none", pre);
	}
	if (!h->ours)
		return ERR_OK;
	if ((h->before_checksum && !is_checksum(h->before_checksum)) ||
		(h->after_checksum && !is_checksum(h->after_checksum)))
		return err_set(e, code,
			"LTX header: database checksum %016" PRIx64 " or %016" PRIx64 " is none",
			h->before_checksum, h->after_checksum);
	return ERR_OK;
}

static int check_header(const struct ltx_header *h, enum err_code code, struct err *e)
{
	if (h->flags & ~LTX_FLAG_NO_CHECKSUM)
		return err_set(e, code, "LTX header: unknown flags %08" PRIx32, h->flags);
	if (!ltx_valid_page_size(h->page_size))
		return err_set(e, code, "LTX header: impossible page size %" PRIu32, h->page_size);
	if (h->min_txid == 0 || h->min_txid > h->max_txid)
		return err_set(e, code, "LTX header: impossible TXIDs %016" PRIx64 "-%016" PRIx64,
			h->min_txid, h->max_txid);
	int rc = check_wal_fields(h, code, e);
	return rc ? rc : check_checksums(h, code, e);
}

int ltx_header_encode(const struct ltx_header *h, uint8_t out[LTX_HEADER_SIZE], struct err *e)
{
	int rc = check_header(h, ERR_FAIL, e);
	if (rc)
		return rc;
	if (h->commit == 0)
		return err_set(e, ERR_FAIL, "LTX header: a database of 0 pages can't be written");
	if (h->ours && h->min_txid == 1 && h->before_checksum)
		return err_set(e, ERR_FAIL, "LTX header: a file from TXID 1 on has no state before it");
	memset(out, 0, LTX_HEADER_SIZE);
	memcpy(out, "LTX1", 4);
	put_be32(out + 4, h->flags);
	put_be32(out + 8, h->page_size);
	put_be32(out + 12, h->commit);
	put_be64(out + 16, h->min_txid);
	put_be64(out + 24, h->max_txid);
	put_be64(out + 32, (uint64_t)h->timestamp);
	put_be64(out + 40, h->pre_apply_checksum);
	put_be64(out + 48, h->wal_offset);
	put_be64(out + 56, h->wal_size);
	put_be32(out + 64, h->wal_salt1);
	put_be32(out + 68, h->wal_salt2);
	put_be64(out + 72, h->node_id);
	if (h->ours) {
		memcpy(out + 80, OUR_MARK, 4);
		put_be64(out + 84, h->before_checksum);
		put_be64(out + 92, h->after_checksum);
	}
	return ERR_OK;
}

int ltx_header_decode(const uint8_t in[LTX_HEADER_SIZE], struct ltx_header *h, struct err *e)
{
	if (memcmp(in, "LTX1", 4) != 0)
		return err_set(e, ERR_DAMAGED,
			"not an LTX file: it begins with the bytes %02x %02x %02x %02x, not with \"LTX1\"",
			in[0], in[1], in[2], in[3]);
	*h = (struct ltx_header){
		.flags = get_be32(in + 4),
		.page_size = get_be32(in + 8),
		.commit = get_be32(in + 12),
		.min_txid = get_be64(in + 16),
		.max_txid = get_be64(in + 24),
		.timestamp = (int64_t)get_be64(in + 32),
		.pre_apply_checksum = get_be64(in + 40),
		.wal_offset = get_be64(in + 48),
		.wal_size = get_be64(in + 56),
		.wal_salt1 = get_be32(in + 64),
		.wal_salt2 = get_be32(in + 68),
		.node_id = get_be64(in + 72),
		.ours = memcmp(in + 80, OUR_MARK, 4) == 0,
	};
	if (h->ours) {
		h->before_checksum = get_be64(in + 84);
		h->after_checksum = get_be64(in + 92);
	}
	return check_header(h, ERR_DAMAGED, e);
}

uint32_t ltx_next_full_pgno(uint32_t prev, uint32_t page_size)
{
	return prev + 1 == ltx_lock_page(page_size) ? prev + 2 : prev + 1;
}

int ltx_check_pgno(
	const struct ltx_header *h, uint32_t prev, uint32_t pgno, enum err_code code, struct err *e)
{
	if (pgno <= prev)
		return err_set(e, code, "page %" PRIu32 " after page %" PRIu32, pgno, prev);
	if (pgno > h->commit)
		return err_set(
			e, code, "page %" PRIu32 " in a database of %" PRIu32 " pages", pgno, h->commit);
	if (pgno == ltx_lock_page(h->page_size))
		return err_set(e, code, "page %" PRIu32 " is the lock page, which is never stored", pgno);
	if (h->min_txid == 1 && pgno != ltx_next_full_pgno(prev, h->page_size))
		return err_set(e, code,
			"page %" PRIu32 " after page %" PRIu32 " in a file that must hold every page", pgno,
			prev);
	return ERR_OK;
}

bool ltx_is_complete(const struct ltx_header *h, uint32_t prev)
{
	/* 64 bits: a database may have the highest page number that there is. */
	uint64_t next = (uint64_t)prev + 1;
	if (next == ltx_lock_page(h->page_size))
		next++;
	return h->min_txid != 1 || next > h->commit;
}
