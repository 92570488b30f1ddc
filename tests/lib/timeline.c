#include "lib/timeline.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/fs.h"
#include "format/ltx.h"
#include "lib/image.h"
#include "lib/ship.h"
#include "replicate/fence.h"
#include "restore/restore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX ((size_t)256 << 20)

/* ---- what is noted ---- */

static uint64_t digest_of_file(const char *path)
{
	struct buf b;
	struct err e = ERR_INIT;
	buf_init(&b, FILE_MAX);
	if (fs_read_file(path, &b, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	uint64_t digest = crc64_iso(0, b.data, b.len);
	buf_free(&b);
	return digest;
}

static const struct timeline_state *of_txid(const struct timeline *t, uint64_t txid)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->states[i].txid == txid)
			return &t->states[i];
	return NULL;
}

void timeline_note(
	struct timeline *t, const char *node, const char *db, uint64_t txid, const char *dir)
{
	char copy[512];
	snprintf(copy, sizeof(copy), "%s/timeline-note.db", dir);
	app_fold(db, copy);
	struct timeline_state s = {.node = node, .txid = txid, .digest = digest_of_file(copy)};
	unlink(copy);
	const struct timeline_state *there = txid ? of_txid(t, txid) : NULL;
	if (there && there->digest != s.digest) {
		fprintf(stderr, "%s and %s both shipped TXID %" PRIu64 "\n", there->node, node, txid);
		t->torn = true;
	}
	if (there && strcmp(there->node, node) == 0)
		return;
	t->states = realloc(t->states, (t->count + 1) * sizeof(*t->states));
	if (!t->states)
		abort();
	t->states[t->count++] = s;
}

void timeline_free(struct timeline *t)
{
	free(t->states);
	memset(t, 0, sizeof(*t));
}

/* ---- what is offered ---- */

struct offered {
	uint64_t txid, digest, checksum;
};

struct checking {
	struct timeline *t;
	struct store *store;
	const char *url;
	char path[512]; /* of what is restored */
	struct ltx_set set;
	struct offered *offered; /* ascending */
	size_t n;
	size_t last; /* the state that the one before was */
	unsigned handovers;
};

static uint64_t checksum_of(const char *path, uint32_t page_size)
{
	uint8_t *page = malloc(page_size);
	FILE *f = fopen(path, "r");
	uint64_t sum = 0;
	for (uint32_t pgno = 1; page && f && fread(page, page_size, 1, f) == 1; pgno++)
		if (pgno != ltx_lock_page(page_size))
			sum = ltx_checksum_xor(sum, ltx_page_checksum(pgno, page, page_size));
	if (f)
		fclose(f);
	free(page);
	return sum;
}

/* Which of the states noted it is: the one that was shipped under that TXID, else the first one
 * like it that comes no earlier than the one before. SIZE_MAX: none. */
static size_t which(const struct checking *c, const struct offered *o)
{
	const struct timeline_state *s = c->t->states, *named = of_txid(c->t, o->txid);
	if (named && named->digest != o->digest) {
		fprintf(stderr, "TXID %" PRIu64 " is not what %s shipped\n", o->txid, named->node);
		return SIZE_MAX;
	}
	size_t i = named ? (size_t)(named - s) : c->last;
	while (i < c->t->count && s[i].digest != o->digest)
		i++;
	if (i >= c->last && i < c->t->count)
		return i;
	fprintf(stderr, "TXID %" PRIu64 " is no state that follows %s's TXID %" PRIu64 "\n", o->txid,
		s[c->last].node, s[c->last].txid);
	return SIZE_MAX;
}

/* Is this state the next one of the line? */
static bool follows(struct checking *c, const struct offered *o)
{
	const struct timeline_state *s = c->t->states;
	size_t next = which(c, o);
	if (next == SIZE_MAX)
		return false;
	c->handovers += strcmp(s[next].node, s[c->last].node) != 0;
	c->last = next;
	if (c->handovers > c->t->handovers)
		fprintf(stderr, "TXID %" PRIu64 " passes the line to %s\n", o->txid, s[next].node);
	return c->handovers <= c->t->handovers;
}

