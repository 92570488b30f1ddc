#include "replicate/table.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/fence.h"
#include "replicate/freeze.h"
#include "replicate/ltxfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More files than ten minutes hold: fetching them costs more than a comparison saves. */
#define FOLD_MAX 4096

static int take(void *ctx, const void *p, size_t n, struct err *e)
{
	return ltxfile_write(ctx, p, n, e);
}

/* What is needed to bring a table forward. */
struct folding {
	struct pagesums *table;
	const char *folder; /* of our L0 copies */
	bool theirs;        /* there are none: it is a folder for temporary files */
	struct store *store;
	const struct replica_file *files; /* of the replica; n may be 0 */
	size_t n;
	uint64_t goal;
};

static int fetch(
	const struct folding *g, const struct replica_file *f, const char *to, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct ltxfile *out = NULL;
	fence_name(g->store, f->level, f->min_txid, f->max_txid, name);
	int rc = ltxfile_create(&out, to, e);
	if (!rc)
		rc = store_get(g->store, name, 0, 0, take, out, e);
	if (!rc)
		rc = ltxfile_flush(out, 0, e);
	ltxfile_close(out);
	return rc;
}

/* A file of the replica. An L0 stays in the folder: it is a copy like the others. */
static int fold_fetched(const struct folding *g, const struct replica_file *f, struct err *e)
{
	/* staging-*: what a crash leaves is deleted. */
	char *path =
		g->theirs ? fs_join(g->folder, "staging-latest") : frozen_path(g->folder, f->max_txid);
	char *tmp = NULL;
	bool keep = f->level == 0 && !g->theirs;
	int rc = ERR_OK;
	if (!path || asprintf(&tmp, "%s.tmp", path) < 0) {
		tmp = NULL;
		rc = err_nomem(e, "fetching an LTX file");
	}
	if (!rc)
		rc = fetch(g, f, tmp, e);
	if (!rc && keep && fs_rename(tmp, path))
		rc = err_errno(e, ERR_IO, errno, "cannot rename %s", tmp);
	if (!rc)
		rc = ltxfile_fold(keep ? path : tmp, g->table, e);
	if (tmp && (rc || !keep))
		fs_unlink(tmp);
	free(path);
	free(tmp);
	return rc;
}

/*
 * The file that leads furthest from TXID `at`, not past the goal. Not one that holds every page:
 * reading it costs more than comparing would save. NULL: there is none.
 */
static const struct replica_file *next_file(const struct folding *g, uint64_t at)
{
	const struct replica_file *best = NULL;
	for (size_t i = 0; i < g->n; i++) {
		const struct replica_file *f = &g->files[i];
		bool leads = f->min_txid > 1 && f->min_txid <= at + 1 && f->max_txid > at;
		if (leads && f->max_txid <= g->goal && (!best || f->max_txid > best->max_txid))
			best = f;
	}
	return best;
}

static int fold_copy(const struct folding *g, uint64_t txid, struct err *e)
{
	char *path = frozen_path(g->folder, txid);
	int rc = path ? ltxfile_fold(path, g->table, e) : err_nomem(e, "loading the page table");
	free(path);
	return rc;
}

/* One step: our copy of the next transaction, or what the replica has. */
static int fold_next(const struct folding *g, struct err *e)
{
	uint64_t next = g->table->txid + 1;
	struct err local = ERR_INIT;
	int rc = g->theirs ? ERR_NOT_FOUND : fold_copy(g, next, &local);
	if (rc != ERR_NOT_FOUND && rc != ERR_DAMAGED) {
		if (rc && e)
			*e = local;
		return rc;
	}
	const struct replica_file *f = next_file(g, next - 1);
	if (!f)
		return err_set(
			e, ERR_DAMAGED, "no file that leads on from TXID %016" PRIx64 " is left", next - 1);
	if (g->theirs)
		return fold_fetched(g, f, e);
	log_info("the local copy of TXID %016" PRIx64 " is %s: fetching L%d %016" PRIx64 "-%016" PRIx64
			 " from the replica",
		next, rc == ERR_NOT_FOUND ? "missing" : "damaged", f->level, f->min_txid, f->max_txid);
	return fold_fetched(g, f, e);
}

static int fold_all(const struct folding *g, struct err *e)
{
	struct pagesums *table = g->table;
	if (table->txid > g->goal)
		return err_set(e, ERR_DAMAGED,
			"the page table is of TXID %016" PRIx64 ", which was never settled", table->txid);
	int rc = ERR_OK;
	for (int steps = 0; !rc && table->txid < g->goal; steps++) {
		if (steps == FOLD_MAX)
			return err_set(e, ERR_DAMAGED, "the page table is more than %d files old", FOLD_MAX);
		rc = fold_next(g, e);
	}
	return rc;
}

int table_load(struct pagesums *table, const char *dir, struct store *store,
	const struct replica_file *files, size_t n, uint64_t txid, uint64_t checksum, struct err *e)
{
	char *path = fs_join(dir, "pages"), *folder = fs_join(dir, "ltx/0");
	int rc = ERR_OK;
	if (!path || !folder)
		rc = err_nomem(e, "loading the page table");
	if (!rc)
		rc = pagesums_load(table, path, e);
	const struct folding g = {table, folder, false, store, files, n, txid};
	if (!rc)
		rc = fold_all(&g, e);
	if (!rc && checksum && table->checksum != checksum)
		rc = err_set(e, ERR_DAMAGED, "the page table does not have the recorded checksum");
	if (rc) {
		pagesums_free(table);
		pagesums_init(table, 0);
	}
	free(path);
	free(folder);
	return rc;
}

int table_follow(struct pagesums *table, const char *dir, struct store *store,
	const struct replica_file *files, size_t n, uint64_t txid, struct err *e)
{
	const struct folding g = {table, dir, true, store, files, n, txid};
	return fold_all(&g, e);
}

int table_save(const struct pagesums *table, const char *dir, struct err *e)
{
	char *path = fs_join(dir, "pages");
	if (!path)
		return err_nomem(e, "saving the page table");
	int rc = pagesums_save(table, path, e);
	free(path);
	return rc;
}
