/* The page table at start: the one on disk, brought forward by the files behind it. */
#ifndef REPLICATE_TABLE_H
#define REPLICATE_TABLE_H

#include "base/err.h"
#include "replicate/inventory.h"
#include "source/pagesums.h"
#include "store/store.h"

#include <stdint.h>

/*
 * Loads <dir>/pages and folds the files up to `txid` into it: our copies of L0 in <dir>/ltx/0 or,
 * where one is missing or damaged, what the replica has of any level: `files`, n of them, in any
 * order. `checksum` is what the database had at txid (0 = unknown). On failure (why: *e) the table
 * is empty: the state can only be shipped whole. ERR_UNREACHABLE, ERR_DENIED and ERR_CANCELLED are
 * worth another try, others are not.
 */
int table_load(struct pagesums *table, const char *dir, struct store *store,
	const struct replica_file *files, size_t n, uint64_t txid, uint64_t checksum, struct err *e);

/*
 * Folds the replica's files up to `txid` into a table that is loaded: whoever's they are, so
 * nothing of them is kept, and no copy here is believed. `dir` is for a file that is being read. On
 * failure the table is neither what it was nor what it should be.
 */
int table_follow(struct pagesums *table, const char *dir, struct store *store,
	const struct replica_file *files, size_t n, uint64_t txid, struct err *e);

/* Writes it to <dir>/pages. */
int table_save(const struct pagesums *table, const char *dir, struct err *e);

#endif
