/* What the files of this folder share. (The contract is source.h.) */
#ifndef SOURCE_INTERNAL_H
#define SOURCE_INTERNAL_H

#include "source/dbfile.h"
#include "source/identity.h"
#include "source/pin.h"
#include "source/shm.h"
#include "source/source.h"
#include "source/wake.h"
#include "source/walread.h"
#include "source/watch.h"

#include <stdbool.h>
#include <stdint.h>

/* Our own checkpoints: when the next one may be tried, and why not before. */
struct checkpoint_plan {
	int64_t next_us;       /* no PASSIVE before, unless */
	uint32_t gate_frame;   /* (not 0) the WAL has grown from this frame on by a little */
	int64_t gate_since_us; /* writers are held for somebody's checkpoint since then, 0 = not */
	int64_t backoff_us;    /* grows while a foreign reader is in the way */
	bool stopped;          /* a PASSIVE stopped before our own mark, at frame … */
	uint32_t stopped_at;
	uint32_t tried_at;  /* frames in the WAL at the last PASSIVE of this incarnation */
	uint32_t outrun_at; /* mxFrame at the last turn that could not catch up */
	int outrun;         /* such turns in a row, in each of which the WAL had grown */
	int quick;          /* PASSIVEs tried again at once because the last one was quick */
	bool ours;          /* what made the present WAL startable anew was ours, not the app's */
	int64_t app_us;     /* when the app last called for TRUNCATE or waited for our pin, 0 = never */
	int64_t emptied_us; /* when the app last emptied the WAL itself, 0 = never */
	int64_t began_us;   /* when the present WAL began to fill */
	int64_t took_us;    /* how long our recent checkpoints took, at most */
	int64_t barrier_us; /* when the last barrier ended */
	uint64_t barrier_at; /* bytes in the WAL that call for one: grows while they come fast */
	int64_t look_us;     /* when to look next for a checkpoint that waits for our pin in vain */
	int looks;           /* so many since the pin was renewed */
	bool waited;         /* there was one at the last look */
	unsigned held_marks; /* pin_foreign_marks then */
};

/* What explains writes to the database file. */
struct foreign_watch {
	struct identity_stamp stamp; /* of the database file, explained */
	uint8_t salt[8];             /* the checkpoint progress at that time */
	uint32_t backfill, attempted;
	int64_t running_since; /* a checkpoint runs since then (monotonic us), 0 = none */
	int64_t reported_us;   /* the last unexplained write that was reported, 0 = none */
	bool owed;             /* there was another one since, too soon to be reported */
};

/* The database file as we left it; valid until attached again. */
struct left_behind {
	bool valid;
	struct identity_file file;
	struct identity_stamp stamp;
};

struct source {
	struct source_config cfg;
	struct source_sink sink;
	struct identity_paths paths;
	struct watch_entry *watch;
	bool settled;

	bool attached;
	struct dbfile *kept, *kept_shm; /* of the database file and its -shm */
	struct identity id;
	struct pin pin;
	struct shm shm;
	struct walread reader;
	uint32_t page_size;

	struct walread_chain chain; /* read so far */
	struct source_point point;  /* the last commit that the sink got */
	bool strict;                /* the first pin fell on mark 0 with unread frames (I3) */
	bool compare_next; /* the chain broke and could not be joined: the next attach can't resume */

	struct wake wake;
	struct checkpoint_plan plan;
	struct foreign_watch foreign;
	struct left_behind left;
	int64_t bad_since_us;   /* the header is invalid since then, 0 = it is valid */
	int64_t alone_since_us; /* nobody else is connected since then, 0 = somebody is */
	int64_t release_after_us;
	int64_t zero_pause_us, low_pause_us, busy_since_us;
	bool dirty; /* captured since the pin was renewed */
	bool journal_logged;
	struct source_counts counts;
};

/* ---- capture.c ---- */

/* Hands the frames behind the chain up to the view's mxFrame to the sink, at most max_bytes of
 * them. ERR_DAMAGED: a frame that nothing explains (the chain is broken); else the sink's error. */
