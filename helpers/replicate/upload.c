/*
 * The cycle of one TXID: freeze, put (send.c), settle.
 *
 *   adopt    once, before the first: state.json says behind which TXID we write
 *   freeze   encoded, durable; from here the bytes don't change (F1)
 *   put      only if nothing of that name is there (F2); what is there instead is looked at (F3)
 *   settle   state.json says n: durable; only then n+1 may be frozen
 *
 * A crash between any two of these is the same as a retry: begin.c finds the frozen file.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_US INT64_C(1000000)
#define RETRY_FIRST_US SECOND_US
#define RETRY_MAX_US (30 * SECOND_US)
#define RETRY_MAX_SLOW_US (300 * SECOND_US) /* what waiting seldom mends: denied, no bucket */
#define DENIED_US (30 * SECOND_US)
#define DROPPED (-1) /* of denied_us */

/* ---- trouble ---- */

static void retry_later(struct work *w, int64_t max_us)
{
	w->delay_us = w->delay_us ? w->delay_us * 2 : RETRY_FIRST_US;
	if (w->delay_us > max_us)
		w->delay_us = max_us;
	w->retry_us = clock_mono_us() + w->delay_us;
}

static void all_is_well(struct replicator *r)
{
	r->work.retry_us = r->work.delay_us = r->work.denied_us = 0;
	replicator_trouble(r, HEALTH_STORE, REPLICATOR_REPLICATING, NULL);
}

void store_works(struct replicator *r, const struct moment *asked)
{
	confirm(r, asked);
	all_is_well(r);
}

static void give_order(struct replicator *r, enum order order, int64_t delay_us)
{
	pthread_mutex_lock(&r->lock);
	if (r->shared.phase != PHASE_LIST)
		r->shared.order = order;
	else if (order == ORDER_STOP)
		r->shared.phase = PHASE_STOPPED;
	r->shared.order_delay_us = delay_us;
	pthread_mutex_unlock(&r->lock);
}

/*
 * What waits for a person would wait long: the app's WAL must not grow because of us. But not for a
 * refusal that is over in a moment, as a server makes whose own check of keys stumbles: each would
 * cost a comparison of all pages.
 */
static void drop_when_denied(struct replicator *r)
{
	struct work *w = &r->work;
	int64_t now = clock_mono_us();
	if (!w->denied_us)
		w->denied_us = now;
	if (w->denied_us == DROPPED || now - w->denied_us < DENIED_US)
		return;
	w->denied_us = DROPPED;
	give_order(r, ORDER_DROP, 0);
}

void store_trouble(struct replicator *r, int code, const struct err *e)
{
	if (code == ERR_CANCELLED || atomic_load(&r->cancelled))
		return;
	if (code == ERR_FULL)
		note_full_disk(r);
	bool slow = code != ERR_UNREACHABLE && code != ERR_AGAIN;
	retry_later(&r->work, slow ? RETRY_MAX_SLOW_US : RETRY_MAX_US);
	enum replicator_state state = REPLICATOR_BEHIND;
	if (code == ERR_DENIED) {
		state = REPLICATOR_DENIED;
		drop_when_denied(r);
	}
	replicator_trouble(r, HEALTH_STORE, state, e);
}

void become_fenced(struct replicator *r, const struct err *why)
{
	struct err told = *why;
	give_order(r, ORDER_STOP, 0);
	name_owner(r, &told);
	replicator_trouble(r, HEALTH_STORE, REPLICATOR_FENCED, &told);
	pthread_mutex_lock(&r->lock);
	r->shared.mark = true;
	r->shared.upkeep_wanted = true; /* to give back what a snapshot in the making takes */
	pthread_mutex_unlock(&r->lock);
}

/* ---- adopt ---- */

/* Another timeline's files and page table must not be taken for ours. */
static int forget_files(struct replicator *r, struct err *e)
{
	int rc = copies_clear(&r->work.copies, r->work.folder, e);
	char *pages = rc ? NULL : fs_join(state_dir_path(r->dir), "pages");
	if (!rc && !pages)
		return err_nomem(e, "clearing the state folder");
	if (!rc && fs_unlink(pages) && errno != ENOENT)
		rc = err_errno(e, ERR_IO, errno, "cannot delete %s", pages);
	free(pages);
	return rc;
}

static void take_base(struct replicator *r)
{
	struct work *w = &r->work;
	struct state *s = &w->state;
	const struct start_plan *p = &w->plan;
	s->txid = p->base_txid;
	s->checksum = p->base_checksum;
	s->last_l0_node_id = p->base_node_id;
	if (s->timestamp_ms < p->base_timestamp_ms)
		s->timestamp_ms = p->base_timestamp_ms;
	s->claim_due = p->kind != START_FIRST;
	s->snapshot_txid = p->kind == START_TAKEOVER ? p->base_txid + 1 : 0;
	memset(&s->pos, 0, sizeof(s->pos));
}

