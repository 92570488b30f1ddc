/*
 * The cut: when what is staged is handed over for upload.
 *
 * The first change after a quiet time goes at once; then at most one cut per sync interval, and
 * none while another one is in flight (F1: n+1 waits for n). A sync request cuts as soon as the
 * source caught up.
 *
 * Pages that no frame holds are filled in here, under the pin: those by which the database grew
 * without writing them (SQLite does not write free pages), and page 1 for a claim. They are read
 * from an image that may be younger than the last point, so the cut then waits for a turn that has
 * caught up.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "format/ltx.h"

#include <inttypes.h>
#include <string.h>

#define FILL_PAGES 256
#define SOON_US INT64_C(1000)

static int fill_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct replicator *r = ctx;
	if (staging_has(r->turn.open, pgno))
		return ERR_OK;
	r->turn.unproven = true;
	return stage(r, pgno, page, STAGING_IMAGE, e);
}

static int fill(struct replicator *r, uint32_t first, uint32_t count, struct err *e)
{
	uint32_t n_page;
	staging_set_max(r->turn.open, 0);
	int rc = source_scan(r->turn.source, first, count, fill_page, r, &n_page, e);
	return rc ? rc : staging_commit(r->turn.open, &r->turn.point, e);
}

/* The first page that must be in the cut and is not; 0 = none. */
static uint32_t first_missing(const struct replicator *r)
{
	const struct source_point *p = &r->turn.point;
	uint32_t lock_page = ltx_lock_page(source_page_size(r->turn.source));
	uint32_t old = p->min_n_page < r->table.n_page ? p->min_n_page : r->table.n_page;
	for (uint32_t pgno = old + 1; pgno && pgno <= p->n_page; pgno++)
		if (pgno != lock_page && !staging_has(r->turn.open, pgno))
			return pgno;
	return 0;
}

/* Stages what is missing. *filled: a caught-up turn is needed before the cut. */
static int fill_missing(struct replicator *r, bool claim, bool *filled, struct err *e)
{
	int rc = ERR_OK;
	*filled = false;
	if (claim && !staging_has(r->turn.open, 1)) {
		rc = fill(r, 1, 1, e);
		*filled = true;
	}
	uint32_t pgno = rc ? 0 : first_missing(r);
	while (!rc && pgno) {
		*filled = true;
		rc = fill(r, pgno, FILL_PAGES, e);
		uint32_t next = rc ? 0 : first_missing(r);
		if (next == pgno) /* the database shrank meanwhile: the next turn tells */
			break;
		pgno = next;
	}
	return rc;
}

static void seal(struct replicator *r, bool whole, uint64_t dev, uint64_t ino)
{
	struct turn *t = &r->turn;
	source_get_point(t->source, &t->point);
	if (t->audit && staging_images(t->open))
		log_info("%s: the audit ships %" PRIu32 " pages that no frame told of", r->cfg.database,
			staging_images(t->open));
	bool spooled = spool_ends(r);
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	if (spooled)
		s->spool = SPOOL_CUT;
	s->cut = (struct cut){
		.pages = t->open,
		.point = t->point,
		.dev = dev,
		.ino = ino,
		.whole = whole,
		.seq = t->seq,
		.commits = t->commits,
		.lag_ms = lag_of_open(t),
	};
	s->flight_bytes = staging_bytes(t->open);
	s->flight = FLIGHT_SEALED;
	s->flight_us = clock_mono_us();
	pthread_mutex_unlock(&r->lock);
	t->open = t->open == r->stagings[0] ? r->stagings[1] : r->stagings[0];
	staging_reset(t->open, source_page_size(t->source), t->point.n_page);
	source_point_taken(t->source);
	t->last_cut_us = clock_mono_us();
	t->since_ms = t->lag_ms = 0;
	t->commits = 0;
	t->unbounded = false;
	t->delay_us = 0;
}

/* What stands at the path now is what was captured: a turn has just compared them. */
static bool identify(const struct replicator *r, struct stat *st)
{
	return stat(r->cfg.database, st) == 0;
}

static int64_t cut_now(struct replicator *r, bool claim, bool whole, bool caught_up, bool *work)
{
	struct err e = ERR_INIT;
	bool filled = false;
	struct stat st;
	int rc = fill_missing(r, claim, &filled, &e);
	if (rc) {
		detach_and_drop(r, -1);
		replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_BEHIND, &e);
		return r->turn.delay_us;
	}
	if (filled)
		return 0;
	if (r->turn.unproven && !caught_up)
		return SOON_US;
	if (staging_empty(r->turn.open) || r->turn.point.n_page == 0 || !identify(r, &st))
		return INT64_MAX;
	seal(r, whole, st.st_dev, st.st_ino);
	*work = true;
	return INT64_MAX;
}

int64_t cut_when_due(struct replicator *r, bool caught_up, bool *work)
{
	struct turn *t = &r->turn;
	pthread_mutex_lock(&r->lock);
	bool claim = r->shared.claim, whole = r->shared.whole;
	/* With an order to drop, what a failed flight held is missing: nothing may be cut on top. */
	bool free = r->shared.flight == FLIGHT_NONE && r->shared.order == ORDER_NONE;
	bool asked = r->shared.sync_seq > r->shared.settled_seq;
	pthread_mutex_unlock(&r->lock);
	bool something = !staging_empty(t->open) || claim || whole;
	if (caught_up && !something)
		t->delay_us = 0;
	if (!something || !free || !t->have_point)
		return INT64_MAX;
	if (!staging_clean(t->open))
		return 0;
	int64_t due = t->last_cut_us + r->cfg.sync_interval_ms * 1000 - clock_mono_us();
	/* A long interval is no reason to run into the bound, and to compare all pages for it. */
	bool large = staging_bytes(t->open) >= r->cfg.staging_max / 2;
	if (due > 0 && t->last_cut_us && !large && !(asked && caught_up))
		return asked && due > SOON_US ? SOON_US : due;
	return cut_now(r, claim, whole, caught_up, work);
}
