/*
 * While there is no database file nothing is held.
 *
 * A file that is renamed away, deleted, or not made yet: whoever brings it back while this process
 * runs (litestream restore, or a tool that a person likes) must be able to leave in the state
 * folder what goes with the file. So the folder is unlocked. When there is a file again it is
 * locked again and read anew, and everything begins as a process's first start does: what a restore
 * left there is gone on from, another file is "replaced", the same one is compared and goes on.
 *
 * The turn does it, when it alone is at work: no work and no upkeep runs, and none begins
 * (replicator_enter). A restore puts the file in place while it has the folder locked, so that the
 * lock is ours only when all of it is there.
 */
#include "replicate/internal.h"

#include "base/clock.h"

#include <string.h>
#include <sys/stat.h>

#define LOOK_US (INT64_C(5) * 1000000) /* an event comes sooner */
#define BUSY_US INT64_C(100000)
#define BUSY_MAX_US (INT64_C(2) * 1000000)

bool replicator_enter(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	bool may = !r->shared.away;
	r->shared.busy += may;
	pthread_mutex_unlock(&r->lock);
	return may;
}

void replicator_leave(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	r->shared.busy--;
	pthread_mutex_unlock(&r->lock);
}

/* The next of growing pauses: somebody else is at it. */
static int64_t pause_us(struct turn *t)
{
	t->away_us = t->away_us ? t->away_us * 2 : BUSY_US;
	t->away_us = t->away_us > BUSY_MAX_US ? BUSY_MAX_US : t->away_us;
	return t->away_us;
}

int64_t go_away(struct replicator *r)
{
	struct shared *s = &r->shared;
	pthread_mutex_lock(&r->lock);
	bool copying = s->spool == SPOOL_COPYING || s->spool == SPOOL_CUT || s->spool == SPOOL_READY;
	s->away = s->busy == 0 && s->flight == FLIGHT_NONE && !s->mark && !copying;
	pthread_mutex_unlock(&r->lock);
	if (!s->away)
		return pause_us(&r->turn);
	r->turn.away_us = 0;
	save_state(r);
	close_state(r);
	return LOOK_US;
}

/* What the state folder said before may not be so any more. */
static void forget(struct replicator *r)
{
	struct shared *s = &r->shared;
	struct work *w = &r->work;
	struct turn *t = &r->turn;
	/* A person's word that was obeyed once. */
	r->cfg.takeover = r->cfg.takeover && !w->adopted;
	*w = (struct work){.folder = w->folder, .legacy_told = w->legacy_told};
	memset(&r->making, 0, sizeof(r->making));
	r->upkeep.saved_changes = 0;
	spool_release(r);
	pagesums_free(&r->table);
	pagesums_init(&r->table, 0);
	t->listing = t->audited = t->known = false;
	t->not_before_us = t->delay_us = 0;
	memset(t->lineage, 0, sizeof(t->lineage));
	pthread_mutex_lock(&r->lock);
	s->phase = PHASE_LIST;
	s->spool = SPOOL_NONE;
	s->claim = s->whole = s->prove = s->judge = s->proven = s->renewing = false;
	memset(&s->settled_pos, 0, sizeof(s->settled_pos));
	memset(s->lineage, 0, sizeof(s->lineage));
	s->dev = s->ino = s->txid = s->base_txid = s->merged_txid = s->txid_checksum = 0;
	s->txid_ms = 0;
	s->page_size = s->n_page = 0;
	s->health.claimed = false;
	s->had_state = state_exists(r->dir);
	pthread_mutex_unlock(&r->lock);
}

int64_t away_turn(struct replicator *r)
{
	struct stat st;
	struct err e = ERR_INIT;
	if (stat(r->cfg.database, &st)) {
		lag_no_database(r);
		r->turn.away_us = 0;
		err_set(&e, ERR_NOT_FOUND, "there is no database at %s", r->cfg.database);
		replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_WAITING, &e);
		return LOOK_US;
	}
	int rc = open_state(r, &e);
	int64_t pause = rc == ERR_AGAIN ? pause_us(&r->turn) : LOOK_US;
	/* A restore is done in a moment; another replicator is not. */
	if (rc && pause >= BUSY_MAX_US)
		replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_BEHIND, &e);
	if (rc)
		return pause;
	forget(r);
	r->turn.away_us = 0;
	pthread_mutex_lock(&r->lock);
	r->shared.away = false;
	pthread_mutex_unlock(&r->lock);
	return 0;
}
