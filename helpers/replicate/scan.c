/*
 * Reading every page of the image, in slices, while capture goes on between them.
 *
 * Three uses: the comparison with the page table (what differs is staged; with an empty table that
 * is everything: the first snapshot), the proof that the database is the replica's (F6: sums only),
 * and the audit behind a resumed position (a comparison follows if it finds something).
 *
 * Why a mix of slices is a committed state: a slice shows a page as of a header that was read after
 * all captured frames. Frames committed between that header and the next point are captured by the
 * turns that follow, and win. So once a turn has caught up behind the last slice, every page is
 * either as that point has it, or staged by a newer frame.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "format/ltx.h"
#include "replicate/advice.h"
#include "replicate/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_BYTES (UINT32_C(1) << 20)
#define SCAN_US INT64_C(20000)  /* of slices in one turn */
#define AUDIT_US INT64_C(20000) /* between two slices of an audit */
#define PROOF_TRIES 5
#define JUDGE_PAGES 20 /* below this a few commits may change nine pages of ten */

void scan_begin(struct replicator *r)
{
	struct turn *t = &r->turn;
	spool_lost(r, "all pages had to be compared");
	t->next = 1;
	t->equal = t->differ = 0;
	t->audit = false;
	t->suspects = 0;
	t->captured = false;
	t->unproven = true;
	t->unbounded = true; /* a comparison can't be cut in two */
	replicator_set_phase(r, PHASE_SCAN);
}

static uint32_t slice_pages(const struct replicator *r)
{
	return SLICE_BYTES / source_page_size(r->turn.source);
}

/* ---- comparison ---- */

static int compare_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct replicator *r = ctx;
	uint32_t size = source_page_size(r->turn.source);
	if (ltx_page_checksum(pgno, page, size) == pagesums_get(&r->table, pgno)) {
		r->turn.equal++;
		return ERR_OK;
	}
	r->turn.differ++;
	r->turn.unproven = true;
	return stage(r, pgno, page, STAGING_IMAGE, e);
}

/* Staging an image page leaves the staging as clean as it was: it is a page of the same state, or
 * of a newer one that the next caught-up turn brings it to. */
static int mark_clean(struct replicator *r, struct err *e)
{
	source_get_point(r->turn.source, &r->turn.point);
	r->turn.have_point = true;
	return staging_commit(r->turn.open, &r->turn.point, e);
}

static int scan_slice(struct replicator *r, bool *done, struct err *e)
{
	uint32_t n_page = 0, count = slice_pages(r);
	staging_set_max(r->turn.open, 0);
	int rc = source_scan(r->turn.source, r->turn.next, count, compare_page, r, &n_page, e);
	if (!rc)
		rc = mark_clean(r, e);
	r->turn.next = r->turn.next > UINT32_MAX - count ? UINT32_MAX : r->turn.next + count;
	*done = !rc && r->turn.next > n_page;
	return rc;
}

static int64_t scan_failed(struct replicator *r, int rc, const struct err *e)
{
	if (rc == ERR_AGAIN)
		return AUDIT_US;
	detach_and_drop(r, -1);
	replicator_trouble(
		r, HEALTH_SOURCE, rc == ERR_DATABASE ? REPLICATOR_UNUSABLE : REPLICATOR_BEHIND, e);
	return r->turn.delay_us;
}

/* ---- is it still the same database? ---- */

struct first_page {
	bool no_tables;
};

/* The schema's b-tree begins at byte 100 of page 1: a leaf (13) without a cell holds no table
 * (fileformat2.html, 1.6 and 2.6). */
static int look_at_first(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	const uint8_t *p = page;
	(void)e;
	if (pgno == 1)
		((struct first_page *)ctx)->no_tables = p[100] == 13 && p[103] == 0 && p[104] == 0;
	return ERR_OK;
}

