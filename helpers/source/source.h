/*
 * The live database: follows its WAL under a chain of read pins, without writing into it.
 *
 * (Invariants I1 to I7 and why they hold: docs/WAL.md and pin.h.)
 *
 * A source is an actor: at most one thread is inside any of its calls at a time, and whoever drives
 * it does no network I/O and waits for nothing between two turns. It owns three SQLite connections,
 * nothing else ever runs on them, and it never closes a descriptor of the database or its -shm
 * while one of them is open.
 */
#ifndef SOURCE_SOURCE_H
#define SOURCE_SOURCE_H

#include "base/err.h"
#include "conf/state.h"

#include <stdbool.h>
#include <stdint.h>

struct source;
struct source_watch;

/* ---- waking up: one inotify instance for all sources of a process ---- */

/* When there are no inotify instances left, *out works without events: source_watch_fd is -1 and
 * every source asks for a turn each second; a warning is logged. */
int source_watch_new(struct source_watch **out, struct err *e);
void source_watch_free(struct source_watch *w); /* after all its sources */
int source_watch_fd(const struct source_watch *w);

/* Reads all waiting events; calls fn once for each source that something happened to. From the
 * waiting thread; fn must only note it. */
void source_watch_read(struct source_watch *w, void (*fn)(void *ctx, void *source_user), void *ctx);

/* ---- one database ---- */

struct source_config {
	const char *path;           /* absolute; copied */
	uint32_t checkpoint_frames; /* own PASSIVE checkpoints from so many frames; 0 = 500 */
	uint64_t barrier_bytes;     /* the barrier from so large a WAL; 0 = 4 MiB or 880 frames */
	bool no_barrier;            /* never (an app without busy timeout never sees it) */
	bool any_filesystem;        /* do not refuse NFS, CIFS, FUSE, 9p */
	int64_t release_after_us;   /* let go when nobody else was connected so long; 0 = 1 s */
	/* So many other processes of ours follow this database, too (0: none), and this one is number
	 * `rank` of them: the lower ones checkpoint, the higher ones where those don't. */
	unsigned peers, rank;
	void *user; /* for source_watch_read */
};

/* A committed state: everything up to pos is in the sink. */
struct source_point {
	struct state_position pos;
	uint32_t n_page;     /* size of the database in pages */
	uint32_t min_n_page; /* the smallest it was since the last source_point_taken */
};

/*
 * Where captured pages go, called from source_turn and source_scan only. An error ends the turn,
 * which returns it; the sink's content is then no committed state and must be dropped (with
 * source_detach, because the pin may not guard what was lost).
 */
struct source_sink {
	/* A page of a committed transaction (never the lock page); the newest call for a page number
	 * wins. `page` is valid during the call. */
	int (*page)(void *ctx, uint32_t pgno, const void *page, struct err *e);
	/*
	 * All pages so far make a committed state, called for each transaction. Pages past its size,
	 * whenever they came, are no part of it and must be dropped here (a transaction may spill pages
	 * to the WAL and then cut them off), so that after a shrink and a growth none of them comes
	 * back: what no frame holds then is read with source_scan.
	 */
	int (*commit)(void *ctx, const struct source_point *point, struct err *e);
	void *ctx;
};

/*
 * Checks the path (regular file or not yet there, one link, no symbolic link as its last part, a
 * file system that we know) and remembers it; opens nothing, creates nothing. ERR_DATABASE with the
 * reason. A file that isn't there yet is waited for.
 */
int source_open(struct source **out, const struct source_config *cfg,
	const struct source_sink *sink, struct source_watch *watch, struct err *e);

/* Lets go without checkpoint or any write, frees. NULL is fine. */
void source_close(struct source *s);

