/*
 * What may become of a database after something happened to it or to what we know of it: the
 * replica is right again, or a person is asked and nothing has changed. A header alone, because it
 * uses cmocka.
 */
#ifndef TESTS_LIB_OUTCOME_H
#define TESTS_LIB_OUTCOME_H

#include "lib/one_node.h"

#include "restore/restore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum outcome {
	OUTCOME_RIGHT,    /* shipped, and what the app would see */
	OUTCOME_REPLACED, /* a person is asked */
	OUTCOME_FENCED,   /* the same */
	OUTCOME_BROKEN,   /* SQLite itself calls the database malformed */
	OUTCOME_KEPT,     /* nothing new was shipped, though what is on the disk is another state */
};

#define OUTCOME_LOOKS 500
#define OUTCOME_KEPT_LOOKS 12 /* where nothing is to come of it */
#define OUTCOME_WAIT_MS                                                       \
	120000 /* of moved clock: retries and looks at the database are over then \
			*/

/* What a replica held before. */
struct held {
	uint64_t max, digest;
	char copy[300]; /* restored from it */
};

static inline void held_note(struct held *h, const struct bed *b)
{
	memset(h, 0, sizeof(*h));
	snprintf(h->copy, sizeof(h->copy), "%s/held.db", b->dir);
	h->max = ship_max_txid(b->url);
	h->digest = ship_digest(b->url, h->max);
	assert_int_equal(ship_restore(b->url, h->copy), ERR_OK);
}

static inline void restore_txid(const struct bed *b, uint64_t txid, const char *to)
{
	struct store *s = NULL;
	struct err e = ERR_INIT;
	struct restore_result result = {0};
	struct restore_options o = {.target.txid = txid, .output = to, .state_dir = ""};
	assert_int_equal(store_open(&s, b->url, NULL, &e), ERR_OK);
	if (restore_run(s, &o, &result, &e))
		fail_msg("%s", e.text);
	assert_int_equal(result.proof, RESTORE_PROVEN);
	restore_plan_free(&result.plan);
	store_close(s);
}

/* It is still in the replica, to the byte, whatever came after it. */
static inline void held_check(const struct held *h, const struct bed *b)
{
	char now[300], command[700];
	snprintf(now, sizeof(now), "%s/now.db", b->dir);
	assert_true(ship_digest(b->url, h->max) == h->digest);
	restore_txid(b, h->max, now);
	snprintf(command, sizeof(command), "cmp '%s' '%s' >&2", h->copy, now);
	assert_int_equal(system(command), 0);
	unlink(now);
}

/* What SQLite says of a copy of the database as it is on the disk. */
static inline bool is_sound(const struct bed *b)
{
	char command[1500];
	snprintf(command, sizeof(command),
		"cd '%s' && rm -f sound.db* && cp app.db sound.db && "
		"{ [ ! -f app.db-wal ] || cp app.db-wal sound.db-wal; } && "
		"[ \"$(sqlite3 sound.db 'PRAGMA integrity_check' 2>&1)\" = ok ]; "
		"rc=$?; rm -f sound.db*; exit $rc",
		b->dir);
	return system(command) == 0;
}

/* Every state behind the one that was held is one that SQLite finds in order: none is put together
 * from two. */
static inline void between_is_sound(const struct bed *b, const struct held *h)
{
	uint64_t max = ship_max_txid(b->url);
	for (uint64_t txid = h->max + 1; txid <= max; txid++) {
		char to[300], command[700];
		snprintf(to, sizeof(to), "%s/between.db", b->dir);
		restore_txid(b, txid, to);
		snprintf(command, sizeof(command),
			"[ \"$(sqlite3 '%s' 'PRAGMA integrity_check' 2>&1)\" = ok ] && rm -f '%s'*", to, to);
		if (system(command) != 0)
			fail_msg("TXID %llu is no state of a database", (unsigned long long)txid);
	}
}

