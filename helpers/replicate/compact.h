/*
 * Compaction: several files of one level become one of the level above, here and in the replica.
 *
 *   inputs   our copies (<state folder>/ltx/<level - 1>/), fetched from the replica where missing
 *   merge    <state folder>/ltx/<level>/<name>.tmp, fsynced, decoded whole, renamed, folder fsynced
 *   gate     the caller's word that the replica is ours (F5), asked right before the put
 *   put      only if nothing of that name is there (F2); what is there instead is compared (F3)
 *
 * A crash, or a failure, at any point: the next call goes on. Half a file is deleted, a finished
 * one that the replica lacks is put as it is. The inputs are not touched in the replica, ever.
 *
 * The output stays as a copy for the next level, within `copies_max` of all levels together. Above
 * that the oldest go; they are fetched when they are needed. Copies of L0 belong to the thread that
 * uploads and may vanish at any moment: an input is opened before anything is read, and one that is
 * not there, has another size than in the replica, or is damaged is fetched.
 *
 * One thread at a time; it owns the folders ltx/1 and up. Nothing here looks at a replicator.
 */
#ifndef REPLICATE_COMPACT_H
#define REPLICATE_COMPACT_H

#include "base/err.h"
#include "replicate/inventory.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPACT_TOP_LEVEL 3   /* nothing is made of its files: no copies of them are kept */
#define COMPACT_MAX_INPUTS 64 /* merged at once; each is an open file, 16 KiB and two pages */

struct compact_env {
	struct store *store;
	const char *state_dir;
	uint64_t copies_max;          /* bytes: copies_level_share (copies.h) */
	bool weak;                    /* F11: look before each put */
	bool unconditional;           /* the store can't do conditions; set when that shows */
	const atomic_bool *cancelled; /* NULL = never; store_cancel ends what the store does */
	/* F5: ERR_OK = put now. Anything else ends compact_run with that code; the output stays here
	 * and is put by the next call. NULL = always. */
	int (*gate)(void *ctx, struct err *e);
	void *gate_ctx;
};

/* Why nothing came of it, where the inputs are the reason. */
enum compact_fault {
	COMPACT_OTHER,  /* the store, the disk, memory, the gate, cancelled: the same may work later */
	COMPACT_LOST,   /* inputs[culprit] is not in the replica (ERR_NOT_FOUND) or damaged there */
	COMPACT_NO_FIT, /* F8: inputs[culprit] doesn't continue those before it (ERR_DAMAGED), which may
					   be merged without it */
	COMPACT_TAKEN,  /* ERR_CONDITION: another file has the name of the output, which file and used
					   describe */
};

struct compact_result {
	struct replica_file file; /* what is in the replica now */
	size_t used;              /* so many of the inputs, from the first, are in it */
	enum compact_fault fault; /* after a failure */
	size_t culprit;
};

/* Deletes what a crash left half done. Once, before the first compact_run. */
int compact_begin(const struct compact_env *env, struct err *e);

/*
 * Makes one file of `level` (1 to 8) out of files of the level below: n of them, in order, each
 * beginning where the one before ends. It takes as many as it can at once, from the first:
 * out->used. It takes fewer when there are more than COMPACT_MAX_INPUTS; when they are larger than
 * the disk space that is meant for it (copies_max, at least 64 MiB); when the page size changes;
 * when an earlier call left a finished file of fewer. The rest is for the next call.
 *
 * Disk: at most twice that space, or twice the first input where it is larger. Errors name the
 * files; out->fault says what to think of it.
 */
int compact_run(struct compact_env *env, int level, const struct replica_file *inputs, size_t n,
	struct compact_result *out, struct err *e);

#endif
