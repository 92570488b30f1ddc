/*
 * What Litestream 0.3 wrote: names of snapshots and WAL segments, their LZ4 frames, and the WAL in
 * them. Bytes only: no files, no network. (Layouts and what they mean are explained in v3.c and
 * v3_read.c; facts: Litestream v0.3.13.)
 */
#ifndef FORMAT_V3_H
#define FORMAT_V3_H

#include "base/err.h"
#include "format/wal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define V3_PREFIX "generations/"
#define V3_NAME_SIZE 80 /* with the NUL */
#define V3_INDEX_MAX INT32_MAX

struct v3_file {
	uint64_t generation;
	bool snapshot;       /* else a segment of a WAL */
	uint32_t index;      /* which WAL; of a snapshot: the one that was current */
	uint64_t offset;     /* of a segment's first byte in its WAL */
	uint64_t size;       /* bytes as they are stored */
	int64_t modified_ms; /* as the store listed it: the only time there is */
};

struct v3_set {
	struct v3_file *files; /* sorted by generation; snapshots, then segments; index; offset */
	size_t count, cap;
};

void v3_set_init(struct v3_set *s);
void v3_set_free(struct v3_set *s);
int v3_set_add(struct v3_set *s, const struct v3_file *f); /* ERR_OK or ERR_NOMEM; unsorted */
void v3_set_sort(struct v3_set *s);                        /* sorts and drops exact doubles */

/* Reads a name relative to the replica, from V3_PREFIX on, into generation, snapshot, index and
 * offset; false when it is none (also upper case, an index above V3_INDEX_MAX). */
bool v3_parse_name(const char *name, struct v3_file *f);

/* The name of f. Returns out. */
const char *v3_format_name(const struct v3_file *f, char out[V3_NAME_SIZE]);

/* "c2917f0dba5c4124"; 1 to 8 hexadecimal digits. */
bool v3_parse_generation(const char *text, uint64_t *generation);
bool v3_parse_index(const char *text, uint32_t *index);

/* ---- an object's content ---- */

/* Gives up to n of the next bytes of an object: the number, 0 at its end, or -1 with *e set. */
typedef ptrdiff_t (*v3_read_fn)(void *ctx, void *p, size_t n, struct err *e);

/* The first bytes of an object, which tell what it is. */
#define V3_MAGIC_SIZE 21

/*
 * ERR_OK when an object that begins with these n bytes may be a snapshot or segment.
 * ERR_UNSUPPORTED when it is encrypted with age, ERR_DAMAGED for anything else.
 */
int v3_check_magic(const uint8_t *p, size_t n, struct err *e);

struct v3_stream; /* decodes one object after another; at most some 9 MB */

int v3_stream_new(struct v3_stream **out, struct err *e);
void v3_stream_free(struct v3_stream *s); /* NULL is fine */

/* Begins an object. `read` is not asked again after it gave 0 or -1. */
void v3_stream_begin(struct v3_stream *s, v3_read_fn read, void *ctx);

/*
 * Up to n bytes of its content; 0 at the end: then the LZ4 frame was whole, its checksum (where it
 * has one: always when Litestream wrote it) right, and nothing follows. -1 with ERR_DAMAGED,
 * v3_check_magic's codes, or what `read` said.
 */
ptrdiff_t v3_stream_read(struct v3_stream *s, void *p, size_t n, struct err *e);

/* Was it `read` that failed last? Then *e is already a whole story. */
bool v3_stream_read_failed(const struct v3_stream *s);

/* ---- the WAL in the segments of one index ---- */

struct v3_wal {
	uint32_t page_size; /* of the database */
	uint64_t offset;    /* where the next byte stands in the WAL: 0 = the header comes first */
	struct wal_header header;
	uint32_t sum[2]; /* running checksum */
};

void v3_wal_begin(struct v3_wal *w, uint32_t page_size);

/* The first WAL_HEADER_SIZE bytes. ERR_DAMAGED when they are no WAL's header, or of a database with
 * other pages. */
int v3_wal_header(struct v3_wal *w, const uint8_t in[WAL_HEADER_SIZE], struct err *e);

/* The next frame: header and page. ERR_DAMAGED unless salts and checksum continue those before it
 * and it is of a page, as wal.c asks of frames that it recovers. */
int v3_wal_frame(
	struct v3_wal *w, const uint8_t *frame, struct wal_frame_header *out, struct err *e);

#endif
