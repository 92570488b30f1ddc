/*
 * Which files of a replica must stay. Pure: the files and the time in, a verdict on each out.
 *
 * What is promised. Each step of the policy promises, for each moment t of its window at which a
 * step of time ended (multiples of step_ms since 1970; step 0: any moment), the state that the
 * database had at t: the last upload before t. So in a 5 min step one finds, for every full five
 * minutes of the last 3 days, the state of that moment, also when it was uploaded long before. The
 * present is always promised. These states are the *promised points*.
 *
 * What is kept. A file goes only when every promised point has a way through the files that stay: a
 * full file (min_txid 1), then files that each begin at most one TXID behind the end of the one
 * before, none of which passes the point. And an hour later (grace_ms), because a restore may be
 * running that was planned before: points are held so much longer than promised, and a file that
 * is younger than that is not counted on for any way if there is another. The reasons for which a
 * file stays are in enum retain_reason; one that has none goes.
 *
 * For each point the way of the fewest files is taken, and among these the one of the highest
 * levels: they serve the coarser steps later. Snapshots weigh more than changes, so of those behind
 * the oldest point one stays only when the changes since the one before weigh as much as it does,
 * or half the longest window lies between them. Restoring an old point so reads up to twice what
 * restoring the present does.
 *
 * Litestream restores from what stays: levels above 0 have no gaps, only their oldest files go.
 */
#ifndef REPLICATE_RETAIN_H
#define REPLICATE_RETAIN_H

#include "base/err.h"
#include "replicate/inventory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETAIN_STEPS_MAX 4

struct retain_policy {
	struct {
		int64_t window_ms; /* so far back from now… */
		int64_t step_ms;   /* …a state for each step; 0 = every upload */
	} steps[RETAIN_STEPS_MAX];
	int n_steps;        /* 0 = nothing but the present */
	int64_t l0_keep_ms; /* L0 files younger than this stay: fencing needs their names (F4) */
	int64_t grace_ms;   /* a running restore may take so long */
};

/* Every upload for 3 h, 30 s steps for 24 h, 5 min for 3 days, 1 h for 7 days; l0_keep 3 h, grace
 * 1 h. */
void retain_policy_init(struct retain_policy *p);

/* ERR_OK, or ERR_USAGE with what is wrong: windows and steps ascend, each step is a multiple of the
 * one before, no window is shorter than its step. l0_keep can't be less than 3 h, nor the grace
 * less than a minute. */
int retain_policy_check(const struct retain_policy *p, struct err *e);

/* Why a file stays: one or several of these. */
enum retain_reason {
	RETAIN_WAY = 1,        /* on the way to a promised point */
	RETAIN_YOUNG = 2,      /* uploaded less than grace_ms ago */
	RETAIN_L0 = 4,         /* L0: the last one, or younger than l0_keep_ms */
	RETAIN_NEWEST = 8,     /* the newest full file older than grace_ms: the present starts there */
	RETAIN_WAITING = 16,   /* not merged yet into a level of which something stays */
	RETAIN_CONTIGUOUS = 32 /* L1 to L8: an older file of its level stays */
};

/* What can be had, for status. */
struct retain_range {
	size_t points; /* promised points that a way leads to, those held for the grace included */
	uint64_t earliest_txid, latest_txid;
	int64_t earliest_ms, latest_ms; /* the timestamps of these */
};

/*
 * reasons[i] = why files[i] stays, as bits of enum retain_reason; 0 = it may go. `files` must be
 * sorted by level, then min_txid, then max_txid, without doubles, and be all that the replica
 * holds, with the timestamps of their headers (a store's own times are later for merged files, and
 * would shift the points). The policy must be sound (retain_policy_check). `range` may be NULL.
 *
 * While no way leads to the present, because something is missing, everything stays (reason
 * RETAIN_WAY). Older points without a way hold nothing.
 *
 * ERR_OK, ERR_FAIL (files out of order) or ERR_NOMEM: then nothing may be deleted. Takes O(n log n)
 * time and about 100 bytes a file.
 */
int retain_explain(const struct replica_file *files, size_t n, const struct retain_policy *p,
	int64_t now_ms, unsigned char *reasons, struct retain_range *range, struct err *e);

/* The same as plain words: keep[i] = false when files[i] may go. On failure all are true. */
int retain_decide(const struct replica_file *files, size_t n, const struct retain_policy *p,
	int64_t now_ms, bool *keep, struct err *e);

#endif
