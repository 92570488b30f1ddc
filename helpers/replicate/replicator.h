/*
 * One database on its way to one replica: capture → staging → freeze → put → settle.
 *
 * (The order, what a crash after each step leaves, and fencing rules F1 to F11: docs/DESIGN.md.)
 *
 * Three threads may be inside a replicator at a time: one in replicator_turn (the source's actor:
 * no network), one in replicator_work (network and disk: freeze, upload, settle), one in
 * replicator_upkeep (levels, snapshots, retention). Everything else is thread-safe and does not
 * block on them.
 */
#ifndef REPLICATE_REPLICATOR_H
#define REPLICATE_REPLICATOR_H

#include "base/err.h"
#include "replicate/inventory.h"
#include "source/source.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct replicator;
struct pagesums;

/*
 * Reads the checksum of each page of a replica's latest state from its files, whoever wrote them
 * (restore_sums, which this layer can't call; its errors). *sums is the caller's to free; its txid
 * is 0 where Litestream 0.3 wrote last. `scratch`: a folder for temporary files.
 */
typedef int (*replicator_latest_fn)(struct store *s, const char *scratch, struct pagesums *sums,
	int64_t *timestamp_ms, struct err *e);

struct replicator_config {
	const char *database;  /* absolute path */
	const char *replica;   /* URL */
	const char *state_dir; /* NULL = state_default_dir(database) */
	struct store_options store;
	struct source_watch *watch;
	void *user; /* source_watch_read gives it back */

	int64_t sync_interval_ms;   /* 1000 */
	uint64_t staging_max;       /* bytes; 0 = 256 MiB, or the database's size where smaller */
	uint64_t copies_max;        /* bytes of local LTX copies; 0 = copies_bound's own */
	uint32_t checkpoint_frames; /* as in source_config */
	uint64_t barrier_bytes;
	bool no_barrier, any_filesystem;
	unsigned peers, rank; /* as in source_config */

	/* Retention; 0 = the default of conf/options.h. */
	bool no_retention; /* the bucket's own rules delete: we don't, and renew snapshots in time */
	int64_t l0_retention_ms, l1_retention_ms, l2_retention_ms, l3_retention_ms;
	int64_t snapshot_interval_ms, snapshot_renew_ms;

	bool takeover; /* F7: a person's word, for this start only */
	bool accept; /* state `replaced`: a person accepted the database that stands there now; another
					one after the next upload has to be accepted anew */
	/* Device and inode of the file that this word is about; inode 0: whatever stands there. Another
	 * one is `replaced`. */
	uint64_t seen_dev, seen_ino;

	/* For a replica whose files have no checksum to compare the database with: Litestream's. NULL:
	 * that one is another's. */
	replicator_latest_fn latest;

	/* For the manifest (litestream.json); NULL / 0 for what is unknown. */
	const char *app, *storage_name, *container_path;
};

enum replicator_state {
	REPLICATOR_STARTING,    /* proof, claim, first snapshot, comparing pages */
	REPLICATOR_REPLICATING, /* claimed, and what is captured is on its way */
	REPLICATOR_BEHIND,   /* the store does not answer (in status also: an upload takes more than a
							minute), staging or disk is full */
	REPLICATOR_FENCED,   /* another node owns the replica */
	REPLICATOR_DENIED,   /* credentials or permissions refused by the store */
	REPLICATOR_REPLACED, /* another database took the file's place; a person must accept */
	REPLICATOR_WAITING,  /* there is no database file yet */
	REPLICATOR_UNUSABLE, /* not a database, exclusive, encrypted, …: ERR_DATABASE */
};

struct replicator_status {
	enum replicator_state state;
	bool late;                     /* behind, but only because an upload takes long */
	int code;                      /* err_code behind a state that is not well, else ERR_OK */
	char reason[512];              /* its sentence */
	uint64_t txid;                 /* last settled */
	uint64_t pending_bytes;        /* staged, not settled */
	uint64_t pending_transactions; /* of them, as far as they were followed one by one */
	/* Wall time of the oldest commit that is not known to be in the store. While the database isn't
	 * followed: since when that is so. 0: all of it is there, or there is no database. */
	int64_t lag_since_ms;
	int64_t last_upload_ms; /* wall time of the last settled upload, 0 = never */
	char last_error[512];
	int64_t last_error_ms;
	uint64_t wal_bytes;
	uint64_t db_bytes;
	bool weak_fencing;
	uint64_t uploads;
	struct store_counts requests;

