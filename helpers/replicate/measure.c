/* Since when something is behind, and what is measured for metrics beyond the status. */
#include "replicate/internal.h"

#include "base/clock.h"

#include <string.h>

static void set_earlier(int64_t *since_ms, int64_t ms)
{
	if (!*since_ms || ms < *since_ms)
		*since_ms = ms;
}

/* ---- the lag ---- */

void lag_unsure(struct replicator *r)
{
	struct turn *t = &r->turn;
	int64_t since = clock_wall_ms();
	if (t->open && !staging_empty(t->open))
		since = t->lag_ms ? t->lag_ms : t->since_ms;
	t->lag_ms = 0;
	pthread_mutex_lock(&r->lock);
	set_earlier(&r->shared.unsure_ms, since);
	pthread_mutex_unlock(&r->lock);
}

void lag_no_database(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	r->shared.unsure_ms = clock_wall_ms();
	pthread_mutex_unlock(&r->lock);
}

void lag_caught_up(struct replicator *r)
{
	struct turn *t = &r->turn;
	pthread_mutex_lock(&r->lock);
	/* With an order to drop, what a failed flight held is missing. */
	bool all = r->shared.order == ORDER_NONE;
	int64_t since = all ? r->shared.unsure_ms : 0;
	r->shared.unsure_ms = all ? 0 : r->shared.unsure_ms;
	pthread_mutex_unlock(&r->lock);
	if (since && !staging_empty(t->open))
		set_earlier(&t->lag_ms, since);
}

int64_t lag_of_open(const struct turn *t)
{
	return staging_empty(t->open) ? 0 : t->lag_ms ? t->lag_ms : t->since_ms;
}

void lag_cut_lost(struct shared *s)
{
	if (s->cut.lag_ms)
		set_earlier(&s->unsure_ms, s->cut.lag_ms);
}

int64_t lag_since(const struct shared *s)
{
	int64_t since = s->unsure_ms;
	if (s->open_lag_ms)
		set_earlier(&since, s->open_lag_ms);
	if (s->flight != FLIGHT_NONE && s->cut.lag_ms)
		set_earlier(&since, s->cut.lag_ms);
	return health_get(&s->health, NULL) == REPLICATOR_WAITING ? 0 : since;
}

/* ---- all of it ---- */

void replicator_measure(struct replicator *r, struct replicator_measures *out)
{
	const struct trouble *why;
	memset(out, 0, sizeof(*out));
	out->kind = store_capabilities(r->store)->scheme;
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	out->source = s->counts;
	out->turns = s->turns;
	out->confirmed_ms = s->confirmed_wall_ms;
	health_get(&s->health, &why);
	out->disk_full = s->no_space && why && why->code == ERR_FULL;
	pthread_mutex_unlock(&r->lock);
	inventory_count_l0(&r->inventory, clock_wall_ms() - r->retain.l0_keep_ms, &out->l0);
}