/*
 * Opens the connections, switches the journal mode to WAL if need be (logged) and takes the first
 * pin. `at` is where an earlier life stopped, or NULL. *resumed = true: its salts and the checksum
 * of its frame were found (or the database file is untouched since we let go), so capture goes on
 * right behind it. Otherwise capture begins behind the present end of the WAL, and the caller must
 * compare all pages (source_scan).
 *
 * ERR_NOT_FOUND: no database file yet. ERR_AGAIN: busy, try again in a moment. ERR_DATABASE: not
 * SQLite, encrypted, WAL2, exclusive locking, no permission, with what to do.
 */
int source_attach(struct source *s, const struct state_position *at, bool *resumed, struct err *e);

/* Gives the pin up and closes the connections, writing nothing. */
void source_detach(struct source *s);

/* For a clean end: closes as an app's last close does, so that -wal and -shm vanish when nobody
 * else is connected. Where anything was committed that is not settled (source_set_settled), or the
 * files are others than those open, it is source_detach. */
void source_leave(struct source *s);
bool source_attached(const struct source *s);

enum source_event {
	SOURCE_OK,
	SOURCE_REPLACED, /* path, -wal or -shm are other files than those open: detached already */
	SOURCE_GONE,     /* the database file was removed or its folder is gone: detached already */
	SOURCE_LOST,     /* the chain of pins broke, a foreign write was seen, or recovery went back:
						position is at the present end; drop what the sink holds, compare all pages */
	SOURCE_RELEASED, /* nobody else is connected: checkpointed, let go; detached; events go on.
						Attach again at the next event, or after wait_us (0: somebody came in) */
};

struct source_result {
	enum source_event event;
	char reason[256];   /* for REPLACED, GONE, LOST */
	bool captured;      /* the sink got pages and a commit in this turn */
	bool caught_up;     /* nothing was committed behind the captured point when this turn read the
						   wal-index header: all that was committed before the call is in the sink */
	int64_t wait_us;    /* call again after this, or at an event; INT64_MAX = events only */
	uint64_t wal_bytes; /* of frames in use */
};

/*
 * One turn: identity of the files, header, capture of (position, mxFrame] into the sink, renewal of
 * the pin, checkpoint or barrier when due, release when allowed. Bounded: at most 16 MiB of frames
 * are captured in a turn (wait_us is 0 then).
 */
int source_turn(struct source *s, struct source_result *r, struct err *e);

/* Whether letting go and checkpointing everything away are allowed: only when all that was
 * captured is settled in the replica. Off at first. */
void source_set_settled(struct source *s, bool settled);

uint32_t source_page_size(const struct source *s); /* 0 until attached once */
uint32_t source_n_page(const struct source *s);    /* at the last captured point */

/* The last captured point: that of the last commit into the sink or, before the first one, the
 * place where attach began. Valid once attached. */
void source_get_point(const struct source *s, struct source_point *out);

/* The last captured point was cut off by the caller: min_n_page starts anew. */
void source_point_taken(struct source *s);

/*
 * Reads the image of pages [first, first + count) as of a header read under the pin, calls fn for
 * each that exists (not the lock page; pages past the file's end are zeros) and renews nothing.
 * Keep slices small (about 1 MiB) and turn between them: frames captured meanwhile go to the sink
 * and are newer. *n_page = the size at that header.
 */
int source_scan(struct source *s, uint32_t first, uint32_t count,
	int (*fn)(void *ctx, uint32_t pgno, const void *page, struct err *e), void *ctx,
	uint32_t *n_page, struct err *e);

/* What status shows. */
struct source_counts {
	uint64_t frames, restarts, renewals, checkpoints, barriers, unverified, recoveries;
	uint64_t bytes;                   /* of the frames, with their headers */
	uint64_t passives, passives_lost; /* PASSIVE checkpoints that ran; of them, those that failed */
	uint64_t passives_us;             /* that they took */
};
void source_get_counts(const struct source *s, struct source_counts *out);

/* Is any other process connected to the database (shared lock held)? Opens a descriptor only when
 * this process has none of SQLite's open. 1, 0, or -1 when unknown. */
int source_foreign_connections(const char *path);

#endif
