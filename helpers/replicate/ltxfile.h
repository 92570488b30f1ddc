/* LTX files of the state folder, written and read through a small buffer. */
#ifndef REPLICATE_LTXFILE_H
#define REPLICATE_LTXFILE_H

#include "base/err.h"
#include "format/ltx.h"
#include "source/pagesums.h"

#include <stdatomic.h>
#include <stdint.h>

struct ltxfile;

/* Creates (or empties) a file to encode into. */
int ltxfile_create(struct ltxfile **out, const char *path, struct err *e);

/* An ltx_write_fn: ctx is the struct ltxfile. ERR_FULL when the disk is full. */
int ltxfile_write(void *ctx, const void *p, size_t n, struct err *e);

/* The same, and fsyncs every 8 MiB: so that no fsync, the app's neither, waits for more than that.
 * For large files that nobody is in a hurry for. */
int ltxfile_write_gently(void *ctx, const void *p, size_t n, struct err *e);

/* Writes what is buffered and, if asked, fsyncs. */
int ltxfile_flush(struct ltxfile *f, int sync, struct err *e);

/* Gives a flushed file its name, durably. On failure either name may be there. */
int ltxfile_publish(const char *tmp, const char *path, struct err *e);

/* Opens a file to decode. ERR_NOT_FOUND, ERR_IO. */
int ltxfile_open(struct ltxfile **out, const char *path, struct err *e);

/* An ltx_read_fn: ctx is the struct ltxfile. */
ptrdiff_t ltxfile_read(void *ctx, void *p, size_t n, struct err *e);

/* Begins to read what was written (which is flushed first), from its start. */
int ltxfile_rewind(struct ltxfile *f, struct err *e);

/* Bytes in the file as it is on disk now. ERR_IO. */
int ltxfile_size(const struct ltxfile *f, uint64_t *size, struct err *e);

void ltxfile_close(struct ltxfile *f); /* NULL is fine */

/*
 * Decodes a whole file and throws the pages away. ERR_DAMAGED when it is none, ERR_NOT_FOUND,
 * ERR_IO, ERR_CANCELLED when *cancelled (may be NULL) became true.
 */
int ltxfile_verify(
	const char *path, const atomic_bool *cancelled, struct ltx_header *out, struct err *e);

/*
 * Brings a page table from the state before an LTX file to the state after it. The whole file is
 * verified first. ERR_DAMAGED when it does not follow the table's TXID, belongs to another page
 * size, or the checksums it carries are not those of the table before and after.
 */
int ltxfile_fold(const char *path, struct pagesums *table, struct err *e);

#endif
