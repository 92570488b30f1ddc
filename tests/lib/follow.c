#include "lib/follow.h"

#include "base/clock.h"
#include "format/ltx.h"

#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SLICE 64

static void die(const char *what, const char *why)
{
	fprintf(stderr, "follow: %s: %s\n", what, why);
	abort();
}

/* Memory that is zero and costs nothing until it is used: a writer at full speed must not wait for
 * the follower to clear some. */
static void *grow(void *old, size_t old_size, size_t size)
{
	void *p = old ? mremap(old, old_size, size, MREMAP_MAYMOVE)
				  : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("memory", "out");
	return p;
}

static void drop_copy(struct follow *f)
{
	if (!f->image)
		return;
	munmap(f->image, (size_t)f->cap * f->page_size);
	munmap(f->have, f->cap + 1);
	f->image = NULL;
	f->have = NULL;
	f->cap = f->top = 0;
}

static void room(struct follow *f, uint32_t n_page)
{
	if (f->page_size == 0)
		f->page_size = source_page_size(f->source);
	if (n_page <= f->cap)
		return;
	uint32_t cap = n_page + n_page / 2 + 64;
	f->image = grow(f->image, (size_t)f->cap * f->page_size, (size_t)cap * f->page_size);
	f->have = grow(f->have, f->cap ? f->cap + 1 : 0, cap + 1);
	f->cap = cap;
}

static int put(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)e;
	struct follow *f = ctx;
	if (pgno == 0 || pgno == ltx_lock_page(source_page_size(f->source)))
		die("page", "a page number that can't be");
	room(f, pgno);
	memcpy(f->image + (size_t)(pgno - 1) * f->page_size, page, f->page_size);
	f->have[pgno] = true;
	if (pgno > f->top)
		f->top = pgno;
	return ERR_OK;
}

static int commit(void *ctx, const struct source_point *point, struct err *e)
{
	(void)e;
	struct follow *f = ctx;
	if (point->n_page == 0 || point->min_n_page > point->n_page)
		die("commit", "a size that can't be");
	room(f, point->n_page);
	for (; f->top > point->n_page; f->top--)
		f->have[f->top] = false;
	f->n_page = point->n_page;
	f->pos = point->pos;
	f->commits++;
	return ERR_OK;
}

void follow_open_with(struct follow *f, const struct source_config *cfg, struct source_watch *watch)
{
	memset(f, 0, sizeof(*f));
	f->watch = watch;
	struct source_config mine = *cfg;
	mine.user = f;
	struct err e = ERR_INIT;
	struct source_sink sink = {put, commit, f};
	if (source_open(&f->source, &mine, &sink, f->watch, &e))
		die("open", e.text);
}

void follow_open(struct follow *f, const struct source_config *cfg)
{
	struct source_watch *watch;
	struct err e = ERR_INIT;
	if (source_watch_new(&watch, &e))
		die("watch", e.text);
	follow_open_with(f, cfg, watch);
	f->watch_is_ours = true;
}

static int keep(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	struct follow *f = ctx;
	return f->have && pgno <= f->cap && f->have[pgno] ? ERR_OK : put(ctx, pgno, page, e);
}

/* Reads what the copy lacks out of the image. */
static void fill(struct follow *f)
{
	uint32_t n = f->n_page;
	struct err e = ERR_INIT;
	for (uint32_t p = 1; p <= n; p += SLICE)
		if (source_scan(f->source, p, SLICE, keep, f, &n, &e))
			die("scan", e.text);
}

void follow_forget(struct follow *f)
{
	memset(f->have, 0, f->cap + 1);
}

void follow_fill(struct follow *f, uint32_t first, uint32_t count)
{
	struct err e = ERR_INIT;
	uint32_t n;
	if (source_scan(f->source, first, count, keep, f, &n, &e))
		die("scan", e.text);
}

static void compare_all(struct follow *f)
{
	f->n_page = source_n_page(f->source);
	if (f->page_size != source_page_size(f->source))
		drop_copy(f);
	f->page_size = source_page_size(f->source);
	room(f, f->n_page);
	memset(f->have, 0, f->cap + 1);
	fill(f);
}

int follow_attach(struct follow *f, const struct state_position *at)
{
	struct err e = ERR_INIT;
	bool resumed;
	int rc = source_attach(f->source, at, &resumed, &e);
	if (rc) {
		snprintf(f->reason, sizeof(f->reason), "%.255s", e.text);
		return rc;
	}
	struct source_point point;
	source_get_point(f->source, &point);
	f->pos = point.pos;
	f->attached++;
	memset(&f->last, 0, sizeof(f->last));
	if (resumed)
		f->resumed++;
	else
		compare_all(f);
	return ERR_OK;
}

static void attach_patiently(struct follow *f, const struct state_position *at)
{
	int64_t end = clock_mono_us() + 20000000;
	for (;;) {
		int rc = follow_attach(f, at);
		if (rc == ERR_OK)
			return;
		if (rc != ERR_AGAIN || clock_mono_us() > end)
			die("attach", f->reason);
		clock_sleep_us(2000);
	}
}

void follow_start(
	struct follow *f, const struct source_config *cfg, const struct state_position *at)
{
	follow_open(f, cfg);
	attach_patiently(f, at);
	f->keep_up = true;
}

static void note(void *ctx, void *user)
{
	(void)ctx;
	((struct follow *)user)->event = true;
}

static void note_event(struct follow *f)
{
	snprintf(f->reason, sizeof(f->reason), "%s", f->last.reason);
	switch (f->last.event) {
	case SOURCE_OK:
		break;
	case SOURCE_LOST:
		f->lost++;
		if (f->keep_up)
			compare_all(f);
		break;
	case SOURCE_RELEASED:
		f->released++;
		break;
	case SOURCE_REPLACED:
		f->replaced++;
		break;
	case SOURCE_GONE:
		f->gone++;
		break;
	}
}

