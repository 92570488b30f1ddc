#include "replicate/replicator.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "conf/inplace.h"
#include "replicate/compact.h"
#include "replicate/internal.h"
#include "replicate/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SYNC_INTERVAL_MS 1000
#define STAGING_MAX (UINT64_C(256) << 20)
#define RENEW_MS (INT64_C(24) * 3600 * 1000)
#define MISSING_US (INT64_C(5) * 1000000)

enum phase replicator_phase(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	enum phase phase = r->shared.phase;
	pthread_mutex_unlock(&r->lock);
	return phase;
}

void replicator_set_phase(struct replicator *r, enum phase phase)
{
	pthread_mutex_lock(&r->lock);
	r->shared.phase = phase;
	if (phase == PHASE_RUN && !r->shared.claim && !r->shared.whole) {
		health_claimed(&r->shared.health, r->cfg.database);
		upkeep_ready(&r->shared, r->levels.renew_ms);
	}
	pthread_mutex_unlock(&r->lock);
}

enum flight replicator_flight(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	enum flight flight = r->shared.flight;
	pthread_mutex_unlock(&r->lock);
	return flight;
}

void replicator_trouble(
	struct replicator *r, enum health_side side, enum replicator_state state, const struct err *why)
{
	pthread_mutex_lock(&r->lock);
	/* Fenced is for good: an upload that was on its way while the upkeep found it out ends later.
	 */
	if (r->shared.health.side[side].state != REPLICATOR_FENCED)
		health_set(&r->shared.health, r->cfg.database, side, state, why);
	pthread_mutex_unlock(&r->lock);
}

/* ---- opening and closing ---- */

static int copy_string(const char **to, const char *from, struct err *e)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? err_nomem(e, "opening a replicator") : ERR_OK;
}

static int copy_config(struct replicator *r, const struct replicator_config *cfg, struct err *e)
{
	r->cfg = *cfg;
	struct replicator_config *c = &r->cfg;
	c->database = c->replica = c->state_dir = NULL;
	c->app = c->storage_name = c->container_path = NULL;
	memset(&c->store, 0, sizeof(c->store)); /* the store has copied what it needs */
	int rc = copy_string(&c->database, cfg->database, e);
	if (!rc)
		rc = copy_string(&c->replica, cfg->replica, e);
	if (!rc)
		rc = copy_string(&c->app, cfg->app, e);
	if (!rc)
		rc = copy_string(&c->storage_name, cfg->storage_name, e);
	if (!rc)
		rc = copy_string(&c->container_path, cfg->container_path, e);
	if (!rc) {
		c->state_dir = cfg->state_dir ? strdup(cfg->state_dir) : state_default_dir(cfg->database);
		rc = c->state_dir ? ERR_OK : err_nomem(e, "opening a replicator");
	}
	if (c->sync_interval_ms <= 0)
		c->sync_interval_ms = SYNC_INTERVAL_MS;
	if (!c->staging_max)
		c->staging_max = STAGING_MAX;
	return rc;
}

/* A window that is no longer than the one before it promises nothing. */
static void add_step(struct retain_policy *p, int64_t window_ms, int64_t step_ms)
{
	if (p->n_steps && window_ms <= p->steps[p->n_steps - 1].window_ms)
		return;
	p->steps[p->n_steps].window_ms = window_ms;
	p->steps[p->n_steps++].step_ms = step_ms;
}

static int make_policies(struct replicator *r, struct err *e)
{
	const struct replicator_config *c = &r->cfg;
	const int64_t windows[RETAIN_STEPS_MAX] = {
		c->l0_retention_ms, c->l1_retention_ms, c->l2_retention_ms, c->l3_retention_ms};
	struct retain_policy standard;
	retain_policy_init(&standard);
	r->retain = standard;
	r->retain.n_steps = 0;
	for (int i = 0; i < standard.n_steps; i++)
		add_step(&r->retain, windows[i] ? windows[i] : standard.steps[i].window_ms,
			standard.steps[i].step_ms);
	levels_policy_init(&r->levels);
	r->levels.max_inputs = COMPACT_MAX_INPUTS;
	if (c->snapshot_interval_ms)
		r->levels.snapshot_max_ms = c->snapshot_interval_ms;
	if (c->no_retention)
		r->levels.renew_ms = c->snapshot_renew_ms ? c->snapshot_renew_ms : RENEW_MS;
	int rc = retain_policy_check(&r->retain, e);
	return rc ? rc : levels_policy_check(&r->levels, e);
}

