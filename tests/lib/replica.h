/*
 * A database that lives in memory, with every state that it went through, and the replica that a
 * replicator would have made of it: for tests of what reads replicas.
 */
#ifndef TESTS_LIB_REPLICA_H
#define TESTS_LIB_REPLICA_H

#include "base/buf.h"
#include "format/ltx.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define REPLICA_STATES 512
#define REPLICA_START_MS INT64_C(1700000000000) /* TXID n is n seconds later */

struct replica_state {
	uint8_t *image;   /* n_page pages */
	uint8_t *changed; /* a byte a page: written by this transaction */
	uint32_t n_page;
	uint64_t checksum;
};

struct replica {
	struct store *store;
	uint32_t page_size;
	uint64_t node_id;
	bool ours; /* header bytes of ours, with checksums */
	bool lean; /* page 1 is written only when the size changes, as SQLite does in WAL mode */
	uint64_t txid;
	struct replica_state states[REPLICA_STATES + 1]; /* by TXID */
	uint32_t seed;
};

/* `store` is borrowed. Everything here aborts when something fails. */
void replica_init(struct replica *r, struct store *store, uint32_t page_size, bool ours);
void replica_free(struct replica *r);

/* The next transaction: the database then has n_page pages, of which page 1 (but see lean), all new
 * ones and `writes` others were written (some with zeros). Puts nothing. Returns its TXID. */
uint64_t replica_commit(struct replica *r, uint32_t n_page, uint32_t writes);

/* The file of these TXIDs as bytes: what they changed, as it was at max (all pages for min 1). */
void replica_encode(const struct replica *r, uint64_t min, uint64_t max, struct buf *out);

/* Puts it. */
void replica_put(const struct replica *r, int level, uint64_t min, uint64_t max);

/* Commits and puts an L0 at once. */
uint64_t replica_ship(struct replica *r, uint32_t n_page, uint32_t writes);

/* Puts bytes under the name of an LTX file, whatever is there. */
void replica_put_bytes(
	const struct replica *r, int level, uint64_t min, uint64_t max, const void *p, size_t n);
void replica_delete(const struct replica *r, int level, uint64_t min, uint64_t max);

/* Is the file at `path` the database at `txid`, byte for byte? */
bool replica_is_state(const struct replica *r, uint64_t txid, const char *path);

#endif
