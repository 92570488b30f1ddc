/*
 * Follows a database through source_turn into a copy in memory, as a replicator would, and compares
 * the copy with what SQLite itself makes of the database. Any surprise ends the program with a
 * sentence, so that a test reads as what it is about.
 */
#ifndef TESTS_LIB_FOLLOW_H
#define TESTS_LIB_FOLLOW_H

#include "source/source.h"

#include <stdbool.h>
#include <stdint.h>

struct follow {
	struct source *source;
	struct source_watch *watch;
	bool watch_is_ours, event;
	struct state_position pos; /* of the last commit: where a next life may begin */
	uint8_t *image;
	bool *have; /* have[pgno]: captured or scanned */
	uint32_t n_page, cap, page_size;
	uint32_t top; /* no page past this one is there */
	struct source_result last;
	struct source_counts counts; /* filled by follow_stop */
	unsigned lost, released, replaced, gone, attached, resumed, commits;
	char reason[ERR_TEXT_MAX]; /* of the last event that was not OK */
	bool keep_up;              /* follow_turn attaches again and scans by itself after events */
	bool unsettled;            /* don't allow letting go */
	uint64_t wal_max;
	int64_t turn_max_us; /* the longest turn */
};

/* Opens and attaches (waiting for busy moments), scans everything unless resumed at `at`. */
void follow_start(
	struct follow *f, const struct source_config *cfg, const struct state_position *at);

/* Only opens; follow_turn attaches. */
void follow_open(struct follow *f, const struct source_config *cfg);

/* The same with a watch that others use too; it stays the caller's. */
void follow_open_with(
	struct follow *f, const struct source_config *cfg, struct source_watch *watch);

/* One attempt to attach: source_attach's code; the error's text in f->reason. */
int follow_attach(struct follow *f, const struct state_position *at);

/* Waits as the source asks, at most max_us, and takes one turn. The event. */
enum source_event follow_turn(struct follow *f, int64_t max_us);

/* Turns for so long. */
void follow_for(struct follow *f, int64_t us);

/* Turns until done(ctx) is true; false after `us`. */
bool follow_until(struct follow *f, bool (*done)(void *ctx), void *ctx, int64_t us);

/* Turns until the copy has all that was committed before the call. */
void follow_catch_up(struct follow *f);

/* Forgets which pages the copy has; follow_fill reads a few of those that it lacks. */
void follow_forget(struct follow *f);
void follow_fill(struct follow *f, uint32_t first, uint32_t count);

/* The copy against source_scan of the attached source: the number of pages that differ. */
unsigned follow_compare_scan(struct follow *f);

/* Detaches and closes (the copy stays). */
void follow_stop(struct follow *f);

/* After follow_stop, with nobody else connected: checkpoints the database with SQLite and compares
 * the file with the copy, byte for byte. The number of pages that differ; prints the first. */
unsigned follow_compare_file(struct follow *f, const char *db);

void follow_free(struct follow *f);

#endif