static int make_stagings(struct replicator *r, struct err *e)
{
	for (int i = 0; i < 2; i++) {
		char *path = fs_join(r->cfg.state_dir, i ? "staging-b" : "staging-a");
		int rc = path ? staging_new(&r->stagings[i], path, e) : err_nomem(e, "making a staging");
		free(path);
		if (rc)
			return rc;
	}
	r->turn.open = r->stagings[0];
	char *path = fs_join(r->cfg.state_dir, "staging-spool");
	int rc = path ? spool_new(&r->spool, path, e) : err_nomem(e, "making a spool");
	free(path);
	return rc;
}

void close_state(struct replicator *r)
{
	state_dir_close(r->dir);
	r->dir = NULL;
}

int open_state(struct replicator *r, struct err *e)
{
	int rc = state_dir_open(&r->dir, r->cfg.state_dir, e);
	if (!rc) /* what a restore that was interrupted left, and that left no state */
		rc = inplace_recover(r->cfg.database, false, e);
	if (!rc)
		state_dir_rest(r->dir);
	else
		close_state(r);
	return rc;
}

int replicator_open(struct replicator **out, const struct replicator_config *cfg, struct err *e)
{
	struct replicator *r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(e, "opening a replicator");
	pthread_mutex_init(&r->lock, NULL);
	health_init(&r->shared.health);
	inventory_init(&r->inventory);
	r->upkeep.seen_wall_ms = clock_wall_ms();
	r->upkeep.seen_boot_ms = clock_boot_ms();
	pagesums_init(&r->table, 0);
	pagesums_init(&r->turn.proof, 0);
	int rc =
		cfg->database[0] == '/'
			? copy_config(r, cfg, e)
			: err_set(e, ERR_USAGE, "the path of the database must be absolute: %s", cfg->database);
	if (!rc)
		rc = make_policies(r, e);
	if (!rc)
		rc = store_open(&r->store, cfg->replica, &cfg->store, e);
	if (!rc)
		rc = open_state(r, e);
	if (!rc)
		rc = make_stagings(r, e);
	if (!rc) {
		r->work.folder = fs_join(r->cfg.state_dir, "ltx/0");
		rc = r->work.folder ? ERR_OK : err_nomem(e, "opening a replicator");
	}
	if (rc) {
		replicator_close(r);
		return rc;
	}
	r->shared.had_state = state_exists(r->dir);
	r->shared.accept = cfg->accept;
	r->shared.seen_dev = cfg->seen_dev;
	r->shared.seen_ino = cfg->seen_ino;
	r->shared.unsure_ms = clock_wall_ms();
	*out = r;
	return ERR_OK;
}

static void free_config(struct replicator_config *c)
{
	free((char *)c->database);
	free((char *)c->replica);
	free((char *)c->state_dir);
	free((char *)c->app);
	free((char *)c->storage_name);
	free((char *)c->container_path);
}

/* A clean stop spares the next start the folding of what was uploaded since the last save. */
static void save_on_stop(struct replicator *r)
{
	const struct work *w = &r->work;
	struct err e = ERR_INIT;
	if (!r->dir || !w->adopted || r->shared.flight != FLIGHT_NONE || r->table.txid == 0 ||
		r->table.txid != w->state.txid)
		return;
	if (r->table.txid != w->table_saved_txid && table_save(&r->table, r->cfg.state_dir, &e))
		log_warn("%s: %s", r->cfg.database, e.text);
	if (state_save(r->dir, &r->work.state, &e))
		log_warn("%s: %s", r->cfg.database, e.text);
}

