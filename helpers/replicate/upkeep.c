#include "replicate/upkeep.h"

#include "base/clock.h"
#include "base/log.h"
#include "replicate/advice.h"
#include "replicate/fence.h"
#include "replicate/snapshots.h"

#include <inttypes.h>
#include <string.h>

#define MINUTE_MS (INT64_C(60) * 1000)
#define FRESH_MS (5 * MINUTE_MS)           /* F5 */
#define UPLOADS 8                          /* so many uploads may make something due … */
#define PAUSE_US (INT64_C(3600) * 1000000) /* … and the first one after so long */
#define DELAY_FIRST_US (INT64_C(60) * 1000000)
#define DELAY_MAX_US (INT64_C(3600) * 1000000)
#define SAVE_US (INT64_C(600) * 1000000)

/* ---- when ---- */

void upkeep_uploaded(struct shared *s)
{
	int64_t now = clock_mono_us();
	s->upkeep_uploads++;
	if (now >= s->upkeep_not_before_us &&
		(s->upkeep_uploads >= UPLOADS || now >= s->upkeep_after_us))
		s->upkeep_wanted = true;
}

void upkeep_ready(struct shared *s, int64_t renew_ms)
{
	s->upkeep_wanted = s->upkeep_wanted || (renew_ms && !s->upkeep_looked);
	s->upkeep_looked = true;
}

bool replicator_upkeep_wanted(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	bool wanted = r->shared.upkeep_wanted;
	pthread_mutex_unlock(&r->lock);
	return wanted;
}

/* ---- F5 ---- */

static bool is_fresh(const struct shared *s)
{
	return s->confirmed_wall_ms &&
		   moment_within(s->confirmed_wall_ms, s->confirmed_boot_ms, FRESH_MS);
}

/* Ours, and neither stopped nor about to be. Lock held. */
static bool is_ours(const struct shared *s)
{
	return s->phase != PHASE_LIST && s->phase != PHASE_STOPPED && s->phase != PHASE_PROVE &&
		   s->order != ORDER_STOP && !s->prove && !s->whole && s->txid &&
		   (!s->claim || s->renewing) && s->health.side[HEALTH_STORE].state != REPLICATOR_FENCED;
}

/* A node that lost a claim in the middle must not delete: asked anew each time. */
static int look(struct replicator *r, bool *fresh, uint64_t *txid, struct err *e)
{
	pthread_mutex_lock(&r->lock);
	bool ours = is_ours(&r->shared) && !atomic_load(&r->cancelled);
	*fresh = is_fresh(&r->shared);
	*txid = r->shared.txid;
	pthread_mutex_unlock(&r->lock);
	return ours ? ERR_OK : err_set(e, ERR_CANCELLED, "the replica is not ours to tidy now");
}

int upkeep_judge_tail(struct replicator *r, const struct moment *asked, uint64_t settled,
	uint64_t next, bool more, struct err *e)
{
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	bool moved = s->txid != settled; /* what was listed may be what we settled meanwhile */
	bool in_flight = s->flight == FLIGHT_FROZEN && next == settled + 1 && !more;
	if (!next && !moved) {
		s->confirmed_wall_ms = asked->wall_ms;
		s->confirmed_boot_ms = asked->boot_ms;
	}
	pthread_mutex_unlock(&r->lock);
	if (!next)
		return ERR_OK;
	if (moved || in_flight)
		return err_set(e, ERR_AGAIN, "an upload is on its way");
	return err_set(e, ERR_FENCED,
		"another node wrote TXID %016" PRIx64
		" of the replica, and this one had written up to %016" PRIx64
		"; nothing more is shipped from here: stop the other one and restore from the replica, or "
		"%s",
		next, settled, advice_takeover());
}

