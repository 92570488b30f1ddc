/*
 * Fencing: how a replicator finds out that another one writes to its replica.
 *
 * (Rules F1 to F11: docs/DESIGN.md.) These are questions to the store; what follows from the
 * answers is decided by whoever asked.
 */
#ifndef REPLICATE_FENCE_H
#define REPLICATE_FENCE_H

#include "base/err.h"
#include "format/ltxset.h"
#include "replicate/freeze.h"
#include "replicate/replicator.h" /* fence_probe */
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define FENCE_NAME_SIZE 64

/* The name of an LTX file in this store: level's folder and file name. */
void fence_name(const struct store *s, int level, uint64_t min_txid, uint64_t max_txid,
	char out[FENCE_NAME_SIZE]);

/* The other way round: level and TXIDs of a name relative to the URL. False for what is no name of
 * an LTX file in a level's folder; out->level may have been set. */
bool fence_parse_name(const struct store *s, const char *name, struct ltx_file *out);

/* Reads the header of the file of this name. ERR_DAMAGED when it has none, the store's errors. */
int fence_header(struct store *s, int level, uint64_t min_txid, uint64_t max_txid,
	struct ltx_header *out, struct err *e);

/*
 * F3: is the object of f's name the frozen file: same size, same first 100 and last 16 bytes?
 * ERR_NOT_FOUND when there is no such object; the store's errors otherwise.
 */
int fence_same(struct store *s, const struct frozen *f, bool *same, struct err *e);

/* The same for a file of another level (frozen_read). */
int fence_same_at(struct store *s, int level, const struct frozen *f, bool *same, struct err *e);

/*
 * F4: one LIST behind the last settled L0 (0 = from the start). *next = the first TXID that is
 * there, 0 = none. *more = there is something behind that too.
 */
int fence_tail(struct store *s, uint64_t settled, uint64_t *next, bool *more, struct err *e);

/*
 * F11 by an object of its own: "litestream-probe-<random>", empty, is put, put again with the
 * condition (*weak = that was not refused), and deleted. *may_delete (may be NULL) = the store did
 * not deny that; a probe that it would not delete stays.
 */
int fence_probe_object(struct store *s, bool *weak, bool *may_delete, struct err *e);

#endif
