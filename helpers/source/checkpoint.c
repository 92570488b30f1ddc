/*
 * Letting the WAL shrink: when the pin moves, and our own PASSIVE checkpoints.
 *
 * An app's automatic checkpoint can never finish beside a pin, because the pin lags behind the very
 * commit that it runs in; past its 1000 frames it would then fsync at every commit. So from about
 * 500 frames on we checkpoint ourselves, and as soon as everything is backfilled the pin moves to
 * mark 0 and the next writer starts the WAL anew.
 *
 * Under steady writers a PASSIVE checkpoint alone never meets the end of the WAL: barrier.c.
 *
 * In a WAL of more than HOLD_FRAMES the pin stays where it is until our own checkpoint: each move
 * would give the app's automatic checkpoint, which runs at every commit then, a few new frames to
 * backfill, and two fsyncs. It moves when a checkpoint of the app's waits for it, and when the
 * writers pause.
 *
 * Where other processes of ours follow the database, too, one of them checkpoints and all others
 * keep out of its way: their pins never stay where they are, and their own checkpoints are due
 * later.
 *
 * An app that empties the WAL itself, again and again, needs our checkpoints less than they
 * disturb: while one runs, SQLite answers the app's own with "busy". So ours wait for a larger WAL
 * then.
 *
 * Never RESTART or TRUNCATE: those wait with the write lock in hand. Never with a lower
 * `synchronous`: the two fsyncs are what makes it safe to start the WAL anew.
 */
#include "source/internal.h"

#include "base/clock.h"
#include "base/log.h"

#define FRAMES_DUE 500
#define HOLD_FRAMES 800 /* below SQLite's automatic checkpoint at 1000 */
#define HOLD_QUIET_US 20000
#define BARRIER_BYTES (UINT64_C(4) << 20)
#define BARRIER_FRAMES 880               /* or so many, before the app checkpoints at each commit */
#define LARGE_BYTES (UINT64_C(32) << 20) /* where a WAL must not get to */
#define EMPTIED_US 2000000 /* an app that emptied the WAL so lately will do it again */
#define EMPTIED_TIMES 4    /* the WAL is let grow to so many times of what is else due */
#define STALL_US 100000    /* an fsync that nobody expected */
#define STOPPED_PAUSE_US 5000
#define BACKOFF_FIRST_US 50000
#define BACKOFF_LAST_US 5000000
#define QUICK_US 3000 /* a PASSIVE that took less is worth trying again at once */
#define QUICK_TRIES 3
#define QUICK_PAUSE_US 200
#define WRITERS_PAUSE_US 100000 /* nobody is quicker than us now */
#define ZERO_TRIES 20
#define ZERO_STEP_US 50
#define GUARD_PAUSE_US 300
#define OUTRUN_TURNS 3
#define WAITED_LOOKS 2       /* for a checkpoint that waits, after 3 and 9 ms */
#define WAITED_MOST_LOOKS 64 /* while there is one: each after twice the time, 6 s in all */
#define WAITED_FIRST_US 3000
#define WAITED_LAST_US 100000 /* SQLite's busy timeout asks at least so often */

bool checkpoint_backfilled(const struct source *s, const struct shm_view *v)
{
	return v->backfill == v->h.mx_frame && v->h.mx_frame == s->chain.frame;
}

bool checkpoint_mark_is_old(const struct source *s)
{
	int k = s->pin.held->mark;
	return k > 0 && shm_read_mark(&s->shm, k) < s->chain.frame;
}

/* Exchanges the pin now, and asks for another try where it did not land as it should (I6). */
static bool renew(struct source *s, const struct shm_view *v, int64_t now_us)
{
	if (!pin_may_renew(&s->pin, s->kept_shm, v->h.salt, now_us)) {
		wake_within(&s->wake, GUARD_PAUSE_US);
		return false;
	}
	struct err why = ERR_INIT;
	if (pin_renew(&s->pin, v->h.salt, &why)) {
		log_debug("%s: the pin stays: %s", s->paths.db, why.text);
		wake_within(&s->wake, wake_backoff(&s->zero_pause_us, 1000, 100000));
		return false;
	}
	s->dirty = false;
	s->plan.looks = 0;
	s->plan.waited = false;
	s->plan.look_us = now_us + WAITED_FIRST_US;
	if (!s->wake.steady) /* else the next turn is near */
		wake_within(&s->wake, WAITED_FIRST_US);
	if (checkpoint_backfilled(s, v) && s->pin.held->mark != 0)
		wake_within(&s->wake, wake_backoff(&s->zero_pause_us, 500, 100000));
	else
		s->zero_pause_us = 0;
	if (checkpoint_mark_is_old(s))
		wake_within(&s->wake, wake_backoff(&s->low_pause_us, 10000, 100000));
	else
		s->low_pause_us = 0;
	return true;
}

