/* Headers of files by themselves: 100 bytes by range. Inner part of restore. */
#ifndef RESTORE_HEADER_H
#define RESTORE_HEADER_H

#include "format/ltx.h"
#include "restore/restore.h"

/* What the store said, or ERR_DAMAGED naming the file. */
int header_read(struct store *s, const struct ltx_file *f, struct ltx_header *h, struct err *e);

/* A restore_stamps_fn; ctx is the struct store. */
int header_stamps(
	void *ctx, const struct ltx_file *const *files, size_t n, int64_t *ms, struct err *e);

#endif
