/*
 * Capture: the source's sink, and what its turns tell.
 *
 * Frames go into the open staging before the pin that guards them is renewed. Whatever goes wrong
 * on that way leaves a gap that only a comparison can find, so the answer to every error is the
 * same: let go, forget, compare later.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUSY_US INT64_C(20000)

int stage(struct replicator *r, uint32_t pgno, const void *page, enum staging_origin origin,
	struct err *e)
{
	if (staging_empty(r->turn.open))
		r->turn.since_ms = clock_wall_ms();
	int rc = staging_put(r->turn.open, pgno, page, origin, e);
	if (!rc)
		spool_staged(r, pgno, page, origin == STAGING_IMAGE);
	return rc;
}

static int sink_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct replicator *r = ctx;
	if (staging_empty(r->turn.open) &&
		staging_page_size(r->turn.open) != source_page_size(r->turn.source))
		staging_reset(
			r->turn.open, source_page_size(r->turn.source), source_n_page(r->turn.source));
	r->turn.captured = true;
	audit_captured(&r->turn, pgno);
	return stage(r, pgno, page, STAGING_FRAME, e);
}

static int sink_commit(void *ctx, const struct source_point *point, struct err *e)
{
	struct replicator *r = ctx;
	int rc = staging_commit(r->turn.open, point, e);
	if (!rc) {
		r->turn.point = *point;
		r->turn.have_point = true;
		r->turn.commits++;
	}
	return rc;
}

static int open_source(struct replicator *r, struct err *e)
{
	struct source_config cfg = {
		.path = r->cfg.database,
		.checkpoint_frames = r->cfg.checkpoint_frames,
		.barrier_bytes = r->cfg.barrier_bytes,
		.no_barrier = r->cfg.no_barrier,
		.any_filesystem = r->cfg.any_filesystem,
		.peers = r->cfg.peers,
		.rank = r->cfg.rank,
		.user = r->cfg.user,
	};
	struct source_sink sink = {.page = sink_page, .commit = sink_commit, .ctx = r};
	return source_open(&r->turn.source, &cfg, &sink, r->cfg.watch, e);
}

int capture_open(struct replicator *r, struct err *e)
{
	return r->turn.source ? ERR_OK : open_source(r, e);
}

/* The turn failed: a bound, the disk, the database. */
static void failed(struct replicator *r, int rc, const struct err *e)
{
	enum replicator_state state = rc == ERR_DATABASE ? REPLICATOR_UNUSABLE : REPLICATOR_BEHIND;
	bool bound = rc == ERR_FULL && staging_at_max(r->turn.open);
	pthread_mutex_lock(&r->lock);
	r->shared.no_space = false; /* until note_full_disk knows better */
	pthread_mutex_unlock(&r->lock);
	if (rc == ERR_FULL)
		note_lineage(r);
	if (rc == ERR_FULL && !bound) {
		spool_give_up(r, "the disk is full"); /* and this makes room */
		note_full_disk(r);
	}
	detach_and_drop(r, bound ? 0 : -1);
	replicator_trouble(r, HEALTH_SOURCE, state, e);
}

/* Another file has taken the path, or only its -wal and -shm are others. */
static void replaced(struct replicator *r, const char *reason)
{
	struct err e;
	err_set(&e, ERR_FAIL, "%s", reason);
	log_warn("%s: %s", r->cfg.database, reason);
	memset(r->turn.lineage, 0, sizeof(r->turn.lineage));
	detach_and_drop(r, 0); /* attach looks at the inode and decides */
}

static void lost(struct replicator *r, const char *reason)
{
	log_warn("%s: comparing all pages: %s", r->cfg.database, reason);
	lag_unsure(r);
	staging_reset(r->turn.open, source_page_size(r->turn.source), source_n_page(r->turn.source));
	r->turn.have_point = r->turn.known = false;
	memset(r->turn.lineage, 0, sizeof(r->turn.lineage));
	pthread_mutex_lock(&r->lock);
	bool prove = r->shared.prove;
	pthread_mutex_unlock(&r->lock);
	scan_begin(r);
	if (prove)
		replicator_set_phase(r, PHASE_PROVE);
}