/* Is it better not to move the pin although frames were captured? */
static bool hold(struct source *s, bool quiet, int64_t now_us)
{
	if (s->chain.frame < HOLD_FRAMES || s->pin.held->mark == 0 || s->cfg.peers)
		return false;
	if (!quiet)
		return true;
	int64_t left = s->wake.commit_us + HOLD_QUIET_US - now_us;
	if (left <= 0 || pin_is_waited_for(s->kept_shm))
		return false;
	wake_within(&s->wake, left < 1000 ? 1000 : left);
	return true;
}

/* Everything is in the database file: to mark 0, at once. A try that landed elsewhere is a new pin,
 * so the header is read anew (I3): a commit and an app's checkpoint may have come in between, and
 * mark 0 would then let go of frames that nobody read. */
void checkpoint_to_mark_zero(struct source *s, const struct shm_view *v)
{
	struct shm_view now = *v;
	for (int i = 0; i < ZERO_TRIES && s->pin.held->mark != 0; i++) {
		if (i > 0) {
			clock_sleep_us(ZERO_STEP_US);
			if (!shm_look(&s->shm, &now) || !checkpoint_backfilled(s, &now))
				break;
		}
		if (pin_renew(&s->pin, now.h.salt, NULL))
			break;
	}
	s->dirty = false;
	s->plan.ours = true;
	s->plan.gate_since_us = 0;
	s->plan.backoff_us = 0;
	s->plan.stopped = false;
	if (s->pin.held->mark != 0)
		wake_within(&s->wake, 1000);
}

uint64_t checkpoint_wal_bytes(const struct source *s)
{
	return (uint64_t)s->chain.frame * (s->page_size + (uint64_t)WAL_FRAME_HEADER_SIZE);
}

int checkpoint_passive(struct source *s, struct connection *c)
{
	int64_t began_us = clock_mono_us();
	int rc = connection_checkpoint(c);
	if (rc == SQLITE_BUSY)
		return rc;
	s->counts.passives++;
	s->counts.passives_lost += rc != SQLITE_OK;
	s->counts.passives_us += (uint64_t)(clock_mono_us() - began_us);
	return rc;
}

static uint32_t patience(const struct source *s)
{
	bool emptied = s->plan.emptied_us != 0 && clock_mono_us() - s->plan.emptied_us < EMPTIED_US;
	return emptied ? EMPTIED_TIMES : 1;
}

static uint32_t frames_due(const struct source *s)
{
	uint32_t due = s->cfg.checkpoint_frames ? s->cfg.checkpoint_frames : FRAMES_DUE * patience(s);
	return due * (1 + s->cfg.rank);
}

uint64_t checkpoint_barrier_bytes(const struct source *s)
{
	uint64_t least = (uint64_t)BARRIER_FRAMES * (s->page_size + (uint64_t)WAL_FRAME_HEADER_SIZE);
	if (least > BARRIER_BYTES)
		least = BARRIER_BYTES;
	least *= patience(s);
	if (s->cfg.barrier_bytes)
		least = s->cfg.barrier_bytes;
	least *= 1 + s->cfg.rank;
	return s->plan.barrier_at > least ? s->plan.barrier_at : least;
}

static bool barrier_due(const struct source *s)
{
	return !s->cfg.no_barrier && checkpoint_wal_bytes(s) >= checkpoint_barrier_bytes(s);
}

/*
 * Would the WAL get too large while a checkpoint runs beside the writers? It will take as long as
 * recent ones did, or as a disk with a bad moment lets it, twice that to be careful; and the
 * writers go on as they did in this WAL.
 */
static bool outgrows(const struct source *s, int64_t now_us)
{
	const struct checkpoint_plan *p = &s->plan;
	int64_t age_us = now_us - p->began_us > 1000 ? now_us - p->began_us : 1000;
	int64_t will_take_us = p->took_us > STALL_US ? p->took_us : STALL_US;
	double growth = (double)checkpoint_wal_bytes(s) / (double)age_us * 2 * (double)will_take_us;
	return (double)checkpoint_wal_bytes(s) + growth >= (double)LARGE_BYTES;
}

