#include "replicate/snapfile.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/ltxset.h"
#include "replicate/advice.h"
#include "replicate/fence.h"
#include "replicate/ltxfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *snapfile_path(const char *folder, uint64_t txid)
{
	char name[LTX_NAME_SIZE];
	ltx_format_name(1, txid, name);
	return fs_join(folder, name);
}

/* ---- encoding ---- */

struct encoding {
	struct ltxfile *file;
	struct ltx_encoder *enc;
	uint32_t page_size;
	uint64_t sum;
	const atomic_bool *cancelled;
};

static int encode_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct encoding *x = ctx;
	if (atomic_load(x->cancelled))
		return err_set(e, ERR_CANCELLED, "the snapshot was stopped on request");
	x->sum = ltx_checksum_xor(x->sum, ltx_page_checksum(pgno, page, x->page_size));
	return ltx_encoder_page(x->enc, pgno, page, e);
}

static int check_sum(const struct encoding *x, const struct ltx_header *of, struct err *e)
{
	if (x->sum == of->after_checksum)
		return ERR_OK;
	return err_set(e, ERR_DAMAGED,
		"the copy of the database has the checksum %016" PRIx64 ", TXID %016" PRIx64
		" was recorded with %016" PRIx64,
		x->sum, of->max_txid, of->after_checksum);
}

static int encode_to(const char *tmp, struct spool *s, const struct ltx_header *of,
	const atomic_bool *cancelled, struct err *e)
{
	struct ltx_header h = *of;
	h.min_txid = 1;
	h.before_checksum = 0;
	h.ours = true;
	struct encoding x = {.page_size = of->page_size, .cancelled = cancelled};
	int rc = ltxfile_create(&x.file, tmp, e);
	if (!rc)
		rc = ltx_encoder_new(&x.enc, &h, ltxfile_write_gently, x.file, e);
	if (!rc)
		rc = spool_take(s, encode_page, &x, e);
	if (!rc)
		rc = check_sum(&x, of, e);
	if (!rc)
		rc = ltx_encoder_finish(x.enc, NULL, NULL, e);
	if (!rc)
		rc = ltxfile_flush(x.file, 1, e);
	ltx_encoder_free(x.enc);
	ltxfile_close(x.file);
	return rc;
}

int snapfile_encode(struct spool *s, const struct ltx_header *of, const char *folder,
	const atomic_bool *cancelled, struct frozen *out, struct err *e)
{
	char *path = snapfile_path(folder, of->max_txid), *tmp = NULL;
	if (!path || asprintf(&tmp, "%s.tmp", path) < 0) {
		free(path);
		return err_nomem(e, "writing a snapshot");
	}
	int rc = ERR_OK;
	if (fs_mkdirs(folder, 0700))
		rc = err_errno(e, fs_error_code(errno), errno, "cannot create the folder %s", folder);
	if (!rc)
		rc = encode_to(tmp, s, of, cancelled, e);
	if (!rc)
		rc = ltxfile_publish(tmp, path, e);
	if (!rc)
		rc = frozen_read(path, out, e);
	if (rc) {
		fs_unlink(tmp);
		fs_unlink(path);
	}
	free(tmp);
	free(path);
	return rc;
}

/* ---- after a restart ---- */

/* Is it whole, up to its file checksum, and what its name says? */
static int check_file(const char *path, uint64_t txid, const atomic_bool *cancelled,
	struct frozen *out, struct err *e)
{
	struct ltx_header h;
	int rc = frozen_read(path, out, e);
	if (!rc && (out->header.min_txid != 1 || out->header.max_txid != txid))
		rc = err_set(e, ERR_DAMAGED, "%s holds other TXIDs than its name says", path);
	return rc ? rc : ltxfile_verify(path, cancelled, &h, e);
}

/* Takes the file when it is a whole snapshot newer than *best, and deletes what loses. */
static int take_entry(const char *folder, const char *name, const atomic_bool *cancelled,
	struct frozen *best, struct err *e)
{
	uint64_t min, max;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return ERR_OK;
	char *path = fs_join(folder, name);
	if (!path)
		return err_nomem(e, "looking for a snapshot");
	struct err why = ERR_INIT;
	struct frozen f = {0};
	bool candidate = ltx_parse_name(name, &min, &max) && min == 1 && max > best->txid;
	int rc = candidate ? check_file(path, max, cancelled, &f, &why) : ERR_DAMAGED;
	if (rc == ERR_OK) {
		uint64_t loser = best->txid;
		*best = f;
		if (loser)
			snapfile_delete(folder, loser);
	} else if (rc == ERR_DAMAGED || rc == ERR_NOT_FOUND) {
		if (candidate)
			log_warn("deleted because it is of no use: %s", why.text);
		rc = fs_unlink(path) && errno != ENOENT
				 ? err_errno(e, ERR_IO, errno, "cannot delete %s", path)
				 : ERR_OK;
	} else {
		*e = why;
	}
	free(path);
	return rc;
}

int snapfile_find(
	const char *folder, const atomic_bool *cancelled, struct frozen *out, struct err *e)
{
	memset(out, 0, sizeof(*out));
	DIR *d = opendir(folder);
	if (!d)
		return errno == ENOENT ? ERR_OK : err_errno(e, ERR_IO, errno, "cannot read %s", folder);
	int rc = ERR_OK;
	for (struct dirent *ent = readdir(d); ent && !rc; ent = readdir(d))
		rc = take_entry(folder, ent->d_name, cancelled, out, e);
	closedir(d);
	return rc;
}

void snapfile_delete(const char *folder, uint64_t txid)
{
	char *path = snapfile_path(folder, txid);
	if (path)
		fs_unlink(path);
	free(path);
}

/* ---- uploading ---- */

static bool is_same_state(const struct ltx_header *a, const struct ltx_header *b)
{
	return a->after_checksum == b->after_checksum && a->commit == b->commit &&
		   a->page_size == b->page_size;
}

/* F3: another file stands there. Our own of an earlier life may have other bytes. */
static int look_at_it(struct store *s, const struct frozen *f, struct err *e)
{
	struct ltx_header there;
	struct err why = *e;
	int rc = fence_header(s, LTX_SNAPSHOT_LEVEL, 1, f->txid, &there, e);
	if (rc == ERR_DAMAGED || (!rc && !(there.ours && there.after_checksum))) {
		*e = why;
		return ERR_CONDITION;
	}
	if (rc || is_same_state(&there, &f->header))
		return rc;
	return err_set(e, ERR_FENCED,
		"another node wrote a snapshot of TXID %016" PRIx64
		" of the replica, of another database than ours; nothing more is shipped from here: stop "
		"the other one and restore from the replica, or %s",
		f->txid, advice_takeover());
}

int snapfile_put(
	struct store *s, const char *path, struct put_ltx_how *how, struct frozen *out, struct err *e)
{
	int rc = put_ltx(s, LTX_SNAPSHOT_LEVEL, path, how, out, e);
	return rc == ERR_CONDITION ? look_at_it(s, out, e) : rc;
}

struct replica_file snapfile_record(const struct frozen *f)
{
	return (struct replica_file){
		.level = LTX_SNAPSHOT_LEVEL,
		.min_txid = 1,
		.max_txid = f->txid,
		.size = f->size,
		.timestamp_ms = f->header.timestamp,
		.uploaded_ms = clock_wall_ms(),
	};
}
