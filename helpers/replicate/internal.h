/*
 * The parts of a replicator, and who may touch them.
 *
 *   fixed    set in replicator_open, read by anybody
 *   turn     only the thread in replicator_turn
 *   work     only the thread in replicator_work
 *   upkeep   only the thread in replicator_upkeep
 *   shared   under `lock`, held for moments, never across a call that blocks
 *   handed   a cut: the turn's until `flight` becomes FLIGHT_SEALED, the work's until it is
 *            FLIGHT_NONE again. So is the page table while the flight is sealed; at all other times
 *            the turn may read it and nobody changes it. The spool: enum spool_phase says whose.
 */
#ifndef REPLICATE_INTERNAL_H
#define REPLICATE_INTERNAL_H

#include "conf/state.h"
#include "replicate/copies.h"
#include "replicate/freeze.h"
#include "replicate/health.h"
#include "replicate/inventory.h"
#include "replicate/levels.h"
#include "replicate/replicator.h"
#include "replicate/retain.h"
#include "replicate/spool.h"
#include "replicate/staging.h"
#include "replicate/start.h"
#include "source/pagesums.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* Where a replicator is. PHASE_LIST is left by the work, every other phase by the turn, except that
 * the work may order the turn away (enum order). */
enum phase {
	PHASE_LIST,     /* work: what is in the replica, and may we write there? (start.h) */
	PHASE_ATTACH,   /* turn: open the source, as soon as nothing is in flight */
	PHASE_PROVE,    /* turn: does the database have the recorded checksum? (F6) */
	PHASE_SCAN,     /* turn: compare every page with the table (or stage all) */
	PHASE_RUN,      /* capture, cut; freeze, put, settle */
	PHASE_RELEASED, /* nobody is connected, all is settled: wait for an event */
	PHASE_STOPPED,  /* fenced or replaced: a person decides, the next start looks again */
};

enum order {
	ORDER_NONE,
	ORDER_DROP, /* drop the staging, give the pin up, attach again when nothing is in flight */
	ORDER_STOP, /* the same, and stay away */
};

enum flight {
	FLIGHT_NONE,
	FLIGHT_SEALED, /* cut, not yet a file */
	FLIGHT_FROZEN, /* a file, not yet settled */
};

/* Where the copy of the database for a snapshot is, and whose (spooling.c, snapshots.c). */
enum spool_phase {
	SPOOL_NONE,    /* upkeep's: there is none */
	SPOOL_WANTED,  /* upkeep has asked; the turn begins in PHASE_RUN */
	SPOOL_COPYING, /* the turn's */
	SPOOL_CUT, /* nobody's: it is the state of the cut in flight. The work makes it ready, the turn
				  takes it back when the flight comes to nothing */
	SPOOL_READY,  /* upkeep's: it is the settled state `spool_of` */
	SPOOL_FAILED, /* upkeep's: dropped, spool_why says why */
};

/* A committed state that was cut off for upload. */
struct cut {
	struct staging *pages;
	struct source_point point;
	uint64_t dev, ino; /* of the database file */
	bool whole;        /* holds every page: needs no state before it */
	uint64_t seq;      /* sync tickets that it settles */
	uint64_t commits;  /* transactions in it, as far as they were followed one by one */
	int64_t lag_ms;    /* lag_of_open when it was cut off */
};

struct shared {
	enum phase phase;
	enum order order;
	int64_t order_delay_us; /* with ORDER_DROP: attach no sooner */
	enum flight flight;
	int64_t flight_us; /* monotonic time of its beginning */
	struct cut cut;
	struct health health;

	/* Of what begins after PHASE_LIST. */
	bool claim;  /* the next cut holds page 1 whatever changed */
	bool whole;  /* the next cut holds every page */
	bool prove;  /* compare with prove_checksum and prove_n_page first */
	bool judge;  /* after a comparison ask whether this is still the same database */
	bool accept; /* a person's word for what stands there now: good for one upload */
	uint64_t seen_dev,
		seen_ino; /* that word, or the one to take over, is about this file; 0 = any */
	bool proven;  /* the turn found the checksum; the table is in turn.proof */
	uint64_t prove_checksum;
	uint32_t prove_n_page, prove_page_size;
	uint64_t base_txid;
	char prove_reason[512]; /* why fenced, should it fail */
	char prove_what[128];   /* what `table` holds for it, read from the replica's files; "" = that
							   is not known */
	bool prove_whole; /* what is to be proven is no state of LTX files: all pages go up then */
	bool prove_again; /* what it holds may be out of date: good for a refusal only */

