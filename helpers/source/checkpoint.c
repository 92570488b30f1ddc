/*
 * Letting the WAL shrink: when the pin moves, our own PASSIVE checkpoints, and the barrier.
 *
 * An app's automatic checkpoint can never finish beside a pin, because the pin lags behind the very
 * commit that it runs in; past its 1000 frames it would then fsync at every commit. So from about
 * 500 frames on we checkpoint ourselves, and as soon as everything is backfilled the pin moves to
 * mark 0 and the next writer starts the WAL anew.
 *
 * Under steady writers a PASSIVE checkpoint alone never meets the end of the WAL. The barrier holds
 * writers out for its length (two fsyncs): BEGIN IMMEDIATE, capture the rest, renew the pin,
 * PASSIVE on another connection, mark 0, roll back. It is useless when a reader of the app's holds
 * an old mark; that shows in a PASSIVE that succeeded and stopped before our own mark, and is
 * answered with a growing pause.
 *
 * Never RESTART or TRUNCATE: those wait with the write lock in hand. Never with a lower
 * `synchronous`: the two fsyncs are what makes it safe to start the WAL anew.
 */
#include "source/internal.h"

#include "base/clock.h"
#include "base/log.h"

#define FRAMES_DUE 500
#define BARRIER_BYTES (UINT64_C(4) << 20)
#define BARRIER_REST_BYTES (UINT64_C(8) << 20) /* most that is captured while writers wait */
#define BARRIER_SPIN_US 3000
#define BUSY_PAUSE_US 20000
#define BACKOFF_FIRST_US 50000
#define BACKOFF_LAST_US 5000000
#define QUICK_US 3000 /* a PASSIVE that took less is worth trying again at once */
#define QUICK_TRIES 3
#define ZERO_TRIES 20
#define ZERO_STEP_US 50
#define GUARD_PAUSE_US 300

static bool backfilled(const struct source *s, const struct shm_view *v)
{
	return v->backfill == v->h.mx_frame && v->h.mx_frame == s->chain.frame;
}

static bool mark_is_old(const struct source *s)
{
	int k = s->pin.held->mark;
	return k > 0 && shm_read_mark(&s->shm, k) < s->chain.frame;
}

void checkpoint_renew_pin(struct source *s, const struct shm_view *v, int64_t now_us)
{
	bool want_zero = backfilled(s, v) && s->pin.held->mark != 0;
	if (!s->dirty && !want_zero && !mark_is_old(s))
		return;
	if (!pin_may_renew(&s->pin, v->h.salt, now_us)) {
		wake_within(&s->wake, GUARD_PAUSE_US);
		return;
	}
	struct err why = ERR_INIT;
	if (pin_renew(&s->pin, v->h.salt, &why)) {
		log_debug("%s: the pin stays: %s", s->paths.db, why.text);
		wake_within(&s->wake, wake_backoff(&s->zero_pause_us, 1000, 100000));
		return;
	}
	s->dirty = false;
	if (backfilled(s, v) && s->pin.held->mark != 0)
		wake_within(&s->wake, wake_backoff(&s->zero_pause_us, 1000, 100000));
	else
		s->zero_pause_us = 0;
	if (mark_is_old(s))
		wake_within(&s->wake, wake_backoff(&s->low_pause_us, 10000, 100000));
	else
		s->low_pause_us = 0;
}

/* Everything is in the database file: to mark 0, at once. A try that landed elsewhere is a new pin,
 * so the header is read anew (I3): a commit and an app's checkpoint may have come in between, and
 * mark 0 would then let go of frames that nobody read. */
static void to_mark_zero(struct source *s, const struct shm_view *v)
{
	struct shm_view now = *v;
	for (int i = 0; i < ZERO_TRIES && s->pin.held->mark != 0; i++) {
		if (i > 0) {
			clock_sleep_us(ZERO_STEP_US);
			if (!shm_look(&s->shm, &now) || !backfilled(s, &now))
				break;
		}
		if (pin_renew(&s->pin, now.h.salt, NULL))
			break;
	}
	s->dirty = false;
	s->plan.ours = true;
	s->plan.backoff_us = 0;
	if (s->pin.held->mark != 0)
		wake_within(&s->wake, 1000);
}

static uint64_t wal_bytes(const struct source *s)
{
	return (uint64_t)s->chain.frame * (s->page_size + (uint64_t)WAL_FRAME_HEADER_SIZE);
}

static uint32_t frames_due(const struct source *s)
{
	return s->cfg.checkpoint_frames ? s->cfg.checkpoint_frames : FRAMES_DUE;
}

