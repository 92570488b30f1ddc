/*
 * What a restore leaves for the replicate that follows: a state folder with TXID, page table and
 * node id, so that it goes on without a snapshot. Inner part of restore.
 */
#ifndef RESTORE_LEAVE_H
#define RESTORE_LEAVE_H

#include "conf/state.h"
#include "restore/others.h"
#include "source/pagesums.h"

#include <sys/types.h>

struct leave {
	const struct folder *beside; /* borrowed; the folder is in it, NULL: `name` is a path */
	char *name;                  /* NULL: nothing is to be left */
	struct state_dir *dir;       /* NULL: not opened yet */
	bool created;                /* the folder was not there before */
	bool prepared;
	struct state old;     /* what the folder held; zero if nothing usable */
	struct others others; /* those of the database's other replicas, once they were told */
};

/* Locks the folder if there is one, so that no replicator runs beside the restore: ERR_AGAIN when
 * one does. `name` is a path, or a name in `beside`, which must live until leave_end; "" =
 * leave nothing. leave_abort in every case of failure, here or later. */
int leave_begin(struct leave *l, const struct folder *beside, const char *name, const char *replica,
	struct err *e);

/*
 * Before the database is in place: the folder, if it isn't there, and in it, aside, the page table
 * and the state of what is about to be put there; node_id and what belongs to the folder are filled
 * into *s. The database's other replicas are told (restore/others.h). `sums` NULL: there is no
 * table. `uid`, `gid`: who is to own the folder, when root runs this.
 */
int leave_prepare(struct leave *l, const struct pagesums *sums, struct state *s, uid_t uid,
	gid_t gid, struct err *e);

/* After it: they become the folder's own. What it had of a database that was there before goes. */
int leave_settle(struct leave *l, struct err *e);

void leave_abort(struct leave *l); /* takes back what was left so far */
void leave_end(struct leave *l);   /* unlocks */

#endif