/* Of an open replicator. Whatever it is: what was in the replica is there still, what is restored
 * is what the database is or what was there before, and a state that asks has a reason. Where a
 * WAL was as it was left, the pages beside it are read again later: so we wait for that. */
static inline enum outcome outcome_of(struct bed *b, const struct held *h, enum outcome expected)
{
	bool sound = is_sound(b), asks = false, same = false;
	struct replicator_status st;
	int rc = ERR_OK, looks = expected == OUTCOME_KEPT ? OUTCOME_KEPT_LOOKS : OUTCOME_LOOKS;
	for (int i = 0; i < looks && !asks && !same; i++) {
		rc = ship_sync(&b->s, OUTCOME_WAIT_MS);
		st = ship_status(&b->s);
		asks = st.state == REPLICATOR_REPLACED || st.state == REPLICATOR_FENCED;
		if (!sound || (rc && !asks))
			break;
		same = !asks && ship_same(b->db, b->url, b->dir);
		ship_for(&b->s, 10);
	}
	held_check(h, b);
	bool kept = ship_max_txid(b->url) == h->max;
	if (asks) {
		assert_true(strlen(st.reason) > 40 && kept);
		return st.state == REPLICATOR_REPLACED ? OUTCOME_REPLACED : OUTCOME_FENCED;
	}
	if (!sound)
		return OUTCOME_BROKEN;
	if (rc || (!same && !kept))
		fail_msg("%d, %s: %s", rc, replicator_state_name(st.state), st.reason);
	between_is_sound(b, h);
	return same ? OUTCOME_RIGHT : OUTCOME_KEPT;
}

/* Merges and deletions come when a test asks for them: what was held is compared file by file. */
static inline void reopen(struct bed *b)
{
	if (b->s.r)
		ship_close(&b->s);
	assert_int_equal(ship_open(&b->s, &b->cfg), 0);
	b->s.no_upkeep = true;
}

static inline void expect(
	struct bed *b, const struct held *h, enum outcome expected, const char *what)
{
	enum outcome got = outcome_of(b, h, expected);
	/* Kept until we let go of a database that nobody else uses: that may be soon. */
	bool let_go = expected == OUTCOME_KEPT && got == OUTCOME_RIGHT;
	if (got != expected && !let_go)
		fail_msg("%s: outcome %d, not %d: %s", what, got, expected, ship_status(&b->s).reason);
}

/* The database as it was, from the replica. */
static inline void put_back(struct bed *b, const struct held *h)
{
	struct err e = ERR_INIT;
	struct store *s = NULL;
	struct restore_result result = {0};
	struct restore_options o = {.target.txid = h->max, .output = b->db, .in_place = true};
	ship_close(&b->s);
	assert_int_equal(store_open(&s, b->url, NULL, &e), ERR_OK);
	if (restore_run(s, &o, &result, &e))
		fail_msg("%s", e.text);
	restore_plan_free(&result.plan);
	store_close(s);
}

/* The same in the next life, where nothing of it is in memory. */
static inline void outcome_lasts(
	struct bed *b, const struct held *h, enum outcome expected, const char *what)
{
	expect(b, h, expected, what);
	reopen(b);
	expect(b, h, expected == OUTCOME_KEPT ? OUTCOME_RIGHT : expected, what);
}

/* Then a person says the word, or puts back what was, and all is shipped, now and later. */
static inline void outcome_is(
	struct bed *b, const struct held *h, enum outcome expected, const char *what)
{
	outcome_lasts(b, h, expected, what);
	struct held from = *h;
	if (!is_sound(b)) {
		put_back(b, h);
		held_note(&from, b);
	} else {
		b->cfg.accept = expected == OUTCOME_REPLACED;
	}
	b->cfg.takeover = expected == OUTCOME_FENCED;
	reopen(b);
	assert_int_equal(ship_sync(&b->s, 0), ERR_OK);
	b->cfg.accept = b->cfg.takeover = false;
	app_sql(b->db, "PRAGMA user_version = 7");
	expect(b, &from, OUTCOME_RIGHT, what);
}

#endif