/* The sentence of what happened, NULL when it is the same database as far as one can tell. */
static const char *judge(struct replicator *r)
{
	struct first_page first = {false};
	uint32_t n_page = 0;
	struct err e = ERR_INIT;
	pthread_mutex_lock(&r->lock);
	bool asked = r->shared.judge && !r->shared.accept;
	pthread_mutex_unlock(&r->lock);
	if (!asked || r->turn.known || r->turn.differ == 0)
		return NULL;
	if (source_scan(r->turn.source, 1, 1, look_at_first, &first, &n_page, &e))
		return NULL;
	if (n_page == 0 || first.no_tables)
		return "the database has no table any more, the replica has";
	if (r->table.txid && r->table.page_size != source_page_size(r->turn.source))
		return "the database has another page size than the one that was shipped";
	if (r->table.n_page >= JUDGE_PAGES && r->turn.equal < r->table.n_page / 10)
		return "the database shares less than a tenth of its pages with the one that was shipped";
	return NULL;
}

static int64_t scan_done(struct replicator *r)
{
	const char *other = judge(r);
	if (other)
		return become_replaced(r, other);
	pthread_mutex_lock(&r->lock);
	bool whole = r->shared.whole;
	r->shared.judge = true;
	pthread_mutex_unlock(&r->lock);
	if (whole)
		log_info("%s: %" PRIu32 " pages for a first upload", r->cfg.database, r->turn.differ);
	else
		log_write(r->turn.audited ? LOG_DEBUG : LOG_INFO,
			"%s: compared all pages, %" PRIu32 " of %" PRIu32 " differ", r->cfg.database,
			r->turn.differ, r->turn.differ + r->turn.equal);
	r->turn.unproven = true;
	r->turn.audited = true;
	r->turn.known = false;
	memset(r->turn.lineage, 0, sizeof(r->turn.lineage));
	replicator_set_phase(r, PHASE_RUN);
	return 0;
}

/* The table is the work's while a cut is sealed. */
static bool table_is_ours(struct replicator *r)
{
	return replicator_flight(r) != FLIGHT_SEALED;
}

int64_t scan_turn(struct replicator *r)
{
	int64_t until = clock_mono_us() + SCAN_US;
	do {
		struct source_result res;
		struct err e = ERR_INIT;
		bool done = false;
		if (!capture(r, &res) || atomic_load(&r->cancelled))
			return 0;
		if (!table_is_ours(r))
			return AUDIT_US;
		int rc = scan_slice(r, &done, &e);
		if (rc)
			return scan_failed(r, rc, &e);
		if (done)
			return scan_done(r);
	} while (clock_mono_us() < until);
	return 0;
}

/* ---- audit ---- */

/*
 * Nobody waits for an audit, and uploads go on beside it. So nothing that it finds is shipped as it
 * is found: a few pages of an older file that was put back in place would be in the replica before
 * the rest of them, and who restores in between gets half of each. What differs is noted, slice by
 * slice. Most of that is what the app committed just now, and a turn later its frames were
 * captured. What no frame told of is real (a crash of the machine, a copy over the file): then all
 * is compared, judged, and shipped as one.
 */

static bool in_slice(const struct turn *t, uint32_t pgno)
{
	return pgno >= t->suspect_first && pgno - t->suspect_first < AUDIT_PAGES;
}

void audit_captured(struct turn *t, uint32_t pgno)
{
	if (t->suspects && in_slice(t, pgno) && t->suspect[pgno - t->suspect_first]) {
		t->suspect[pgno - t->suspect_first] = false;
		t->suspects--;
	}
}

static int audit_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct replicator *r = ctx;
	(void)e;
	uint32_t size = source_page_size(r->turn.source);
	if (ltx_page_checksum(pgno, page, size) == pagesums_get(&r->table, pgno)) {
		r->turn.equal++;
		return ERR_OK;
	}
	r->turn.differ++;
	r->turn.suspect[pgno - r->turn.suspect_first] = true;
	r->turn.suspects++;
	return ERR_OK;
}