	/* Where a later attach begins. */
	struct state_position settled_pos;
	uint8_t lineage[8]; /* of the life before, for the first attach of this one; 0 = not */
	uint64_t dev, ino;  /* of the database that was shipped last; 0 = none yet */
	bool same_boot;     /* `dev` can be compared */

	enum spool_phase spool;
	struct ltx_header spool_of;
	int spool_code; /* 0: it was dropped with the staging */
	char spool_why[480];
	bool audit_due; /* a copy was not what was recorded: does the database hold what was shipped? */

	bool away;      /* there is no file, and nothing of it is held: away.c */
	unsigned busy;  /* work and upkeep that run now */
	bool mark;      /* the work is to journal why we stopped */
	bool disk_full; /* the work is to give back what can be had again */
	bool no_space;  /* what was full last was a disk, not the staging's bound */
	bool had_state; /* when it was opened: something was shipped, or was about to be */
	uint64_t sync_seq, captured_seq, settled_seq;

	/* Status. */
	uint64_t txid, uploads, open_bytes, flight_bytes, wal_bytes, db_bytes;
	uint64_t open_commits;
	int64_t last_upload_ms;
	bool weak;
	int64_t unsure_ms;   /* since when commits may be nowhere with us; 0 = none are */
	int64_t open_lag_ms; /* of the open staging; 0 = it is empty */

	/* For metrics. */
	struct source_counts counts;
	struct replicator_turns turns;

	/* For the upkeep. `txid` and these are of the same settled upload. */
	int64_t txid_ms;        /* its timestamp */
	uint64_t txid_checksum; /* database checksum at it, 0 = unknown */
	uint32_t page_size, n_page;
	uint64_t node_id;                             /* ours, in this life */
	bool unconditional;                           /* the store can't do conditional puts at all */
	int64_t confirmed_wall_ms, confirmed_boot_ms; /* F5: last confirmed write or check; 0 = none */
	uint64_t merged_txid;                         /* L1 leads up to here, 0 = unknown */
	bool upkeep_wanted;                           /* the schedule is to run the upkeep */
	unsigned upkeep_uploads;                      /* settled since it ran last */
	int64_t listed_ms;                            /* wall time of the listing that the start made */
	int64_t upkeep_after_us; /* monotonic time from which on the next settled upload wakes it */
	int64_t upkeep_not_before_us; /* after trouble: none wakes it sooner */
	bool upkeep_looked;           /* for a renewal that fell due while nobody ran */
	bool renewing;                /* the claim that is due is the renewal of what is ours */
	char upkeep_error[512];       /* of its last run; "" = it went well */
	int64_t upkeep_error_ms;
	unsigned asked;      /* REPLICATOR_…, by a person; done ones are taken out */
	uint64_t asked_txid; /* settled when it was */
	int asked_code;      /* why nothing comes of it, with its sentence */
	char asked_why[512];
};

#define AUDIT_PAGES 2048 /* in a slice of 1 MiB, at most */

struct turn {
	struct source *source;
	struct staging *open;
	int64_t since_ms; /* wall time of the first page in `open` */
	uint64_t commits; /* captured since the last cut, or since `open` was empty */
	int64_t lag_ms; /* wall time from which on commits may be in `open` and nowhere else, where that
					   is before since_ms; else 0 */
	struct replicator_turns turns;
	bool listing; /* PHASE_LIST: the work was told that there is a database */
	bool have_point;
	struct source_point point;
	uint64_t seq; /* tickets whose commits are in `open` */
	int64_t last_cut_us;
	bool unproven;    /* pages from an image: no cut before a turn caught up */
	bool settled_now; /* nothing staged, nothing in flight: what the source was told */