int upkeep_gate(struct replicator *r, struct err *e)
{
	bool fresh, more;
	uint64_t txid, next;
	int rc = look(r, &fresh, &txid, e);
	if (rc || fresh)
		return rc;
	struct moment asked = moment_now();
	rc = fence_tail(r->store, txid, &next, &more, e);
	if (!rc)
		rc = upkeep_judge_tail(r, &asked, txid, next, more, e);
	if (rc && rc != ERR_AGAIN)
		return rc;
	/* What was settled during the LIST confirmed more than it could. And it may have come late: who
	 * was stopped meanwhile knows nothing of what happened since. */
	int now = look(r, &fresh, &txid, e);
	if (now || fresh || rc)
		return now || fresh ? now : rc;
	return err_set(e, ERR_AGAIN, "the answer to a tail check was too old when it was read");
}

/* ---- what is kept on disk ---- */

void keep_inventory(struct replicator *r, bool stop)
{
	struct upkeep *u = &r->upkeep;
	struct err e = ERR_INIT;
	int64_t now = clock_mono_us();
	bool due = stop || !u->saved_us || now - u->saved_us >= SAVE_US;
	if (!due || !inventory_known(&r->inventory) ||
		inventory_changes(&r->inventory) == u->saved_changes)
		return;
	if (inventory_save(
			&r->inventory, state_dir_path(r->dir), store_url(r->store), &u->saved_changes, &e))
		log_warn("%s: %s", r->cfg.database, e.text);
	u->saved_us = now;
}

/* ---- a run ---- */

void upkeep_say(struct replicator *r, const char *text)
{
	struct shared *s = &r->shared;
	pthread_mutex_lock(&r->lock);
	bool news = strncmp(s->upkeep_error, text, sizeof(s->upkeep_error) - 1) != 0;
	copy_text(s->upkeep_error, sizeof(s->upkeep_error), text);
	if (text[0])
		s->upkeep_error_ms = clock_wall_ms();
	pthread_mutex_unlock(&r->lock);
	if (news && text[0])
		log_warn("%s: %s", r->cfg.database, text);
}

/* Trouble with one part that is no reason to leave the next ones. */
static bool goes_on(int rc)
{
	return rc == ERR_OK || rc == ERR_IO || rc == ERR_FULL || rc == ERR_DAMAGED || rc == ERR_FAIL;
}

/* The first trouble is the one that is told. */
static void note(int *rc, int code, struct err *e, const struct err *why)
{
	if (*rc == ERR_OK || !goes_on(code)) {
		*rc = code;
		if (code)
			*e = *why;
	}
}

static int do_all(
	struct replicator *r, bool listed, int64_t *wait_us, int64_t *at_ms, struct err *e)
{
	struct err why = ERR_INIT;
	int64_t snapshot_ms = 0;
	int rc = upkeep_compact(r, at_ms, e);
	if (goes_on(rc))
		note(&rc, upkeep_snapshot(r, wait_us, &snapshot_ms, &why), e, &why);
	if (goes_on(rc))
		note(&rc, upkeep_retain(r, listed, &why), e, &why);
	if (goes_on(rc))
		note(&rc, upkeep_unfinished(r, listed, &why), e, &why);
	if (snapshot_ms && (!*at_ms || snapshot_ms < *at_ms))
		*at_ms = snapshot_ms;
	return rc;
}

/*
 * A wall clock that was set forward (a machine whose clock has no battery, once it reached a time
 * server) must not make old what came in a minute ago: L0 files would go whose names fence (F4).
 * One that was set back must not keep for years what came in when it was wrong.
 */
static void watch_clock(struct replicator *r)
{
	struct upkeep *u = &r->upkeep;
	int64_t wall = clock_wall_ms(), boot = clock_boot_ms();
	int64_t expected = u->seen_wall_ms + (boot - u->seen_boot_ms);
	if (wall - expected > MINUTE_MS || expected - wall > MINUTE_MS)
		inventory_clock_set(&r->inventory, expected, wall - expected);
	u->seen_wall_ms = wall;
	u->seen_boot_ms = boot;
}

