/*
 * The content of Litestream 0.3's objects.
 *
 * Each is one LZ4 frame (blocks of 4 MiB, independent, a checksum over the content): of the plain
 * database file, or of a range of the bytes of a SQLite WAL. With the option `age` it is an age
 * file around that, which only the key's owner can read.
 *
 * Segments end between two frames of the WAL, behind a commit. The one at offset 0 begins with the
 * WAL's header. Put one behind the other they are a WAL as SQLite wrote it: each frame's salts are
 * the header's, and its checksum continues that of the frame before. A frame that doesn't is where
 * SQLite would end a recovery; Litestream uploads none, so here it is damage.
 */
#include "format/v3.h"

#include "base/endian.h"
#include "format/ltx_internal.h"

#include <inttypes.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAGIC UINT32_C(0x184D2204)
#define INPUT_SIZE ((size_t)64 << 10)

struct v3_stream {
	LZ4F_dctx *dctx;
	v3_read_fn read;
	void *ctx;
	size_t at, n;    /* of input: what was not decoded yet */
	bool begun;      /* the magic was looked at */
	bool over;       /* the frame has ended, and so has the object */
	bool input_over; /* read gave 0 */
	bool read_failed;
	uint8_t input[INPUT_SIZE];
};

int v3_stream_new(struct v3_stream **out, struct err *e)
{
	struct v3_stream *s = calloc(1, sizeof(*s));
	if (!s || LZ4F_isError(LZ4F_createDecompressionContext(&s->dctx, LZ4F_VERSION))) {
		free(s);
		return err_nomem(e, "reading a backup of Litestream 0.3");
	}
	*out = s;
	return ERR_OK;
}

void v3_stream_free(struct v3_stream *s)
{
	if (!s)
		return;
	LZ4F_freeDecompressionContext(s->dctx);
	free(s);
}

void v3_stream_begin(struct v3_stream *s, v3_read_fn read, void *ctx)
{
	LZ4F_resetDecompressionContext(s->dctx);
	s->read = read;
	s->ctx = ctx;
	s->at = s->n = 0;
	s->begun = s->over = s->input_over = s->read_failed = false;
}

bool v3_stream_read_failed(const struct v3_stream *s)
{
	return s->read_failed;
}

int v3_check_magic(const uint8_t *p, size_t n, struct err *e)
{
	static const char age[V3_MAGIC_SIZE + 1] = "age-encryption.org/v1";
	if (n >= V3_MAGIC_SIZE && memcmp(p, age, V3_MAGIC_SIZE) == 0)
		return err_set(e, ERR_UNSUPPORTED,
			"encrypted with age, which only Litestream 0.3 with the key in its configuration can "
			"read: restore with that, then replicate the database anew");
	if (n == 0)
		return err_set(e, ERR_DAMAGED, "it is empty");
	if (n < 4 || get_le32(p) != FRAME_MAGIC)
		return err_set(e, ERR_DAMAGED, "it is no LZ4 frame");
	return ERR_OK;
}

/* Some more input behind what is there. */
static int fill(struct v3_stream *s, struct err *e)
{
	ptrdiff_t got = s->read(s->ctx, s->input + s->n, INPUT_SIZE - s->n, e);
	s->read_failed = got < 0;
	s->input_over = got <= 0;
	s->n += got > 0 ? (size_t)got : 0;
	return got < 0 ? (int)e->code : ERR_OK;
}

/* Input to decode, as far as there is any. */
static int need_input(struct v3_stream *s, struct err *e)
{
	int rc = ERR_OK;
	if (s->at == s->n)
		s->at = s->n = 0;
	while (!rc && !s->input_over && (s->n == 0 || (!s->begun && s->n < V3_MAGIC_SIZE)))
		rc = fill(s, e);
	if (!rc && !s->begun) {
		rc = v3_check_magic(s->input, s->n, e);
		s->begun = true;
	}
	return rc;
}

/* The frame is whole; is it all there is? */
static int end_frame(struct v3_stream *s, struct err *e)
{
	s->over = true;
	int rc = s->at == s->n ? need_input(s, e) : ERR_OK;
	if (!rc && s->at < s->n)
		rc = err_set(e, ERR_DAMAGED, "something follows its LZ4 frame");
	return rc;
}

/* Decodes what it can into p: *got bytes, perhaps none yet. */
static int decode(struct v3_stream *s, void *p, size_t n, size_t *got, struct err *e)
{
	size_t in = s->n - s->at;
	*got = n;
	size_t hint = LZ4F_decompress(s->dctx, p, got, s->input + s->at, &in, NULL);
	if (LZ4F_isError(hint))
		return ltx_lz4_error(hint, e);
	s->at += in;
	if (hint == 0)
		return end_frame(s, e);
	if (*got == 0 && in == 0 && s->input_over)
		return err_set(e, ERR_DAMAGED, "it is truncated: its LZ4 frame ends early");
	return ERR_OK;
}

ptrdiff_t v3_stream_read(struct v3_stream *s, void *p, size_t n, struct err *e)
{
	size_t done = 0;
	while (done < n && !s->over) {
		size_t got = 0;
		int rc = need_input(s, e);
		if (!rc)
			rc = decode(s, (uint8_t *)p + done, n - done, &got, e);
		if (rc)
			return -1;
		done += got;
	}
	return (ptrdiff_t)done;
}

/* ---- the WAL ---- */

void v3_wal_begin(struct v3_wal *w, uint32_t page_size)
{
	memset(w, 0, sizeof(*w));
	w->page_size = page_size;
}

int v3_wal_header(struct v3_wal *w, const uint8_t in[WAL_HEADER_SIZE], struct err *e)
{
	if (wal_header_decode(in, &w->header, e)) {
		if (e)
			e->code = ERR_DAMAGED;
		return ERR_DAMAGED;
	}
	if (w->header.page_size != w->page_size)
		return err_set(e, ERR_DAMAGED,
			"its WAL has pages of %" PRIu32 " bytes, the snapshot pages of %" PRIu32,
			w->header.page_size, w->page_size);
	memcpy(w->sum, w->header.cksum, sizeof(w->sum));
	w->offset = WAL_HEADER_SIZE;
	return ERR_OK;
}

int v3_wal_frame(
	struct v3_wal *w, const uint8_t *frame, struct wal_frame_header *out, struct err *e)
{
	wal_frame_header_decode(frame, out);
	if (memcmp(out->salt, w->header.salt, sizeof(out->salt)) != 0)
		return err_set(e, ERR_DAMAGED,
			"the frame at byte %" PRIu64 " of its WAL has another WAL's salts", w->offset);
	if (!wal_frame_verify(w->header.big_end_cksum, frame, w->page_size, w->header.salt, w->sum))
		return err_set(e, ERR_DAMAGED,
			"the frame at byte %" PRIu64 " of its WAL has a wrong checksum", w->offset);
	if (out->pgno == 0)
		return err_set(
			e, ERR_DAMAGED, "the frame at byte %" PRIu64 " of its WAL is of no page", w->offset);
	w->offset += WAL_FRAME_HEADER_SIZE + w->page_size;
	return ERR_OK;
}
