/*
 * When files are merged into a higher level, and when a snapshot is made. Pure: the files in the
 * replica and the time in, a decision out.
 *
 * An upload is an L0 file. Level k (1 to n_levels) holds files that were each merged from files of
 * level k - 1, without gap or overlap within the level. A merge costs requests and saves a restore
 * files, so it is lazy: at least min_inputs files wait for it. Each level thus adds at most
 * 1/min_inputs of the uploads of the level below: with 8, all levels together a seventh.
 *
 * Where a merged file ends decides what must stay below it: retention promises the last upload of
 * each step of time, and one in the middle of a merged file needs the smaller files up to there. So
 * an output ends where a step of its level ends (a *border*: the next upload belongs to another
 * step), and among the first 2 * min_inputs places it takes one that also ends a step of a higher
 * level, waiting for one while fewer files are there. At one upload a second an L1 holds the 30
 * L0 files of its half minute, an L2 the 10 L1 of its five minutes, an L3 the 12 L2 of its hour.
 *
 * Where little is written a merge saves next to nothing: each upload is a point of its own for as
 * long as points are promised, and the day's snapshot is never far. So uploads that are far apart
 * (sparse_ms) wait for L1 until as many are there as can be merged at once.
 *
 * A file that holds every page (min_txid 1) is not merged into an empty level: that would upload
 * the whole database once more for each level.
 */
#ifndef REPLICATE_LEVELS_H
#define REPLICATE_LEVELS_H

#include "base/err.h"
#include "format/ltxset.h"
#include "replicate/inventory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEVELS_MAX 8 /* L1 to L8; L9 are the snapshots */

struct levels_policy {
	int n_levels;
	int64_t step_ms[LEVELS_MAX]; /* of L1, L2, …; each a multiple of the one before */
	size_t min_inputs;           /* as many files wait before they are merged, at least 2 */
	size_t max_inputs;           /* as many are merged into one at most */
	int64_t sparse_ms;           /* L1: the last min_inputs are further apart than this: max_inputs
									wait; 0 = never */
	int64_t settle_ms; /* a step counts as over so long after its end: uploads take time */

	int64_t snapshot_min_ms;     /* no second snapshot sooner */
	int64_t snapshot_max_ms;     /* and no later when there were changes */
	uint64_t snapshot_fraction;  /* the increments may weigh 1/fraction of the database… */
	uint64_t snapshot_min_bytes; /* …and this much in any case */
	int64_t renew_ms;            /* > 0: a snapshot this often, changes or not, because the bucket's
									own rules delete what is old */
};

/* 30 s, 5 min, 1 h; 8 to 256 inputs, sparse at 15 min; 5 s to settle; snapshots between 1 h and 24
 * h apart, at a quarter of the database and 1 MiB; no renewal. */
void levels_policy_init(struct levels_policy *p);

/* ERR_OK, or ERR_USAGE with what is wrong. */
int levels_policy_check(const struct levels_policy *p, struct err *e);

/* start[k] to start[k + 1] - 1 are the places of level k's files. `files` must be sorted by level,
 * then min_txid, then max_txid, without doubles: ERR_FAIL otherwise. */
int levels_index(
	const struct replica_file *files, size_t n, size_t start[LTX_LEVELS + 1], struct err *e);

struct levels_merge {
	int level;     /* of the output; the inputs are of the level below */
	size_t first;  /* inputs: files[first] to files[first + count - 1] */
	size_t count;  /* 0 = nothing is due */
	int64_t at_ms; /* with count 0: when a merge may become due without another upload (wall time,
					  later than now); 0 = only after one */
};

/*
 * The next merge that is due, of the lowest level that has one; call again after it was made. The
 * output goes from the first input's min_txid to the last one's max_txid. `files` as levels_index
 * demands. ERR_OK or ERR_FAIL. Takes time in proportion to n.
 *
 * Where the files below a level don't go on from its last file (somebody deleted objects), the
 * level goes on behind the gap once a full file reaches that far, and stands still until then.
 */
int levels_due(const struct replica_file *files, size_t n, const struct levels_policy *p,
	int64_t now_ms, struct levels_merge *merge, struct err *e);

enum levels_reason {
	LEVELS_NOT_DUE,
	LEVELS_BROKEN, /* no way leads to the last upload: now, whatever was before */
	LEVELS_GROWTH, /* the increments since the last one weigh too much */
	LEVELS_AGE,    /* snapshot_max_ms has passed, with changes */
	LEVELS_RENEWAL /* renew_ms has passed */
};

struct levels_snapshot {
	enum levels_reason due;
	uint64_t increments; /* bytes that a restore reads behind the newest full file */
	int64_t at_ms;       /* with LEVELS_NOT_DUE: when one becomes due without another upload (wall
							time, later than now); 0 = only after one */
};

/*
 * Is a snapshot due? `db_bytes` is what one weighs in the replica; 0 = as much as the newest full
 * file. `files` as levels_index demands; none at all: not due. ERR_OK or ERR_FAIL.
 */
int levels_snapshot_due(const struct replica_file *files, size_t n, const struct levels_policy *p,
	uint64_t db_bytes, int64_t now_ms, struct levels_snapshot *s, struct err *e);

#endif