static int run(struct replicator *r, int64_t *wait_us, int64_t *at_ms, struct err *e)
{
	bool listed = false, fresh;
	uint64_t txid;
	int rc = look(r, &fresh, &txid, e);
	if (rc) {
		snapshot_abandon(r);
		return rc;
	}
	watch_clock(r);
	rc = upkeep_audit(r, &listed, e);
	if (!rc)
		rc = upkeep_learn_times(r, e);
	return rc ? rc : do_all(r, listed, wait_us, at_ms, e);
}

/* From when on the next upload wakes us: at_ms (0 = unknown), but an hour at most. */
static void plan_next(struct replicator *r, int rc, int64_t at_ms)
{
	struct upkeep *u = &r->upkeep;
	int64_t now = clock_mono_us(), pause = PAUSE_US;
	if (at_ms && at_ms - clock_wall_ms() < pause / 1000)
		pause = (at_ms - clock_wall_ms()) * 1000;
	bool trouble = rc && rc != ERR_AGAIN && rc != ERR_CANCELLED;
	if (!trouble)
		u->delay_us = 0;
	else
		u->delay_us = u->delay_us ? u->delay_us * 2 : DELAY_FIRST_US;
	if (u->delay_us > DELAY_MAX_US)
		u->delay_us = DELAY_MAX_US;
	pthread_mutex_lock(&r->lock);
	r->shared.upkeep_after_us = rc ? 0 : now + pause;
	r->shared.upkeep_not_before_us = now + u->delay_us;
	pthread_mutex_unlock(&r->lock);
}

/* What is wrong although nothing failed now. */
static void tell(struct replicator *r)
{
	const struct upkeep *u = &r->upkeep;
	upkeep_say(r, u->fault[0] ? u->fault : u->denied[0] ? u->denied : r->making.fault);
}

static void finish(struct replicator *r, int rc, const struct err *e)
{
	if (rc == ERR_FENCED) {
		become_fenced(r, e);
		return;
	}
	if (rc && rc != ERR_AGAIN && rc != ERR_CANCELLED) {
		struct err why = *e;
		err_wrap(&why, "upkeep");
		upkeep_say(r, why.text);
	} else if (!rc) {
		tell(r);
	}
}

/* Takes what woke us. False while the trouble of the last run lasts: a copy of the database that
 * was asked for before is ready, and can wait; *wait_us says until when. */
static bool begin_run(struct replicator *r, int64_t *wait_us)
{
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	int64_t early = s->upkeep_not_before_us - clock_mono_us();
	bool stopped = s->phase == PHASE_STOPPED || s->order == ORDER_STOP;
	s->upkeep_wanted = false;
	s->upkeep_uploads = 0;
	bool waits = s->spool != SPOOL_NONE || r->levels.renew_ms;
	*wait_us = early > 0 && waits ? early : INT64_MAX;
	pthread_mutex_unlock(&r->lock);
	return (early <= 0 || stopped) && !atomic_load(&r->cancelled);
}

static void upkeep(struct replicator *r, int64_t *wait_us)
{
	struct err e = ERR_INIT;
	if (!begin_run(r, wait_us))
		return;
	*wait_us = INT64_MAX;
	int64_t at_ms = 0;
	int rc = run(r, wait_us, &at_ms, &e);
	plan_next(r, rc, at_ms);
	/* A renewal has no upload to be woken by: it has a timer, and needs one after trouble too. */
	int64_t again_us = r->upkeep.delay_us ? r->upkeep.delay_us : DELAY_FIRST_US;
	if (rc && rc != ERR_CANCELLED && rc != ERR_FENCED && r->levels.renew_ms && *wait_us > again_us)
		*wait_us = again_us;
	finish(r, rc, &e);
	upkeep_answer(r, rc, &e, wait_us);
	keep_inventory(r, false);
}

void replicator_upkeep(struct replicator *r, int64_t *wait_us)
{
	*wait_us = INT64_MAX;
	if (!replicator_enter(r))
		return;
	upkeep(r, wait_us);
	replicator_leave(r);
}
