/*
 * The chain of pins: a read transaction of ours is open at every moment, exchanged hand over hand
 * between two connections; a third runs checkpoints and the barrier. What that guarantees, as
 * numbered invariants. (Why each holds in SQLite's code, and how it was tested: docs/WAL.md.)
 *
 *   I1  On read mark k >= 1 nobody can restart a WAL that holds frames, and nobody can backfill
 *       past the value of that mark.
 *   I2  On mark 0, granted when everything is backfilled, the WAL's header may be restarted while
 *       the WAL is empty, but never again once it holds a commit: no checkpoint can run.
 *   I3  The pin is renewed only when our position has reached mxFrame of a header that was read
 *       after the present pin was granted. Then every frame behind the position is still there,
 *       whatever the app does. The first pin has no predecessor: landing on mark 0 with unread
 *       frames, it reads them, looks at the salts again, and if they changed pages are compared.
 *   I4  Before mark 0 is left for a new incarnation, the CKPT lock is seen free once after that
 *       incarnation was published; so no checkpointer that read the old header is still at work.
 *       When CKPT is busy and WRITE is free or held by another process, a PASSIVE checkpoint is
 *       under way: stay (nothing can be backfilled, the frames are safe). When one process holds
 *       both it is most likely a FULL, RESTART or TRUNCATE, which read the header under WRITE and
 *       now waits for us: go on after PIN_GUARD_US. (Narrowed, not impossible: SQLite's own
 *       WAL-reset bug.)
 *   I5  A header that stays invalid is a writer that died while publishing. Apps older than 3.33
 *       can't recover it beside our pin, so we do, within milliseconds, by beginning a read; but
 *       only while WRITE is free, because a stopped writer would block us for ten seconds.
 *   I6  Landing on mark 0 is not certain (a checkpointer publishes before it unlocks), so it is
 *       tried until it succeeds; and when readers fill all marks ours is an old one, so it is
 *       renewed while it is behind the position.
 *   I7  Salts name an incarnation; they don't count restarts. Whoever breaks the chain of pins
 *       compares pages.
 */
#ifndef SOURCE_PIN_H
#define SOURCE_PIN_H

#include "base/err.h"
#include "source/connection.h"
#include "source/dbfile.h"
#include "source/shm.h"

#include <stdbool.h>
#include <stdint.h>

#define PIN_GUARD_US 2000

struct pin {
	struct connection con[3];
	struct connection *held, *spare, *helper; /* which is which */
	bool open;
	uint8_t salt[8];     /* incarnation whose header was read before the held pin was granted */
	uint8_t guarded[8];  /* incarnation after whose publication CKPT was seen free (I4) */
	bool guard_passed;   /* guarded is valid */
	int64_t guard_since; /* monotonic us: CKPT and WRITE busy since then, 0 = not */
	uint64_t renewals, recoveries;
};

/*
 * Opens the three connections and takes the first pin; each connection has read once then. The
 * struct must not move until pin_close. ERR_AGAIN, ERR_DATABASE, ERR_IO, ERR_NOMEM.
 */
int pin_open(struct pin *p, const char *path, struct err *e);

/* Ends the transactions and closes the connections, writing nothing. */
void pin_close(struct pin *p);

/*
 * Closes like an app's last close: checkpoints what is left and removes -wal and -shm if nobody
 * else is connected at that moment, otherwise does what pin_close does.
 */
void pin_close_clean(struct pin *p);

/*
 * Exchanges the pin (I3 is the caller's part): begins on the spare connection, then ends the old
 * one. On an error the old pin stays. `salt`: of the last header that was read.
 */
int pin_renew(struct pin *p, const uint8_t salt[8], struct err *e);

/* I4: may the held pin be exchanged now that the header shows this incarnation? False: stay, ask
 * again within a millisecond. Always true on a mark >= 1. `shm` tells who holds which lock. */
bool pin_may_renew(struct pin *p, const struct dbfile *shm, const uint8_t salt[8], int64_t now_us);

/* Does one process hold CKPT and WRITE, as a FULL, RESTART or TRUNCATE does that waits for us? */
bool pin_is_waited_for(const struct dbfile *shm);

/*
 * A FULL, RESTART or TRUNCATE looks at a mark, finds it old, and waits for that mark's lock without
 * looking at the mark again. If it is given its present value and our pin in between, it waits for
 * a pin that stands in nobody's way, holding the write lock, until its busy timeout is over. So:
 * moves the pin, which is on a mark >= 1 with the value `frame`, the end of the WAL, to the first
 * other mark that is not in the set `avoid` (bit k: mark k) and has that value, or can be given it.
 * True when it is there now. What to avoid are marks that others hold, or held a moment ago: one of
 * them may be the one that is waited for, and new readers take the highest of equal marks.
 */
bool pin_sidestep(struct pin *p, const struct shm *m, uint32_t frame, unsigned avoid);

/* The marks (bit k: mark k, from 1) that other processes hold. */
unsigned pin_foreign_marks(const struct dbfile *shm);

/* I5: recovers an invalid wal-index. ERR_AGAIN when a writer is alive. The held pin is a new one
 * then; position and salts must be read anew. */
int pin_recover(struct pin *p, const uint8_t salt[8], struct err *e);

#endif