static bool restore_one(struct checking *c, uint64_t txid, bool newest)
{
	struct restore_options o = {
		.target.txid = txid, .output = c->path, .state_dir = "", .parallelism = 1};
	struct restore_result r = {0};
	struct err e = ERR_INIT;
	unlink(c->path);
	int rc = restore_run(c->store, &o, &r, &e);
	restore_plan_free(&r.plan);
	if (rc == ERR_NO_BACKUP && !newest)
		return true;
	if (rc || r.proof != RESTORE_PROVEN || r.txid != txid) {
		fprintf(stderr, "TXID %" PRIu64 ": %s\n", txid, rc ? e.text : "not proven");
		return false;
	}
	struct offered *got = &c->offered[c->n++];
	got->txid = txid;
	got->digest = digest_of_file(c->path);
	got->checksum = checksum_of(c->path, r.page_size);
	return follows(c, got);
}

static const struct offered *find(const struct checking *c, uint64_t txid)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->offered[i].txid == txid)
			return &c->offered[i];
	return NULL;
}

/* ---- its files ---- */

static bool agrees(const struct checking *c, const struct ltx_file *f, const char *which,
	uint64_t txid, uint64_t recorded)
{
	const struct offered *o = find(c, txid);
	if (!recorded || !o || o->checksum == recorded)
		return true;
	fprintf(stderr, "L%d %" PRIu64 "-%" PRIu64 " was made %s another TXID %" PRIu64 "\n", f->level,
		f->min_txid, f->max_txid, which, txid);
	return false;
}

static bool snapshot_agrees(const struct checking *c, const struct ltx_file *f)
{
	struct image im = {0};
	const struct offered *o = find(c, f->max_txid);
	bool ok = image_apply(&im, c->url, f->level, f->min_txid, f->max_txid) &&
			  (!o || image_checksum(&im) == o->checksum);
	if (!ok)
		fprintf(stderr, "the snapshot of TXID %" PRIu64 " is another state\n", f->max_txid);
	image_free(&im);
	return ok;
}

static bool file_agrees(const struct checking *c, const struct ltx_file *f)
{
	struct ltx_header h;
	struct err e = ERR_INIT;
	if (fence_header(c->store, f->level, f->min_txid, f->max_txid, &h, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return false;
	}
	if (f->level == 0 && f->min_txid == c->t->stray)
		return true;
	return agrees(c, f, "into", f->max_txid, h.after_checksum) &&
		   agrees(c, f, "from", f->min_txid - 1, h.before_checksum) &&
		   (f->min_txid != 1 || snapshot_agrees(c, f));
}

/* ---- */

static int by_end(const void *a, const void *b)
{
	const struct ltx_file *x = a, *y = b;
	return x->max_txid < y->max_txid ? -1 : x->max_txid > y->max_txid;
}

static bool check(struct checking *c)
{
	struct err e = ERR_INIT;
	if (restore_list(c->store, &c->set, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return false;
	}
	size_t n = c->set.count;
	struct ltx_file *ends = calloc(n + 1, sizeof(*ends));
	c->offered = calloc(n + 1, sizeof(*c->offered));
	if (!ends || !c->offered)
		abort();
	if (n)
		memcpy(ends, c->set.files, n * sizeof(*ends));
	qsort(ends, n, sizeof(*ends), by_end);
	bool ok = !c->t->torn && n > 0;
	for (size_t i = 0; ok && i < n; i++)
		if (i + 1 == n || ends[i].max_txid != ends[i + 1].max_txid)
			ok = restore_one(c, ends[i].max_txid, i + 1 == n);
	for (size_t i = 0; ok && i < n; i++)
		ok = file_agrees(c, &ends[i]);
	free(ends);
	free(c->offered);
	return ok;
}

bool timeline_check(struct timeline *t, const char *url, const char *dir)
{
	struct checking c = {.t = t, .url = url};
	struct err e = ERR_INIT;
	snprintf(c.path, sizeof(c.path), "%s/timeline-restored.db", dir);
	ltxset_init(&c.set);
	if (store_open(&c.store, url, NULL, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return false;
	}
	bool ok = t->count > 0 && check(&c);
	ltxset_free(&c.set);
	store_close(c.store);
	unlink(c.path);
	return ok;
}