static void audit_begin(struct turn *t)
{
	t->audit = true;
	t->next = 1;
	t->equal = t->differ = 0;
	t->suspects = 0;
	t->audit_us = 0;
}

void audit_when_due(struct replicator *r)
{
	struct turn *t = &r->turn;
	pthread_mutex_lock(&r->lock);
	bool due = r->shared.audit_due && !t->audit;
	if (due)
		r->shared.audit_due = false;
	pthread_mutex_unlock(&r->lock);
	if (!due)
		return;
	audit_begin(t);
}

/* What is left of a slice's suspects once a turn caught up behind it. Those that the app cut off
 * since are nothing any more. */
static bool audit_found(struct replicator *r)
{
	struct turn *t = &r->turn;
	uint32_t n_page = source_n_page(t->source), left = 0;
	for (uint32_t i = 0; i < AUDIT_PAGES; i++)
		left += t->suspect[i] && t->suspect_first + i <= n_page;
	t->suspects = 0;
	if (left == 0)
		return false;
	log_info("%s: %" PRIu32 " of the pages from %" PRIu32
			 " on are not as they were shipped, and no "
			 "commit changed them: comparing all",
		r->cfg.database, left, t->suspect_first);
	staging_reset(t->open, source_page_size(t->source), n_page);
	scan_begin(r);
	return true;
}

static void audit_done(struct replicator *r)
{
	log_debug("%s: read all pages again, %" PRIu32 " of %" PRIu32 " were just being written",
		r->cfg.database, r->turn.differ, r->turn.differ + r->turn.equal);
	r->turn.audit = false;
	r->turn.audited = true;
}

int64_t audit_slice(struct replicator *r, bool caught_up)
{
	struct turn *t = &r->turn;
	int64_t now = clock_mono_us();
	if (t->suspects && !caught_up)
		return AUDIT_US;
	if (t->suspects && audit_found(r))
		return 0;
	if (now < t->audit_us)
		return t->audit_us - now;
	if (t->next > source_n_page(t->source)) {
		audit_done(r);
		return INT64_MAX;
	}
	if (replicator_flight(r) != FLIGHT_NONE || !staging_empty(t->open))
		return AUDIT_US; /* the table is behind what was captured: wait until they meet */
	struct err e = ERR_INIT;
	uint32_t n_page = 0, count = slice_pages(r);
	memset(t->suspect, 0, sizeof(t->suspect));
	t->suspect_first = t->next;
	t->audit_us = now + AUDIT_US;
	int rc = source_scan(t->source, t->next, count, audit_page, r, &n_page, &e);
	if (rc)
		return scan_failed(r, rc, &e);
	t->next = t->next > UINT32_MAX - count ? UINT32_MAX : t->next + count;
	return AUDIT_US;
}

/* ---- proof ---- */

static int sum_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct replicator *r = ctx;
	uint64_t sum = ltx_page_checksum(pgno, page, source_page_size(r->turn.source));
	return pagesums_set(&r->turn.proof, pgno, sum) ? err_nomem(e, "proving the database") : ERR_OK;
}

static void proof_begin(struct replicator *r)
{
	struct turn *t = &r->turn;
	t->next = 1;
	t->captured = false;
	pagesums_free(&t->proof);
	pagesums_init(&t->proof, source_page_size(t->source));
	staging_reset(t->open, source_page_size(t->source), source_n_page(t->source));
}

/* Lock held. */
static void explain_difference(const struct replicator *r, struct err *e)
{
	uint32_t pages, differ = latest_differ(&r->table, &r->turn.proof, &pages);
	err_set(e, ERR_FENCED,
		"%" PRIu32 " of %" PRIu32
		" pages differ from the replica's latest state (%s); nothing was uploaded: " ADVICE_FENCED,
		differ, pages, r->shared.prove_what, advice_takeover());
}

