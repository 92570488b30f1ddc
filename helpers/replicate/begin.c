/*
 * The beginning: what is in the replica, what do we know, may we go on? (F6, F10, F11)
 *
 * One listing of all levels and the header of the file that ends last; start.c decides. Nothing is
 * written into the replica here except the probe of a store that we don't know yet.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/v3.h"
#include "replicate/fence.h"
#include "replicate/legacy.h"
#include "replicate/ltxfile.h"
#include "replicate/slot.h"
#include "replicate/snapshots.h"
#include "replicate/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STRANGERS_MAX 1000
#define TABLE_TRIES 4    /* 15 s: to ship every page costs more */
#define UNLISTED_MAX 100 /* files that are asked for by name */

/* ---- our own state ---- */

static int check_replica(struct replicator *r, struct err *e)
{
	struct work *w = &r->work;
	if (w->have_state && strcmp(w->state.replica, store_url(r->store)) == 0)
		return ERR_OK;
	latest_forget(r); /* of which replica it is nobody knows */
	if (!w->have_state)
		return ERR_OK;
	log_info("%s: the state was of the replica %s; beginning anew with %s", r->cfg.database,
		w->state.replica, store_url(r->store));
	memset(&w->state, 0, sizeof(w->state));
	w->have_state = false;
	return copies_clear(&w->copies, w->folder, e);
}

/* The clock may have been set while nobody ran: the upkeep, which doesn't run yet, is to compare
 * with what the last life saw. Across a boot nobody can. */
static void take_up_clock(struct replicator *r)
{
	const struct state *s = &r->work.state;
	if (!s->confirmed_wall_ms || !s->confirmed_boot_ms || !state_same_boot(s))
		return;
	r->upkeep.seen_wall_ms = s->confirmed_wall_ms;
	r->upkeep.seen_boot_ms = s->confirmed_boot_ms;
}

int load_state(struct replicator *r, struct err *e)
{
	struct work *w = &r->work;
	if (w->loaded)
		return ERR_OK;
	int rc = copies_scan(&w->copies, w->folder, e);
	if (!rc)
		rc = staging_clear_folder(state_dir_path(r->dir), e);
	if (rc)
		return rc;
	struct err why = ERR_INIT;
	rc = state_load(r->dir, &w->state, &w->copied, &why);
	w->have_state = rc == ERR_OK;
	if (w->have_state)
		take_up_clock(r);
	if (rc == ERR_DAMAGED)
		log_warn("%s: the state is lost: %s", r->cfg.database, why.text);
	else if (rc && rc != ERR_NOT_FOUND) {
		*e = why;
		return rc;
	}
	if (w->copied)
		log_info("%s: the state folder is a copy", r->cfg.database);
	rc = check_replica(r, e);
	if (!rc && w->have_state)
		rc = slot_recover(w->folder, w->state.txid + 1, e);
	w->loaded = rc == ERR_OK;
	return rc;
}

/* ---- the replica ---- */

struct listing {
	struct store *store;
	struct ltx_set set;
	int level;
	unsigned strangers; /* objects that are in no level */
	bool legacy;        /* some of them are Litestream 0.3's */
};

static int take_file(void *ctx, const struct store_object *o, struct err *e)
{
	struct listing *l = ctx;
	struct ltx_file f = {.level = l->level, .size = o->size, .modified_ms = o->modified_ms};
	if (!ltx_parse_name(o->name, &f.min_txid, &f.max_txid))
		return ERR_OK;
	return ltxset_add(&l->set, &f) ? err_nomem(e, "listing the replica") : ERR_OK;
}

/* "0000/<name>" */
static int take_named(void *ctx, const struct store_object *o, struct err *e)
{
	struct listing *l = ctx;
	for (l->level = 0; l->level < LTX_LEVELS; l->level++) {
		char prefix[16];
		store_level_prefix(l->store, l->level, prefix);
		size_t n = strlen(prefix);
		struct store_object in_level = *o;
		in_level.name = o->name + n;
		if (strncmp(o->name, prefix, n) == 0)
			return take_file(ctx, &in_level, e);
	}
	l->legacy |= strncmp(o->name, V3_PREFIX, strlen(V3_PREFIX)) == 0;
	return ++l->strangers > STRANGERS_MAX ? err_set(e, ERR_FULL, "other things are there") : ERR_OK;
}

static int take_legacy(void *ctx, const struct store_object *o, struct err *e)
{
	(void)o;
	(void)e;
	((struct listing *)ctx)->legacy = true;
	return ERR_OK;
}

