#include "source/walread.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (256 * 1024)

void walread_at_end(struct walread_chain *c, const struct wal_index_header *h)
{
	memset(c, 0, sizeof(*c));
	memcpy(c->salt, h->salt, sizeof(c->salt));
	c->frame = h->mx_frame;
	if (c->frame > 0) {
		memcpy(c->cksum, h->frame_cksum, sizeof(c->cksum));
		c->known = true;
	}
}

void walread_at_start(struct walread_chain *c, const struct wal_index_header *h)
{
	memset(c, 0, sizeof(*c));
	memcpy(c->salt, h->salt, sizeof(c->salt));
}

static int read_at(const struct walread *w, void *p, size_t n, uint64_t off, struct err *e)
{
	sqlite3_file *wal = connection_wal(w->con);
	if (!wal)
		return err_set(e, ERR_IO, "SQLite has no handle of the WAL");
	int rc = wal->pMethods->xRead(wal, p, (int)n, (sqlite3_int64)off);
	if (rc == SQLITE_OK)
		return ERR_OK;
	if (rc == SQLITE_IOERR_SHORT_READ)
		return err_set(e, ERR_DAMAGED, "the WAL ends before byte %" PRIu64, off + n);
	return err_set(e, ERR_IO, "cannot read the WAL at byte %" PRIu64 ": SQLite says %s [%d]", off,
		sqlite3_errstr(rc), rc);
}

/* The seed of the first frame is the checksum of the WAL's header. */
static int read_seed(const struct walread *w, struct walread_chain *c, struct err *e)
{
	uint8_t raw[WAL_HEADER_SIZE];
	struct wal_header h;
	int rc = read_at(w, raw, sizeof(raw), 0, e);
	if (rc)
		return rc;
	if (wal_header_decode(raw, &h, e))
		return e->code = ERR_DAMAGED;
	if (memcmp(h.salt, c->salt, sizeof(c->salt)) != 0 || h.page_size != w->page_size)
		return err_set(e, ERR_DAMAGED, "the WAL's header is of another incarnation");
	memcpy(c->cksum, h.cksum, sizeof(c->cksum));
	c->known = true;
	return ERR_OK;
}

static bool index_agrees(const struct walread *w, uint32_t frame, uint32_t pgno)
{
	uint32_t indexed = 0;
	return shm_pgnos(w->shm, frame, frame, &indexed, NULL) == ERR_OK && indexed == pgno;
}

enum verdict { FRAME_GOOD, FRAME_ACCEPTED, FRAME_REFUSED };

static enum verdict judge(const struct walread *w, struct walread_chain *c, bool big_end,
	const uint8_t *raw, const struct wal_frame_header *fh)
{
	static const uint8_t zeros[16];
	uint32_t s[2] = {c->cksum[0], c->cksum[1]};
	bool good = wal_frame_verify(big_end, raw, w->page_size, c->salt, s);
	if (good && c->known) {
		memcpy(c->cksum, s, sizeof(s));
		return FRAME_GOOD;
	}
	bool zero = memcmp(raw + 8, zeros, sizeof(zeros)) == 0;
	bool ours = memcmp(fh->salt, c->salt, sizeof(c->salt)) == 0;
	if (!(zero || (ours && !c->known)) || !index_agrees(w, c->frame + 1, fh->pgno))
		return FRAME_REFUSED;
	c->known = !zero;
	if (!zero)
		memcpy(c->cksum, fh->cksum, sizeof(c->cksum));
	return FRAME_ACCEPTED;
}

/* One frame out of a chunk; a frame that does not verify is read a second time. */
static int take_frame(const struct walread *w, struct walread_chain *c,
	const struct wal_index_header *h, uint8_t *raw, struct wal_frame_header *fh,
	uint64_t *unverified, struct err *e)
{
	enum verdict v = FRAME_REFUSED;
	for (int reading = 0; reading < 2 && v == FRAME_REFUSED; reading++) {
		uint64_t off = wal_frame_offset(c->frame + 1, w->page_size);
		int rc = reading ? read_at(w, raw, WAL_FRAME_HEADER_SIZE + w->page_size, off, e) : ERR_OK;
		if (rc)
			return rc;
		wal_frame_header_decode(raw, fh);
		v = judge(w, c, h->big_end_cksum, raw, fh);
	}
	if (v == FRAME_REFUSED || fh->pgno == 0)
		return err_set(e, ERR_DAMAGED, "frame %u of the WAL does not continue what was read before",
			c->frame + 1);
	if (v == FRAME_ACCEPTED) {
		(*unverified)++;
		c->unverified = true;
	}
	c->frame++;
	return ERR_OK;
}

