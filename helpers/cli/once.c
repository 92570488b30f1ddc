#include "cli/once.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOOK_US 50000
#define FOR_EVER_MS (INT64_C(100) * 366 * 24 * 3600 * 1000)

enum step { SYNCING, SYNCED, ASKED, DONE };

struct one {
	enum step step;
	struct err failed; /* code ERR_OK: it did not */
	int64_t behind_us; /* since when its store doesn't answer; 0 = it does */
	struct schedule *s;
	size_t i;
};

struct once {
	struct schedule *s;
	struct one *list;
	size_t n;
	bool snapshot, retain;
	int64_t patience_us;
};

/* `why` begins with the path. Of one database alone the caller tells it. */
static void fail(struct one *o, int code, const char *why)
{
	err_set(&o->failed, (enum err_code)code, "%s", why);
	if (schedule_count(o->s) > 1)
		log_error("%s", why);
	o->step = DONE;
}

static void on_synced(void *ctx, int code, const char *why)
{
	struct one *o = ctx;
	if (o->step != SYNCING)
		return;
	o->step = SYNCED;
	if (code == ERR_NOT_FOUND) /* it was named, and nobody makes it now */
		code = ERR_DATABASE;
	if (code)
		fail(o, code, why);
}

static void fail_at(struct one *o, int code, const char *why)
{
	struct err e;
	err_set(&e, (enum err_code)code, "%s: %s", schedule_database(o->s, o->i), why);
	fail(o, code, e.text);
}

int once_new(struct once **out, struct schedule *s, bool snapshot, bool retain, int64_t patience_ms,
	struct err *e)
{
	struct once *o = calloc(1, sizeof(*o));
	size_t n = schedule_count(s);
	if (!o || !(o->list = calloc(n + 1, sizeof(*o->list)))) {
		free(o);
		return err_nomem(e, "replicating once");
	}
	o->s = s;
	o->n = n;
	o->snapshot = snapshot;
	o->retain = retain;
	o->patience_us = patience_ms * 1000;
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < n; i++) {
		o->list[i].s = s;
		o->list[i].i = i;
		rc = schedule_sync(s, schedule_id(s, i), false, FOR_EVER_MS, on_synced, &o->list[i], e);
	}
	*out = o; /* those that were asked already know it */
	return rc;
}

void once_free(struct once *o)
{
	if (!o)
		return;
	free(o->list);
	free(o);
}

static void ask(struct once *o, struct one *one, const struct replicator_status *st)
{
	unsigned what = (o->snapshot ? REPLICATOR_SNAPSHOT : 0) | (o->retain ? REPLICATOR_RETAIN : 0) |
					(st->uploads ? REPLICATOR_TIDY : 0);
	if (what)
		schedule_ask(o->s, one->i, what);
	one->step = ASKED;
}

static void look_asked(struct one *o, const struct replicator_status *st)
{
	struct err e = ERR_INIT;
	bool stuck = st->state == REPLICATOR_FENCED || st->state == REPLICATOR_DENIED ||
				 st->state == REPLICATOR_REPLACED || st->state == REPLICATOR_UNUSABLE;
	int rc = stuck ? st->code : schedule_asked(o->s, o->i, &e);
	if (rc == ERR_AGAIN)
		return;
	if (rc) {
		fail_at(o, rc, stuck ? st->reason : e.text);
		return;
	}
	o->step = DONE;
	log_info("%s: all shipped, TXID %016" PRIx64, schedule_database(o->s, o->i), st->txid);
}

/* A store that comes back within the patience is nobody's business. */
static bool has_patience(
	struct once *o, struct one *one, const struct replicator_status *st, int64_t now_us)
{
	bool behind = st->state == REPLICATOR_BEHIND && !st->late;
	if (!behind)
		one->behind_us = 0;
	else if (!one->behind_us)
		one->behind_us = now_us;
	return !behind || now_us - one->behind_us < o->patience_us;
}

bool once_look(struct once *o, int64_t now_us, int64_t *next_us)
{
	bool done = true;
	for (size_t i = 0; i < o->n; i++) {
		struct one *one = &o->list[i];
		struct replicator_status st;
		if (one->step == DONE)
			continue;
		schedule_status(o->s, i, &st);
		if (!has_patience(o, one, &st, now_us))
			fail_at(one, st.code, st.reason);
		if (one->step == SYNCED)
			ask(o, one, &st);
		if (one->step == ASKED)
			look_asked(one, &st);
		done = done && one->step == DONE;
	}
	*next_us = now_us + LOOK_US;
	return done;
}

int once_outcome(const struct once *o, struct err *e)
{
	const struct err *worst = NULL;
	size_t failed = 0;
	for (size_t i = 0; i < o->n; i++) {
		const struct err *f = &o->list[i].failed;
		failed += f->code != ERR_OK;
		if (f->code && (!worst || err_worse(f->code, worst->code)))
			worst = f;
	}
	if (!worst)
		return ERR_OK;
	*e = *worst;
	if (failed > 1)
		err_wrap(e, "%zu databases are not replicated, one of them", failed);
	return e->code;
}