static int list_by_level(struct store *s, struct listing *l, struct err *e)
{
	int rc = store_list(s, V3_PREFIX, NULL, 1, take_legacy, l, e);
	for (l->level = 0; !rc && l->level < LTX_LEVELS; l->level++) {
		char prefix[16];
		store_level_prefix(s, l->level, prefix);
		rc = store_list(s, prefix, NULL, 0, take_file, l, e);
	}
	return rc;
}

/* Where a listing is a request: one, instead of one for each level, most of which are empty; unless
 * the replica's URL is a whole bucket full of other things. In folders a level costs nothing. */
static int list_all(struct store *s, struct listing *l, struct err *e)
{
	bool at_once = store_capabilities(s)->layout == STORE_LAYOUT_HEX;
	int rc = ERR_OK;
	l->store = s;
	if (at_once)
		rc = store_list(s, "", NULL, 0, take_named, l, e);
	if (rc == ERR_FULL) {
		ltxset_free(&l->set);
		ltxset_init(&l->set);
		err_clear(e);
		at_once = false;
	}
	if (!at_once)
		rc = list_by_level(s, l, e);
	ltxset_sort(&l->set);
	return rc;
}

/*
 * A listing may lag behind the objects themselves (Swift's does). The L0 that our state says was
 * there is asked for by name before anything is made of its absence, and those before it, too.
 */
static int add_unlisted(struct replicator *r, struct listing *l, struct err *e)
{
	const struct state *s = &r->work.state;
	uint64_t listed = ltxset_max_txid(&l->set);
	uint64_t known = s->restored_of > s->txid ? s->restored_of : s->txid;
	for (uint64_t txid = known; txid > listed && known - txid < UNLISTED_MAX; txid--) {
		char name[FENCE_NAME_SIZE];
		struct store_object o;
		struct err why = ERR_INIT;
		fence_name(r->store, 0, txid, txid, name);
		int rc = store_head(r->store, name, &o, &why);
		if (rc == ERR_NOT_FOUND)
			break;
		if (rc) {
			*e = why;
			return rc;
		}
		struct ltx_file f = {0, txid, txid, o.size, o.modified_ms};
		if (ltxset_add(&l->set, &f))
			return err_nomem(e, "listing the replica");
		ltxset_sort(&l->set);
	}
	return ERR_OK;
}

/* The file that ends last, an L0 where there is one: files are sorted by level. */
static const struct ltx_file *last_file(const struct ltx_set *set, uint64_t max)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->files[i].max_txid == max)
			return &set->files[i];
	return NULL;
}

static bool holds_l0(const struct ltx_set *set, uint64_t txid)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->files[i].level == 0 && set->files[i].min_txid == txid)
			return true;
	return false;
}

/* ---- facts ---- */

/* A file behind the settled state that was frozen and perhaps sent. */
static int find_frozen(
	struct replicator *r, const struct ltx_set *set, struct start_facts *f, struct err *e)
{
	struct work *w = &r->work;
	uint64_t next = w->have_state ? w->state.txid + 1 : 1;
	struct err why = ERR_INIT;
	memset(&w->frozen, 0, sizeof(w->frozen));
	int rc = frozen_load(w->folder, next, &w->frozen, &why);
	if (rc == ERR_NOT_FOUND || !w->have_state)
		return ERR_OK;
	if (rc == ERR_DAMAGED) {
		log_warn("%s: %s: it was never sent", r->cfg.database, why.text);
		return ERR_OK;
	}
	if (rc) {
		*e = why;
		return rc;
	}
	f->frozen_txid = next;
	f->frozen_there = holds_l0(set, next);
	return f->frozen_there ? fence_same(r->store, &w->frozen, &f->frozen_same, e) : ERR_OK;
}

/* What was listed stays known (inventory.h). */
static int keep_listing(struct replicator *r, const struct ltx_set *set, struct err *e)
{
	int64_t now = clock_wall_ms();
	pthread_mutex_lock(&r->lock);
	r->shared.listed_ms = now;
	pthread_mutex_unlock(&r->lock);
	return inventory_load(
		&r->inventory, set, false, state_dir_path(r->dir), store_url(r->store), now, e);
}

/* Only while there is nothing else: later there are files of ours beside them. */
static int look_at_legacy(struct replicator *r, struct start_facts *f, struct err *e)
{
	struct legacy_tally t;
	struct stat st;
	int rc = legacy_count(r->store, &t, e);
	if (rc || t.objects == 0)
		return rc;
	f->legacy = true;
	f->legacy_ms = t.newest_ms;
	f->same_file = f->state && !stat(r->cfg.database, &st) && st.st_ino == f->state->ino;
	if (!r->work.legacy_told)
		log_info("%s: %s holds backups of Litestream 0.3: they stay as they are and can be "
				 "restored; ours go beside them",
			r->cfg.database, store_url(r->store));
	r->work.legacy_told = true;
	return ERR_OK;
}

