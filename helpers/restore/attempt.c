#include "restore/attempt.h"

#include "base/fs.h"
#include "base/log.h"
#include "restore/v3.h"
#include "restore/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_BANS 64
#define MIN_PAGE_BYTES \
	16                /* headers, index entry and the least that LZ4 makes of a page take more */
#define MAX_DETOURS 3 /* around overlaps: each costs a restore */

/* ---- planning ---- */

int attempt_plan(struct run *r, struct err *e)
{
	r->choice.store = r->store;
	r->choice.target = &r->options->target;
	r->choice.bans = r->bans;
	r->choice.n_bans = r->n_bans;
	restore_plan_free(&r->result->plan);
	int rc = choose_plan(&r->choice, &r->result->plan, e);
	r->result->empty_replica = r->choice.empty;
	r->result->legacy_ms = r->choice.legacy_ms;
	return rc;
}

static int add_ban(
	struct run *r, const struct ltx_file *before, const struct ltx_file *after, struct err *e)
{
	struct restore_ban *bans = realloc(r->bans, (r->n_bans + 1) * sizeof(*bans));
	if (!bans)
		return err_nomem(e, "planning the restore");
	r->bans = bans;
	r->bans[r->n_bans++] = (struct restore_ban){*before, *after};
	if (r->n_bans > MAX_BANS)
		return err_set(e, ERR_DAMAGED, "%s: more than %d pairs of files contradict each other",
			store_url(r->store), MAX_BANS);
	char a[RESTORE_LABEL_SIZE], b[RESTORE_LABEL_SIZE];
	log_debug("%s was not written on top of %s: planning anew", restore_label(after, a),
		restore_label(before, b));
	return err_set(e, ERR_AGAIN, "planning anew");
}

/* ---- reading files ---- */

static ptrdiff_t read_file(void *ctx, void *p, size_t n, struct err *e)
{
	struct run *r = ctx;
	if (r->options->cancelled && __atomic_load_n(r->options->cancelled, __ATOMIC_RELAXED)) {
		err_set(e, ERR_CANCELLED, "the restore was stopped");
		r->read_failed = true;
		return -1;
	}
	ptrdiff_t got = fetch_read(r->fetch, p, n, e);
	r->read_failed |= got < 0;
	r->bytes_done += got > 0 ? (uint64_t)got : 0;
	if (got > 0 && r->options->progress)
		r->options->progress(r->options->progress_ctx, r->bytes_done, r->bytes_total);
	return got;
}

/* The decoder says what is wrong with a file; this adds which one it is. */
static int name_file(struct run *r, const struct ltx_file *f, struct err *e)
{
	char name[FETCH_NAME_SIZE];
	if (r->read_failed)
		return e->code;
	return err_wrap(e, "%s/%s", store_url(r->store), fetch_object_name(r->store, f, name));
}

/* The header isn't verified yet: a flipped bit must not ask for room for a trillion bytes. */
static int check_size(struct run *r, const struct ltx_header *h, struct err *e)
{
	if (h->commit - 1 <= r->bytes_total / MIN_PAGE_BYTES)
		return ERR_OK;
	err_set(e, ERR_DAMAGED,
		"its header says that the database has %" PRIu32
		" pages, more than the files of the plan (%" PRIu64 " bytes) can hold",
		h->commit, r->bytes_total);
	return name_file(r, &r->files[0], e);
}

/* A test must not fill the disk that databases are on. */
static int check_room(const struct run *r, const struct ltx_header *h, struct err *e)
{
	uint64_t need = (uint64_t)h->commit * h->page_size + RESTORE_SPARE, have;
	if (!r->options->examine || fs_free_bytes(r->output.folder.path, &have) || have >= need)
		return ERR_OK;
	return err_set(e, ERR_FULL,
		"a test restore needs %" PRIu64 " MiB of free space at %s, %" PRIu64 " MiB are there",
		need >> 20, r->output.folder.path, have >> 20);
}

static int start_apply(struct run *r, const struct ltx_header *h, struct err *e)
{
	int rc = check_size(r, h, e);
	if (!rc)
		rc = check_room(r, h, e);
	if (rc)
		return rc;
	r->newest = *h;
	r->result->txid = h->max_txid;
	r->result->timestamp_ms = h->timestamp;
	r->result->page_size = h->page_size;
	r->result->n_page = h->commit;
	r->result->bytes = (uint64_t)h->commit * h->page_size;
	bool sums = r->options->sums != NULL;
	rc = apply_new(&r->apply, r->output.fd, r->options->output, &r->output.folder, h->page_size,
		h->commit, sums || r->leave.name, e);
	if (!rc && sums)
		apply_only_sums(r->apply);
	return rc;
}

static int check_file(struct run *r, size_t i, const struct ltx_header *h, struct err *e)
{
	int rc = verify_header(h, &r->files[i], i ? r->newest.page_size : 0, e);
	if (rc)
		return name_file(r, &r->files[i], e);
	if (i > 0 && !verify_follows(h, &r->newer))
		return add_ban(r, &r->files[i], &r->files[i - 1], e);
	if (i == 0)
		rc = start_apply(r, h, e);
	else
		apply_limit(r->apply, h->commit);
	r->newer = *h;
	return rc;
}