static int64_t proof_failed(struct replicator *r, bool busy)
{
	struct err e;
	pthread_mutex_lock(&r->lock);
	if (r->shared.prove_what[0])
		explain_difference(r, &e);
	else
		err_set(&e, ERR_FENCED, "%s", r->shared.prove_reason);
	pthread_mutex_unlock(&r->lock);
	if (busy)
		err_set(&e, ERR_FENCED,
			"%.800s (the database was written all the time: with its app stopped the proof may "
			"succeed)",
			e.text);
	detach_and_drop(r, 0);
	replicator_set_phase(r, PHASE_STOPPED);
	replicator_trouble(r, HEALTH_STORE, REPLICATOR_FENCED, &e);
	pthread_mutex_lock(&r->lock);
	r->shared.mark = true;
	pthread_mutex_unlock(&r->lock);
	return INT64_MAX;
}

/* All files have to be read: the work begins anew. */
static int64_t prove_again(struct replicator *r)
{
	detach_and_drop(r, 0);
	r->turn.listing = false;
	replicator_set_phase(r, PHASE_LIST);
	return 0;
}

/* What Litestream 0.3 holds is the database: all of it goes up, in LTX files. */
static int64_t upload_all(struct replicator *r)
{
	log_info("%s: the database is what Litestream 0.3 holds", r->cfg.database);
	pagesums_free(&r->table); /* nothing is in flight */
	pagesums_init(&r->table, 0);
	detach_and_drop(r, 0);
	return 0;
}

/* All pages are summed and nothing was committed since the first one. */
static int64_t proof_done(struct replicator *r, uint32_t n_page)
{
	struct turn *t = &r->turn;
	pthread_mutex_lock(&r->lock);
	bool same = t->proof.checksum == r->shared.prove_checksum && n_page == r->shared.prove_n_page &&
				t->proof.page_size == r->shared.prove_page_size;
	bool again = same && r->shared.prove_again, whole = r->shared.prove_whole;
	if (again || (same && whole)) {
		r->shared.prove = r->shared.prove_again = r->shared.prove_whole = false;
		r->shared.whole = !again;
		r->shared.claim = !again && r->shared.base_txid != 0;
	} else if (same) {
		t->proof.txid = r->shared.base_txid;
		r->shared.prove = false;
		r->shared.proven = r->shared.claim = true;
		r->shared.judge = true;
	}
	pthread_mutex_unlock(&r->lock);
	if (!same)
		return proof_failed(r, false);
	if (again)
		return prove_again(r);
	if (whole)
		return upload_all(r);
	log_info("%s: the database is the one that the replica holds at TXID %016" PRIx64,
		r->cfg.database, t->proof.txid);
	pagesums_free(&r->table); /* nothing is in flight */
	r->table = t->proof;
	pagesums_init(&t->proof, 0);
	replicator_set_phase(r, PHASE_RUN);
	return 0;
}

int64_t prove_turn(struct replicator *r)
{
	struct turn *t = &r->turn;
	int64_t until = clock_mono_us() + SCAN_US;
	if (t->next == 1)
		proof_begin(r);
	do {
		struct source_result res;
		struct err e = ERR_INIT;
		uint32_t n_page = 0;
		int rc = source_scan(t->source, t->next, slice_pages(r), sum_page, r, &n_page, &e);
		if (rc)
			return scan_failed(r, rc, &e);
		t->next += slice_pages(r);
		if (!capture(r, &res))
			return 0;
		/* A page may have changed before it was read: once more; the last time to the end, for the
		 * sake of the number that is told. */
		bool last_try = t->tries + 1 == PROOF_TRIES;
		if (t->captured && !last_try) {
			t->next = 1;
			t->tries++;
			return 0;
		}
		if (t->next > n_page && t->captured)
			return proof_failed(r, true);
		if (t->next > n_page && res.caught_up)
			return proof_done(r, n_page);
		if (t->next > n_page)
			return res.wait_us > AUDIT_US ? AUDIT_US : res.wait_us;
	} while (clock_mono_us() < until);
	return 0;
}
