/*
 * A replicator driven by hand, in one thread: turns and work one after the other, as the worker's
 * loop would order them. Waits that are only for a time (retries, sync intervals) are skipped by
 * moving the monotonic clock, so a test of a retry takes no seconds.
 *
 * The app is the sqlite3 program: a process of its own, because SQLite's locks are a process's.
 */
#ifndef TESTS_LIB_SHIP_H
#define TESTS_LIB_SHIP_H

#include "base/clock.h"
#include "replicate/replicator.h"

#include <stdbool.h>
#include <stdint.h>

struct ship {
	struct replicator *r;
	struct source_watch *watch;
	struct replicator_config cfg;
	int64_t turn_due, work_due, upkeep_due;
	uint64_t turns, works, upkeeps;
	bool no_upkeep; /* none but by ship_upkeep */
};

/* A configuration of this database and replica, else defaults. */
struct replicator_config ship_config(const char *db, const char *url);

/* replicator_open's code; the error's text is printed. */
int ship_open(struct ship *s, const struct replicator_config *cfg);
void ship_close(struct ship *s);

/* Does what is due for so long (real time). */
void ship_for(struct ship *s, int ms);

/* An upkeep now, whether one is wanted or not. */
void ship_upkeep(struct ship *s);

/* Turns, and steps of a snapshot, until one is made or the one of an earlier life is ended: is it?
 * The reason is printed if not. */
bool ship_snapshot(struct ship *s);

/* Does what is due until the state is this one; false after 20 s. */
bool ship_until(struct ship *s, enum replicator_state state);

/* A sync request, driven to its end: replicator_sync_done's code, ERR_AGAIN after max_ms of moved
 * clock (0 = 300 s) or 20 s of real time. */
int ship_sync(struct ship *s, int max_ms);

struct replicator_status ship_status(struct ship *s);

/* Moves the clock: monotonic, boot and wall. */
void ship_skip(int64_t ms);

/* The wall clock alone is ahead of the right time, by less than an hour, so that an hour of it
 * began five minutes ago: for a test that asks what goes, where each hour's last state stays. */
void ship_begin_hour(void);

/* The wall clock alone is so much ahead of the right time from now on; 0 = none. */
void ship_set_clock(int64_t by_ms);

/* The clock that ship_skip moves, for a test that puts its own before it. */
const struct clock_ops *ship_clock(void);

/* ---- the app, the store ---- */

/* sqlite3 DB SQL: must succeed. */
void app_sql(const char *db, const char *sql);

/* A new WAL database with a table of `rows` rows of 400 random bytes. */
void app_create(const char *db, int rows);

/* Changes rows so that each call makes another state. */
void app_change(const char *db);

/* Copies the database as the app sees it now: file and WAL, folded into `copy`. */
void app_fold(const char *db, const char *copy);

/* Restores the replica into `to` (replaced). restore_run's code. */
int ship_restore(const char *url, const char *to);

/* Restores and compares, byte for byte, with what is committed in db; checks the proof too. Prints
 * why not. `dir` is for the files. */
bool ship_same(const char *db, const char *url, const char *dir);

/* Highest TXID of all levels; is there such a file; a digest of the names and bytes of all L0 files
 * up to `upto`. */
uint64_t ship_max_txid(const char *url);
bool ship_has(const char *url, int level, uint64_t min_txid, uint64_t max_txid);
uint64_t ship_digest(const char *url, uint64_t upto);

#endif