/* Beside what Litestream 0.3 wrote: should this life end before the first file is there, the next
 * one need not compare again. */
static void mark_compared(struct work *w, const struct cut *cut)
{
	struct state *s = &w->state;
	s->restored = true;
	s->restored_of = 0;
	s->timestamp_ms = w->plan.legacy_ms;
	s->dev = cut->dev;
	s->ino = cut->ino;
}

/* Before the first file of this life: which TXID it follows, and who we are, is on disk. */
static int adopt(struct replicator *r, const struct cut *cut, struct err *e)
{
	struct work *w = &r->work;
	enum start_kind kind = w->plan.kind;
	if (w->adopted)
		return ERR_OK;
	int rc = ERR_OK;
	if (kind == START_FIRST || kind == START_PROVE || kind == START_TAKEOVER)
		rc = forget_files(r, e);
	if (!rc && kind == START_PROVE)
		rc = table_save(&r->table, state_dir_path(r->dir), e);
	if (rc)
		return rc;
	if (kind != START_CONTINUE)
		take_base(r);
	if (kind == START_FIRST && w->plan.legacy_ms)
		mark_compared(w, cut);
	latest_forget(r);
	copy_text(w->state.replica, sizeof(w->state.replica), store_url(r->store));
	copy_text(w->state.database, sizeof(w->state.database), r->cfg.database);
	w->state.stopped[0] = w->state.reason[0] = '\0';
	rc = state_save(r->dir, &w->state, e);
	w->adopted = rc == ERR_OK;
	w->copied = w->copied && rc;
	return rc;
}

/* ---- freeze ---- */

static struct ltx_header make_header(struct replicator *r, const struct cut *cut)
{
	const struct state *s = &r->work.state;
	int64_t now = clock_wall_ms(), least = s->timestamp_ms; /* read from a replica: any number */
	least += least < INT64_MAX;
	struct ltx_header h = {
		.page_size = staging_page_size(cut->pages),
		.commit = cut->point.n_page,
		.min_txid = s->txid + 1,
		.max_txid = s->txid + 1,
		.timestamp = now > least ? now : least, /* F9 */
		.node_id = s->node_id,
		.before_checksum = s->checksum,
	};
	return h;
}

/*
 * A file with every page is compared with nothing: its sums make the table. With another page size
 * than the files before it, it can be applied to none of them: a snapshot must end there too.
 */
static int empty_table(struct replicator *r, uint32_t page_size, struct err *e)
{
	struct state *s = &r->work.state;
	pagesums_free(&r->table);
	pagesums_init(&r->table, page_size);
	if (s->txid == 0 || s->page_size == 0 || s->page_size == page_size)
		return ERR_OK;
	s->snapshot_txid = s->txid + 1;
	return state_save(r->dir, s, e);
}

static void end_flight(struct replicator *r)
{
	pthread_mutex_lock(&r->lock);
	lag_cut_lost(&r->shared);
	r->shared.flight = FLIGHT_NONE;
	r->shared.flight_bytes = 0;
	memset(&r->shared.cut, 0, sizeof(r->shared.cut));
	pthread_mutex_unlock(&r->lock);
}

/* Nothing was sent: forget the cut, compare again when there is room. */
static void freeze_failed(struct replicator *r, struct cut *cut, const struct err *e)
{
	staging_reset(cut->pages, 0, 0);
	if (e->code == ERR_FULL)
		note_full_disk(r);
	retry_later(&r->work, RETRY_MAX_SLOW_US);
	give_order(r, ORDER_DROP, r->work.delay_us);
	replicator_trouble(r, HEALTH_STORE, REPLICATOR_BEHIND, e);
	end_flight(r);
}

static void freeze_cut(struct replicator *r)
{
	struct work *w = &r->work;
	struct err e = ERR_INIT;
	pthread_mutex_lock(&r->lock);
	struct cut cut = r->shared.cut;
	pthread_mutex_unlock(&r->lock);
	int rc = adopt(r, &cut, &e);
	struct ltx_header h = make_header(r, &cut);
	if (!rc && (cut.whole || r->table.page_size != h.page_size))
		rc = empty_table(r, h.page_size, &e);
	if (!rc)
		rc = freeze(w->folder, cut.pages, &h, &r->table, &w->frozen, &e);
	if (rc) {
		freeze_failed(r, &cut, &e);
		return;
	}
	staging_reset(cut.pages, 0, 0);
	cut.pages = NULL;
	w->cut = cut;
	w->put = false;
	pthread_mutex_lock(&r->lock);
	r->shared.flight = FLIGHT_FROZEN;
	pthread_mutex_unlock(&r->lock);
}

