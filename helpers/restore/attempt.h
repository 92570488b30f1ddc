/*
 * One attempt at a restore: plan, fetch, apply, verify. Inner part of restore.
 *
 * Files are read newest first (see apply.h): a contradiction between two of them (F8) shows when
 * the older one's header comes in. Then the pair is banned and everything begins again with another
 * plan, as it does when a file has vanished since the listing: retention may run meanwhile.
 */
#ifndef RESTORE_ATTEMPT_H
#define RESTORE_ATTEMPT_H

#include "conf/state.h"
#include "format/ltx.h"
#include "restore/apply.h"
#include "restore/choose.h"
#include "restore/fetch.h"
#include "restore/leave.h"
#include "restore/output.h"
#include "restore/restore.h"

/* A restore, over all of its attempts. */
struct run {
	struct store *store;
	const struct restore_options *options;
	struct restore_result *result;
	struct output output;
	struct leave leave;
	struct state_dir *guard; /* locked, so that no replicator begins; may be NULL */
	struct choice choice;

	struct restore_ban *bans;
	size_t n_bans;
	struct err mismatch; /* the checksum that was wrong before an overlap was planned around */
	int detours;

	/* One attempt. */
	struct ltx_file *files; /* the plan, newest first */
	struct fetch *fetch;
	struct apply *apply;
	struct ltx_header newest, newer; /* the last file of the plan; the one read before this one */
	bool read_failed;                /* the decoder's error is the store's */
	uint64_t bytes_done, bytes_total;
	uint64_t checksum; /* of what was restored */
};

/* What is to be read, into result->plan. */
int attempt_plan(struct run *r, struct err *e);

/* From a plan to the restored file in r->output, whole and checked, not settled yet. ERR_AGAIN: try
 * again, with what was learned. ERR_NOT_FOUND: a file has vanished. */
int attempt_run(struct run *r, struct err *e);

/* Frees what belongs to it, not the output. */
void attempt_end(struct run *r);

#endif
