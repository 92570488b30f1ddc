/*
 * Is what was restored what the live database is? Both are read page by page, the live one under
 * read pins like a replicator's, without a checkpoint or a write of ours.
 */
#ifndef RESTORE_LIVE_H
#define RESTORE_LIVE_H

#include "base/err.h"
#include "conf/state.h"

#include <stdint.h>

enum live_verdict {
	LIVE_SAME,     /* every page is the same */
	LIVE_MOVED_ON, /* something was committed since, so they can't be compared */
	LIVE_DIFFERS,  /* nothing was committed since, and pages differ */
};

struct live_result {
	enum live_verdict verdict;
	uint32_t differ, first; /* pages that differ, and the number of the first; 0 = none */
};

/*
 * `fd` holds a database of n_page pages. `at` is the place in the live database's WAL that belongs
 * to that state, NULL or not resumable where it isn't known: then pages that differ are
 * LIVE_MOVED_ON. ERR_NOT_FOUND: no live database. ERR_DATABASE and ERR_AGAIN: it can't be read
 * (now). ERR_CANCELLED when *cancelled (may be NULL) becomes 1.
 */
int live_compare(const char *path, int fd, uint32_t page_size, uint32_t n_page,
	const struct state_position *at, const int *cancelled, struct live_result *out, struct err *e);

#endif