	bool unbounded;     /* until the next cut: a comparison must be held whole */
	bool force_scan;    /* the next attach must compare, whatever the position says */
	uint8_t lineage[8]; /* salts of the WAL when we last had all of a good database; 0 = not */
	bool known;         /* it is that WAL still: what differs was committed, and needs no judging */
	int64_t not_before_us, delay_us; /* of the next attach */
	int64_t away_us;                 /* the last pause, where somebody else is at the folder */

	/* The scan (scan.c). */
	uint32_t next, equal, differ;
	int tries;
	bool captured; /* since the proof began */
	bool audit;    /* it runs beside everything else */
	bool audited;  /* every page was read once in this life: a later resume needs no audit */
	int64_t audit_us;
	uint32_t suspect_first, suspects; /* of the audit's slice: its first page; how many are set */
	bool suspect[AUDIT_PAGES];        /* not as shipped, and no frame captured since tells why */
	struct pagesums proof;

	bool spooling; /* shared.spool is SPOOL_COPYING */
	int64_t spool_us;

	struct stat released; /* the database file when it was let go */

	uint64_t wal_bytes;
};

struct work {
	bool loaded, have_state, copied, adopted;
	bool led;         /* PHASE_LIST was left once: later attaches know more than the state */
	bool legacy_told; /* that backups of Litestream 0.3 are beside ours */
	struct state state;
	struct frozen frozen;
	bool put;       /* the replica has the frozen file, the journal does not know yet */
	struct cut cut; /* of the frozen file; pages is NULL */
	struct copies copies;
	char *folder; /* ltx/0 */
	struct start_plan plan;
	bool unconditional;         /* the store can't do conditions at all: look before, then put */
	bool kept_due;              /* something was settled that keep() has not seen */
	int64_t retry_us, delay_us; /* monotonic time of the next attempt; 0 = now */
	int64_t denied_us;          /* since when the store refuses us; 0 = it doesn't (upload.c) */
	int64_t table_saved_us;
	uint64_t table_saved_txid;
	unsigned table_tries; /* to load it */
	bool latest_anew;     /* a comparison must read all files, whatever is known from before */
};

#define UPKEEP_APART 64

struct upkeep {
	/* In the replica, and not to be counted on: damaged, changed, or of another timeline. Sorted;
	 * in this life. */
	struct replica_file *apart; /* UPKEEP_APART of them; NULL = none yet */
	size_t n_apart;
	int64_t seen_wall_ms, seen_boot_ms; /* at the last run; at first, when it was opened, or when
										   the last life in this boot saw the store last */
	int64_t saved_us;         /* monotonic time of the last saving of the inventory; 0 = never */
	uint64_t saved_changes;   /* what was saved */
	int64_t audited_ms;       /* wall time of the last listing */
	bool by_level;            /* an audit lists level by level: too much else is below the URL */
	uint64_t audited_uploads; /* shared.uploads then */
	int64_t retained_ms;      /* wall time of the last look at what may go */
	size_t retained_count;    /* files that stayed then */
	int64_t delay_us;         /* after trouble: the last pause */
	char denied[512]; /* the store refuses to delete: told once, not tried again in this life */
	char fault[512];  /* what the last audit found; "" = nothing */
	bool unfinished_refused; /* so does it when asked for unfinished uploads */
	bool compact_begun;      /* what a crash left of a merge was deleted */
};

/* A snapshot in the making (snapshots.h). */
struct making {
	bool looked;        /* the folder was searched for a file of an earlier life */
	struct frozen file; /* finished, waits for its upload; txid 0 = none */
	int64_t wanted_us;  /* monotonic time at which a copy was asked for */
	int64_t next_us, delay_us;
	char fault[512]; /* why there is none; "" = nothing is wrong */
	int code;        /* behind it */
	unsigned uploaded, failures;
	unsigned mismatches; /* of the failures: copies that were not what was recorded */
};

struct replicator {
	/* fixed */
	struct replicator_config cfg; /* its strings are copies */
	struct retain_policy retain;
	struct levels_policy levels;
	struct store *store;
	struct state_dir *dir;
	struct staging *stagings[2];
	struct spool *spool; /* handed */
	uint64_t reserved;   /* of the disk that all spools of a process may take (spooling.c) */
	atomic_bool cancelled;

