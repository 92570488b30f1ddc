/*
 * A replica whose last file records no database checksum: Litestream's. Is it the database here?
 *
 * The files are read, the sum of each page that they lead to is kept (8 bytes a page), and the turn
 * compares the database with that, as with a recorded checksum: what is proven to be the same goes
 * on by itself, and of anything else it is known how many pages differ.
 *
 * That costs a download of the replica, and whoever is fenced may be started again and again,
 * beside another node that goes on writing. So what was read stays in the state folder:
 *
 *   <dir>/latest.pages    the page table (source/pagesums.h) at a TXID; of Litestream 0.3's files,
 *                         which have none, at the time in ms at which the last one was written
 *
 * A later start reads only the LTX files behind it, for a day, and of 0.3's nothing for ten
 * minutes. (Should the replica have been emptied and begun anew meanwhile, its TXIDs don't tell.)
 * What comes out of that is good for a refusal. Before anything is claimed all files are read.
 */
#include "replicate/internal.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "replicate/advice.h"
#include "replicate/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LATEST_PAGES "latest.pages"
#define LEGACY_SECONDS 600
#define KEPT_SECONDS 86400

/* ---- what is known from before ---- */

static char *kept_path(const struct replicator *r)
{
	return fs_join(state_dir_path(r->dir), LATEST_PAGES);
}

static bool is_young(const char *path, int64_t seconds)
{
	struct stat st;
	int64_t now = clock_wall_ms() / 1000;
	return !stat(path, &st) && st.st_mtim.tv_sec <= now && now - st.st_mtim.tv_sec < seconds;
}

/* Brings it forward to the replica's last file. */
static int follow(struct replicator *r, uint64_t txid, struct err *e)
{
	struct replica_file *files;
	size_t n;
	int rc = inventory_copy(&r->inventory, &files, &n, e);
	if (rc)
		return rc;
	rc = table_follow(&r->table, state_dir_path(r->dir), r->store, files, n, txid, e);
	free(files);
	return rc;
}

/* True with the table, which may be out of date. */
static bool load_kept(struct replicator *r, const struct start_facts *f)
{
	struct err why = ERR_INIT;
	char *path = kept_path(r);
	int rc = path ? pagesums_load(&r->table, path, &why) : ERR_NOMEM;
	bool as_it_was = f->legacy && r->table.txid == (uint64_t)f->legacy_ms;
	if (!rc && !as_it_was && !is_young(path, f->legacy ? LEGACY_SECONDS : KEPT_SECONDS))
		rc = ERR_NOT_FOUND;
	if (!rc && !f->legacy)
		rc = follow(r, f->max_txid, &why);
	free(path);
	if (!rc)
		return true;
	pagesums_free(&r->table);
	pagesums_init(&r->table, 0);
	return false;
}

static void keep_latest(struct replicator *r, uint64_t at)
{
	struct err e = ERR_INIT;
	char *path = kept_path(r);
	uint64_t txid = r->table.txid;
	r->table.txid = at;
	if (path && pagesums_save(&r->table, path, &e))
		log_warn("%s: %s", r->cfg.database, e.text);
	r->table.txid = txid;
	free(path);
}

void latest_forget(struct replicator *r)
{
	char *path = kept_path(r);
	if (path)
		fs_unlink(path);
	free(path);
}

/* ---- reading ---- */

static int read_all(
	struct replicator *r, const struct start_facts *f, int64_t *at_ms, struct err *e)
{
	struct err why = ERR_INIT;
	pagesums_free(&r->table);
	int rc = r->cfg.latest(r->store, state_dir_path(r->dir), &r->table, at_ms, &why);
	if (rc == ERR_DAMAGED || rc == ERR_NO_BACKUP || rc == ERR_UNSUPPORTED)
		return err_set(e, ERR_FENCED,
			"the replica holds another's data, which the database can't be compared with: %.400s; "
			"nothing was uploaded: " ADVICE_FENCED,
			why.text, advice_takeover());
	if (rc)
		return *e = why, rc;
	if (r->table.txid && r->table.txid != f->max_txid)
		return err_set(e, ERR_AGAIN, "the replica's files changed while they were read");
	if (r->table.txid || f->legacy)
		keep_latest(r, r->table.txid ? r->table.txid : (uint64_t)f->legacy_ms);
	return ERR_OK;
}

/* What is compared, for a person. */
static void describe(struct replicator *r, int64_t at_ms)
{
	const struct work *w = &r->work;
	char time[32], what[sizeof(r->shared.prove_what)];
	clock_format_rfc3339(at_ms, time);
	if (w->plan.legacy)
		snprintf(what, sizeof(what), "Litestream 0.3's, of %s", time);
	else
		snprintf(what, sizeof(what), "TXID %016" PRIx64 " of %s", w->plan.base_txid, time);
	pthread_mutex_lock(&r->lock);
	copy_text(r->shared.prove_what, sizeof(r->shared.prove_what), what);
	pthread_mutex_unlock(&r->lock);
}

/* What follows if the database is that. */
static void plan_on(struct replicator *r)
{
	struct start_plan *p = &r->work.plan;
	p->compared = true;
	if (!p->legacy) {
		p->kind = START_PROVE;
		p->base_checksum = r->table.checksum;
	} else {
		p->kind = p->base_txid ? START_TAKEOVER : START_FIRST;
		p->base_checksum = 0;
	}
}

int latest_read(struct replicator *r, const struct start_facts *f, struct err *e)
{
	struct work *w = &r->work;
	int64_t at_ms = f->legacy ? f->legacy_ms : f->last.timestamp;
	bool kept = !w->latest_anew && load_kept(r, f);
	if (kept)
		w->plan.legacy = f->legacy;
	if (!kept) {
		log_info("%s: reading the replica, to compare the database with its latest state",
			r->cfg.database);
		int rc = read_all(r, f, &at_ms, e);
		if (rc)
			return rc;
		w->plan.legacy = r->table.txid == 0;
	}
	/* Should it be the same, the next look is a real one. */
	w->latest_anew = kept;
	pthread_mutex_lock(&r->lock);
	r->shared.prove_again = kept;
	pthread_mutex_unlock(&r->lock);
	plan_on(r);
	describe(r, at_ms);
	return ERR_OK;
}

/* ---- comparing ---- */

uint32_t latest_differ(const struct pagesums *latest, const struct pagesums *live, uint32_t *pages)
{
	uint32_t most = latest->n_page > live->n_page ? latest->n_page : live->n_page, differ = 0;
	*pages = most;
	if (latest->page_size != live->page_size)
		return most;
	for (uint32_t pgno = 1; pgno && pgno <= most; pgno++)
		differ += pagesums_get(latest, pgno) != pagesums_get(live, pgno);
	return differ;
}