/* ---- settle ---- */

/* Where in the WAL a file ends that an earlier life froze is not known; which WAL it was, is. */
static void forget_place(struct state *s)
{
	struct state_position pos = {.resumable = false};
	if (strcmp(s->stopped, "replaced") != 0)
		memcpy(pos.salt, s->pos.salt, sizeof(pos.salt));
	s->pos = pos;
}

static void fill_state(struct replicator *r)
{
	struct work *w = &r->work;
	struct state *s = &w->state;
	const struct ltx_header *h = &w->frozen.header;
	s->txid = w->frozen.txid;
	s->page_size = h->page_size;
	s->n_page = h->commit;
	s->checksum = h->after_checksum;
	s->timestamp_ms = h->timestamp;
	s->last_l0_node_id = h->node_id;
	if (w->cut.ino) {
		s->dev = w->cut.dev;
		s->ino = w->cut.ino;
		s->pos = w->cut.point.pos;
	} else {
		forget_place(s);
	}
	s->claim_due = s->restored = false;
	s->restored_of = 0;
	s->stopped[0] = s->reason[0] = '\0';
	copy_text(s->replica, sizeof(s->replica), store_url(r->store));
	copy_text(s->database, sizeof(s->database), r->cfg.database);
}

/* What the replica holds now. */
static void note_file(struct replicator *r, const struct frozen *f)
{
	struct err e = ERR_INIT;
	struct replica_file file = {
		.min_txid = f->txid,
		.max_txid = f->txid,
		.size = f->size,
		.timestamp_ms = f->header.timestamp,
		.uploaded_ms = clock_wall_ms(),
	};
	if (inventory_add(&r->inventory, &file, &e))
		log_warn("%s: %s", r->cfg.database, e.text);
}

static void tell_settled(struct replicator *r)
{
	struct work *w = &r->work;
	pthread_mutex_lock(&r->lock);
	struct shared *s = &r->shared;
	s->flight = FLIGHT_NONE;
	s->flight_bytes = 0;
	if (s->cut.seq > s->settled_seq)
		s->settled_seq = s->cut.seq;
	memset(&s->cut, 0, sizeof(s->cut));
	s->upkeep_wanted = s->upkeep_wanted || s->renewing;
	s->claim = s->whole = s->renewing = false;
	s->settled_pos = w->state.pos;
	s->txid = w->state.txid;
	s->txid_ms = w->state.timestamp_ms;
	s->txid_checksum = w->state.checksum;
	s->page_size = w->state.page_size;
	s->n_page = w->state.n_page;
	if (s->spool == SPOOL_CUT)
		spool_ready(s);
	s->uploads++;
	upkeep_uploaded(s);
	s->last_upload_ms = clock_wall_ms();
	if (w->cut.ino) {
		s->dev = w->cut.dev;
		s->ino = w->cut.ino;
		s->same_boot = true;
		s->accept = false;
		s->seen_ino = 0;
	}
	health_claimed(&s->health, r->cfg.database);
	pthread_mutex_unlock(&r->lock);
}

/* ERR_OK once the journal says so. */
static int settle(struct replicator *r, struct err *e)
{
	struct work *w = &r->work;
	struct state before = w->state;
	fill_state(r);
	int rc = state_save(r->dir, &w->state, e);
	if (rc) {
		w->state = before;
		return rc;
	}
	log_debug("%s: TXID %016" PRIx64 " uploaded, %" PRIu64 " bytes", r->cfg.database,
		w->frozen.txid, w->frozen.size);
	copies_added(&w->copies, w->frozen.txid, w->frozen.size);
	note_file(r, &w->frozen);
	w->adopted = w->kept_due = true;
	w->frozen.txid = 0;
	w->put = false;
	tell_settled(r);
	return ERR_OK;
}

static void send_frozen(struct replicator *r)
{
	struct work *w = &r->work;
	struct err e = ERR_INIT;
	int rc = ERR_OK;
	if (!w->put) {
		rc = put_frozen(r, &e);
		w->put = rc == ERR_OK;
	}
	if (!rc)
		rc = settle(r, &e);
	if (!rc)
		all_is_well(r);
	if (rc == ERR_FENCED)
		become_fenced(r, &e);
	else if (rc)
		store_trouble(r, rc, &e);
}

void upload(struct replicator *r)
{
	enum phase phase = replicator_phase(r);
	if (phase == PHASE_LIST || phase == PHASE_STOPPED)
		return;
	if (replicator_flight(r) == FLIGHT_SEALED)
		freeze_cut(r);
	if (replicator_flight(r) == FLIGHT_FROZEN)
		send_frozen(r);
}
