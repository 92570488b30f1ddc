/*
 * The barrier: writers are held out for a moment, so that the WAL can be begun anew.
 *
 * Under steady writers a PASSIVE checkpoint alone never meets the end of the WAL. The barrier takes
 * the write lock (it begins no transaction), captures the rest, renews the pin, runs a PASSIVE on
 * another connection, moves the pin to mark 0 and lets the lock go: two fsyncs long. It is useless
 * when a reader of the app's holds an old mark; that shows in a PASSIVE that succeeded and stopped
 * before our own mark, and is answered with a growing pause. While a checkpoint of the app's holds
 * the checkpoint lock it can't shrink the WAL either, but it keeps the writers from filling it.
 *
 * Other processes of ours that follow the database are readers that come along within milliseconds:
 * while writers are held they read the rest and renew their pins, and once all is backfilled they
 * go to mark 0. Both is waited for.
 */
#include "source/internal.h"

#include "base/clock.h"

#define BARRIER_MOST_BYTES (UINT64_C(12) << 20) /* what barrier_bytes grows to */
#define BARRIER_OFTEN_US 200000                 /* more often than this: let it grow */
#define BARRIER_REST_BYTES (UINT64_C(64) << 20) /* most that is captured while writers wait */
#define BARRIER_SPIN_US 3000
#define URGENT_SPIN_US 20000
#define URGENT_PAUSE_US 2000
#define GATE_PAUSE_US 25000 /* while a checkpoint of the app's waits for the writers */
#define GATE_MOST_US 5000000
#define BEHIND_TRIES 8 /* behind the barrier */
#define BEHIND_STEP_US 200
#define PEERS_US 40000 /* for each of the two things that we wait for */
#define MARKS 5

/* Writers that fill the WAL many times a second are better served by fewer, larger barriers. */
static void pace_barriers(struct source *s, int64_t now_us)
{
	struct checkpoint_plan *p = &s->plan;
	bool often = p->barrier_us != 0 && now_us - p->barrier_us < BARRIER_OFTEN_US;
	uint64_t at = checkpoint_barrier_bytes(s);
	p->barrier_at = often ? at * 2 : at / 2;
	if (p->barrier_at > BARRIER_MOST_BYTES)
		p->barrier_at = BARRIER_MOST_BYTES;
	p->barrier_us = now_us;
}

/*
 * How long writers are held for somebody's checkpoint. SQLite's busy timeout asks after 0, 1, 3, 8,
 * 18, 33 and 53 ms: behind such a moment they sleep longest. Where they wrote much before we held
 * them again (too few processors for all of us) it is a later one.
 */
static int64_t hold_us(const struct source *s)
{
	static const int64_t moments_us[] = {8300, 18300, 33300, 53300};
	const struct checkpoint_plan *p = &s->plan;
	uint32_t grown =
		p->gate_frame && s->chain.frame > p->gate_frame ? s->chain.frame - p->gate_frame : 0;
	size_t i = 0;
	for (uint64_t b = (uint64_t)grown * s->page_size; i < 3 && b > 2 * GATE_BYTES; b /= 2)
		i++;
	return moments_us[i];
}

/*
 * A TRUNCATE of the app's holds the checkpoint lock, so nobody else can checkpoint, and waits for
 * the write lock, which it asks for every 25 to 100 ms only: writers without a pause hold it nearly
 * always then, and the WAL grows by all they write. While we held them out they fell asleep, as
 * their busy timeout tells them to. We let go until one of them is awake and has written something,
 * and hold them out again: the lock is free for as long as it takes one of them to wake up, and
 * what asks for it then, the TRUNCATE too, gets it. Who holds the checkpoint lock for longer than
 * busy timeouts last is stalled: then the writers have waited enough.
 */
static void gate(struct source *s)
{
	struct checkpoint_plan *p = &s->plan;
	int64_t now_us = clock_mono_us();
	if (p->gate_since_us == 0)
		p->gate_since_us = now_us;
	if (checkpoint_wal_bytes(s) < URGENT_BYTES || now_us - p->gate_since_us > GATE_MOST_US) {
		checkpoint_try_after(s, BUSY_PAUSE_US);
		return;
	}
	checkpoint_try_after(s, GATE_PAUSE_US);
	p->gate_frame = s->chain.frame;
	wake_within(&s->wake, GATE_LOOK_US);
}

