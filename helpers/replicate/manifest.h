/*
 * litestream.json: what a person, or a new host, finds beside the data: which app's database this
 * is, where it belongs and how it is fenced. Who reads it (conf/manifest.h) must not trust it.
 */
#ifndef REPLICATE_MANIFEST_H
#define REPLICATE_MANIFEST_H

#include "base/buf.h"
#include "base/err.h"
#include "conf/manifest.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct manifest {
	const char *app, *storage_name, *container_path; /* NULL = unknown */
	const char *database;                            /* path: only its last part is told */
	bool weak_fencing;
};

/*
 * Writes it into *out (initialised with MANIFEST_MAX). Names that a reader would refuse are left
 * out, and owner and mode are those of the database file where it is there. ERR_NOMEM.
 */
int manifest_make(const struct manifest *m, struct buf *out, struct err *e);

/* Puts it, over the one that is there. */
int manifest_put(struct store *s, const struct buf *text, struct err *e);

#endif
