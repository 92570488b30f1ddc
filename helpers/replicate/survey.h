/*
 * What a person should know of a replica URL before anything is shipped there: may we list, read,
 * write and delete, does it keep two writers apart, and is something there already?
 */
#ifndef REPLICATE_SURVEY_H
#define REPLICATE_SURVEY_H

#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>

struct survey {
	bool weak_fencing; /* F11 */
	bool may_delete;   /* false: the store refused to delete the probe, which then stays */
	bool versioned;    /* what is deleted goes on taking room until a lifecycle rule removes it */
	bool occupied;     /* there are LTX files */
	bool legacy;       /* there are backups of Litestream 0.3, which stay as they are */

	/* Of the manifest beside them, "" where it has none that we believe. Written by others. */
	char app[64], database[129], host[65];
};

/*
 * Seven requests at most: a listing of one page, one of Litestream 0.3's folder, a GET of the
 * manifest, the probe (put, put again with the condition, delete) and the question for versions,
 * which may go unanswered. Leaves nothing behind unless it may not delete. The store's errors.
 */
int survey_replica(struct store *s, struct survey *out, struct err *e);

/* Only the names of the manifest, one request; without a manifest they stay as they are. */
int survey_manifest(struct store *s, struct survey *out, struct err *e);

#endif
