/*
 * The state folders of a database's other replicas (cli/wanted.h: "<folder>" of the first one and
 * "<folder>-1f2e3d4c" of each further one). A restore from one replica puts another file at the
 * database's path; without a word about it the others' replicators would take that for somebody's
 * exchange and stop (`replaced`). So they are told which file it is: what they have shipped stays
 * known, the positions in the former WAL don't. They compare all pages then, and ship what differs.
 * Inner part of restore.
 */
#ifndef RESTORE_OTHERS_H
#define RESTORE_OTHERS_H

#include "conf/state.h"

#define OTHERS_MAX 16

struct others {
	size_t n;
	struct other {
		struct state_dir *dir;
		struct state was;
	} list[OTHERS_MAX];
};

/* Are these names of state folders those of two replicas of one database? */
bool others_are(const char *name, const char *own);

/* Before the database is in place: `own` is the folder that the restore leaves its state in, a path
 * or a name in `beside` (NULL: none), `now` that state. A folder that somebody has locked is left
 * as it is, with a warning; where this process may not list folders it knows of none. ERR_OK, or an
 * error with nothing changed. The folders stay locked. */
int others_tell(struct others *o, const struct folder *beside, const char *own,
	const struct state *now, struct err *e);

/* Unlocks them. `placed` false: the file did not come, and they are what they were. */
void others_end(struct others *o, bool placed);

#endif
