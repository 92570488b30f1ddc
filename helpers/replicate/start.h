/*
 * What a replicator may do with a replica that it finds: F6 and F10 as a pure function of what the
 * state folder and one listing of all levels say.
 */
#ifndef REPLICATE_START_H
#define REPLICATE_START_H

#include "base/err.h"
#include "conf/state.h"
#include "format/ltx.h"
#include "format/ltxset.h"

#include <stdbool.h>
#include <stdint.h>

enum start_kind {
	START_FIRST,    /* an empty replica: TXID 1 holds every page */
	START_CONTINUE, /* we wrote what is there: go on behind it */
	START_RESTORED, /* restored from what is there, or an older point of it: claim */
	START_PROVE,    /* claim if the database has the recorded checksum */
	START_COMPARE,  /* no checksum is recorded: the same, with the one of what the files hold */
	START_TAKEOVER, /* a person's word: every page, then a snapshot (F7) */
	START_FENCED,   /* another node's */
};

struct start_facts {
	const struct state *state; /* NULL = none */
	bool copied;               /* F10 */
	uint64_t max_txid;         /* of all levels; 0 = empty */
	/* The file that ends at max_txid, an L0 if there is one. */
	bool last_is_l0;
	struct ltx_header last;

	uint64_t frozen_txid; /* a frozen file behind the state's TXID; 0 = none */
	bool frozen_there;    /* the replica has an object of its name… */
	bool frozen_same;     /* …and it is this file */
	bool takeover;

	bool comparable;   /* the files can be read for a comparison */
	bool legacy;       /* there are backups of Litestream 0.3, too … */
	int64_t legacy_ms; /* … written last then, by the store's clock; known where a state asks for it
						*/
	bool same_file;    /* the database is the file that the state is about */
};

struct start_plan {
	enum start_kind kind;
	bool resend;            /* the frozen file is sent (again) first */
	uint64_t base_txid;     /* what comes next is base_txid + 1 (once the frozen file is settled) */
	uint64_t base_checksum; /* database checksum there, 0 = unknown */
	int64_t base_timestamp_ms;
	uint64_t base_node_id; /* who wrote the file that ends there */

	/* What latest.c made of START_COMPARE. */
	bool compared;     /* the kind is what follows if the database is what the files hold */
	bool legacy;       /* of the files those of Litestream 0.3 are the latest */
	int64_t legacy_ms; /* what was there of them is known, up to then; 0 = there is none */
};

/* Never fails. `why` gets the sentence of START_FENCED, and of START_PROVE in case it fails. */
void start_decide(const struct start_facts *f, struct start_plan *p, struct err *why);

#endif
