/*
 * The copy of the database for a snapshot, beside everything else that a turn does (rules S1 to S4:
 * spool.h).
 *
 *   wanted → copying   a slice in a turn, with pauses, and turns between two slices, so that the
 * pin moves on as if there were no copy copying → cut      once it is whole, with the next cut; the
 * work says which TXID that became copying → ready    or at once, when nothing is staged and
 * nothing in flight: then it is the last settled state
 *
 * Nothing that goes wrong with a copy is an error of the turn: it is dropped, and upkeep asks again
 * some time.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SLICE_BYTES (UINT32_C(1) << 20)
#define PAUSE_US INT64_C(20000) /* between two slices: 50 MB/s at most */
#define PAUSE_MAX_US INT64_C(2000000)
/* Pauses of so many times what a slice took: a slow disk is the app's too. */
#define PAUSE_SHARE 9

#define PROCESS_BYTES (UINT64_C(128) << 20)

/* All copies of a process take so much disk, or one of them alone takes what it needs. */
static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t process_bytes;

bool spool_reserve(struct replicator *r, uint64_t bytes)
{
	pthread_mutex_lock(&process_lock);
	bool can =
		process_bytes == 0 || (bytes <= PROCESS_BYTES && process_bytes <= PROCESS_BYTES - bytes);
	if (can) {
		r->reserved = bytes + 1; /* so that it counts even when it is nothing */
		process_bytes += r->reserved;
	}
	pthread_mutex_unlock(&process_lock);
	return can;
}

void spool_release(struct replicator *r)
{
	pthread_mutex_lock(&process_lock);
	process_bytes -= r->reserved;
	r->reserved = 0;
	pthread_mutex_unlock(&process_lock);
}

/* ---- the end ---- */

/* Dropped: by the turn, whose it is. */
static void fail(struct replicator *r, int code, const char *why)
{
	r->turn.spooling = false;
	spool_drop(r->spool);
	spool_release(r);
	log_debug("%s: the copy for a snapshot was dropped: %s", r->cfg.database, why);
	pthread_mutex_lock(&r->lock);
	r->shared.spool = SPOOL_FAILED;
	r->shared.spool_code = code;
	copy_text(r->shared.spool_why, sizeof(r->shared.spool_why), why);
	r->shared.upkeep_wanted = true;
	pthread_mutex_unlock(&r->lock);
}

void spool_lost(struct replicator *r, const char *why)
{
	if (r->turn.spooling)
		fail(r, ERR_OK, why);
}

void spool_give_up(struct replicator *r, const char *why)
{
	pthread_mutex_lock(&r->lock);
	bool cut = r->shared.spool == SPOOL_CUT;
	if (cut)
		r->shared.spool = SPOOL_COPYING;
	pthread_mutex_unlock(&r->lock);
	if (cut || r->turn.spooling)
		fail(r, ERR_OK, why);
}

bool spool_ends(struct replicator *r)
{
	struct err e = ERR_INIT;
	if (!r->turn.spooling || !spool_is_whole(r->spool))
		return false;
	int rc = spool_end(r->spool, r->turn.point.n_page, &e);
	if (rc) {
		fail(r, rc, e.text);
		return false;
	}
	r->turn.spooling = false;
	return true;
}

void spool_ready(struct shared *s)
{
	s->spool = SPOOL_READY;
	s->spool_of = (struct ltx_header){
		.page_size = s->page_size,
		.commit = s->n_page,
		.max_txid = s->txid,
		.timestamp = s->txid_ms,
		.node_id = s->node_id,
		.after_checksum = s->txid_checksum,
	};
	s->upkeep_wanted = true;
}

/* Nothing is staged and nothing in flight: the database is the last settled state. */
static void end_when_settled(struct replicator *r)
{
	struct turn *t = &r->turn;
	source_get_point(t->source, &t->point);
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	bool settled = s->flight == FLIGHT_NONE && s->order == ORDER_NONE && !s->claim && !s->whole &&
				   s->txid_checksum && staging_empty(t->open);
	bool same = s->n_page == t->point.n_page && s->page_size == source_page_size(t->source);
	pthread_mutex_unlock(&r->lock);
	if (!settled)
		return;
	if (!same) {
		fail(r, ERR_FAIL, "the database has another size than the state that was settled last");
		return;
	}
	if (!spool_ends(r))
		return;
	pthread_mutex_lock(&r->lock);
	spool_ready(s); /* only a cut changes what is settled, and only the turn cuts */
	pthread_mutex_unlock(&r->lock);
}

/* ---- copying ---- */

void spool_staged(struct replicator *r, uint32_t pgno, const void *page, bool image)
{
	struct err e = ERR_INIT;
	int rc = r->turn.spooling ? spool_put(r->spool, pgno, page, image, &e) : ERR_OK;
	if (rc)
		fail(r, rc, e.text);
}

/* A first or second upload of everything is under way, or an audit reads all pages: later. */
static bool can_begin(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	bool can = s->spool == SPOOL_WANTED && !s->claim && !s->whole && !r->turn.audit;
	pthread_mutex_unlock(&r->lock);
	return can;
}

static void begin_copy(struct replicator *r)
{
	struct err e = ERR_INIT;
	pthread_mutex_lock(&r->lock);
	r->turn.spooling = r->shared.spool == SPOOL_WANTED; /* upkeep may have thought better of it */
	if (r->turn.spooling)
		r->shared.spool = SPOOL_COPYING;
	pthread_mutex_unlock(&r->lock);
	r->turn.spool_us = 0;
	int rc =
		r->turn.spooling ? spool_begin(r->spool, source_page_size(r->turn.source), &e) : ERR_OK;
	if (rc)
		fail(r, rc, e.text);
}

static int copy_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	return spool_copy(((struct replicator *)ctx)->spool, pgno, page, e);
}

static void copy_slice(struct replicator *r)
{
	struct err e = ERR_INIT;
	uint32_t count = SLICE_BYTES / source_page_size(r->turn.source), n_page = 0;
	int rc = source_scan(r->turn.source, spool_next(r->spool), count, copy_page, r, &n_page, &e);
	if (rc == ERR_AGAIN)
		return;
	if (rc) {
		fail(r, rc, e.text);
		return;
	}
	spool_copied(r->spool, count, n_page);
}

static int64_t pause_after(int64_t took_us)
{
	int64_t pause = took_us * PAUSE_SHARE;
	return pause < PAUSE_US ? PAUSE_US : pause > PAUSE_MAX_US ? PAUSE_MAX_US : pause;
}

int64_t spool_turn(struct replicator *r, bool caught_up, bool idle)
{
	struct turn *t = &r->turn;
	if (!t->spooling) {
		pthread_mutex_lock(&r->lock);
		bool wanted = r->shared.spool == SPOOL_WANTED;
		pthread_mutex_unlock(&r->lock);
		if (!wanted)
			return INT64_MAX;
		if (can_begin(r))
			begin_copy(r);
		if (!t->spooling)
			return PAUSE_US;
	}
	if (spool_next(r->spool) == 0) {
		if (caught_up)
			end_when_settled(r);
		return INT64_MAX; /* a cut ends it */
	}
	int64_t now = clock_mono_us();
	if (now < t->spool_us)
		return t->spool_us - now;
	if (!idle)
		return PAUSE_US;
	copy_slice(r);
	int64_t took = clock_mono_us() - now, pause = pause_after(took);
	t->spool_us = now + took + pause;
	return pause;
}
