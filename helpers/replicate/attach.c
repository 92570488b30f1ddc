/*
 * Opening the source and letting it go.
 *
 * An attach begins behind the last settled position if that is still in the WAL; else every page is
 * compared. It waits until nothing is in flight, so that the page table is that of the last settled
 * state.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/endian.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/advice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DELAY_FIRST_US INT64_C(500000)
#define DELAY_MAX_US (INT64_C(60) * 1000000)
#define BUSY_US INT64_C(10000)
#define LINEAGE_MAX UINT32_C(10000)
#define AFTER_YOU_US INT64_C(5000)

/* delay_us < 0: the next of a growing series of delays. */
void detach_and_drop(struct replicator *r, int64_t delay_us)
{
	struct turn *t = &r->turn;
	lag_unsure(r);
	spool_lost(r, "the database was let go");
	if (t->source)
		source_detach(t->source);
	staging_reset(t->open, 0, 0);
	pagesums_free(&t->proof);
	pagesums_init(&t->proof, 0);
	t->have_point = t->unproven = t->audit = false;
	t->force_scan = true;
	t->wal_bytes = 0;
	if (delay_us < 0) {
		t->delay_us = t->delay_us ? t->delay_us * 2 : DELAY_FIRST_US;
		t->delay_us = t->delay_us > DELAY_MAX_US ? DELAY_MAX_US : t->delay_us;
		delay_us = t->delay_us;
	}
	t->not_before_us = clock_mono_us() + delay_us;
	if (replicator_phase(r) != PHASE_LIST && replicator_phase(r) != PHASE_STOPPED)
		replicator_set_phase(r, PHASE_ATTACH);
}

/* Trouble that a later attempt may find gone. */
static int64_t try_later(struct replicator *r, enum replicator_state state, const struct err *why)
{
	detach_and_drop(r, -1);
	replicator_trouble(r, HEALTH_SOURCE, state, why);
	return r->turn.delay_us;
}

int64_t become_replaced(struct replicator *r, const char *what)
{
	struct err e;
	err_set(&e, ERR_FAIL,
		"%s: nothing is shipped until this is accepted (%s), or the former database is put back",
		what, advice_accept());
	detach_and_drop(r, 0);
	replicator_set_phase(r, PHASE_STOPPED);
	replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_REPLACED, &e);
	pthread_mutex_lock(&r->lock);
	r->shared.mark = true;
	pthread_mutex_unlock(&r->lock);
	return INT64_MAX;
}

/* Is the file that stands there another one than the one that was shipped, or than the one that a
 * person's word was about? */
static bool is_other_file(struct replicator *r, const struct stat *st)
{
	pthread_mutex_lock(&r->lock);
	const struct shared *s = &r->shared;
	bool known = s->ino != 0 && !s->accept && !s->whole;
	bool other = s->ino != st->st_ino || (s->same_boot && s->dev != st->st_dev);
	bool unseen = s->seen_ino && (s->seen_ino != st->st_ino || s->seen_dev != st->st_dev);
	pthread_mutex_unlock(&r->lock);
	return (known && other) || unseen;
}

/* A first snapshot takes the database's size twice beside it for a while: staged and frozen. */
static int check_space(struct replicator *r, const struct stat *st, struct err *e)
{
	uint64_t need = 2 * (uint64_t)st->st_size + (UINT64_C(8) << 20), have;
	if (fs_free_bytes(state_dir_path(r->dir), &have))
		return err_errno(e, ERR_IO, errno, "cannot look at %s", state_dir_path(r->dir));
	if (have >= need)
		return ERR_OK;
	return err_set(e, ERR_FULL,
		"the first upload needs %" PRIu64 " MiB of free space at %s, %" PRIu64
		" MiB are there: free some%s",
		need >> 20, state_dir_path(r->dir), have >> 20, advice_space());
}

void note_lineage(struct replicator *r)
{
	struct turn *t = &r->turn;
	struct source_point point;
	enum phase phase = replicator_phase(r);
	if (!t->source || !source_attached(t->source) ||
		!(phase == PHASE_RUN || (phase == PHASE_SCAN && t->known)))
		return;
	source_get_point(t->source, &point);
	memcpy(t->lineage, point.pos.salt, sizeof(t->lineage));
}

/*
 * Each restart of a WAL counts its first salt up by one; a WAL that was made anew begins with a
 * random one. So a few more than before means that the WAL was never deleted since: an app that
 * rewrote everything (VACUUM) while our staging was full, or we were not there, did not put another
 * database there.
 */
static bool is_same_wal(const uint8_t was[8], const uint8_t now[8])
{
	static const uint8_t none[8];
	return memcmp(was, none, sizeof(none)) != 0 && get_be32(now) - get_be32(was) < LINEAGE_MAX;
}

/* The first attach goes on where the life before ended. */
static void adopt_lineage(struct replicator *r)
{
	static const uint8_t none[8];
	pthread_mutex_lock(&r->lock);
	if (memcmp(r->shared.lineage, none, sizeof(none)) != 0)
		memcpy(r->turn.lineage, r->shared.lineage, sizeof(r->turn.lineage));
	memset(r->shared.lineage, 0, sizeof(r->shared.lineage));
	pthread_mutex_unlock(&r->lock);
}

