/*
 * Finding SQLite databases below a folder, by the header of each file (format/dbheader.h), for
 * people who don't know where an app keeps its own. Nothing is locked or written; symbolic links,
 * other kinds of files and hidden ones are passed over, and so are the -wal, -shm and -journal of a
 * database and what a restore in place has kept beside it (NAME.before-TIME).
 *
 * For a process that has no database open: closing a descriptor drops the locks that SQLite has on
 * it.
 */
#ifndef SOURCE_FIND_H
#define SOURCE_FIND_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No deeper, no more entries, no more databases than these. */
#define FIND_DEPTH 8
#define FIND_ENTRIES 20000
#define FIND_DATABASES 200

struct find_file {
	const char *dir;  /* its folder's path */
	const char *name; /* borrowed, both, for the call */
	uint64_t bytes;
	uint32_t page_size;
	bool wal; /* in WAL mode already */
};

typedef int (*find_fn)(void *ctx, const struct find_file *file, struct err *e);

struct find_totals {
	size_t entries, databases;
	size_t unreadable; /* files and folders that we may not look into */
	char first_unreadable[512];
	bool cut; /* there is more than the bounds above allow to see */
};

/* Calls fn for each, in any order; not ERR_OK ends it with that code. ERR_NOT_FOUND when there is
 * no folder `dir`, ERR_DATABASE when it is none or a link, ERR_DENIED when it can't be read,
 * ERR_IO. */
int find_databases(
	const char *dir, find_fn fn, void *ctx, struct find_totals *totals, struct err *e);

#endif