enum source_event follow_turn(struct follow *f, int64_t max_us)
{
	int64_t wait = f->last.wait_us < max_us ? f->last.wait_us : max_us;
	struct pollfd p = {.fd = f->watch ? source_watch_fd(f->watch) : -1, .events = POLLIN};
	struct timespec ts = {wait / 1000000, wait % 1000000 * 1000};
	if (f->event)
		ts = (struct timespec){0, 0};
	if (ppoll(&p, 1, &ts, NULL) > 0)
		source_watch_read(f->watch, note, NULL);
	if (!source_attached(f->source)) {
		bool waits = f->last.event == SOURCE_RELEASED && f->last.wait_us > 0;
		if (f->keep_up && (f->event || !waits))
			attach_patiently(f, &f->pos);
		f->event = false;
		return SOURCE_OK;
	}
	f->event = false;
	source_set_settled(f->source, !f->unsettled);
	struct err e = ERR_INIT;
	int64_t began = clock_mono_us();
	if (source_turn(f->source, &f->last, &e))
		die("turn", e.text);
	int64_t took = clock_mono_us() - began;
	if (took > f->turn_max_us)
		f->turn_max_us = took;
	if (f->last.wal_bytes > f->wal_max)
		f->wal_max = f->last.wal_bytes;
	if (f->last.event != SOURCE_OK)
		note_event(f);
	return f->last.event;
}

void follow_for(struct follow *f, int64_t us)
{
	for (int64_t end = clock_mono_us() + us, now; (now = clock_mono_us()) < end;)
		follow_turn(f, end - now);
}

bool follow_until(struct follow *f, bool (*done)(void *ctx), void *ctx, int64_t us)
{
	int64_t end = clock_mono_us() + us;
	while (!done(ctx)) {
		if (clock_mono_us() > end)
			return false;
		follow_turn(f, 10000);
	}
	return true;
}

void follow_catch_up(struct follow *f)
{
	int64_t end = clock_mono_us() + 20000000;
	do {
		f->last.wait_us = 0;
		follow_turn(f, 0);
		if (clock_mono_us() > end)
			die("catch up", "does not");
	} while (source_attached(f->source) && (f->last.captured || f->last.event == SOURCE_LOST));
}

struct comparing {
	struct follow *f;
	unsigned differ;
};

static int differs(void *ctx, uint32_t pgno, const void *page, struct err *e)
{
	(void)e;
	struct comparing *c = ctx;
	struct follow *f = c->f;
	if (pgno > f->n_page ||
		memcmp(f->image + (size_t)(pgno - 1) * f->page_size, page, f->page_size) != 0) {
		if (c->differ++ == 0)
			fprintf(stderr, "follow: page %u of %u differs from the scan\n", pgno, f->n_page);
	}
	return ERR_OK;
}

unsigned follow_compare_scan(struct follow *f)
{
	fill(f);
	struct comparing c = {f, 0};
	struct err e = ERR_INIT;
	uint32_t n = f->n_page;
	for (uint32_t p = 1; p <= n; p += SLICE)
		if (source_scan(f->source, p, SLICE, differs, &c, &n, &e))
			die("scan", e.text);
	if (n != f->n_page) {
		fprintf(stderr, "follow: %u pages, the source has %u\n", f->n_page, n);
		c.differ++;
	}
	return c.differ;
}

void follow_stop(struct follow *f)
{
	if (f->source && source_attached(f->source)) {
		follow_catch_up(f);
		if (source_attached(f->source))
			fill(f);
	}
	if (f->source)
		source_get_counts(f->source, &f->counts);
	source_close(f->source);
	if (f->watch_is_ours)
		source_watch_free(f->watch);
	f->source = NULL;
	f->watch = NULL;
}

static void checkpoint(const char *db)
{
	sqlite3 *c;
	if (sqlite3_open_v2(db, &c, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		die("checkpoint", "can't open");
	sqlite3_exec(c, "PRAGMA user_version", NULL, NULL, NULL);
	int left = 0, done = 0;
	int rc = sqlite3_wal_checkpoint_v2(c, "main", SQLITE_CHECKPOINT_TRUNCATE, &left, &done);
	if (rc != SQLITE_OK)
		die("checkpoint", sqlite3_errmsg(c));
	sqlite3_close(c);
}

unsigned follow_compare_file(struct follow *f, const char *db)
{
	checkpoint(db);
	FILE *in = fopen(db, "rb");
	struct stat st;
	if (!in || fstat(fileno(in), &st))
		die("compare", "can't open the database");
	unsigned differ = 0;
	if ((uint64_t)st.st_size != (uint64_t)f->n_page * f->page_size) {
		fprintf(stderr, "follow: %u pages, the file has %lld bytes\n", f->n_page,
			(long long)st.st_size);
		differ++;
	}
	uint8_t *page = malloc(f->page_size);
	for (uint32_t p = 1; p <= f->n_page && page; p++) {
		if (fread(page, f->page_size, 1, in) != 1)
			break;
		if (p == ltx_lock_page(f->page_size) ||
			memcmp(page, f->image + (size_t)(p - 1) * f->page_size, f->page_size) == 0)
			continue;
		if (differ++ == 0)
			fprintf(stderr, "follow: page %u of %u differs from the file\n", p, f->n_page);
	}
	free(page);
	fclose(in);
	return differ;
}

void follow_free(struct follow *f)
{
	follow_stop(f);
	drop_copy(f);
	memset(f, 0, sizeof(*f));
}