/* After a successful attach: what comes now? */
static int64_t attached(struct replicator *r, bool resumed)
{
	struct turn *t = &r->turn;
	source_get_point(t->source, &t->point);
	t->have_point = true;
	adopt_lineage(r);
	/* At a good position nothing was rewritten, whatever the pages say. */
	t->known = !resumed && is_same_wal(t->lineage, t->point.pos.salt);
	staging_reset(t->open, source_page_size(t->source), t->point.n_page);
	pthread_mutex_lock(&r->lock);
	bool whole = r->shared.whole, prove = r->shared.prove;
	bool no_table = r->table.txid == 0 || r->table.page_size != source_page_size(t->source);
	r->shared.db_bytes = (uint64_t)t->point.n_page * source_page_size(t->source);
	pthread_mutex_unlock(&r->lock);
	replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_REPLICATING, NULL);
	if (prove) {
		t->tries = 0;
		scan_begin(r);
		replicator_set_phase(r, PHASE_PROVE);
	} else if (resumed && !whole && !no_table) {
		if (!t->audited)
			log_info("%s: going on behind the last upload", r->cfg.database);
		scan_begin(r);
		t->audit = !t->audited;
		t->unbounded = false;
		replicator_set_phase(r, PHASE_RUN);
	} else {
		scan_begin(r);
	}
	return 0;
}

static int64_t attach_failed(struct replicator *r, int rc, const struct err *e)
{
	if (rc == ERR_AGAIN) {
		source_detach(r->turn.source);
		return BUSY_US;
	}
	if (rc == ERR_NOT_FOUND) {
		detach_and_drop(r, 0);
		lag_no_database(r);
		replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_WAITING, e);
		return go_away(r);
	}
	return try_later(r, rc == ERR_DATABASE ? REPLICATOR_UNUSABLE : REPLICATOR_BEHIND, e);
}

static int64_t attach_now(struct replicator *r, struct err *e)
{
	struct stat st;
	if (stat(r->cfg.database, &st)) {
		int rc = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_DATABASE;
		err_errno(e, (enum err_code)rc, errno, "no database at %s", r->cfg.database);
		return attach_failed(r, rc, e);
	}
	if (is_other_file(r, &st))
		return become_replaced(r, "another file has taken the database's place");
	pthread_mutex_lock(&r->lock);
	struct state_position at = r->shared.settled_pos;
	bool whole = r->shared.whole, use = at.resumable && !r->turn.force_scan && !r->shared.prove;
	pthread_mutex_unlock(&r->lock);
	int rc = whole ? check_space(r, &st, e) : ERR_OK;
	bool resumed = false;
	if (!rc)
		rc = source_attach(r->turn.source, use ? &at : NULL, &resumed, e);
	if (rc)
		return attach_failed(r, rc, e);
	r->turn.force_scan = false;
	/* What was attached is what stands there now, and that may be newer than the first look. */
	if (!stat(r->cfg.database, &st) && is_other_file(r, &st))
		return become_replaced(r, "another file has taken the database's place");
	return attached(r, resumed && use);
}

int64_t attach_turn(struct replicator *r)
{
	struct err e = ERR_INIT;
	if (replicator_flight(r) != FLIGHT_NONE)
		return INT64_MAX; /* what ends the flight asks for a turn */
	int64_t early = r->turn.not_before_us - clock_mono_us();
	if (early > 0)
		return early;
	int rc = capture_open(r, &e);
	if (rc)
		return try_later(r, rc == ERR_DATABASE ? REPLICATOR_UNUSABLE : REPLICATOR_BEHIND, &e);
	return attach_now(r, &e);
}

/* Nobody has opened it since we let go: an app that reads or writes makes a -wal first. */
static bool is_untouched(const struct replicator *r)
{
	struct stat st, wal;
	const struct stat *old = &r->turn.released;
	char name[4096];
	if (stat(r->cfg.database, &st) || st.st_ino != old->st_ino || st.st_dev != old->st_dev ||
		st.st_size != old->st_size || st.st_mtim.tv_sec != old->st_mtim.tv_sec ||
		st.st_mtim.tv_nsec != old->st_mtim.tv_nsec)
		return false;
	int n = snprintf(name, sizeof(name), "%s-wal", r->cfg.database);
	return n > 0 && (size_t)n < sizeof(name) && stat(name, &wal) != 0;
}

/*
 * Something happened, or somebody asks. What happened is an app that opens the database, and two
 * processes that open it at the same moment are in each other's way: the one without a busy timeout
 * gets "database is locked". So it goes first.
 */
int64_t released_turn(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	uint64_t seq = r->shared.sync_seq;
	bool wanted = r->shared.spool == SPOOL_WANTED || r->shared.claim;
	pthread_mutex_unlock(&r->lock);
	if (is_untouched(r)) {
		pthread_mutex_lock(&r->lock);
		r->shared.settled_seq = seq;
		pthread_mutex_unlock(&r->lock);
		if (!wanted)
			return INT64_MAX;
		replicator_set_phase(r, PHASE_ATTACH);
		return 0;
	}
	replicator_set_phase(r, PHASE_ATTACH);
	r->turn.not_before_us = clock_mono_us() + AFTER_YOU_US;
	return AFTER_YOU_US;
}