/* `doubt`: somebody came in meanwhile, so look again whatever the file says. */
static void released(struct replicator *r, bool doubt)
{
	if (doubt)
		memset(&r->turn.released, 0, sizeof(r->turn.released));
	r->turn.audit = r->turn.known = false;
	memset(r->turn.lineage, 0, sizeof(r->turn.lineage));
	lag_caught_up(r);
	replicator_set_phase(r, PHASE_RELEASED);
}

static bool handle_event(struct replicator *r, const struct source_result *res)
{
	switch (res->event) {
	case SOURCE_OK:
		return true;
	case SOURCE_REPLACED:
		replaced(r, res->reason);
		return false;
	case SOURCE_GONE:
		replaced(r, res->reason);
		return false;
	case SOURCE_LOST:
		lost(r, res->reason);
		return false;
	case SOURCE_RELEASED:
		released(r, res->wait_us == 0);
		return false;
	}
	return false;
}

/* Tickets that this turn covers are in the open staging, in flight, or settled. Or dropped, when a
 * flight ended in an order that the next turn obeys: a later turn covers them then. */
static void note_tickets(struct replicator *r, uint64_t seq)
{
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	if (s->order != ORDER_NONE) {
		pthread_mutex_unlock(&r->lock);
		return;
	}
	if (!staging_empty(r->turn.open) || s->claim || s->whole)
		r->turn.seq = seq;
	else if (s->flight != FLIGHT_NONE)
		s->cut.seq = seq;
	else
		s->settled_seq = seq;
	s->captured_seq = seq;
	pthread_mutex_unlock(&r->lock);
}

/* Those that found nothing are no news. */
static int timed_turn(struct replicator *r, struct source_result *res, struct err *e)
{
	struct replicator_turns *turns = &r->turn.turns;
	int64_t began_us = clock_mono_us();
	int rc = source_turn(r->turn.source, res, e);
	bool failed = rc && rc != ERR_AGAIN;
	if (!res->captured && !failed)
		return rc;
	turns->n++;
	turns->failed += failed;
	turns->us += (uint64_t)(clock_mono_us() - began_us);
	return rc;
}

bool capture(struct replicator *r, struct source_result *res)
{
	struct err e = ERR_INIT;
	pthread_mutex_lock(&r->lock);
	uint64_t seq = r->shared.sync_seq;
	enum phase phase = r->shared.phase;
	bool settled = phase == PHASE_RUN && r->shared.order == ORDER_NONE &&
				   r->shared.flight == FLIGHT_NONE && !r->shared.claim && !r->shared.whole &&
				   staging_empty(r->turn.open) && !r->turn.audit && !r->turn.spooling &&
				   r->shared.spool != SPOOL_WANTED;
	pthread_mutex_unlock(&r->lock);
	source_set_settled(r->turn.source, settled);
	/* Should this turn let go: as the file was before, so that no write in between is missed. */
	if (settled && stat(r->cfg.database, &r->turn.released))
		memset(&r->turn.released, 0, sizeof(r->turn.released));
	staging_set_max(r->turn.open, r->turn.unbounded ? 0 : r->cfg.staging_max);
	memset(res, 0, sizeof(*res));
	int rc = timed_turn(r, res, &e);
	if (rc == ERR_AGAIN && staging_clean(r->turn.open) && source_attached(r->turn.source)) {
		*res = (struct source_result){.wait_us = BUSY_US, .wal_bytes = r->turn.wal_bytes};
		return true;
	}
	if (rc) {
		failed(r, rc, &e);
		return false;
	}
	r->turn.wal_bytes = res->wal_bytes;
	if (!handle_event(r, res))
		return false;
	if (res->caught_up) {
		r->turn.unproven = false;
		if (r->turn.spooling)
			spool_caught_up(r->spool);
		if (phase == PHASE_RUN) {
			note_tickets(r, seq);
			lag_caught_up(r);
		}
	}
	return true;
}
