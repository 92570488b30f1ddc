/* What must be true of a replica's files and of what came out of them. Inner part of restore. */
#ifndef RESTORE_VERIFY_H
#define RESTORE_VERIFY_H

#include "format/ltx.h"
#include "restore/restore.h"

/* The header must be that of the file as it is named, and of a database of page_size (0 = not known
 * yet). ERR_DAMAGED with the reason. */
int verify_header(
	const struct ltx_header *h, const struct ltx_file *f, uint32_t page_size, struct err *e);

/* May `after` have been written on top of `before`? False only if both are ours, adjoin, and the
 * checksums that they record contradict each other (F8). */
bool verify_follows(const struct ltx_header *before, const struct ltx_header *after);

/*
 * Compares the database checksum with what the last file recorded. *proof says whether there was
 * something to compare with. ERR_DAMAGED naming both, or for pages that no file had (holes) where
 * nothing proves that they are meant to be zero.
 */
int verify_checksum(const struct ltx_header *last, const char *last_name, uint64_t checksum,
	uint32_t holes, uint32_t first_hole, enum restore_proof *proof, struct err *e);

/* Page 1 in `fd` must begin as a SQLite database of this page size does. */
int verify_database(int fd, uint32_t page_size, struct err *e);

#endif