/* Must the next checkpoint wait? */
static bool is_paused(struct source *s, const struct shm_view *v, int64_t now_us)
{
	struct checkpoint_plan *p = &s->plan;
	if (now_us >= p->next_us)
		return false;
	if (p->gate_frame == 0)
		return true;
	uint64_t grown = (uint64_t)(v->h.mx_frame - p->gate_frame) * s->page_size;
	if (v->h.mx_frame < p->gate_frame || grown >= GATE_BYTES)
		return false;
	wake_within(&s->wake, GATE_LOOK_US);
	return true;
}

static bool due(struct source *s, const struct shm_view *v, int64_t now_us)
{
	struct checkpoint_plan *p = &s->plan;
	if (s->chain.frame < frames_due(s) || v->backfill >= s->chain.frame)
		return false;
	if (is_paused(s, v, now_us)) {
		wake_within(&s->wake, p->next_us - now_us);
		return false;
	}
	if (barrier_due(s))
		return true;
	if (!s->cfg.no_barrier && p->backoff_us == 0 && outgrows(s, now_us))
		return false; /* soon, and with the writers held */
	if (foreign_checkpoint_runs(s, v, now_us))
		return false; /* the app does it itself */
	bool paused = now_us - s->wake.commit_us >= WRITERS_PAUSE_US && p->tried_at < s->chain.frame;
	return p->tried_at == 0 || p->quick > 0 || paused ||
		   (s->cfg.no_barrier && s->chain.frame - p->tried_at >= frames_due(s));
}

bool checkpoint_files_are_ours(struct source *s)
{
	char reason[256];
	return identity_compare(&s->id, &s->paths, NULL, reason, sizeof(reason)) == IDENTITY_SAME;
}

void checkpoint_try_after(struct source *s, int64_t pause)
{
	s->plan.next_us = clock_mono_us() + pause;
	s->plan.gate_frame = 0;
	wake_within(&s->wake, pause);
}

/* A foreign reader keeps the checkpoint from our own mark: neither PASSIVE nor barrier helps. */
void checkpoint_back_off(struct source *s)
{
	checkpoint_try_after(s, wake_backoff(&s->plan.backoff_us, BACKOFF_FIRST_US, BACKOFF_LAST_US));
}

/*
 * A PASSIVE that stopped before our own mark met somebody with an older one: a writer that was in a
 * transaction already, and is gone in a moment, or a reader that stays. Only the latter stops it at
 * the same frame again. True: pause.
 */
static bool reader_in_the_way(struct source *s, const struct shm_view *v)
{
	struct checkpoint_plan *p = &s->plan;
	bool first = !p->stopped, same = p->stopped && p->stopped_at == v->backfill;
	p->stopped = true;
	p->stopped_at = v->backfill;
	if (same)
		checkpoint_back_off(s);
	else if (first)
		checkpoint_try_after(s, STOPPED_PAUSE_US);
	return same || first;
}

/* What a PASSIVE that ran has left: done, a reader in the way, or writers that were quicker. */
static int after_passive(struct source *s, int64_t took_us, bool *captured, struct err *e)
{
	struct shm_view v;
	s->plan.tried_at = s->chain.frame;
	if (!shm_look(&s->shm, &v))
		return ERR_OK;
	if (checkpoint_backfilled(s, &v)) {
		checkpoint_to_mark_zero(s, &v);
		return ERR_OK;
	}
	if (v.backfill < shm_read_mark(&s->shm, s->pin.held->mark) && reader_in_the_way(s, &v))
		return ERR_OK;
	if (barrier_due(s))
		return barrier_run(s, captured, e);
	s->plan.quick = took_us < QUICK_US && s->plan.quick < QUICK_TRIES ? s->plan.quick + 1 : 0;
	if (s->plan.quick) /* the less was added meanwhile the likelier it ends */
		wake_within(&s->wake, QUICK_PAUSE_US);
	return ERR_OK;
}

/* The app's checkpoint runs now. It can't finish beside the pin, so where the WAL is large the
 * barrier goes ahead and waits for it. */
static int busy(struct source *s, bool *captured, struct err *e)
{
	if (barrier_due(s) && s->plan.backoff_us == 0)
		return barrier_run(s, captured, e);
	checkpoint_try_after(s, BUSY_PAUSE_US);
	return ERR_OK;
}

static bool must_hold_writers(const struct source *s, int64_t now_us)
{
	return barrier_due(s) && s->plan.backoff_us == 0 &&
		   (checkpoint_wal_bytes(s) >= URGENT_BYTES || outgrows(s, now_us));
}

