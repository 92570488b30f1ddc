/*
 * A database with a past: every upload is noted with the number that the database held then, so
 * that whatever a replica still promises can be restored and compared.
 *
 * The app is an agent (lib/agent.h), because SQLite's locks are a process's. Time is lib/ship.h's.
 */
#ifndef TESTS_LIB_PAST_H
#define TESTS_LIB_PAST_H

#include "lib/agent.h"
#include "lib/ship.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAST_MAX 4096

struct past_upload {
	uint64_t txid;
	int64_t ms; /* its timestamp */
	uint64_t number;
};

struct past {
	struct agent app, reader;
	char db[300], dir[300];
	const char *url; /* of the replica, for restores: without faults */
	struct past_upload uploads[PAST_MAX];
	size_t count;
	uint64_t number;
};

/* Starts the agents: before anything opens a database here. `dir` is for restored files. */
void past_start(struct past *p, const char *dir, const char *url);
/* The app opens its database, and makes what is not there yet. */
void past_open(struct past *p, const char *db);
void past_close(struct past *p);

/* A commit, shipped and noted. */
void past_upload(struct past *p, struct ship *s);

/* n of them, step_ms apart. */
void past_uploads(struct past *p, struct ship *s, int n, int64_t step_ms);

/* Restores what is promised now by the standard policy and compares: the present, and about `some`
 * other points. Says which is wrong. */
bool past_check(struct past *p, int some);

/* Restores one upload and compares. */
bool past_is(struct past *p, const struct past_upload *u);

#endif