	struct turn turn;
	struct work work;
	struct upkeep upkeep;
	struct making making;       /* upkeep */
	struct inventory inventory; /* has its own lock */
	struct pagesums table;      /* handed */

	pthread_mutex_t lock;
	struct shared shared;
};

/* ---- small things that every part needs (replicator.c) ---- */

/* Locks the state folder, and finishes what a restore left there. Its errors. */
int open_state(struct replicator *r, struct err *e);
void close_state(struct replicator *r);
/* What the next start would otherwise make anew. No work and no upkeep runs. */
void save_state(struct replicator *r);
enum phase replicator_phase(struct replicator *r);
void replicator_set_phase(struct replicator *r, enum phase phase);
enum flight replicator_flight(struct replicator *r);

/* Says what is wrong from one side (HEALTH_STORE: work, HEALTH_SOURCE: turn), or that nothing is
 * (state REPLICATOR_REPLICATING). A change is logged; the same trouble again is not. */
void replicator_trouble(struct replicator *r, enum health_side side, enum replicator_state state,
	const struct err *why);

/* ---- turn ---- */

/* away.c: there is no file. When to call again, for away_turn as soon as shared.away is set. */
int64_t go_away(struct replicator *r);
int64_t away_turn(struct replicator *r);
/* Work and upkeep: nothing while the state folder isn't ours. */
bool replicator_enter(struct replicator *r);
void replicator_leave(struct replicator *r);

/* attach.c: opens the source, or finds out why not. When to call again. */
int64_t attach_turn(struct replicator *r);
/* Lets go and forgets what was staged; a comparison follows the next attach, which comes no sooner
 * than after delay_us (below 0: the next of a growing series). */
void detach_and_drop(struct replicator *r, int64_t delay_us);
/* Before dropping what is good: so that the comparison that follows knows the database again. */
void note_lineage(struct replicator *r);
int64_t released_turn(struct replicator *r);
/* Another database is there: lets go and waits for a person. `what` begins the reason. */
int64_t become_replaced(struct replicator *r, const char *what);

/* capture.c: makes the source, once. */
int capture_open(struct replicator *r, struct err *e);
/* Stages a page, and spools it. */
int stage(struct replicator *r, uint32_t pgno, const void *page, enum staging_origin origin,
	struct err *e);
/* One source_turn. False: the source is gone or another phase began. */
bool capture(struct replicator *r, struct source_result *res);

/* scan.c */
void scan_begin(struct replicator *r);
int64_t scan_turn(struct replicator *r);  /* PHASE_SCAN */
int64_t prove_turn(struct replicator *r); /* PHASE_PROVE */
/* Begins the background audit anew, if somebody asked for it (shared.audit_due). */
void audit_when_due(struct replicator *r);
/* A slice of the background audit, after a turn that caught up or did not. When to call again,
 * INT64_MAX = it is done. */
int64_t audit_slice(struct replicator *r, bool caught_up);
/* A frame of this page was captured. */
void audit_captured(struct turn *t, uint32_t pgno);

/* spooling.c. Upkeep asks for a copy only when it could reserve the disk, of which the spools of
 * all databases of a process share some; released when the spool is dropped. */
bool spool_reserve(struct replicator *r, uint64_t bytes);
void spool_release(struct replicator *r);
/* Copies a slice of the database for a snapshot, if one is wanted, and looks whether the
 * copy is a settled state; no slice when `idle` is false. When to call again. */
int64_t spool_turn(struct replicator *r, bool caught_up, bool idle);
void spool_staged(struct replicator *r, uint32_t pgno, const void *page, bool image);
/* What is staged is dropped, and so is the copy. */
void spool_lost(struct replicator *r, const char *why);
/* The same, and the copy of the cut in flight too: nothing may come of it. */
void spool_give_up(struct replicator *r, const char *why);
/* The spool is the settled state: upkeep takes it. Lock held. */
void spool_ready(struct shared *s);
/* Before a cut: true when the spool is the state that it leads to, and gets SPOOL_CUT with it. */
bool spool_ends(struct replicator *r);

