/*
 * Litestream 0.3's names, LZ4 frames and WALs: bytes from anywhere. The same bytes are also put
 * into a right frame, and into a WAL with right checksums, so that what lies behind these is
 * reached.
 */
#include "base/endian.h"
#include "format/v3.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUTPUT_MAX ((size_t)1 << 20)
#define PAGE 512
#define FRAME (WAL_FRAME_HEADER_SIZE + PAGE)

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void name(const uint8_t *data, size_t size)
{
	char text[200], again[V3_NAME_SIZE];
	struct v3_file f = {0}, g = {0};
	size_t n = size < sizeof(text) ? size : sizeof(text) - 1;
	memcpy(text, data, n);
	text[n] = '\0';
	if (!v3_parse_name(text, &f))
		return;
	must(v3_parse_name(v3_format_name(&f, again), &g));
	must(f.generation == g.generation && f.snapshot == g.snapshot && f.index == g.index &&
		 f.offset == g.offset);
}

struct source {
	const uint8_t *p;
	size_t n, step;
};

static ptrdiff_t give(void *ctx, void *p, size_t n, struct err *e)
{
	struct source *s = ctx;
	size_t take = n < s->step ? n : s->step;
	(void)e;
	take = take < s->n ? take : s->n;
	memcpy(p, s->p, take);
	s->p += take;
	s->n -= take;
	return (ptrdiff_t)take;
}

/* Decodes up to OUTPUT_MAX bytes: how many, -1 for a failure. */
static ptrdiff_t decode(struct v3_stream *s, const uint8_t *p, size_t n, size_t step, uint8_t *out)
{
	struct source from = {p, n, step};
	struct err e = ERR_INIT;
	v3_stream_begin(s, give, &from);
	ptrdiff_t got = v3_stream_read(s, out, OUTPUT_MAX, &e);
	must(got >= 0 || ((e.code == ERR_DAMAGED || e.code == ERR_UNSUPPORTED || e.code == ERR_NOMEM) &&
						 e.text[0]));
	return got;
}

/* How the bytes come makes no difference. */
static void frame(struct v3_stream *s, const uint8_t *data, size_t size, uint8_t *out)
{
	uint8_t *other = malloc(OUTPUT_MAX);
	must(other != NULL);
	ptrdiff_t whole = decode(s, data, size, size + 1, out);
	ptrdiff_t parts = decode(s, data, size, 7, other);
	must(whole == parts);
	must(whole < 0 || memcmp(out, other, (size_t)whole) == 0);
	free(other);
}

static void framed(struct v3_stream *s, const uint8_t *data, size_t size, uint8_t *out)
{
	LZ4F_preferences_t how = {.frameInfo = {.contentChecksumFlag = LZ4F_contentChecksumEnabled}};
	size_t most = LZ4F_compressFrameBound(size, &how);
	uint8_t *p = malloc(most);
	must(p != NULL);
	size_t n = LZ4F_compressFrame(p, most, data, size, &how);
	must(!LZ4F_isError(n));
	must(decode(s, p, n, 5, out) == (ptrdiff_t)size && memcmp(out, data, size) == 0);
	must(decode(s, p, n - 1, n, out) == -1);
	free(p);
}

/* Frames that verify, from the first on. */
static size_t read_wal(const uint8_t *p, size_t n)
{
	struct v3_wal w;
	struct wal_frame_header h;
	struct err e = ERR_INIT;
	size_t frames = 0, at = WAL_HEADER_SIZE;
	v3_wal_begin(&w, PAGE);
	if (n < WAL_HEADER_SIZE || v3_wal_header(&w, p, &e))
		return 0;
	for (; at + FRAME <= n; at += FRAME, frames++) {
		must(w.offset == at);
		if (v3_wal_frame(&w, p + at, &h, &e)) {
			must(e.code == ERR_DAMAGED && e.text[0]);
			break;
		}
		must(h.pgno > 0);
	}
	return frames;
}

static void sealed_wal(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size);
	uint32_t s[2] = {0, 0};
	size_t frames = 0;
	if (!p || size < WAL_HEADER_SIZE) {
		free(p);
		return;
	}
	memcpy(p, data, size);
	bool big_end = p[3] & 1;
	put_be32(p, 0x377f0682u | big_end);
	put_be32(p + 4, 3007000);
	put_be32(p + 8, PAGE);
	wal_checksum(big_end, p, 24, s);
	put_be32(p + 24, s[0]);
	put_be32(p + 28, s[1]);
	for (size_t at = WAL_HEADER_SIZE; at + FRAME <= size; at += FRAME) {
		uint8_t *f = p + at;
		memcpy(f + 8, p + 16, 8);
		wal_checksum(big_end, f, 8, s);
		wal_checksum(big_end, f + WAL_FRAME_HEADER_SIZE, PAGE, s);
		put_be32(f + 16, s[0]);
		put_be32(f + 20, s[1]);
		if (get_be32(f) == 0)
			break;
		frames++;
	}
	must(read_wal(p, size) == frames);
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct v3_stream *s = NULL;
	uint8_t *out = malloc(OUTPUT_MAX);
	must(out && v3_stream_new(&s, &e) == ERR_OK);
	name(data, size);
	frame(s, data, size, out);
	framed(s, data, size, out);
	read_wal(data, size);
	sealed_wal(data, size);
	v3_stream_free(s);
	free(out);
	return 0;
}