	/* The replica. A restore finds a way to every upload that is kept between these two. */
	uint64_t earliest_txid, latest_txid; /* 0 = nothing */
	int64_t earliest_ms, latest_ms;      /* wall time of these uploads */
	int64_t snapshot_ms;      /* the newest full file holds the database as it was then; 0 = none */
	int64_t next_snapshot_ms; /* when the next one is due at the latest; 0 = after a change */
	uint64_t replica_files, replica_bytes;
	char upkeep_error[512]; /* what is wrong with levels, snapshots, retention; "" = nothing */
	int64_t upkeep_error_ms;
};

/* What metrics tell beyond the status. What is counted is counted since replicator_open, and only
 * grows. */
struct replicator_measures {
	const char *kind;     /* of the store: "s3" */
	int64_t confirmed_ms; /* wall time at which the store last answered as it should; 0 = never */
	bool disk_full;       /* it is behind because of that */
	struct source_counts source;
	struct replicator_turns {
		uint64_t n, failed, us; /* looks at the WAL that took what was new; time that they took */
	} turns;
	struct inventory_l0 l0;
};

/* Opens state folder and store, starts nothing. ERR_USAGE, ERR_AGAIN (state folder in use), … */
int replicator_open(struct replicator **out, const struct replicator_config *cfg, struct err *e);

/* Frees; no thread may be inside. Nothing is shipped any more. NULL is fine. */
void replicator_close(struct replicator *r);

/*
 * One turn of the source. *wait_us: call again after this or at an event (INT64_MAX: only then).
 * *work: replicator_work has something to do now.
 * Never fails: what goes wrong becomes state, reason and a later turn.
 */
void replicator_turn(struct replicator *r, int64_t *wait_us, bool *work);

/*
 * Does what is due: first proof, claim or snapshot; freeze, put and settle of the next TXID. May
 * block for minutes. *wait_us: when there is something to do again (retries, sync interval).
 */
void replicator_work(struct replicator *r, int64_t *wait_us);

/*
 * Does what keeps the replica quick to restore and cheap to keep: compaction, snapshots, deletion
 * of what no promise needs, audits. May block for minutes. To be run when replicator_upkeep_wanted
 * says so (ask after each turn and work) and after *wait_us (INT64_MAX: only when wanted); a turn
 * must follow it.
 */
void replicator_upkeep(struct replicator *r, int64_t *wait_us);
bool replicator_upkeep_wanted(struct replicator *r);

/* Names every request to sync: settled once all that was committed before the call is in the
 * store. Returns a ticket for replicator_sync_done. Wakes nothing: turn and work must follow. */
uint64_t replicator_sync(struct replicator *r);

/* ERR_OK: done. ERR_AGAIN: not yet. Anything else: it won't be (fenced, denied, …), with why. */
int replicator_sync_done(struct replicator *r, uint64_t ticket, struct err *e);

/* The same as soon as it has been read out of the WAL, uploaded or not. What is staged does not
 * outlive the process; the WAL holds it still, or the database file does. */
int replicator_sync_captured(struct replicator *r, uint64_t ticket, struct err *e);

/*
 * What a person can ask the upkeep for. Both in one go: the snapshot comes first. A turn must
 * follow. Where retention is off REPLICATOR_RETAIN is told and left.
 */
#define REPLICATOR_TIDY 1     /* what is due anyway, if anything is: before a short life ends */
#define REPLICATOR_SNAPSHOT 2 /* a snapshot of what is settled now, unless there is one */
#define REPLICATOR_RETAIN 4   /* to delete what no promise needs, however little that is */
void replicator_ask(struct replicator *r, unsigned what);

/* ERR_OK: all that was asked for is done. ERR_AGAIN: not yet. Anything else: it won't be, with why.
 * A state that nothing leads out of (fenced, denied, …) is status' to tell. */
int replicator_asked(struct replicator *r, struct err *e);

/* There is no database file yet, and none was ever shipped from this state folder: there is nothing
 * that a sync could wait for. */
bool replicator_unborn(struct replicator *r);

/* Everything captured is settled and nothing is known to be committed behind it. */
bool replicator_drained(struct replicator *r);

/* Makes a blocked replicator_work or replicator_upkeep return soon (shutdown). */
void replicator_cancel(struct replicator *r);

void replicator_get_status(struct replicator *r, struct replicator_status *out);
/* Looks at every L0 file that is known: to be called when somebody asks. */
void replicator_measure(struct replicator *r, struct replicator_measures *out);
const char *replicator_state_name(enum replicator_state s);  /* "replicating" */
const char *replicator_database(const struct replicator *r); /* borrowed */

/*
 * F11: puts `litestream.json` again with its own bytes and the condition. *weak = the store does
 * not refuse it. Without a manifest, fence_probe_object (fence.h) tells.
 */
int fence_probe(struct store *s, bool *weak, struct err *e);

#endif
