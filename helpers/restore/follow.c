#include "restore/follow.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "restore/fetch.h"
#include "restore/follow_file.h"
#include "restore/follow_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 1000
#define SKIP_MAX 16
#define LOOK_US (INT64_C(60) * 1000000) /* between two looks at all levels for want of L0 files */
#define BUSY_MS 200

struct follow {
	struct store *store;
	const struct follow_options *o;
	struct follow_file file;
	bool look; /* all levels must be looked at, the L0 files don't lead on */
	int64_t looked_us;
	struct ltx_file skip[SKIP_MAX]; /* files that were not written on top of what is here */
	size_t n_skip;
	int failures; /* one after the other … */
	int tries;    /* … and of these such as time doesn't mend */
	bool read_failed;
	struct fetch *fetch;
};

static uint64_t here(const struct follow *f)
{
	return f->file.state.now.txid;
}

/* ---- the beginning ---- */

/* A follower that is replaced stays one until the new file is in its place: its point, too, is in
 * the file then. */
static void keep_old(const struct folder *in, const char *name, struct follow_state *s)
{
	struct follow_state old;
	struct err none;
	if (!follow_state_load(in, name, &old, &none))
		s->next = old.next.txid ? old.next : old.now;
	follow_state_free(&old);
}

int follow_ready(
	void *ctx, int fd, uint64_t checksum, const struct restore_result *result, struct err *e)
{
	const struct follow_begin *b = ctx;
	struct folder in;
	struct follow_state s = {.replica = (char *)b->replica};
	uint8_t *page = malloc(result->page_size);
	int rc = folder_open_of(&in, b->output, "following a replica", e);
	if (!rc && !page)
		rc = err_nomem(e, "following a replica");
	else if (!rc && fs_pread_full(fd, page, result->page_size, 0))
		rc = err_errno(e, ERR_IO, errno, "cannot read back what was restored");
	if (!rc) {
		s.now = (struct follow_point){.txid = result->txid,
			.checksum = checksum,
			.page1 = ltx_page_checksum(1, page, result->page_size),
			.counter = follow_counter(0),
			.n_page = result->n_page,
			.page_size = result->page_size};
		follow_patch(page, s.now.counter, s.now.n_page);
		if (fs_pwrite_full(fd, page, result->page_size, 0))
			rc = err_errno(e, fs_error_code(errno), errno, "cannot write what was restored");
	}
	if (!rc) {
		keep_old(&in, fs_basename(b->output), &s);
		rc = follow_state_save(&in, fs_basename(b->output), &s, e);
	}
	free(page);
	folder_close(&in);
	return rc;
}

/* ---- files that lead on ---- */

static ptrdiff_t read_file(void *ctx, void *p, size_t n, struct err *e)
{
	struct follow *f = ctx;
	ptrdiff_t got = fetch_read(f->fetch, p, n, e);
	f->read_failed |= got < 0;
	return got;
}

static int stage(struct follow *f, const struct ltx_file *file, struct err *e)
{
	struct ltx_decoder *dec = NULL;
	bool contradicts = false;
	f->read_failed = false;
	int rc = ltx_decoder_new(&dec, read_file, f, e);
	if (!rc)
		rc = follow_stage(&f->file, file, dec, &contradicts, e);
	ltx_decoder_free(dec);
	if (contradicts && f->n_skip < SKIP_MAX)
		f->skip[f->n_skip++] = *file;
	if (rc == ERR_DAMAGED && !f->read_failed) {
		char name[FETCH_NAME_SIZE];
		err_wrap(e, "%s/%s", store_url(f->store), fetch_object_name(f->store, file, name));
	}
	return rc;
}

static int apply_one(struct follow *f, const struct ltx_file *file, struct err *e)
{
	int rc = stage(f, file, e);
	if (!rc)
		rc = follow_apply(&f->file, e);
	if (rc)
		return rc;
	fetch_next_file(f->fetch);
	f->n_skip = 0;
	log_debug("%s: at TXID %016" PRIx64, f->o->output, here(f));
	return ERR_OK;
}

static int apply_all(struct follow *f, const struct ltx_file *files, size_t n, struct err *e)
{
	const struct fetch_list list = {.ltx = files, .count = n};
	const struct fetch_limits limits = fetch_limits_for(f->store, f->o->parallelism);
	uint64_t before = here(f);
	int rc = n ? fetch_new(&f->fetch, f->store, &list, &limits, e) : ERR_OK;
	for (size_t i = 0; !rc && i < n; i++)
		rc = apply_one(f, &files[i], e);
	fetch_free(f->fetch);
	f->fetch = NULL;
	if (here(f) != before) {
		struct err why = ERR_INIT;
		f->failures = f->tries = 0;
		int saved = follow_txid_save(&f->file.folder, f->file.name, here(f), &why);
		if (saved && !rc) {
			*e = why;
			rc = saved;
		}
	}
	return rc;
}

static int look_at_all(struct follow *f, struct err *e)
{
	struct ltx_set set;
	struct follow_plan plan = {0};
	ltxset_init(&set);
	f->looked_us = clock_mono_us();
	int rc = restore_list(f->store, &set, e);
	if (!rc && (rc = follow_plan_make(&set, here(f), f->skip, f->n_skip, &plan, e)))
		err_wrap(e, "%s", store_url(f->store));
	ltxset_free(&set);
	if (!rc && plan.full)
		log_warn("%s: no files but a whole snapshot lead on from TXID %016" PRIx64,
			store_url(f->store), here(f));
	if (!rc)
		rc = apply_all(f, plan.files, plan.count, e);
	follow_plan_free(&plan);
	f->look = rc != ERR_OK;
	return rc;
}

