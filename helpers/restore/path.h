/*
 * The way from nothing to a TXID through a replica's files. Inner part of restore/plan.
 */
#ifndef RESTORE_PATH_H
#define RESTORE_PATH_H

#include "restore/restore.h"

#define PATH_NONE ((size_t)-1)

/* A listing made ready for searches. Files are named by their place in set->files. */
struct path_finder {
	const struct ltx_set *set; /* borrowed */
	const struct restore_ban *bans;
	size_t n_bans;
	size_t level_start[LTX_LEVELS + 1]; /* level k: set->files[level_start[k] … [k + 1] - 1] */
	size_t *far;                        /* of the files from level start to i: the one that reaches
										   furthest without passing `ceiling` */
	bool *dead;                         /* no way leads from it to the goal */
	uint64_t ceiling;                   /* files that end after it are left out */

	/* The result of path_find. */
	size_t *steps;
	size_t n_steps;
	size_t furthest; /* on failure: where the first dead end was, PATH_NONE = no start at all */
};

/* `set` must be sorted and, with `bans`, live as long as the finder. ERR_OK or ERR_NOMEM. */
int path_init(struct path_finder *p, const struct ltx_set *set, const struct restore_ban *bans,
	size_t n_bans, struct err *e);
void path_free(struct path_finder *p);

/* Looks for the way to TXID `goal` with files that don't pass it: true and steps, or false and
 * furthest. May be called again with other goals. */
bool path_find(struct path_finder *p, uint64_t goal);

#endif
