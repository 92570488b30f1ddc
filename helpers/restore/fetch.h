/*
 * Fetches files in the order in which they are wanted, ahead of the reader. Inner part of restore.
 *
 * Files are cut into parts. A few threads take the next part that nobody has taken, get it by
 * range into memory, and the reader takes the parts in order. How far they may be ahead is bounded
 * by bytes and by number, so memory is bounded whatever the sizes; small files are one part each,
 * so many of them are under way at once.
 */
#ifndef RESTORE_FETCH_H
#define RESTORE_FETCH_H

#include "format/ltxset.h"
#include "format/v3.h"
#include "store/store.h"

#include <stddef.h>

struct fetch;

struct fetch_limits {
	size_t threads;   /* parts under way at once */
	size_t part_size; /* bytes of a part of a large file */
	size_t window;    /* bytes that are fetched or being fetched and not yet read */
};

/* Which files: exactly one of the two lists. Borrowed until fetch_free. */
struct fetch_list {
	const struct ltx_file *ltx;
	const struct v3_file *v3;
	size_t count;
};

/* What suits this store; `parallelism` > 0 sets the threads. */
struct fetch_limits fetch_limits_for(const struct store *s, int parallelism);

/* Begins. ERR_NOMEM. */
int fetch_new(struct fetch **out, struct store *s, const struct fetch_list *list,
	const struct fetch_limits *limits, struct err *e);

/*
 * The next bytes of the current file (the first one, at the beginning), as an ltx_read_fn: up to n
 * of them, 0 at its end, -1 with what the store said.
 */
ptrdiff_t fetch_read(void *f, void *p, size_t n, struct err *e);

/* Goes on to the next file; what was not read of the current one is dropped. */
void fetch_next_file(struct fetch *f);

/* Ends all requests at their next byte and frees. NULL is fine. */
void fetch_free(struct fetch *f);

/* The object's name in this store, into out. */
#define FETCH_NAME_SIZE V3_NAME_SIZE
const char *fetch_object_name(
	const struct store *s, const struct ltx_file *f, char out[FETCH_NAME_SIZE]);

/* Gets bytes [offset, offset + n) of an object into p. `size`: of all of it, as it was listed.
 * ERR_DAMAGED when the store gives fewer. */
int fetch_range(struct store *s, const char *name, uint64_t size, uint64_t offset, void *p,
	size_t n, struct err *e);

#endif
