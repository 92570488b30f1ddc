/*
 * Where a followed database stands, in `.X-follow` beside it. Inner part of restore.
 *
 * Before a change the file is written with both points: where the database is, and where it will
 * be. Which of the two it is at says bytes 24 to 27 of its header (SQLite's change counter), a
 * random number for each point: so the change itself is what commits, and who else has written to
 * the database shows, too.
 */
#ifndef RESTORE_FOLLOW_STATE_H
#define RESTORE_FOLLOW_STATE_H

#include "base/folder.h"

#include <stdint.h>

struct follow_point {
	uint64_t txid;     /* 0: there is no such point */
	uint64_t checksum; /* of the database as the source has it; 0 = unknown */
	uint64_t page1;    /* of its page 1, which differs here in a few bytes; 0 = unknown */
	uint32_t counter;  /* the change counter here */
	uint32_t n_page, page_size;
};

struct follow_state {
	char *replica; /* its URL without secrets */
	struct follow_point now, next;
};

void follow_state_free(struct follow_state *s);

/* Reads it. ERR_NOT_FOUND when there is none, ERR_DATABASE when it can't be read as one, ERR_IO,
 * ERR_NOMEM. follow_state_free in every case. */
int follow_state_load(
	const struct folder *in, const char *name, struct follow_state *s, struct err *e);

/* Writes it durably, in place of the old one. */
int follow_state_save(
	const struct folder *in, const char *name, const struct follow_state *s, struct err *e);

/* Litestream's file: the TXID in 16 digits. 0 when there is none; ERR_DATABASE when it is no TXID.
 */
int follow_txid_load(const struct folder *in, const char *name, uint64_t *txid, struct err *e);
int follow_txid_save(const struct folder *in, const char *name, uint64_t txid, struct err *e);

#endif