/* The header is right about its last frame: its size, and the checksum that writers go on with. */
static int meet_header(struct walread_chain *c, const struct wal_index_header *h,
	const struct wal_frame_header *fh, struct err *e)
{
	if (fh->commit != h->n_page)
		return err_set(e, ERR_DAMAGED,
			"frame %u of the WAL ends a transaction at %u pages, its index says %u", c->frame,
			fh->commit, h->n_page);
	if (!c->known || memcmp(c->cksum, h->frame_cksum, sizeof(c->cksum)) != 0)
		c->unverified = true;
	memcpy(c->cksum, h->frame_cksum, sizeof(c->cksum));
	c->known = true;
	return ERR_OK;
}

static int read_chunk(const struct walread *w, struct walread_chain *c,
	const struct wal_index_header *h, uint8_t *buf, uint32_t n, walread_fn fn, void *ctx,
	uint64_t *unverified, struct err *e)
{
	size_t frame_size = WAL_FRAME_HEADER_SIZE + (size_t)w->page_size;
	int rc = read_at(w, buf, n * frame_size, wal_frame_offset(c->frame + 1, w->page_size), e);
	for (uint32_t i = 0; i < n && !rc; i++) {
		struct wal_frame_header fh;
		uint8_t *raw = buf + i * frame_size;
		rc = take_frame(w, c, h, raw, &fh, unverified, e);
		if (!rc && c->frame == h->mx_frame)
			rc = meet_header(c, h, &fh, e);
		if (!rc)
			rc = fn(ctx, &fh, raw + WAL_FRAME_HEADER_SIZE, e);
	}
	return rc;
}

int walread_frames(const struct walread *w, struct walread_chain *c,
	const struct wal_index_header *h, uint32_t to, walread_fn fn, void *ctx, uint64_t *unverified,
	struct err *e)
{
	if (c->frame >= to)
		return ERR_OK;
	if (c->frame == 0) {
		int rc = read_seed(w, c, e);
		if (rc)
			return rc;
	}
	size_t frame_size = WAL_FRAME_HEADER_SIZE + (size_t)w->page_size;
	uint32_t most = (uint32_t)(CHUNK_BYTES / frame_size);
	if (most > to - c->frame)
		most = to - c->frame;
	uint8_t *buf = malloc(most * frame_size);
	if (!buf)
		return err_nomem(e, "reading the WAL");
	int rc = ERR_OK;
	while (c->frame < to && !rc) {
		uint32_t n = to - c->frame < most ? to - c->frame : most;
		rc = read_chunk(w, c, h, buf, n, fn, ctx, unverified, e);
	}
	free(buf);
	return rc;
}

int walread_page(const struct walread *w, uint32_t frame, void *page, struct err *e)
{
	uint64_t off = wal_frame_offset(frame, w->page_size) + WAL_FRAME_HEADER_SIZE;
	return read_at(w, page, w->page_size, off, e);
}

bool walread_holds(
	const struct walread *w, const uint8_t salt[8], uint32_t frame, const uint32_t cksum[2])
{
	uint8_t raw[WAL_HEADER_SIZE];
	struct wal_header h;
	if (read_at(w, raw, sizeof(raw), 0, NULL) || wal_header_decode(raw, &h, NULL) ||
		memcmp(h.salt, salt, sizeof(h.salt)) != 0)
		return false;
	if (frame == 0)
		return memcmp(h.cksum, cksum, sizeof(h.cksum)) == 0;
	struct wal_frame_header fh;
	if (read_at(w, raw, WAL_FRAME_HEADER_SIZE, wal_frame_offset(frame, w->page_size), NULL))
		return false;
	wal_frame_header_decode(raw, &fh);
	return memcmp(fh.salt, salt, sizeof(fh.salt)) == 0 &&
		   memcmp(fh.cksum, cksum, sizeof(fh.cksum)) == 0;
}
