/*
 * A snapshot of Litestream 0.3 into the file that is to become the database, and the frames of WALs
 * over it. Inner part of restore.
 *
 * What SQLite's checkpoint would make of each WAL, without SQLite: of each page the newest frame of
 * a committed transaction, then the size that the last one says. Frames gather in memory (4 MB);
 * when that is full, those that are committed are written, sorted by page and each page once, by a
 * few threads, while the next 4 MB gather. A transaction that is larger waits in an unlinked file
 * in the target's folder until its commit comes.
 */
#ifndef RESTORE_V3APPLY_H
#define RESTORE_V3APPLY_H

#include "base/folder.h"
#include "format/v3.h"

struct v3_apply;

/* Begins with an empty file `fd` (the caller's). `path` is for messages, `scratch` (which
 * must live as long) for the file that a large transaction waits in. */
int v3_apply_new(
	struct v3_apply **out, int fd, const char *path, const struct folder *scratch, struct err *e);
void v3_apply_free(struct v3_apply *a); /* waits for what is under way; NULL is fine */

/* The database file, all of it, from `content`. ERR_DAMAGED when it is no SQLite database or no
 * whole number of pages; ERR_IO, ERR_FULL when writing fails; v3_stream_read's errors. */
int v3_apply_snapshot(struct v3_apply *a, struct v3_stream *content, struct err *e);

/* The next WAL begins. */
void v3_apply_wal(struct v3_apply *a);

/* How much of it was read. */
uint64_t v3_apply_offset(const struct v3_apply *a);

/* Its next segment: frames to the end of `content`. ERR_DAMAGED when that is not between two. */
int v3_apply_segment(struct v3_apply *a, struct v3_stream *content, struct err *e);

/* It is over: what was not committed in it never was, and its last commit says how large the
 * database is. */
int v3_apply_wal_end(struct v3_apply *a, struct err *e);

/* Waits until everything is written, and gives the file its size. */
int v3_apply_finish(struct v3_apply *a, uint32_t *page_size, uint32_t *n_page, struct err *e);

/* How many bytes of frames are gathered at a time. Tests change it. */
extern size_t v3_apply_bytes;

#endif
