#include "replicate/freeze.h"

#include "base/fs.h"
#include "format/ltxset.h"
#include "replicate/ltxfile.h"
#include "replicate/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *frozen_path(const char *folder, uint64_t txid)
{
	char name[LTX_NAME_SIZE];
	ltx_format_name(txid, txid, name);
	return fs_join(folder, name);
}

/* ---- checksums ---- */

/* The sums of `pages`, in order, and the database checksum once they are in the table. */
static int sum_pages(const struct staging *staging, const uint32_t *pages, uint64_t *sums,
	const struct pagesums *table, uint32_t commit, uint64_t *after, struct err *e)
{
	uint32_t size = staging_page_size(staging);
	uint8_t *page = malloc(size);
	if (!page)
		return err_nomem(e, "freezing a transaction");
	int rc = ERR_OK;
	uint64_t sum = table->checksum;
	for (uint32_t pgno = commit + 1; pgno <= table->n_page; pgno++)
		if (pagesums_get(table, pgno))
			sum = ltx_checksum_xor(sum, pagesums_get(table, pgno));
	for (uint32_t i = 0; !rc && i < staging_count(staging); i++) {
		rc = staging_get(staging, pages[i], page, e);
		if (rc)
			break;
		sums[i] = ltx_page_checksum(pages[i], page, size);
		uint64_t old = pagesums_get(table, pages[i]);
		if (old)
			sum = ltx_checksum_xor(sum, old);
		sum = ltx_checksum_xor(sum, sums[i]);
	}
	free(page);
	*after = sum;
	return rc;
}

static int apply_sums(struct pagesums *table, const struct ltx_header *h, const uint32_t *pages,
	const uint64_t *sums, uint32_t n, struct err *e)
{
	int rc = pagesums_resize(table, h->commit);
	for (uint32_t i = 0; !rc && i < n; i++)
		rc = pagesums_set(table, pages[i], sums[i]);
	if (rc)
		return err_nomem(e, "updating the page table");
	table->txid = h->max_txid;
	return ERR_OK;
}

/* ---- the file ---- */

static int encode_pages(
	struct ltx_encoder *enc, const struct staging *staging, const uint32_t *pages, struct err *e)
{
	uint8_t *page = malloc(staging_page_size(staging));
	if (!page)
		return err_nomem(e, "freezing a transaction");
	int rc = ERR_OK;
	for (uint32_t i = 0; !rc && i < staging_count(staging); i++) {
		rc = staging_get(staging, pages[i], page, e);
		if (!rc)
			rc = ltx_encoder_page(enc, pages[i], page, e);
	}
	free(page);
	return rc;
}

static int write_file(const char *tmp, const struct staging *staging, const uint32_t *pages,
	const struct ltx_header *h, uint64_t *size, struct err *e)
{
	struct ltxfile *f = NULL;
	struct ltx_encoder *enc = NULL;
	int rc = ltxfile_create(&f, tmp, e);
	if (rc)
		return rc;
	rc = ltx_encoder_new(&enc, h, ltxfile_write, f, e);
	if (!rc)
		rc = encode_pages(enc, staging, pages, e);
	if (!rc)
		rc = ltx_encoder_finish(enc, NULL, NULL, e);
	if (!rc)
		rc = ltxfile_flush(f, 0, e);
	if (!rc)
		rc = ltxfile_size(f, size, e);
	ltx_encoder_free(enc);
	ltxfile_close(f);
	return rc;
}

static int sync_file(const char *path, struct err *e)
{
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW, 0), rc = ERR_OK;
	if (fd < 0 || fs_fsync(fd)) {
		rc = err_errno(e, fs_error_code(errno), errno, "cannot fsync %s", path);
	}
	fs_close(fd);
	return rc;
}

/* Gives the written file its name, once its bytes are durable: in the slot, or where they are. */
static int name_file(const char *folder, const char *tmp, const char *path,
	const struct ltx_header *h, uint64_t size, struct err *e)
{
	struct err ignored = ERR_INIT;
	if (size <= SLOT_FILE_MAX && !slot_put(folder, h->max_txid, tmp, size, &ignored))
		return fs_rename(tmp, path) ? err_errno(e, ERR_IO, errno, "cannot rename %s", tmp) : ERR_OK;
	/* Other bytes under this TXID must not come back from there. */
	int rc = slot_clear(folder, h->max_txid, e);
	if (!rc)
		rc = sync_file(tmp, e);
	return rc ? rc : ltxfile_publish(tmp, path, e);
}

static int write_frozen(const char *folder, const struct staging *staging, const uint32_t *pages,
	const struct ltx_header *h, struct frozen *out, struct err *e)
{
	char *path = frozen_path(folder, h->max_txid), *tmp = NULL;
	if (!path || asprintf(&tmp, "%s.tmp", path) < 0) {
		free(path);
		return err_nomem(e, "freezing a transaction");
	}
	uint64_t size = 0;
	int rc = write_file(tmp, staging, pages, h, &size, e);
	if (!rc)
		rc = name_file(folder, tmp, path, h, size, e);
	if (!rc)
		rc = frozen_load(folder, h->max_txid, out, e);
	if (rc) {
		/* Not handed to anybody yet, so the TXID is still free for other bytes. */
		fs_unlink(tmp);
		fs_unlink(path);
	}
	free(tmp);
	free(path);
	return rc;
}