static int read_pages(
	struct run *r, struct ltx_decoder *dec, const struct ltx_file *f, struct err *e)
{
	for (;;) {
		void *slot = apply_slot(r->apply, e);
		if (!slot)
			return e->code;
		uint32_t pgno;
		int rc = ltx_decoder_page(dec, &pgno, slot, e);
		if (rc)
			return rc == ERR_NOMEM ? rc : name_file(r, f, e);
		if (pgno == 0)
			return ERR_OK;
		apply_page(r->apply, pgno);
	}
}

/* Decoded by all processors. The end of the file waits for them, so this is for large files. */
static int read_raw_pages(
	struct run *r, struct ltx_decoder *dec, const struct ltx_file *f, struct err *e)
{
	struct ltx_pages_sum sum;
	struct ltx_raw page;
	int rc;
	for (;;) {
		rc = ltx_decoder_raw(dec, &page, e);
		if (rc || page.pgno == 0)
			break;
		rc = apply_raw(r->apply, &page, e);
		if (rc)
			break;
	}
	if (!rc)
		rc = apply_raw_end(r->apply, &sum, e);
	if (!rc)
		rc = ltx_decoder_end(dec, &sum, e);
	return rc == ERR_DAMAGED || r->read_failed ? name_file(r, f, e) : rc;
}

static int read_content(
	struct run *r, struct ltx_decoder *dec, const struct ltx_file *f, struct err *e)
{
	bool raw = false;
	int rc = f->size >= apply_raw_bytes ? ltx_decoder_is_raw(dec, &raw, e) : ERR_OK;
	if (rc)
		return name_file(r, f, e);
	return raw ? read_raw_pages(r, dec, f, e) : read_pages(r, dec, f, e);
}

static int read_one(struct run *r, size_t i, struct err *e)
{
	struct ltx_decoder *dec = NULL;
	int rc = ltx_decoder_new(&dec, read_file, r, e);
	if (rc)
		return rc == ERR_NOMEM ? rc : name_file(r, &r->files[i], e);
	rc = check_file(r, i, ltx_decoder_header(dec), e);
	if (!rc)
		rc = read_content(r, dec, &r->files[i], e);
	ltx_decoder_free(dec);
	r->result->files++;
	if (!rc)
		fetch_next_file(r->fetch);
	return rc;
}

/* Sizes are what the store says: many of them together may be more than there can be. */
static uint64_t add_sizes(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int start_fetch(struct run *r, struct err *e)
{
	const struct restore_plan *plan = &r->result->plan;
	r->files = calloc(plan->count, sizeof(*r->files));
	if (!r->files)
		return err_nomem(e, "restoring");
	r->bytes_done = r->bytes_total = 0;
	for (size_t i = 0; i < plan->count; i++) {
		r->files[i] = plan->files[plan->count - 1 - i];
		r->bytes_total = add_sizes(r->bytes_total, r->files[i].size);
	}
	const struct fetch_list list = {.ltx = r->files, .count = plan->count};
	const struct fetch_limits limits = fetch_limits_for(r->store, r->options->parallelism);
	return fetch_new(&r->fetch, r->store, &list, &limits, e);
}

/* ---- all of it ---- */

static int read_all(struct run *r, struct err *e)
{
	size_t count = r->result->plan.count;
	for (size_t i = 0; i < count; i++) {
		int rc = read_one(r, i, e);
		/* A file that holds every page ends the search, whatever lies under it. */
		if (rc || apply_missing(r->apply) == 0)
			return rc;
	}
	return ERR_OK;
}

/* The last pair whose TXIDs overlap: of these no header says whether they fit. */
static size_t last_overlap(const struct run *r)
{
	for (size_t i = 0; i + 1 < r->result->files; i++)
		if (r->files[i].min_txid <= r->files[i + 1].max_txid)
			return i;
	return (size_t)-1;
}

static int check_result(struct run *r, struct err *e)
{
	uint32_t holes, first_hole;
	int rc = apply_finish(r->apply, &holes, &first_hole, &r->checksum, e);
	if (rc)
		return rc;
	char name[FETCH_NAME_SIZE], full[ERR_TEXT_MAX / 2];
	snprintf(full, sizeof(full), "%s/%s", store_url(r->store),
		fetch_object_name(r->store, &r->files[0], name));
	rc = verify_checksum(&r->newest, full, r->checksum, holes, first_hole, &r->result->proof, e);
	size_t i = rc == ERR_DAMAGED && r->detours++ < MAX_DETOURS ? last_overlap(r) : (size_t)-1;
	if (i != (size_t)-1) {
		r->mismatch = r->mismatch.code ? r->mismatch : *e;
		return add_ban(r, &r->files[i + 1], &r->files[i], e);
	}
	if (!rc)
		rc = verify_database(r->output.fd, r->result->page_size, e);
	return rc;
}

void attempt_end(struct run *r)
{
	fetch_free(r->fetch);
	apply_free(r->apply);
	free(r->files);
	r->fetch = NULL;
	r->apply = NULL;
	r->files = NULL;
	r->read_failed = false;
}

int attempt_run(struct run *r, struct err *e)
{
	err_clear(e);
	r->result->files = 0;
	int rc = attempt_plan(r, e);
	if (rc == ERR_DAMAGED && r->mismatch.code)
		*e = r->mismatch;
	if (!rc)
		rc = output_open(&r->output, e);
	if (!rc && r->result->plan.n_v3)
		return v3_restore(r->store, r->options, &r->output, r->result, e);
	if (!rc)
		rc = start_fetch(r, e);
	if (!rc)
		rc = read_all(r, e);
	if (!rc)
		rc = check_result(r, e);
	return rc;
}
