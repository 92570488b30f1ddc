/*
 * The files of a replica, as its replicator knows them: from one listing at the start, and what it
 * uploaded and deleted since.
 *
 * A listing does not say when the last upload in a file was made. Of our own files we know it; the
 * state folder keeps it over a restart (<dir>/inventory). Of others an L0's time in the store
 * stands for it, and a higher level's header is asked (timestamp_ms 0 until then).
 *
 *   inventory     "DLSI", be32 1, be64 CRC-64 of the replica's URL, be64 n; n records of 32 bytes
 *                 (inventory_file.c); be64 CRC-64 of all before it
 *
 * Every function takes the inventory's own lock for moments, and none calls a store.
 */
#ifndef REPLICATE_INVENTORY_H
#define REPLICATE_INVENTORY_H

#include "base/err.h"
#include "format/ltxset.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One LTX file in the replica. TXID order is time order: of two files of one level the one with the
 * higher max_txid never has the lower timestamp (each upload is at least 1 ms after the one
 * before). */
struct replica_file {
	int level;                   /* 0 to 9; 9 = snapshot */
	uint64_t min_txid, max_txid; /* a file with min_txid 1 holds every page */
	uint64_t size;               /* bytes */
	int64_t timestamp_ms; /* wall time of the last upload in it: its LTX header's timestamp */
	int64_t uploaded_ms;  /* wall time at which it came into the replica */
};

/* What status shows. All 0 where there is nothing. */
struct inventory_totals {
	uint64_t files, bytes;
	uint64_t earliest_txid, latest_txid; /* between which a restore finds a way: full file, end */
	int64_t earliest_ms, latest_ms;
	int64_t snapshot_ms; /* of the newest full file: its last upload */
	uint64_t snapshot_txid;
	int64_t snapshot_made_ms; /* when it came into the replica */
};

/* L0 files: too young to go, not merged into L1 yet, and the others. */
struct inventory_l0 {
	uint64_t too_recent, not_compacted, eligible;
};

struct inventory {
	pthread_mutex_t lock;
	struct replica_file *files; /* sorted by level, min_txid, max_txid; no doubles */
	size_t count, cap;
	uint64_t changes;  /* counts up */
	bool known;        /* a listing was taken and everything since is in it */
	bool totals_known; /* `totals` is of this state */
	struct inventory_totals totals;
};

void inventory_init(struct inventory *inv);
void inventory_free(struct inventory *inv);

/* Makes it what a listing shows (sorted), with the times that it knew already or that the state
 * folder `dir` has kept for the replica `url`; what is unknown came in at now_ms. `all`: what it
 * has beyond the listing stays, also what comes in during the call. An unreadable <dir>/inventory
 * is as good as none. ERR_NOMEM, ERR_IO: it is as it was. */
int inventory_load(struct inventory *inv, const struct ltx_set *set, bool all, const char *dir,
	const char *url, int64_t now_ms, struct err *e);

/* Forgets all; `known` is false until the next listing. */
void inventory_clear(struct inventory *inv);

/* A file came in, or is now known better. ERR_NOMEM: `known` is false, for something is missing. */
int inventory_add(struct inventory *inv, const struct replica_file *f, struct err *e);

/* Takes n files out (by level and TXIDs), in any order; those that are not in it don't matter. */
void inventory_remove(struct inventory *inv, const struct replica_file *files, size_t n);

/* A private copy (free) of all files in their order. *out is NULL when there is none. */
int inventory_copy(struct inventory *inv, struct replica_file **out, size_t *count, struct err *e);

/* The wall clock, which should be at now_ms, was set forward by by_ms (back where that is below 0).
 * What came in by the old clock is moved along; going back, only what would lie in the future. */
void inventory_clock_set(struct inventory *inv, int64_t now_ms, int64_t by_ms);

bool inventory_known(struct inventory *inv);
void inventory_get_totals(struct inventory *inv, struct inventory_totals *out);
/* Those that came in after young_ms are too recent. */
void inventory_count_l0(struct inventory *inv, int64_t young_ms, struct inventory_l0 *out);
uint64_t inventory_changes(struct inventory *inv);

/* Writes <dir>/inventory durably. *changes (may be NULL) is what it holds. */
int inventory_save(
	struct inventory *inv, const char *dir, const char *url, uint64_t *changes, struct err *e);

/* ---- of copies; pure ---- */

/* The order of the array: below, equal or above 0. */
int replica_file_compare(const struct replica_file *a, const struct replica_file *b);

#endif
