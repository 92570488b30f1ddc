/* What others ask a replicator: tickets of sync requests, and how it is. */
#include "replicate/internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LATE_US (INT64_C(60) * 1000000)

uint64_t replicator_sync(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	uint64_t ticket = ++r->shared.sync_seq;
	pthread_mutex_unlock(&r->lock);
	return ticket;
}

/* The code that a waiting sync ends with in a state that nothing but a person leaves. */
static int hopeless(enum replicator_state state)
{
	switch (state) {
	case REPLICATOR_FENCED:
		return ERR_FENCED;
	case REPLICATOR_DENIED:
		return ERR_DENIED;
	case REPLICATOR_REPLACED:
		return ERR_FAIL;
	case REPLICATOR_UNUSABLE:
		return ERR_DATABASE;
	case REPLICATOR_WAITING:
		return ERR_NOT_FOUND;
	case REPLICATOR_STARTING:
	case REPLICATOR_REPLICATING:
	case REPLICATOR_BEHIND:
		break;
	}
	return ERR_AGAIN;
}

/* `seq` is one of `shared`: the last ticket that got so far. */
static int reached(struct replicator *r, const uint64_t *seq, uint64_t ticket, struct err *e)
{
	const struct trouble *why;
	pthread_mutex_lock(&r->lock);
	int rc = ERR_OK;
	if (*seq < ticket && r->shared.settled_seq < ticket) {
		rc = hopeless(health_get(&r->shared.health, &why));
		err_set(e, (enum err_code)rc, "%s", why ? why->reason : "not uploaded yet");
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}

int replicator_sync_done(struct replicator *r, uint64_t ticket, struct err *e)
{
	return reached(r, &r->shared.settled_seq, ticket, e);
}

int replicator_sync_captured(struct replicator *r, uint64_t ticket, struct err *e)
{
	return reached(r, &r->shared.captured_seq, ticket, e);
}

bool replicator_unborn(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	bool unborn =
		health_get(&s->health, NULL) == REPLICATOR_WAITING && !s->had_state && s->txid == 0;
	pthread_mutex_unlock(&r->lock);
	return unborn;
}

bool replicator_drained(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	bool well = health_get(&s->health, NULL) == REPLICATOR_REPLICATING;
	bool drained = well && (s->phase == PHASE_RUN || s->phase == PHASE_RELEASED) && !s->claim &&
				   !s->whole && s->flight == FLIGHT_NONE && s->open_bytes == 0;
	pthread_mutex_unlock(&r->lock);
	return drained;
}

static void fill_pending(const struct shared *s, struct replicator_status *out)
{
	out->pending_bytes = s->open_bytes + s->flight_bytes;
	out->pending_transactions = s->open_commits + s->cut.commits;
	out->lag_since_ms = lag_since(s);
}

/* A store that takes connections and nothing else: its time-outs and repetitions together take
 * minutes, in which no call has failed yet. */
static void fill_late(const struct shared *s, struct replicator_status *out)
{
	int64_t us = s->flight == FLIGHT_NONE ? 0 : clock_mono_us() - s->flight_us;
	if (out->state != REPLICATOR_REPLICATING || us < LATE_US)
		return;
	out->state = REPLICATOR_BEHIND;
	out->late = true;
	out->code = ERR_UNREACHABLE;
	snprintf(out->reason, sizeof(out->reason),
		"an upload has been on its way for %" PRId64
		" s: the store is slow, or does not answer and is asked again",
		us / 1000000);
}

static void fill_replica(struct replicator *r, struct replicator_status *out)
{
	struct inventory_totals t;
	inventory_get_totals(&r->inventory, &t);
	out->earliest_txid = t.earliest_txid;
	out->earliest_ms = t.earliest_ms;
	out->latest_txid = t.latest_txid;
	out->latest_ms = t.latest_ms;
	out->snapshot_ms = t.snapshot_ms;
	out->replica_files = t.files;
	out->replica_bytes = t.bytes;
	int64_t max_ms = t.latest_txid > t.snapshot_txid ? r->levels.snapshot_max_ms : 0;
	if (r->levels.renew_ms && (!max_ms || r->levels.renew_ms < max_ms))
		max_ms = r->levels.renew_ms;
	out->next_snapshot_ms = t.snapshot_made_ms && max_ms ? t.snapshot_made_ms + max_ms : 0;
}

void replicator_get_status(struct replicator *r, struct replicator_status *out)
{
	const struct trouble *why;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	out->state = health_get(&s->health, &why);
	if (why) {
		out->code = why->code;
		copy_text(out->reason, sizeof(out->reason), why->reason);
	}
	copy_text(out->last_error, sizeof(out->last_error), s->health.last_error);
	out->last_error_ms = s->health.last_error_ms;
	out->txid = s->txid;
	out->last_upload_ms = s->last_upload_ms;
	out->wal_bytes = s->wal_bytes;
	out->db_bytes = s->db_bytes;
	out->weak_fencing = s->weak;
	out->uploads = s->uploads;
	fill_pending(s, out);
	fill_late(s, out);
	copy_text(out->upkeep_error, sizeof(out->upkeep_error), s->upkeep_error);
	out->upkeep_error_ms = s->upkeep_error[0] ? s->upkeep_error_ms : 0;
	pthread_mutex_unlock(&r->lock);
	fill_replica(r, out);
	store_get_counts(r->store, &out->requests);
}

const char *replicator_database(const struct replicator *r)
{
	return r->cfg.database;
}