static int gather(struct replicator *r, struct start_facts *f, struct err *e)
{
	struct listing l = {.level = 0};
	ltxset_init(&l.set);
	int rc = list_all(r->store, &l, e);
	if (!rc && r->work.have_state)
		rc = add_unlisted(r, &l, e);
	if (!rc)
		rc = keep_listing(r, &l.set, e);
	if (!rc) {
		f->state = r->work.have_state ? &r->work.state : NULL;
		f->copied = r->work.copied;
		f->takeover = r->cfg.takeover;
		f->comparable = r->cfg.latest != NULL;
		f->max_txid = ltxset_max_txid(&l.set);
	}
	if (!rc && l.legacy && f->max_txid == 0)
		rc = look_at_legacy(r, f, e);
	const struct ltx_file *last = rc ? NULL : last_file(&l.set, f->max_txid);
	if (last) {
		f->last_is_l0 = last->level == 0;
		rc = fence_header(r->store, last->level, last->min_txid, last->max_txid, &f->last, e);
	}
	if (!rc)
		rc = find_frozen(r, &l.set, f, e);
	ltxset_free(&l.set);
	return rc;
}

static int probe(struct replicator *r, struct err *e)
{
	struct state *s = &r->work.state;
	if (!s->probed) {
		int rc = fence_probe(r->store, &s->weak_fencing, e);
		if (rc)
			return err_wrap(e, "cannot write to the replica"), rc;
		s->probed = true;
		if (s->weak_fencing)
			log_warn("%s: %s does not refuse to overwrite a file: fencing is weak, two writers are "
					 "noticed late",
				r->cfg.database, store_url(r->store));
	}
	pthread_mutex_lock(&r->lock);
	r->shared.weak = s->weak_fencing;
	pthread_mutex_unlock(&r->lock);
	return ERR_OK;
}

/* ---- what follows ---- */

/* The table that the database is compared with; without one every page is shipped. */
static int load_table(struct replicator *r, uint64_t txid, uint64_t checksum, struct err *e)
{
	struct err why = ERR_INIT;
	struct replica_file *files;
	size_t n;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	if (rc)
		return rc;
	rc = table_load(&r->table, state_dir_path(r->dir), r->store, files, n, txid, checksum, &why);
	free(files);
	bool passes = rc == ERR_UNREACHABLE || rc == ERR_DENIED || rc == ERR_CANCELLED ||
				  rc == ERR_NOMEM || rc == ERR_AGAIN;
	bool may_pass = rc == ERR_IO || rc == ERR_FULL; /* no descriptors, or a disk that is broken */
	if (passes || (may_pass && r->work.table_tries++ < TABLE_TRIES)) {
		*e = why;
		return rc;
	}
	if (rc)
		log_warn("%s: no page table, every page is shipped: %s", r->cfg.database, why.text);
	else
		r->work.table_saved_txid = txid; /* folding again costs little */
	/* What was fetched for it is a copy now. */
	return copies_scan(&r->work.copies, r->work.folder, e);
}

/* Leads on from PHASE_LIST; the turn does the rest. */
static void lead_on(struct replicator *r, const struct start_facts *f, const struct err *why)
{
	struct work *w = &r->work;
	struct shared *s = &r->shared;
	enum start_kind kind = w->plan.kind;
	bool same_boot = w->have_state && state_same_boot(&w->state);
	pthread_mutex_lock(&r->lock);
	s->claim = kind != START_FIRST && (kind != START_CONTINUE || w->state.claim_due);
	s->whole = kind == START_FIRST || kind == START_TAKEOVER || r->table.txid == 0;
	s->prove = kind == START_PROVE || w->plan.compared;
	s->judge = kind == START_CONTINUE && !s->whole;
	if (s->prove) {
		s->claim = s->whole = false;
		s->prove_checksum = w->plan.compared ? r->table.checksum : f->last.after_checksum;
		s->prove_n_page = w->plan.compared ? r->table.n_page : f->last.commit;
		s->prove_page_size = w->plan.compared ? r->table.page_size : f->last.page_size;
		s->prove_whole = w->plan.legacy;
		if (!w->plan.compared)
			s->prove_what[0] = '\0'; /* of an earlier comparison */
		copy_text(s->prove_reason, sizeof(s->prove_reason), why->text);
	}
	if (s->whole && w->plan.resend)
		s->whole = false; /* the frozen file is that */
	s->base_txid = w->plan.base_txid;
	memset(&s->settled_pos, 0, sizeof(s->settled_pos));
	/* What was judged to be another database is judged again, whatever its WAL looks like. */
	if (kind == START_CONTINUE && !w->plan.resend && strcmp(w->state.stopped, "replaced") != 0)
		s->settled_pos = w->state.pos;
	if (kind == START_CONTINUE && !w->led && strcmp(w->state.stopped, "replaced") != 0)
		memcpy(s->lineage, w->state.pos.salt, sizeof(s->lineage));
	w->led = true;
	if (kind == START_CONTINUE || kind == START_RESTORED) {
		s->dev = w->state.dev;
		s->ino = w->state.ino;
		s->same_boot = same_boot;
		s->txid = w->state.txid;
		s->txid_ms = w->state.timestamp_ms;
		s->txid_checksum = w->state.checksum;
		s->page_size = w->state.page_size;
		s->n_page = w->state.n_page;
	}
	s->node_id = w->state.node_id;
	s->flight = w->plan.resend ? FLIGHT_FROZEN : FLIGHT_NONE;
	s->flight_us = clock_mono_us();
	s->phase = PHASE_ATTACH;
	pthread_mutex_unlock(&r->lock);
}

