#include "replicate/start.h"

#include "replicate/advice.h"

#include <inttypes.h>
#include <string.h>

/* Is the last file the one that our state says we settled, or proved to have and began to claim? (A
 * state that was only restored names the same file, and is not ours yet.) */
static bool is_our_last(const struct start_facts *f)
{
	const struct state *s = f->state;
	if (!s || f->copied || s->txid != f->max_txid || !f->last_is_l0)
		return false;
	if (s->restored && !s->claim_due)
		return false;
	if (f->last.node_id != s->last_l0_node_id)
		return false;
	/* Litestream's have none: a claim that is due knows the file by its time. */
	if (f->last.node_id == 0)
		return s->claim_due && !f->last.ours && f->last.timestamp == s->timestamp_ms;
	uint64_t recorded = f->last.ours ? f->last.after_checksum : 0;
	return !recorded || !s->checksum || recorded == s->checksum;
}

/* The frozen file went through, only its journal entry is missing (crash after PUT). */
static bool is_our_frozen(const struct start_facts *f)
{
	return f->state && !f->copied && f->frozen_txid && f->frozen_txid == f->max_txid &&
		   f->frozen_txid == f->state->txid + 1 && f->frozen_same;
}

/* The state was restored from a replica that nobody wrote to since. */
static bool is_restored(const struct start_facts *f)
{
	const struct state *s = f->state;
	if (!s || f->copied || !s->restored)
		return false;
	uint64_t of = s->restored_of ? s->restored_of : s->txid;
	if (of != f->max_txid || s->txid > of)
		return false;
	uint64_t recorded = f->last.ours ? f->last.after_checksum : 0;
	return s->txid < of || !recorded || !s->checksum || recorded == s->checksum;
}

/* What Litestream 0.3 wrote, before there was any LTX file, was restored here, and is the latest.
 */
static bool is_restored_legacy(const struct start_facts *f)
{
	const struct state *s = f->state;
	return s && !f->copied && s->restored && s->txid == 0 && s->restored_of == 0 && f->same_file &&
		   f->legacy_ms && f->legacy_ms <= s->timestamp_ms;
}

static void explain(const struct start_facts *f, struct err *why)
{
	const struct state *s = f->state;
	if (f->frozen_there && !f->frozen_same)
		err_set(why, ERR_FENCED,
			"another node wrote TXID %016" PRIx64 " of the replica, which this one was about to "
			"write; it got as far as %016" PRIx64 ": " ADVICE_FENCED,
			f->frozen_txid, f->max_txid, advice_takeover());
	else if (s && !f->copied && s->txid > f->max_txid)
		err_set(why, ERR_FENCED,
			"the replica ends at TXID %016" PRIx64 ", but this node had written up to %016" PRIx64
			": files were removed, or this is another replica's place; %s to write the whole "
			"database there",
			f->max_txid, s->txid, advice_takeover());
	else if (s && !f->copied && s->txid)
		err_set(why, ERR_FENCED,
			"the replica goes on to TXID %016" PRIx64 " (node %016" PRIx64
			"), this node stopped at "
			"%016" PRIx64 ": " ADVICE_FENCED,
			f->max_txid, f->last.node_id, s->txid, advice_takeover());
	else
		err_set(why, ERR_FENCED,
			"the replica holds another node's data up to TXID %016" PRIx64 " and this database is "
			"not shown to be the same%s: " ADVICE_FENCED,
			f->max_txid, f->copied ? " (the state folder is a copy)" : "", advice_takeover());
}

static enum start_kind decide(const struct start_facts *f, struct start_plan *p)
{
	bool resendable = f->state && !f->copied && f->frozen_txid == f->state->txid + 1;
	if (f->max_txid == 0) {
		p->resend = resendable && f->frozen_txid == 1;
		bool beside = f->legacy && f->comparable && !p->resend && !f->takeover;
		return beside && !is_restored_legacy(f) ? START_COMPARE : START_FIRST;
	}
	if (is_our_last(f)) {
		p->resend = resendable;
		return START_CONTINUE;
	}
	if (is_our_frozen(f)) {
		p->resend = true;
		return START_CONTINUE;
	}
	if (f->takeover)
		return START_TAKEOVER;
	if (is_restored(f))
		return START_RESTORED;
	if (f->last.ours && f->last.after_checksum)
		return START_PROVE;
	return f->comparable ? START_COMPARE : START_FENCED;
}

void start_decide(const struct start_facts *f, struct start_plan *p, struct err *why)
{
	memset(p, 0, sizeof(*p));
	p->kind = decide(f, p);
	p->base_txid = f->max_txid;
	p->legacy_ms = f->legacy_ms;
	if (f->max_txid) {
		p->base_checksum = f->last.ours ? f->last.after_checksum : 0;
		p->base_timestamp_ms = f->last.timestamp;
		p->base_node_id = f->last.node_id;
	}
	if (p->kind == START_TAKEOVER)
		p->base_checksum = 0; /* its chain does not go on: "before" is unknown (F7) */
	if (p->kind == START_FENCED || p->kind == START_PROVE)
		explain(f, why);
}