static int add_l0(void *ctx, const struct store_object *o, struct err *e)
{
	struct ltx_set *set = ctx;
	struct ltx_file f = {.size = o->size, .modified_ms = o->modified_ms};
	if (!ltx_parse_name(o->name, &f.min_txid, &f.max_txid))
		return ERR_OK;
	return ltxset_add(set, &f) ? err_nomem(e, "listing the replica") : ERR_OK;
}

/* How many of the set, from *first on, adjoin what is here and each other. */
static size_t adjoining(const struct follow *f, const struct ltx_set *set, size_t *first)
{
	uint64_t at = here(f);
	size_t n = 0;
	for (*first = 0; *first < set->count && set->files[*first].max_txid <= at; ++*first)
		;
	for (size_t i = *first; i < set->count && ltx_follows(at, &set->files[i]); i++, n++)
		at = set->files[i].max_txid;
	return n;
}

/* One request: the present L0 and those after it. */
static int poll_once(struct follow *f, struct err *e)
{
	struct ltx_set set;
	char prefix[16], after[LTX_NAME_SIZE];
	if (f->look)
		return look_at_all(f, e);
	ltxset_init(&set);
	store_level_prefix(f->store, 0, prefix);
	ltx_format_name(here(f) - 1, here(f) - 1, after);
	int rc = store_list(f->store, prefix, here(f) > 1 ? after : NULL, LIST_MAX, add_l0, &set, e);
	ltxset_sort(&set);
	size_t first, n = adjoining(f, &set, &first);
	if (!rc && set.count == 0 && clock_mono_us() - f->looked_us < LOOK_US)
		n = 0;
	else if (!rc && (set.count == 0 || first + n < set.count || n > FOLLOW_FILES))
		rc = look_at_all(f, e);
	else if (!rc)
		rc = apply_all(f, set.files + first, n, e);
	ltxset_free(&set);
	return rc;
}

/* ---- the loop ---- */

/* Doubling from the interval on. */
static int64_t pause_ms(const struct follow *f)
{
	int64_t ms = f->o->interval_ms;
	for (int i = 1; i < f->failures && ms < FOLLOW_PAUSE_MS; i++)
		ms *= 2;
	return ms < FOLLOW_PAUSE_MS || ms == f->o->interval_ms ? ms : FOLLOW_PAUSE_MS;
}

/* Not ERR_OK: that is the end of it. */
static int judge(struct follow *f, const struct err *why)
{
	bool mends = why->code == ERR_UNREACHABLE || why->code == ERR_DENIED || why->code == ERR_AGAIN;
	f->failures++;
	f->tries += !mends;
	if (why->code == ERR_DATABASE || why->code == ERR_NOMEM || f->tries >= FOLLOW_TRIES)
		return why->code;
	f->look |= why->code == ERR_DAMAGED || why->code == ERR_NOT_FOUND || why->code == ERR_NO_BACKUP;
	if (f->failures == 1 || !mends || pause_ms(f) >= FOLLOW_PAUSE_MS)
		log_warn("%s: still at TXID %016" PRIx64 ", trying again in %.1f s: %s", f->o->output,
			here(f), (double)pause_ms(f) / 1000, why->text);
	return ERR_OK;
}

static int open_file(struct follow *f, struct err *e)
{
	for (bool told = false;; told = true) {
		int rc = follow_file_open(&f->file, f->o->output, store_url(f->store), e);
		if (rc != ERR_AGAIN)
			return rc;
		if (!told)
			log_warn("%s", e->text);
		follow_file_close(&f->file);
		if (f->o->wait(f->o->wait_ctx, BUSY_MS))
			return err_set(e, ERR_CANCELLED, "stopped");
	}
}

static int loop(struct follow *f, struct err *e)
{
	for (;;) {
		struct err why = ERR_INIT;
		bool failed = f->failures > 0;
		int rc = follow_reopen(&f->file, &why);
		if (!rc)
			rc = follow_check_header(&f->file, &why);
		if (!rc)
			rc = poll_once(f, &why);
		if (rc == ERR_CANCELLED)
			return ERR_OK;
		if (rc && judge(f, &why)) {
			*e = why;
			return err_wrap(e, "following ended at TXID %016" PRIx64, here(f));
		}
		if (!rc) {
			f->failures = f->tries = 0;
			if (failed)
				log_info("%s: following again, at TXID %016" PRIx64, f->o->output, here(f));
		}
		store_tidy(f->store);
		if (f->o->wait(f->o->wait_ctx, pause_ms(f)))
			return ERR_OK;
	}
}

int follow_run(struct store *s, const struct follow_options *o, struct err *e)
{
	struct follow f = {.store = s, .o = o, .looked_us = clock_mono_us() - LOOK_US};
	f.file.wait = o->wait;
	f.file.wait_ctx = o->wait_ctx;
	int rc = open_file(&f, e);
	if (!rc)
		rc = follow_txid_save(&f.file.folder, f.file.name, here(&f), e);
	if (!rc) {
		log_info("%s: following %s from TXID %016" PRIx64, o->output, store_url(s), here(&f));
		rc = loop(&f, e);
		log_info("%s: followed up to TXID %016" PRIx64, o->output, here(&f));
	}
	follow_file_close(&f.file);
	return rc == ERR_CANCELLED ? ERR_OK : rc;
}