/* cut.c: makes a cut when one is due. When to look again; *work is set when there is one. */
int64_t cut_when_due(struct replicator *r, bool caught_up, bool *work);

/* ---- measure.c: how far the replica is behind ---- */

/* turn: what is staged is about to be dropped, or the database is let go. */
void lag_unsure(struct replicator *r);
void lag_no_database(struct replicator *r);
/* turn: all that was committed is in the open staging, in flight or settled. */
void lag_caught_up(struct replicator *r);
/* turn: since when commits are in the open staging and nowhere else; 0 = none are. */
int64_t lag_of_open(const struct turn *t);
/* The cut comes to nothing. Lock held, as for the next. */
void lag_cut_lost(struct shared *s);
int64_t lag_since(const struct shared *s); /* replicator_status' lag_since_ms */

/* ---- work ---- */

/* begin.c: PHASE_LIST. */
void begin(struct replicator *r);
/*
 * latest.c: START_COMPARE. The table becomes that of the replica's latest state, w->plan says what
 * follows should the database be that. ERR_FENCED, with the reason: its files hold no such state.
 * The store's errors.
 */
int latest_read(struct replicator *r, const struct start_facts *f, struct err *e);
/* work: what was read for a comparison is of no more use. */
void latest_forget(struct replicator *r);
/* turn: of how many pages it differs from `live`. *pages = of how many, of the larger one. */
uint32_t latest_differ(const struct pagesums *latest, const struct pagesums *live, uint32_t *pages);
/* Loads state.json and what stands beside it; once. */
int load_state(struct replicator *r, struct err *e);

/* By both clocks: the wall's may be set, the other begins anew with each boot. */
struct moment {
	int64_t wall_ms, boot_ms;
};
struct moment moment_now(void);
/* Was that at most limit_ms ago, and not in the future, by either clock? */
bool moment_within(int64_t wall_ms, int64_t boot_ms, int64_t limit_ms);

/* owner.c: adds to the sentence of ERR_FENCED whom the replica's manifest names, if that is
 * somebody else and can be read now. One request. */
void name_owner(struct replicator *r, struct err *why);

/* send.c. The store showed the replica to be ours when it was asked something (F4); *asked is the
 * moment before. */
void confirm(struct replicator *r, const struct moment *asked);
/* A tail check, unless the last confirmation is at most limit_ms old. ERR_FENCED with the story. */
int check_tail(struct replicator *r, int64_t limit_ms, struct err *e);
/* Puts work.frozen (F2 to F4, F11), and confirms. ERR_FENCED, the store's errors. */
int put_frozen(struct replicator *r, struct err *e);

/* upload.c: freeze, put, settle; retries are noted in work.retry_us. */
void upload(struct replicator *r);
/* Notes an error of the store: state, reason, when to try again. */
void store_trouble(struct replicator *r, int code, const struct err *e);
/* What was asked of it showed the replica to be ours. */
void store_works(struct replicator *r, const struct moment *asked);
/* From the upkeep too. */
void become_fenced(struct replicator *r, const struct err *why);

/* keep.c: what follows an upload and can wait: page table, copies, manifest, takeover's snapshot.
 */
void keep(struct replicator *r);
/* The state folder's disk is full: the next make_room, which only the work calls, deletes the local
 * copies that are not needed to bring the page table forward. The replica has them all. */
void note_full_disk(struct replicator *r);
void make_room(struct replicator *r);
uint64_t database_bytes(struct replicator *r);

/* ---- upkeep (upkeep.h) ---- */

/* work: an upload was settled; is it time for the upkeep? Lock held. */
void upkeep_uploaded(struct shared *s);

/* turn: the replica is ours. Nothing has to be done for that, but for renewals: how old is the
 * newest snapshot? Lock held. */
void upkeep_ready(struct shared *s, int64_t renew_ms);

/* Saves the inventory when there is something new and ten minutes have passed, or at a stop. */
void keep_inventory(struct replicator *r, bool stop);

#endif
