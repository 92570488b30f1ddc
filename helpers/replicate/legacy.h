/*
 * What Litestream 0.3 left in a replica: "generations/…" (format/v3.h), beside our levels. Counted,
 * and deleted once a person has said so. Only names that Litestream 0.3 gives are touched; whatever
 * else lies below that folder stays.
 */
#ifndef REPLICATE_LEGACY_H
#define REPLICATE_LEGACY_H

#include "base/err.h"
#include "store/store.h"

#include <stdint.h>

struct legacy_tally {
	uint64_t generations, objects, bytes; /* Litestream 0.3's */
	int64_t oldest_ms, newest_ms;    /* when they were written, by the store's clock; 0 = none */
	uint64_t others;                 /* objects in that folder that are not Litestream's */
	uint64_t deleted, deleted_bytes; /* the store said so of each */
};

/* Fills *out. The store's errors. */
int legacy_count(struct store *s, struct legacy_tally *out, struct err *e);

/*
 * Deletes all of them, page by page, snapshots of a generation before its WAL: what is left of an
 * interrupted one can't be taken for a whole. *out says how far it went, also when it fails: with
 * the store's error for the first object that could not be deleted; no page after that one is
 * begun. `progress` may be NULL.
 */
int legacy_delete(struct store *s, void (*progress)(void *ctx, uint64_t deleted_bytes), void *ctx,
	struct legacy_tally *out, struct err *e);

#endif
