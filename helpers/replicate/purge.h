/*
 * Deleting a replica: the LTX files of its levels, by their exact names, and the manifest. Never
 * what is named otherwise, never a prefix, and never what another node may have written.
 */
#ifndef REPLICATE_PURGE_H
#define REPLICATE_PURGE_H

#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct purge_result {
	uint64_t files, bytes; /* level files that are gone now */
	bool manifest;         /* so is litestream.json */
	bool versioned;        /* the bucket keeps what was deleted as old versions */
};

/*
 * state_dir is that of the replica's writer, which must not run: it is locked meanwhile
 * (ERR_AGAIN). Only when that state shows the last file in the replica to be ours, not fenced, and
 * there is nothing behind it, which is asked again before each thousand deletions: ERR_FENCED
 * otherwise. The last L0 goes last, so that an interrupted call can be made again. Each key's
 * answer counts: the store's errors, with how many are left in the sentence. An empty replica is
 * ERR_OK. progress may be NULL and is told files. After any failure *out says what is gone.
 */
int purge_replica(struct store *s, const char *state_dir,
	void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx, struct purge_result *out,
	struct err *e);

#endif
