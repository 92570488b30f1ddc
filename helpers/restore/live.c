#include "restore/live.h"

#include "base/clock.h"
#include "base/fs.h"
#include "source/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_BYTES (UINT32_C(1) << 20)
#define PATIENCE_US \
	INT64_C(10000000) /* for a database that is busy, or a WAL being read up to its end */
#define PAUSE_US 2000
#define NEVER (INT64_C(1) << 60)

struct compare {
	struct source *source;
	int fd;
	uint32_t page_size;
	void *page; /* the restored one */
	bool moved; /* a commit came in */
	struct live_result *out;
};

/* ---- what the source tells: anything committed ends the comparison ---- */

static int on_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)ctx, (void)pgno, (void)page, (void)e;
	return ERR_OK;
}

static int on_commit(void *ctx, const struct source_point *point, struct err *e)
{
	(void)point, (void)e;
	((struct compare *)ctx)->moved = true;
	return ERR_OK;
}

static int open_source(
	struct compare *c, const char *path, struct source_watch *watch, struct err *e)
{
	const struct source_config cfg = {
		.path = path,
		.checkpoint_frames = UINT32_MAX,
		.barrier_bytes = INT64_MAX,
		.no_barrier = true,
		.any_filesystem = true, /* whoever replicates it has judged that */
		.release_after_us = NEVER,
	};
	const struct source_sink sink = {on_page, on_commit, c};
	return source_open(&c->source, &cfg, &sink, watch, e);
}

static int attach(struct compare *c, const struct state_position *at, bool *resumed, struct err *e)
{
	int64_t until = clock_mono_us() + PATIENCE_US;
	int rc;
	const struct state_position *from = at && at->resumable ? at : NULL;
	while (
		(rc = source_attach(c->source, from, resumed, e)) == ERR_AGAIN && clock_mono_us() < until)
		clock_sleep_us(PAUSE_US);
	return rc;
}

/* Reads up to the present end of the WAL. Events other than commits mean that it can't be compared,
 * too: other files, a broken chain. */
static int catch_up(struct compare *c, struct err *e)
{
	int64_t until = clock_mono_us() + PATIENCE_US;
	while (!c->moved) {
		struct source_result r;
		int rc = source_turn(c->source, &r, e);
		if (rc != ERR_OK && rc != ERR_AGAIN)
			return rc;
		c->moved = c->moved || r.captured || r.event != SOURCE_OK;
		if (rc == ERR_OK && r.caught_up)
			break;
		if (clock_mono_us() >= until)
			return err_set(e, ERR_AGAIN, "the live database was busy all the time");
		clock_sleep_us(PAUSE_US);
	}
	return ERR_OK;
}

/* ---- pages ---- */

static int compare_page(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct compare *c = ctx;
	uint64_t at = (uint64_t)(pgno - 1) * c->page_size;
	if (fs_pread_full(c->fd, c->page, c->page_size, (off_t)at))
		return err_errno(e, ERR_IO, errno, "cannot read back what was restored");
	if (memcmp(c->page, page, c->page_size) == 0)
		return ERR_OK;
	c->out->first = c->out->differ++ ? c->out->first : pgno;
	return ERR_OK;
}

static int compare_all(struct compare *c, uint32_t n_page, const int *cancelled, struct err *e)
{
	uint32_t count = SLICE_BYTES / c->page_size, have = n_page;
	for (uint32_t next = 1; next <= n_page && !c->moved; next += count) {
		uint32_t part = n_page - next + 1 < count ? n_page - next + 1 : count;
		if (cancelled && __atomic_load_n(cancelled, __ATOMIC_RELAXED))
			return err_set(e, ERR_CANCELLED, "the comparison was stopped");
		int rc = source_scan(c->source, next, part, compare_page, c, &have, e);
		if (rc == ERR_OK && have != n_page) {
			c->out->first = c->out->differ++ ? c->out->first : (have < n_page ? have : n_page) + 1;
			return ERR_OK;
		}
		if (rc == ERR_OK)
			rc = catch_up(c, e);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

static int compare(struct compare *c, uint32_t n_page, const struct state_position *at,
	const int *cancelled, struct err *e)
{
	bool resumed = false;
	int rc = attach(c, at, &resumed, e);
	if (rc == ERR_OK)
		rc = catch_up(c, e);
	if (rc == ERR_OK && source_page_size(c->source) != c->page_size)
		c->out->first = c->out->differ = 1;
	else if (rc == ERR_OK)
		rc = compare_all(c, n_page, cancelled, e);
	if (c->moved || (c->out->differ && !resumed))
		c->out->verdict = LIVE_MOVED_ON;
	else
		c->out->verdict = c->out->differ ? LIVE_DIFFERS : LIVE_SAME;
	return rc;
}

int live_compare(const char *path, int fd, uint32_t page_size, uint32_t n_page,
	const struct state_position *at, const int *cancelled, struct live_result *out, struct err *e)
{
	struct compare c = {.fd = fd, .page_size = page_size, .out = out};
	struct source_watch *watch = NULL;
	*out = (struct live_result){LIVE_MOVED_ON, 0, 0};
	c.page = malloc(page_size);
	int rc = c.page ? source_watch_new(&watch, e) : err_nomem(e, "comparing");
	if (rc == ERR_OK)
		rc = open_source(&c, path, watch, e);
	if (rc == ERR_OK)
		rc = compare(&c, n_page, at, cancelled, e);
	source_close(c.source);
	source_watch_free(watch);
	free(c.page);
	return rc;
}