/* A slow one is remembered for a while: disks have moods. */
static void note_duration(struct source *s, int64_t took_us)
{
	int64_t before = s->plan.took_us - s->plan.took_us / 32;
	s->plan.took_us = took_us > before ? took_us : before;
}

static int checkpoint(struct source *s, bool *captured, struct err *e)
{
	int64_t began_us = clock_mono_us();
	if (must_hold_writers(s, began_us)) {
		int held = barrier_run(s, captured, e);
		note_duration(s, clock_mono_us() - began_us);
		return held;
	}
	int rc = checkpoint_passive(s, s->pin.helper);
	if (rc == SQLITE_BUSY)
		return busy(s, captured, e);
	if (rc != SQLITE_OK) {
		log_warn("%s: a checkpoint failed: %s", s->paths.db, sqlite3_errmsg(s->pin.helper->db));
		checkpoint_back_off(s);
		return ERR_OK;
	}
	s->counts.checkpoints++;
	int64_t took_us = clock_mono_us() - began_us;
	note_duration(s, took_us);
	return after_passive(s, took_us, captured, e);
}

/*
 * The pin is at the end of the WAL, and a checkpoint that holds writers out waits for it all the
 * same: it looked at our mark just before the mark was renewed (pin_sidestep). Nothing tells of it,
 * so after each renewal we look twice, and more often while there is one: one that is seen twice
 * without having begun is waiting.
 */
static void step_aside(struct source *s, const struct shm_view *v, int64_t now_us)
{
	struct checkpoint_plan *p = &s->plan;
	if (s->dirty || s->pin.held->mark < 1 || checkpoint_mark_is_old(s) ||
		checkpoint_backfilled(s, v) || s->chain.frame != v->h.mx_frame || now_us < p->look_us)
		return;
	bool waits = pin_is_waited_for(s->kept_shm);
	if (waits)
		p->app_us = now_us;
	if (p->looks >= (waits ? WAITED_MOST_LOOKS : WAITED_LOOKS))
		return;
	unsigned held = waits ? pin_foreign_marks(s->kept_shm) : 0;
	if (waits && p->waited && v->attempted <= v->backfill &&
		pin_sidestep(&s->pin, &s->shm, v->h.mx_frame, held | p->held_marks))
		log_debug("%s: the pin steps aside for a checkpoint of the app, to mark %d", s->paths.db,
			s->pin.held->mark);
	p->waited = waits;
	p->held_marks = held;
	int64_t pause = p->looks < 5 ? WAITED_FIRST_US << p->looks : WAITED_LAST_US;
	p->looks++;
	p->look_us = now_us + pause;
	wake_within(&s->wake, pause);
}

int checkpoint_turn(
	struct source *s, const struct shm_view *v, int64_t now_us, bool *captured, struct err *e)
{
	s->plan.outrun = 0;
	s->plan.outrun_at = v->h.mx_frame;
	bool is_due = due(s, v, now_us) && checkpoint_files_are_ours(s);
	bool want_zero = checkpoint_backfilled(s, v) && s->pin.held->mark != 0;
	bool moved = s->dirty || checkpoint_mark_is_old(s);
	/* Once in a turn only: the header that I3 speaks of was read at its beginning. */
	if (want_zero || (moved && (is_due || !hold(s, !*captured, now_us))))
		renew(s, v, now_us);
	else
		step_aside(s, v, now_us);
	if (!is_due)
		return ERR_OK;
	/* Own checkpoints only on a mark >= 1: nothing can start the WAL anew meanwhile. */
	if (s->pin.held->mark > 0)
		return checkpoint(s, captured, e);
	barrier_gate(s);
	return ERR_OK;
}

int checkpoint_outrun(
	struct source *s, const struct shm_view *v, int64_t now_us, bool *captured, struct err *e)
{
	struct checkpoint_plan *p = &s->plan;
	uint64_t bytes = wal_frame_offset(v->h.mx_frame + 1, s->page_size);
	/* One large transaction is only large; writers that are quicker than us go on and on. */
	p->outrun = v->h.mx_frame > p->outrun_at ? p->outrun + 1 : 0;
	p->outrun_at = v->h.mx_frame;
	if (p->outrun < OUTRUN_TURNS || s->cfg.no_barrier || s->strict || bytes < LARGE_BYTES ||
		s->pin.held->mark < 1 || p->backoff_us != 0 || is_paused(s, v, now_us))
		return ERR_OK;
	return barrier_run(s, captured, e);
}
