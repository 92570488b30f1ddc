/*
 * An app and its twin: the same statements on two databases, of which only one is replicated. So
 * what the app would have made without us is known, page for page, and so is what a restore must
 * bring back.
 *
 * The apps are agents (lib/agent.h), because SQLite's locks are a process's. A check that fails
 * says why on stderr.
 */
#ifndef TESTS_LIB_WITNESS_H
#define TESTS_LIB_WITNESS_H

#include "lib/agent.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct witness {
	struct agent app, twin, reader;
	char dir[256]; /* for the twin and what is restored */
	char db[300], twin_db[300];
	char url[300];      /* of the replica, for restores */
	uint64_t number;    /* the last commit's */
	uint64_t acked;     /* of the last one of which a sync said that it is in the replica */
	unsigned refused;   /* commits that the app could not make */
	size_t descriptors; /* as they were at witness_begin */
};

/* Starts the agents: before anything opens a database here. */
void witness_start(struct witness *w, const char *dir, const char *db, const char *url);
void witness_stop(struct witness *w);

/* Makes both databases, with a few dozen pages of 4096 bytes. */
void witness_create(struct witness *w);

/* The next commit, which must succeed, or (_try) may be refused: then the twin makes none either.
 */
void witness_commit(struct witness *w);
bool witness_try(struct witness *w);

/* Notes that everything committed was acknowledged. */
void witness_acked(struct witness *w);

/* Counts this process's descriptors; later: are there as many again? */
void witness_begin(struct witness *w);
bool witness_no_leak(const struct witness *w);

/* Restores the latest state: it holds every acknowledged commit and nothing that never was.
 * `exact`: it is the twin, byte for byte. */
bool witness_restored(struct witness *w, bool exact);

/* Is the file the twin, byte for byte? */
bool witness_same(struct witness *w, const char *path);

/* Nobody follows the database now: the app, without any patience, can write and checkpoint at once,
 * and then its file is the twin's, byte for byte. */
bool witness_untouched(struct witness *w);

/* How many files below `dir` somebody wrote aside, and left; *named gets one's name (300). */
size_t witness_litter(const char *dir, char *named);

#endif
