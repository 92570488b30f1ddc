#include "replicate/table.h"

#include "base/fs.h"
#include "base/log.h"
#include "replicate/fence.h"
#include "replicate/freeze.h"
#include "replicate/ltxfile.h"

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

/* Brings the replica's L0 file into the folder, so that it is a copy like the others. */
static int fetch(const char *folder, struct store *store, uint64_t txid, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	fence_name(store, 0, txid, txid, name);
	char *path = frozen_path(folder, txid), *tmp = NULL;
	struct ltxfile *f = NULL;
	int rc = ERR_OK;
	if (!path || asprintf(&tmp, "%s.tmp", path) < 0)
		rc = err_nomem(e, "fetching an L0 file");
	if (!rc)
		rc = ltxfile_create(&f, tmp, e);
	if (!rc)
		rc = store_get(store, name, 0, 0, take, f, e);
	if (!rc)
		rc = ltxfile_flush(f, 0, e);
	ltxfile_close(f);
	if (!rc && fs_rename(tmp, path))
		rc = err_set(e, ERR_IO, "cannot rename %s", tmp);
	if (rc && tmp)
		fs_unlink(tmp);
	free(path);
	free(tmp);
	return rc;
}

static int fold_one(
	struct pagesums *table, const char *folder, struct store *store, uint64_t txid, struct err *e)
{
	char *path = frozen_path(folder, txid);
	if (!path)
		return err_nomem(e, "loading the page table");
	struct err local = ERR_INIT;
	int rc = ltxfile_fold(path, table, &local);
	if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED) {
		log_info("the local copy of TXID %016" PRIx64 " is %s: fetching it from the replica", txid,
			rc == ERR_NOT_FOUND ? "missing" : "damaged");
		rc = fetch(folder, store, txid, e);
		if (!rc)
			rc = ltxfile_fold(path, table, e);
	} else if (rc && e) {
		*e = local;
	}
	free(path);
	return rc;
}

static int fold_all(
	struct pagesums *table, const char *folder, struct store *store, uint64_t txid, struct err *e)
{
	if (table->txid > txid)
		return err_set(e, ERR_DAMAGED,
			"the page table is of TXID %016" PRIx64 ", which was never settled", table->txid);
	if (txid - table->txid > FOLD_MAX)
		return err_set(
			e, ERR_DAMAGED, "the page table is %" PRIu64 " transactions old", txid - table->txid);
	int rc = ERR_OK;
	for (uint64_t t = table->txid + 1; !rc && t <= txid; t++)
		rc = fold_one(table, folder, store, t, e);
	return rc;
}

int table_load(struct pagesums *table, const char *dir, struct store *store, uint64_t txid,
	uint64_t checksum, struct err *e)
{
	char *path = fs_join(dir, "pages"), *folder = fs_join(dir, "ltx/0");
	int rc = ERR_OK;
	if (!path || !folder)
		rc = err_nomem(e, "loading the page table");
	if (!rc)
		rc = pagesums_load(table, path, e);
	if (!rc)
		rc = fold_all(table, folder, store, txid, e);
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

int table_save(const struct pagesums *table, const char *dir, struct err *e)
{
	char *path = fs_join(dir, "pages");
	if (!path)
		return err_nomem(e, "saving the page table");
	int rc = pagesums_save(table, path, e);
	free(path);
	return rc;
}
