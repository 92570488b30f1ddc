/* From where a followed database stands to the latest state: which files. Inner part of restore. */
#ifndef RESTORE_FOLLOW_PLAN_H
#define RESTORE_FOLLOW_PLAN_H

#include "base/err.h"
#include "format/ltxset.h"

struct follow_plan {
	struct ltx_file *files; /* in the order in which they apply */
	size_t count;           /* 0: nothing is newer */
	bool full;              /* one of them holds all pages: nothing else leads on */
};

/*
 * As few files as lead from TXID `at` to the highest TXID of the set; of files that reach equally
 * far the one that begins last. A file that holds all pages (it begins with TXID 1) only where
 * nothing else leads on. Files that `skip` names are left out. Pure.
 *
 * ERR_DAMAGED  a gap, both sides named
 * ERR_NO_BACKUP  the replica is empty, or ends before `at`
 * ERR_NOMEM
 */
int follow_plan_make(const struct ltx_set *set, uint64_t at, const struct ltx_file *skip,
	size_t n_skip, struct follow_plan *out, struct err *e);
void follow_plan_free(struct follow_plan *p);

#endif