int capture_frames(
	struct source *s, const struct shm_view *v, uint64_t max_bytes, bool *captured, struct err *e);

/* Follows the header to a new incarnation, or says why the chain of pins is broken. */
bool capture_follow(struct source *s, const struct shm_view *v, int64_t now_us, const char **why);

/* The last point's position is that of the chain. */
void capture_note_position(struct source *s);

/* Puts the position behind the end of the WAL (attach without resuming, LOST). */
int capture_at_end(struct source *s, const struct shm_view *v, struct err *e);

/* ---- checkpoint.c ---- */

/* Not everything is captured, and the WAL grows quicker than we read: the barrier lets us catch up.
 * Fails as checkpoint_turn does, and with what a broken chain says (ERR_DAMAGED). */
int checkpoint_outrun(
	struct source *s, const struct shm_view *v, int64_t now_us, bool *captured, struct err *e);

/*
 * Everything up to the view's mxFrame is captured: renews the pin when that helps, then runs our
 * own PASSIVE checkpoint and the barrier when they are due. Asks for an early turn when something
 * must be tried again. *captured: frames were captured in this turn. Fails only with what the sink
 * says.
 */
int checkpoint_turn(
	struct source *s, const struct shm_view *v, int64_t now_us, bool *captured, struct err *e);

/* ---- checkpoint.c, for barrier.c and release.c ---- */

#define URGENT_BYTES (UINT64_C(20) << 20) /* from here on we insist */
#define BUSY_PAUSE_US 20000
#define GATE_BYTES (UINT64_C(256) << 10)
#define GATE_LOOK_US 500

/* All that was captured is in the database file, and nothing was committed since. */
bool checkpoint_backfilled(const struct source *s, const struct shm_view *v);
bool checkpoint_mark_is_old(const struct source *s); /* our pin's mark is before the position */
void checkpoint_to_mark_zero(struct source *s, const struct shm_view *v);
/* A PASSIVE checkpoint on this connection, counted where nobody else's was in the way. SQLite's
 * code. */
int checkpoint_passive(struct source *s, struct connection *c);
uint64_t checkpoint_wal_bytes(const struct source *s);
uint64_t checkpoint_barrier_bytes(const struct source *s); /* a WAL of so many calls for one */
bool checkpoint_files_are_ours(struct source *s);
void checkpoint_try_after(struct source *s, int64_t pause); /* us; no checkpoint before */
void checkpoint_back_off(struct source *s); /* a reader of the app's is in the way */

/* ---- barrier.c ---- */

/* Captures the rest, holds the writers, checkpoints. *captured as in checkpoint_turn; fails as it
 * does. */
int barrier_run(struct source *s, bool *captured, struct err *e);

/* Holds the writers for a moment, and nothing else, when the WAL is large, the pin is on mark 0 and
 * must stay there because somebody checkpoints (I4). */
void barrier_gate(struct source *s);

/* ---- foreign.c ---- */

/* Takes the present state of the database file as explained. */
void foreign_begin(struct source *s, const struct shm_view *v);

/* Does somebody hold the CKPT lock? */
bool foreign_checkpoint_lock(const struct source *s);

/* Is somebody's checkpoint under way? (One that is stopped is believed for a while.) */
bool foreign_checkpoint_runs(struct source *s, const struct shm_view *v, int64_t now_us);

/* Was the database file written by somebody who does not use our WAL? `stamp` was taken before v
 * was read. */
bool foreign_write_seen(
	struct source *s, const struct shm_view *v, const struct identity_stamp *stamp, int64_t now_us);

/* ---- release.c ---- */

/* Lets go when nobody else has been connected for long enough and all is settled. True: detached;
 * *again: somebody came in just then, attach at once. */
bool release_if_alone(struct source *s, const struct shm_view *v, int64_t now_us, bool *again);

/* Is the database file as we left it at the last release, in every respect? */
bool release_untouched(const struct source *s, const struct shm_view *v);

#endif
