/*
 * Every restore is of one timeline. A test with two nodes and one replica notes which state each
 * upload held, by whom; at the end everything that the replica offers is restored and compared:
 * never a state that nobody committed, never one of a node that had lost the replica, never back.
 */
#ifndef TESTS_LIB_TIMELINE_H
#define TESTS_LIB_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timeline_state {
	const char *node; /* borrowed */
	uint64_t txid;    /* 0 = committed, and not shipped */
	uint64_t digest;  /* of the database, folded */
};

struct timeline {
	struct timeline_state *states;
	size_t count;
	unsigned handovers; /* so often the line may pass from one node to another */
	uint64_t stray;     /* an L0 that came too late and lies there: nothing may lead over it */
	bool torn;          /* two nodes say that the same TXID is theirs */
};

/* What is committed in `db` now is what this node has shipped as `txid`. `dir` is for a copy. */
void timeline_note(
	struct timeline *t, const char *node, const char *db, uint64_t txid, const char *dir);

/*
 * Restores every TXID at which a file of the replica ends and compares it with what was noted; then
 * every file's checksums before and after (where it has them) with those of the states restored,
 * and every snapshot's pages. The newest must be there and be noted; older ones that only lie
 * inside of larger files need not be. Says on stderr what is wrong.
 */
bool timeline_check(struct timeline *t, const char *url, const char *dir);

void timeline_free(struct timeline *t);

#endif