void save_state(struct replicator *r)
{
	save_on_stop(r);
	if (r->dir && r->work.adopted)
		keep_inventory(r, true);
}

/* Everything is shipped: leave the database as an app's last close would. */
static void leave_source(struct replicator *r)
{
	const struct shared *s = &r->shared;
	if (!r->turn.source || s->phase != PHASE_RUN)
		return;
	bool settled =
		s->flight == FLIGHT_NONE && !s->claim && !s->whole && staging_empty(r->turn.open);
	source_set_settled(r->turn.source, settled);
	source_leave(r->turn.source);
}

void replicator_close(struct replicator *r)
{
	if (!r)
		return;
	leave_source(r);
	save_state(r);
	source_close(r->turn.source);
	for (int i = 0; i < 2; i++)
		staging_free(r->stagings[i]);
	spool_release(r);
	spool_free(r->spool);
	pagesums_free(&r->table);
	pagesums_free(&r->turn.proof);
	inventory_free(&r->inventory);
	free(r->upkeep.apart);
	close_state(r);
	store_close(r->store);
	free(r->work.folder);
	free_config(&r->cfg);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* ---- the turn ---- */

static void obey_order(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	enum order order = r->shared.order;
	int64_t delay = r->shared.order_delay_us;
	r->shared.order = ORDER_NONE;
	pthread_mutex_unlock(&r->lock);
	if (order == ORDER_NONE)
		return;
	if (order == ORDER_DROP)
		note_lineage(r);
	spool_give_up(r, "what was captured was dropped");
	detach_and_drop(r, delay);
	if (order == ORDER_STOP)
		replicator_set_phase(r, PHASE_STOPPED);
}

/* Before anything is asked of the store: is there a database at all? */
static int64_t wait_for_file(struct replicator *r, bool *work)
{
	struct stat st;
	struct err e = ERR_INIT;
	if (!capture_open(r, &e) && !stat(r->cfg.database, &st)) {
		replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_REPLICATING, NULL);
		*work = !r->turn.listing; /* once: after that the work has its own timer */
		r->turn.listing = true;
		return INT64_MAX;
	}
	r->turn.listing = false;
	if (e.code) {
		replicator_trouble(
			r, HEALTH_SOURCE, e.code == ERR_DATABASE ? REPLICATOR_UNUSABLE : REPLICATOR_BEHIND, &e);
		return MISSING_US;
	}
	err_set(&e, ERR_NOT_FOUND, "there is no database at %s yet", r->cfg.database);
	lag_no_database(r);
	replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_WAITING, &e);
	return go_away(r);
}

/* This turn has let the database go. Who had asked before it is answered by the next one, which
 * sees that nobody came in meanwhile. */
static int64_t after_letting_go(struct replicator *r, int64_t wait_us)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	bool asked = s->sync_seq > s->settled_seq || s->spool == SPOOL_WANTED || s->claim;
	pthread_mutex_unlock(&r->lock);
	return asked ? 0 : wait_us;
}

static int64_t run_turn(struct replicator *r, bool *work)
{
	struct source_result res;
	if (!capture(r, &res))
		return replicator_phase(r) == PHASE_RELEASED ? after_letting_go(r, res.wait_us) : 0;
	int64_t wait = res.wait_us, due = cut_when_due(r, res.caught_up, work);
	if (replicator_phase(r) != PHASE_RUN)
		return due;
	if (due < wait)
		wait = due;
	audit_when_due(r);
	if (r->turn.audit && !*work) {
		due = audit_slice(r, res.caught_up);
		wait = due < wait ? due : wait;
	}
	if (replicator_phase(r) == PHASE_RUN) {
		due = spool_turn(r, res.caught_up, !*work);
		wait = due < wait ? due : wait;
	}
	return wait;
}