/* The same on mark 0, where the pin must stay while somebody checkpoints (I4). */
void barrier_gate(struct source *s)
{
	struct checkpoint_plan *p = &s->plan;
	int64_t until_us = clock_mono_us() + hold_us(s);
	if (s->cfg.no_barrier || checkpoint_wal_bytes(s) < URGENT_BYTES ||
		!foreign_checkpoint_lock(s) ||
		(p->gate_since_us != 0 && until_us - p->gate_since_us > GATE_MOST_US))
		return;
	if (!connection_take_write(s->pin.helper, URGENT_SPIN_US)) {
		checkpoint_try_after(s, URGENT_PAUSE_US);
		return;
	}
	while (clock_mono_us() < until_us && foreign_checkpoint_lock(s))
		clock_sleep_us(BEHIND_STEP_US);
	connection_unlock(s->pin.helper, CONNECTION_LOCK_WRITE);
	s->counts.barriers++;
	gate(s);
}

/* Is anybody else's pin on a mark that keeps the next writer from starting the WAL anew? */
static bool foreign_mark(const struct source *s)
{
	for (int k = 1; k < MARKS; k++)
		if (dbfile_foreign_shm_lock(s->kept_shm, CONNECTION_LOCK_READ + k, NULL) != DBFILE_UNLOCKED)
			return true;
	return false;
}

static void wait_for_peers(const struct source *s)
{
	int64_t until_us = clock_mono_us() + PEERS_US;
	while (s->cfg.peers && clock_mono_us() < until_us && foreign_mark(s))
		clock_sleep_us(BEHIND_STEP_US);
}

/*
 * Writers wait, nothing is added: backfill all of it. A checkpoint of the app's that runs just now
 * is soon over, a writer that tries for its lock holds an older mark for an instant, and our own
 * pin may have landed on a shared older one. A reader that stays is what remains after a few tries.
 */
static void backfill_all(struct source *s)
{
	struct shm_view v;
	int rc = SQLITE_OK, busy = 0;
	int64_t until_us = clock_mono_us() + hold_us(s);
	int64_t peers_us = clock_mono_us() + (s->cfg.peers ? PEERS_US : 0);
	for (int i = 0; (i < BEHIND_TRIES || clock_mono_us() < peers_us) &&
					(busy == 0 || clock_mono_us() < until_us);
		 i += rc != SQLITE_BUSY) {
		if (checkpoint_mark_is_old(s) &&
			(!shm_look(&s->shm, &v) || pin_renew(&s->pin, v.h.salt, NULL)))
			break;
		rc = checkpoint_passive(s, s->pin.spare);
		if (rc == SQLITE_OK && shm_look(&s->shm, &v) && checkpoint_backfilled(s, &v)) {
			s->counts.checkpoints++;
			checkpoint_to_mark_zero(s, &v);
			wait_for_peers(s);
			return;
		}
		busy += rc == SQLITE_BUSY;
		clock_sleep_us(BEHIND_STEP_US);
	}
	if (rc == SQLITE_BUSY)
		gate(s);
	else
		checkpoint_back_off(s);
}

/* Writers are held out: the rest into the sink, a pin on it, all of it backfilled, mark 0. */
static int behind_barrier(struct source *s, bool *captured, struct err *e)
{
	struct shm_view v;
	const char *why;
	if (!shm_look(&s->shm, &v) || !capture_follow(s, &v, clock_mono_us(), &why))
		return ERR_OK; /* the next turn sees to it */
	int rc = capture_frames(s, &v, BARRIER_REST_BYTES, captured, e);
	if (rc || s->chain.frame != v.h.mx_frame || s->pin.held->mark == 0)
		return rc;
	if (pin_renew(&s->pin, v.h.salt, NULL))
		return ERR_OK;
	s->dirty = false;
	backfill_all(s);
	return ERR_OK;
}

/* While writers still write: so that little is left for when they wait. */
static int before_barrier(struct source *s, bool *captured, struct err *e)
{
	struct shm_view v;
	const char *why;
	if (!shm_look(&s->shm, &v) || !capture_follow(s, &v, clock_mono_us(), &why))
		return ERR_OK;
	return capture_frames(s, &v, BARRIER_REST_BYTES, captured, e);
}

int barrier_run(struct source *s, bool *captured, struct err *e)
{
	if (!checkpoint_files_are_ours(s))
		return ERR_OK;
	int rc = before_barrier(s, captured, e);
	if (rc)
		return rc;
	bool urgent = checkpoint_wal_bytes(s) >= URGENT_BYTES;
	int64_t spin_us = urgent ? URGENT_SPIN_US : BARRIER_SPIN_US;
	if (!connection_take_write(s->pin.helper, spin_us)) {
		checkpoint_try_after(s, urgent ? URGENT_PAUSE_US : BUSY_PAUSE_US);
		return ERR_OK;
	}
	rc = behind_barrier(s, captured, e);
	connection_unlock(s->pin.helper, CONNECTION_LOCK_WRITE);
	s->counts.barriers++;
	pace_barriers(s, clock_mono_us());
	return rc;
}