int freeze(const char *folder, const struct staging *staging, const struct ltx_header *header,
	struct pagesums *table, struct frozen *out, struct err *e)
{
	struct ltx_header h = *header;
	uint32_t n = staging_count(staging);
	uint32_t *pages = staging_pages(staging);
	uint64_t *sums = malloc(((size_t)n + 1) * sizeof(*sums));
	int rc = ERR_OK;
	if (!pages || !sums)
		rc = err_nomem(e, "freezing a transaction");
	if (!rc)
		rc = sum_pages(staging, pages, sums, table, h.commit, &h.after_checksum, e);
	/* Room first: nothing may fail once the file is there. */
	if (!rc && pagesums_reserve(table, h.commit))
		rc = err_nomem(e, "updating the page table");
	h.ours = true;
	if (!rc)
		rc = write_frozen(folder, staging, pages, &h, out, e);
	if (!rc)
		rc = apply_sums(table, &h, pages, sums, n, e);
	free(pages);
	free(sums);
	return rc;
}

int frozen_read(const char *path, struct frozen *out, struct err *e)
{
	struct stat st;
	int rc = ERR_OK;
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &st))
		rc = err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot open %s", path);
	else if (st.st_size < LTX_HEADER_SIZE + LTX_TRAILER_SIZE)
		rc = err_set(e, ERR_DAMAGED, "%s is too short for an LTX file", path);
	else if (fs_pread_full(fd, out->head, sizeof(out->head), 0) ||
			 fs_pread_full(fd, out->tail, sizeof(out->tail), st.st_size - LTX_TRAILER_SIZE))
		rc = err_errno(e, ERR_IO, errno, "cannot read %s", path);
	if (!rc)
		rc = ltx_header_decode(out->head, &out->header, e);
	if (!rc) {
		out->txid = out->header.max_txid;
		out->size = (uint64_t)st.st_size;
	}
	fs_close(fd);
	return rc;
}

int frozen_load(const char *folder, uint64_t txid, struct frozen *out, struct err *e)
{
	char *path = frozen_path(folder, txid);
	if (!path)
		return err_nomem(e, "reading a frozen file");
	struct frozen f;
	int rc = frozen_read(path, &f, e);
	if (!rc && (f.header.min_txid != txid || f.header.max_txid != txid))
		rc = err_set(e, ERR_DAMAGED, "%s holds another TXID than its name says", path);
	if (!rc)
		*out = f;
	free(path);
	return rc;
}

/* ---- the snapshot after a takeover ---- */

static int copy_pages(struct ltx_decoder *dec, struct ltx_encoder *enc, struct err *e)
{
	uint8_t *page = malloc(ltx_decoder_header(dec)->page_size);
	if (!page)
		return err_nomem(e, "writing a snapshot");
	uint32_t pgno = 1;
	int rc = ERR_OK;
	while (!rc && pgno) {
		rc = ltx_decoder_page(dec, &pgno, page, e);
		if (!rc && pgno)
			rc = ltx_encoder_page(enc, pgno, page, e);
	}
	free(page);
	return rc;
}

static int copy_as_snapshot(struct ltxfile *from, struct ltxfile *to, struct err *e)
{
	struct ltx_decoder *dec = NULL;
	struct ltx_encoder *enc = NULL;
	int rc = ltx_decoder_new(&dec, ltxfile_read, from, e);
	if (!rc) {
		struct ltx_header h = *ltx_decoder_header(dec);
		h.min_txid = 1;
		h.before_checksum = 0;
		rc = ltx_encoder_new(&enc, &h, ltxfile_write, to, e);
	}
	if (!rc)
		rc = copy_pages(dec, enc, e);
	if (!rc)
		rc = ltx_encoder_finish(enc, NULL, NULL, e);
	if (!rc)
		rc = ltxfile_flush(to, 0, e);
	ltx_encoder_free(enc);
	ltx_decoder_free(dec);
	return rc;
}

int freeze_snapshot(const char *folder, uint64_t txid, const char *to, struct err *e)
{
	char *path = frozen_path(folder, txid);
	if (!path)
		return err_nomem(e, "writing a snapshot");
	struct ltxfile *in = NULL, *out = NULL;
	int rc = ltxfile_open(&in, path, e);
	if (!rc)
		rc = ltxfile_create(&out, to, e);
	if (!rc)
		rc = copy_as_snapshot(in, out, e);
	if (rc == ERR_FAIL)
		err_set(e, ERR_DAMAGED, "%s does not hold every page", path), rc = ERR_DAMAGED;
	ltxfile_close(in);
	ltxfile_close(out);
	free(path);
	return rc;
}
