/*
 * A replica's history without the bytes: uploads, merges, snapshots and retention by the real
 * planning functions, at times that the caller makes up. For tests and the simulated year.
 *
 * Sizes follow a simple model: files that together changed S bytes of a database of D bytes weigh
 * D S / (D + S) when merged, because they hold some pages several times.
 */
#ifndef LIB_HISTORY_H
#define LIB_HISTORY_H

#include "replicate/levels.h"
#include "replicate/retain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct upload {
	int64_t timestamp_ms; /* F9: max(now, the last one + 1) */
	int64_t uploaded_ms;
};

struct history {
	struct levels_policy levels;
	struct retain_policy retain;
	uint64_t db_bytes;
	uint64_t seed;

	struct upload *uploads; /* that of TXID n at n - 1 - forgotten; else all there ever were */
	size_t n_uploads, cap_uploads;
	uint64_t forgotten;         /* how many history_forget took out; the first ones */
	struct replica_file *files; /* what is in the replica; sorted as levels_index demands */
	size_t n_files, cap_files;
	unsigned char *reasons;      /* of the last retention, for what was there then */
	struct replica_file *before; /* what was there before the last retention */
	size_t n_before;

	uint64_t puts[LTX_LEVELS], put_bytes[LTX_LEVELS]; /* by level */
	uint64_t deleted, batches;                        /* files; requests of up to 1,000 of them */
	uint64_t bytes;                                   /* in the replica now */
	double byte_ms;                                   /* bytes × ms, up to `counted_ms` */
	int64_t counted_ms;
};

/* With the default policies. Whatever fails here aborts: it is for tests. */
void history_init(struct history *h, uint64_t seed, uint64_t db_bytes);
void history_free(struct history *h);

/* A number below `bound`, from the seed. */
uint64_t history_random(struct history *h, uint64_t bound);

/* One upload at each of the n times; `bytes` = what each changes at most, about half on average.
 * The very first one holds the whole database. */
void history_upload(struct history *h, const int64_t *at_ms, size_t n, uint64_t bytes);

/* Notes an upload that somebody else made, and no file: for history_promised. */
void history_note(struct history *h, int64_t timestamp_ms, int64_t uploaded_ms);

/* Forgets the uploads before that time, which can't be promised any more; a year has many. */
void history_forget(struct history *h, int64_t before_ms);

/* TXID of the last upload. */
uint64_t history_last(const struct history *h);

/* Makes all merges that are due; returns how many. */
size_t history_merge(struct history *h, int64_t now_ms);

/* Makes a snapshot when one is due; returns the reason or LEVELS_NOT_DUE. */
enum levels_reason history_snapshot(struct history *h, int64_t now_ms);

/* Decides and deletes; returns how many files went. */
size_t history_retain(struct history *h, int64_t now_ms);

/* promised[n] = the state after uploads[n] is promised at now_ms: found from all uploads that there
 * ever were, one by one, where retain.c knows only what is left in the replica. The array is the
 * caller's. */
bool *history_promised(const struct history *h, int64_t now_ms);

/* The same for what retention holds: for the grace longer, with all that was the present within
 * it; and a timestamp of the future (the clock was set back) counts as the time of the upload. */
bool *history_held(const struct history *h, int64_t now_ms);

#endif