static void note_turn(struct replicator *r)
{
	struct turn *t = &r->turn;
	bool attached = t->source && source_attached(t->source);
	if (staging_empty(t->open))
		t->commits = 0;
	pthread_mutex_lock(&r->lock);
	r->shared.open_bytes = staging_bytes(t->open);
	r->shared.open_commits = t->commits;
	r->shared.wal_bytes = t->wal_bytes;
	r->shared.open_lag_ms = lag_of_open(t);
	r->shared.turns = t->turns;
	if (t->source)
		source_get_counts(t->source, &r->shared.counts);
	if (attached)
		r->shared.db_bytes = (uint64_t)source_n_page(t->source) * source_page_size(t->source);
	pthread_mutex_unlock(&r->lock);
}

static int64_t turn_by_phase(struct replicator *r, bool *work)
{
	if (r->shared.away) /* which only the turn changes */
		return away_turn(r);
	switch (replicator_phase(r)) {
	case PHASE_LIST:
		return wait_for_file(r, work);
	case PHASE_ATTACH:
		return attach_turn(r);
	case PHASE_PROVE:
		return prove_turn(r);
	case PHASE_SCAN:
		return scan_turn(r);
	case PHASE_RUN:
		return run_turn(r, work);
	case PHASE_RELEASED:
		return released_turn(r);
	case PHASE_STOPPED:
		return INT64_MAX;
	}
	return INT64_MAX;
}

void replicator_turn(struct replicator *r, int64_t *wait_us, bool *work)
{
	*work = false;
	obey_order(r);
	*wait_us = turn_by_phase(r, work);
	note_turn(r);
	pthread_mutex_lock(&r->lock);
	if (r->shared.mark)
		*work = true;
	pthread_mutex_unlock(&r->lock);
}

/* ---- the work ---- */

/* Why we stopped outlives a restart. */
static void journal_stop(struct replicator *r)
{
	struct state *s = &r->work.state;
	struct err e = ERR_INIT;
	const struct trouble *why;
	pthread_mutex_lock(&r->lock);
	bool mark = r->shared.mark;
	r->shared.mark = false;
	enum replicator_state state = health_get(&r->shared.health, &why);
	if (mark && why)
		copy_text(s->reason, sizeof(s->reason), why->reason);
	pthread_mutex_unlock(&r->lock);
	if (!mark || !r->work.loaded)
		return;
	copy_text(s->stopped, sizeof(s->stopped), replicator_state_name(state));
	if (!s->replica[0]) {
		copy_text(s->replica, sizeof(s->replica), store_url(r->store));
		copy_text(s->database, sizeof(s->database), r->cfg.database);
	}
	if (r->work.copied) /* saving would make the copy an original */
		return;
	if (state_save(r->dir, s, &e))
		log_warn("%s: %s", r->cfg.database, e.text);
}

/* A connection that nobody uses any more costs its memory here and a place at the server. */
static void tidy(struct replicator *r, int64_t *wait_us)
{
	int64_t ms = store_tidy(r->store);
	if (ms >= 0 && *wait_us > (ms + 1) * 1000)
		*wait_us = (ms + 1) * 1000;
}

static void work(struct replicator *r, int64_t *wait_us)
{
	struct work *w = &r->work;
	journal_stop(r);
	make_room(r);
	int64_t early = w->retry_us ? w->retry_us - clock_mono_us() : 0;
	if (early <= 0) {
		w->retry_us = 0;
		if (replicator_phase(r) == PHASE_LIST)
			begin(r);
		if (!w->retry_us)
			upload(r);
		if (!w->retry_us)
			keep(r);
		journal_stop(r);
		early = w->retry_us ? w->retry_us - clock_mono_us() : 0;
	}
	if (w->retry_us)
		*wait_us = early > 0 ? early : 0;
}

void replicator_work(struct replicator *r, int64_t *wait_us)
{
	*wait_us = INT64_MAX;
	if (atomic_load(&r->cancelled))
		return;
	if (replicator_enter(r)) {
		work(r, wait_us);
		replicator_leave(r);
	}
	tidy(r, wait_us);
}

void replicator_cancel(struct replicator *r)
{
	atomic_store(&r->cancelled, true);
	store_cancel(r->store);
}
