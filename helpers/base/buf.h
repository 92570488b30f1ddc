/* A growable byte buffer that is born with its ceiling. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* NULL while empty; always followed by a NUL that len doesn't count */
	size_t len;
	size_t cap;
	size_t max; /* len never grows past it */
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);  /* may be called twice */
void buf_wipe(struct buf *b);  /* overwrites what is in it, then frees it: for secrets */
void buf_reset(struct buf *b); /* len = 0, memory kept */

/* Each returns ERR_OK, ERR_FULL when it would pass max, or ERR_NOMEM; the content is then as it
 * was before the call. */
int buf_reserve(struct buf *b, size_t extra);
int buf_append(struct buf *b, const void *data, size_t n);
int buf_append_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The content as a C string ("" while empty); borrowed until the next call on b. */
const char *buf_str(const struct buf *b);

#endif
