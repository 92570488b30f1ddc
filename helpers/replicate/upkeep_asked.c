/*
 * What a person asks the upkeep for: a snapshot now, a look at what may be deleted now, or to do
 * what is due before we end. The rules are the same as ever (F4, F5, and what retention promises);
 * only "is it due?" is answered by the person.
 */
#include "replicate/upkeep.h"

#include "base/log.h"

#include <string.h>

#define AGAIN_US (INT64_C(200) * 1000)

void replicator_ask(struct replicator *r, unsigned what)
{
	if ((what & REPLICATOR_RETAIN) && r->cfg.no_retention)
		log_warn("%s: retention is off, so nothing is deleted", r->cfg.database);
	if (r->cfg.no_retention)
		what &= ~(unsigned)REPLICATOR_RETAIN;
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	s->asked |= what;
	s->asked_txid = s->txid;
	s->asked_code = ERR_OK;
	s->upkeep_not_before_us = 0;
	s->upkeep_wanted = s->upkeep_wanted || what;
	pthread_mutex_unlock(&r->lock);
}

int replicator_asked(struct replicator *r, struct err *e)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	int rc = s->asked_code;
	if (rc)
		err_set(e, (enum err_code)rc, "%s", s->asked_why);
	else if (s->asked)
		rc = err_set(e, ERR_AGAIN, "the upkeep is not done yet");
	pthread_mutex_unlock(&r->lock);
	return rc;
}

static unsigned asked(struct replicator *r, uint64_t *txid)
{
	pthread_mutex_lock(&r->lock);
	unsigned what = r->shared.asked;
	*txid = r->shared.asked_txid;
	pthread_mutex_unlock(&r->lock);
	return what;
}

void upkeep_done(struct replicator *r, unsigned what)
{
	pthread_mutex_lock(&r->lock);
	r->shared.asked &= ~what;
	pthread_mutex_unlock(&r->lock);
}

bool upkeep_snapshot_asked(struct replicator *r, const struct replica_file *files, size_t n)
{
	uint64_t txid;
	if (!(asked(r, &txid) & REPLICATOR_SNAPSHOT))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (files[i].level == LTX_LEVELS - 1 && files[i].max_txid >= txid) {
			upkeep_done(r, REPLICATOR_SNAPSHOT);
			return false;
		}
	}
	return true;
}

/* The snapshot that was asked for comes first: it may be what makes others needless. */
bool upkeep_retain_asked(struct replicator *r)
{
	uint64_t txid;
	unsigned what = asked(r, &txid);
	return (what & REPLICATOR_RETAIN) && !(what & REPLICATOR_SNAPSHOT);
}

static void fail(struct replicator *r, int code, const char *why)
{
	pthread_mutex_lock(&r->lock);
	r->shared.asked = 0;
	r->shared.asked_code = code;
	copy_text(r->shared.asked_why, sizeof(r->shared.asked_why), why);
	pthread_mutex_unlock(&r->lock);
}

/* Is a snapshot in the making, which needs more than one run? */
static bool is_making(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	bool making = r->shared.spool != SPOOL_NONE;
	pthread_mutex_unlock(&r->lock);
	return making || r->making.file.txid;
}

void upkeep_answer(struct replicator *r, int rc, const struct err *e, int64_t *wait_us)
{
	uint64_t txid;
	bool later = rc == ERR_AGAIN || rc == ERR_CANCELLED;
	/* Who doesn't want anything special only waits for the end of what was due. */
	if (!later && (rc || !is_making(r)))
		upkeep_done(r, REPLICATOR_TIDY);
	unsigned what = asked(r, &txid) & ~(unsigned)REPLICATOR_TIDY;
	if (what && rc && !later)
		fail(r, rc, e->text);
	else if ((what & REPLICATOR_SNAPSHOT) && r->making.fault[0])
		fail(r, r->making.code ? r->making.code : ERR_FAIL, r->making.fault);
	else if ((what & REPLICATOR_RETAIN) && r->upkeep.denied[0])
		fail(r, ERR_DENIED, r->upkeep.denied);
	else if (asked(r, &txid) && (later || upkeep_retain_asked(r)) && *wait_us > AGAIN_US)
		*wait_us = AGAIN_US;
}