/* A frozen file that waits brings the table to its own state. */
static int fold_frozen(struct replicator *r, struct err *e)
{
	struct work *w = &r->work;
	memset(&w->cut, 0, sizeof(w->cut));
	w->put = false;
	if (r->table.txid == 0 && w->frozen.txid != 1)
		return ERR_OK;
	if (r->table.txid == 0)
		pagesums_init(&r->table, w->frozen.header.page_size);
	char *path = frozen_path(w->folder, w->frozen.txid);
	if (!path)
		return err_nomem(e, "reading the frozen file");
	struct err why = ERR_INIT;
	int rc = ltxfile_fold(path, &r->table, &why);
	free(path);
	if (rc != ERR_DAMAGED)
		return rc ? (*e = why, rc) : ERR_OK;
	log_warn("%s: %s", r->cfg.database, why.text);
	pagesums_free(&r->table);
	pagesums_init(&r->table, 0);
	return ERR_OK;
}

static int prepare(struct replicator *r, const struct start_facts *f, struct err *e)
{
	struct work *w = &r->work;
	int rc = probe(r, e);
	if (rc)
		return rc;
	if (w->plan.kind != START_CONTINUE)
		rc = snapshot_forget(r, e);
	if (rc)
		return rc;
	if (!w->plan.resend)
		w->frozen.txid = 0;
	pagesums_free(&r->table);
	pagesums_init(&r->table, 0);
	if (w->plan.kind == START_CONTINUE && w->state.txid)
		rc = load_table(r, w->state.txid, w->state.checksum, e);
	else if (w->plan.kind == START_RESTORED)
		rc = load_table(r, f->max_txid, f->last.ours ? f->last.after_checksum : 0, e);
	else if (w->plan.kind == START_COMPARE)
		rc = latest_read(r, f, e);
	if (!rc && w->plan.resend)
		rc = fold_frozen(r, e);
	return rc;
}

static bool still_replaced(struct replicator *r)
{
	const struct state *s = &r->work.state;
	struct stat st;
	if (strcmp(s->stopped, "replaced") != 0 || r->cfg.accept || !s->ino)
		return false;
	return !stat(r->cfg.database, &st) && st.st_ino != s->ino;
}

/* A node id of this process, with its predecessor; written before anything is sent. */
static void draw_node_id(struct state *s)
{
	s->prev_node_id = s->node_id;
	s->node_id = state_new_node_id();
}

void begin(struct replicator *r)
{
	struct work *w = &r->work;
	struct start_facts f = {0};
	struct err e = ERR_INIT, why = ERR_INIT;
	struct moment asked = moment_now();
	bool first_time = !w->loaded;
	int rc = load_state(r, &e);
	if (!rc && first_time)
		draw_node_id(&w->state);
	if (!rc && still_replaced(r)) {
		replicator_set_phase(r, PHASE_STOPPED);
		err_set(&why, ERR_FAIL, "%s", w->state.reason);
		replicator_trouble(r, HEALTH_SOURCE, REPLICATOR_REPLACED, &why);
		return;
	}
	if (!rc)
		rc = gather(r, &f, &e);
	if (!rc) {
		start_decide(&f, &w->plan, &why);
		if (w->plan.kind == START_FENCED) {
			become_fenced(r, &why);
			return;
		}
		if (w->plan.kind == START_PROVE)
			name_owner(r, &why);
		rc = prepare(r, &f, &e);
	}
	if (rc == ERR_FENCED) {
		become_fenced(r, &e);
		return;
	}
	if (rc) {
		store_trouble(r, rc, &e);
		return;
	}
	store_works(r, &asked);
	lead_on(r, &f, &why);
}
