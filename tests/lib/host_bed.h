/*
 * What the tests of the host's faults share: a replicator driven by hand beside an app and its twin
 * (lib/witness.h), lives of it in which something fails, and what must be true after each. A header
 * alone, because it uses cmocka, which the programs for tests are not linked with.
 */
#ifndef TESTS_LIB_HOST_BED_H
#define TESTS_LIB_HOST_BED_H

#include "lib/scene.h"
#include "lib/witness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HOUR_MS (INT64_C(3600) * 1000)
#define DAY_MS (24 * HOUR_MS)
#define FULL_MS (7 * HOUR_MS) /* a snapshot that found the disk full is tried again by then */
#define TRIES 100             /* a copy takes turns, and those their time */
#define PATIENCE_MS 3000      /* of moved clock: some retries */

struct bed {
	char *dir, db[300], state[300];
	struct witness w;
	struct replicator_config cfg;
	struct ship s;
	char what[400];             /* what failed, for messages */
	void (*around)(bool begin); /* if set: called before and after the replicator is */
	size_t litter;              /* files of earlier lives in which nothing could be deleted */
};

/* `db`, `state` and `replica` are names in the bed's folder, which they may be made in first; state
 * NULL: beside the database. */
static inline void bed_names(struct bed *b, const char *db, const char *state, const char *replica)
{
	char url[300];
	snprintf(b->db, sizeof(b->db), "%s/%s", b->dir, db);
	snprintf(b->state, sizeof(b->state), "%s/%s", b->dir, state ? state : "");
	snprintf(url, sizeof(url), "file://%s/%s", b->dir, replica);
	witness_start(&b->w, b->dir, b->db, url);
	witness_create(&b->w);
	b->cfg = ship_config(b->db, b->w.url);
	b->cfg.state_dir = state ? b->state : NULL;
}

static inline void bed_open(struct bed *b)
{
	memset(b, 0, sizeof(*b));
	b->dir = scene_begin();
	bed_names(b, "app.db", NULL, "replica");
}

static inline void bed_close(struct bed *b)
{
	witness_stop(&b->w);
	scene_end(b->dir, &b->s);
}

static inline void around(const struct bed *b, bool begin)
{
	if (b->around)
		b->around(begin);
}

/* ---- while something fails ---- */

static inline void sync_if_possible(struct bed *b)
{
	around(b, true);
	int rc = ship_sync(&b->s, PATIENCE_MS);
	around(b, false);
	struct replicator_status st = ship_status(&b->s);
	if (rc == ERR_OK)
		witness_acked(&b->w);
	else if (!st.reason[0] && !st.last_error[0])
		fail_msg("%s: not shipped, without a word", b->what);
}

static inline void upkeep_if_possible(struct bed *b, int64_t skip_ms)
{
	ship_skip(skip_ms);
	around(b, true);
	ship_upkeep(&b->s);
	ship_for(&b->s, 5);
	around(b, false);
}

/* False: it could not even be opened. */
static inline bool open_if_possible(struct bed *b)
{
	around(b, true);
	int rc = ship_open(&b->s, &b->cfg);
	around(b, false);
	b->s.no_upkeep = true;
	return rc == ERR_OK;
}

/* Two uploads; or ten, and what the upkeep finds to do. */
static inline void live(struct bed *b, bool upkeep)
{
	sync_if_possible(b);
	for (int i = 0; i < (upkeep ? 9 : 1); i++) {
		ship_skip(upkeep ? 4000 : 0);
		witness_try(&b->w);
		sync_if_possible(b);
	}
	for (int i = 0; upkeep && i < 3; i++)
		upkeep_if_possible(b, 40000);
}

/* ---- when all is well again ---- */

/* The next sync, of this life or of another one, ships the rest. */
static inline void go_on(struct bed *b, bool opened, bool upkeep)
{
	if (!opened) {
		source_watch_free(b->s.watch);
		assert_int_equal(ship_open(&b->s, &b->cfg), ERR_OK);
		b->s.no_upkeep = true;
	}
	int rc = ship_sync(&b->s, 0);
	/* Unusable and denied are told at once, as long as the next attempt has not found otherwise.
	 * (No folder yet, and none can be made: denied.) */
	if ((rc == ERR_DATABASE || rc == ERR_DENIED) && ship_until(&b->s, REPLICATOR_REPLICATING))
		rc = ship_sync(&b->s, 0);
	if (rc)
		fail_msg("%s: not shipped when all was well again: %s", b->what, ship_status(&b->s).reason);
	witness_acked(&b->w);
	for (int i = 0; upkeep && (i < 2 || (*ship_status(&b->s).upkeep_error && i < TRIES)); i++)
		upkeep_if_possible(b, FULL_MS);
	if (upkeep && *ship_status(&b->s).upkeep_error)
		fail_msg("%s: %s", b->what, ship_status(&b->s).upkeep_error);
}

/* A life began with bed_begin. The fault is gone now, and `around` forgotten. `undo`: what was made
 * could be taken away while it lasted. */
static inline void bed_begin(struct bed *b)
{
	char name[300];
	b->litter = witness_litter(b->dir, name);
	witness_begin(&b->w);
}

static inline void bed_settle(struct bed *b, bool opened, bool upkeep, bool undo)
{
	char name[300];
	b->around = NULL;
	if (b->w.acked && !witness_restored(&b->w, false))
		fail_msg("%s: not restorable", b->what);
	go_on(b, opened, upkeep);
	if (!witness_restored(&b->w, true))
		fail_msg("%s: not restored when all was well again", b->what);
	ship_close(&b->s);
	if (!witness_no_leak(&b->w))
		fail_msg("%s: descriptors", b->what);
	if (!witness_untouched(&b->w))
		fail_msg("%s: the app's database", b->what);
	if (undo && witness_litter(b->dir, name) > b->litter)
		fail_msg("%s: left behind: %s", b->what, name);
}

#endif