static bool barrier_due(const struct source *s)
{
	uint64_t bytes = s->cfg.barrier_bytes ? s->cfg.barrier_bytes : BARRIER_BYTES;
	return !s->cfg.no_barrier && wal_bytes(s) >= bytes;
}

static bool due(struct source *s, const struct shm_view *v, int64_t now_us)
{
	struct checkpoint_plan *p = &s->plan;
	int k = s->pin.held->mark;
	if (k < 1 || s->chain.frame < frames_due(s) || v->backfill >= shm_read_mark(&s->shm, k))
		return false;
	if (now_us < p->next_us) {
		wake_within(&s->wake, p->next_us - now_us);
		return false;
	}
	if (foreign_checkpoint_runs(s, v, now_us))
		return false; /* the app does it itself */
	return p->tried_at == 0 || p->quick > 0 || barrier_due(s) ||
		   s->chain.frame - p->tried_at >= frames_due(s);
}

static bool files_are_ours(struct source *s)
{
	char reason[256];
	return identity_compare(&s->id, &s->paths, NULL, reason, sizeof(reason)) == IDENTITY_SAME;
}

/* A foreign reader keeps the checkpoint from our own mark: neither PASSIVE nor barrier helps. */
static void back_off(struct source *s, int64_t now_us)
{
	int64_t pause = wake_backoff(&s->plan.backoff_us, BACKOFF_FIRST_US, BACKOFF_LAST_US);
	s->plan.next_us = now_us + pause;
	wake_within(&s->wake, pause);
}

/* Writers are held out: the rest into the sink, a pin on it, all of it backfilled, mark 0. */
static int behind_barrier(struct source *s, bool *captured, struct err *e)
{
	struct shm_view v;
	const char *why;
	if (!shm_look(&s->shm, &v) || !capture_follow(s, &v, &why))
		return ERR_OK; /* the next turn sees to it */
	int rc = capture_frames(s, &v, BARRIER_REST_BYTES, captured, e);
	if (rc || s->chain.frame != v.h.mx_frame)
		return rc;
	if (pin_renew(&s->pin, v.h.salt, NULL))
		return ERR_OK;
	s->dirty = false;
	int ckpt = connection_checkpoint(s->pin.spare);
	s->counts.checkpoints++;
	if (ckpt == SQLITE_OK && shm_look(&s->shm, &v) && backfilled(s, &v))
		to_mark_zero(s, &v);
	else
		back_off(s, clock_mono_us());
	return ERR_OK;
}

static int barrier(struct source *s, bool *captured, struct err *e)
{
	if (!files_are_ours(s))
		return ERR_OK;
	if (connection_begin_immediate(s->pin.helper, BARRIER_SPIN_US, NULL)) {
		s->plan.next_us = clock_mono_us() + BUSY_PAUSE_US;
		wake_within(&s->wake, BUSY_PAUSE_US);
		return ERR_OK;
	}
	int rc = behind_barrier(s, captured, e);
	connection_rollback(s->pin.helper);
	s->counts.barriers++;
	return rc;
}

/* What a PASSIVE that ran has left: done, a reader in the way, or writers that were quicker. */
static int after_passive(struct source *s, int64_t took_us, bool *captured, struct err *e)
{
	struct shm_view v;
	int64_t now_us = clock_mono_us();
	s->plan.tried_at = s->chain.frame;
	if (!shm_look(&s->shm, &v))
		return ERR_OK;
	if (backfilled(s, &v)) {
		to_mark_zero(s, &v);
		return ERR_OK;
	}
	if (v.backfill < shm_read_mark(&s->shm, s->pin.held->mark)) {
		back_off(s, now_us);
		return ERR_OK;
	}
	if (barrier_due(s))
		return barrier(s, captured, e);
	s->plan.quick = took_us < QUICK_US && s->plan.quick < QUICK_TRIES ? s->plan.quick + 1 : 0;
	return ERR_OK;
}

int checkpoint_run(
	struct source *s, const struct shm_view *v, int64_t now_us, bool *captured, struct err *e)
{
	if (!due(s, v, now_us) || !files_are_ours(s))
		return ERR_OK;
	int rc = connection_checkpoint(s->pin.helper);
	if (rc == SQLITE_BUSY) {
		s->plan.next_us = now_us + BUSY_PAUSE_US;
		wake_within(&s->wake, BUSY_PAUSE_US);
		return ERR_OK;
	}
	if (rc != SQLITE_OK) {
		log_warn("%s: a checkpoint failed: %s", s->paths.db, sqlite3_errmsg(s->pin.helper->db));
		back_off(s, now_us);
		return ERR_OK;
	}
	s->counts.checkpoints++;
	return after_passive(s, clock_mono_us() - now_us, captured, e);
}
