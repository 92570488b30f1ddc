/*
 * What a restore leaves for the replicate that follows: a state folder with TXID, page table and
 * node id, so that it goes on without a snapshot. Inner part of restore.
 */
#ifndef RESTORE_LEAVE_H
#define RESTORE_LEAVE_H

#include "conf/state.h"
#include "source/pagesums.h"

#include <sys/types.h>

struct leave {
	char *path;            /* NULL: nothing is to be left */
	struct state_dir *dir; /* NULL: not opened yet */
	bool created;          /* the folder was not there before */
	bool pages_written;
	struct state old; /* what the folder held; zero if nothing usable */
};

/* Locks the folder if there is one, so that no replicator runs beside the restore: ERR_AGAIN when
 * one does. `dir` "" = leave nothing. leave_abort in every case of failure, here or later. */
int leave_begin(struct leave *l, const char *dir, const char *replica, struct err *e);

/* Before the database is in place: the folder, if it isn't there, and in it the page table. */
int leave_pages(struct leave *l, const struct pagesums *sums, struct err *e);

/*
 * After it: state.json, in which node_id and what belongs to the folder are filled in. Files of a
 * database that was there before are removed. `uid`, `gid`: who is to own the folder, when root
 * runs this.
 */
int leave_state(struct leave *l, struct state *s, uid_t uid, gid_t gid, struct err *e);

void leave_abort(struct leave *l); /* takes back what was left so far */
void leave_end(struct leave *l);   /* unlocks */

#endif
