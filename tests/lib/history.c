#include "lib/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "history: %s\n", what);
	abort();
}

static void *grown(void *array, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap)
		return array;
	*cap = need + need / 2 + 1024;
	array = reallocarray(array, *cap, size);
	must(array, "out of memory");
	return array;
}

void history_init(struct history *h, uint64_t seed, uint64_t db_bytes)
{
	memset(h, 0, sizeof(*h));
	levels_policy_init(&h->levels);
	retain_policy_init(&h->retain);
	h->seed = seed;
	h->db_bytes = db_bytes;
}

void history_free(struct history *h)
{
	free(h->uploads);
	free(h->files);
	free(h->reasons);
	free(h->before);
	memset(h, 0, sizeof(*h));
}

/* splitmix64 */
uint64_t history_random(struct history *h, uint64_t bound)
{
	uint64_t z = h->seed += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % bound;
}

static void count_bytes_until(struct history *h, int64_t now_ms)
{
	if (h->counted_ms && now_ms > h->counted_ms)
		h->byte_ms += (double)h->bytes * (double)(now_ms - h->counted_ms);
	if (!h->counted_ms || now_ms > h->counted_ms)
		h->counted_ms = now_ms;
}

static bool before(const struct replica_file *a, const struct replica_file *b)
{
	if (a->level != b->level)
		return a->level < b->level;
	return a->min_txid != b->min_txid ? a->min_txid < b->min_txid : a->max_txid < b->max_txid;
}

/* Makes room for n files that come where `f` belongs. */
static struct replica_file *insert(struct history *h, const struct replica_file *f, size_t n)
{
	h->files = grown(h->files, &h->cap_files, h->n_files + n, sizeof(*h->files));
	size_t lo = 0, hi = h->n_files;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (before(&h->files[mid], f))
			lo = mid + 1;
		else
			hi = mid;
	}
	memmove(&h->files[lo + n], &h->files[lo], (h->n_files - lo) * sizeof(*h->files));
	h->n_files += n;
	return &h->files[lo];
}

static void put(struct history *h, struct replica_file *place, const struct replica_file *f)
{
	count_bytes_until(h, f->uploaded_ms);
	*place = *f;
	h->bytes += f->size;
	h->puts[f->level]++;
	h->put_bytes[f->level] += f->size;
}

uint64_t history_last(const struct history *h)
{
	return h->forgotten + h->n_uploads;
}

void history_note(struct history *h, int64_t timestamp_ms, int64_t uploaded_ms)
{
	h->uploads = grown(h->uploads, &h->cap_uploads, h->n_uploads + 1, sizeof(*h->uploads));
	h->uploads[h->n_uploads++] = (struct upload){timestamp_ms, uploaded_ms};
}

void history_forget(struct history *h, int64_t before_ms)
{
	size_t n = 0;
	while (n + 1 < h->n_uploads && h->uploads[n + 1].timestamp_ms < before_ms)
		n++; /* the last one before is still shown at that time */
	h->n_uploads -= n;
	h->forgotten += n;
	memmove(h->uploads, h->uploads + n, h->n_uploads * sizeof(*h->uploads));
}

void history_upload(struct history *h, const int64_t *at_ms, size_t n, uint64_t bytes)
{
	if (n == 0)
		return;
	uint64_t next = history_last(h) + 1;
	struct replica_file f = {.min_txid = next, .max_txid = next};
	struct replica_file *place = insert(h, &f, n);
	for (size_t i = 0; i < n; i++) {
		int64_t last = h->n_uploads ? h->uploads[h->n_uploads - 1].timestamp_ms : 0;
		int64_t stamp = at_ms[i] > last ? at_ms[i] : last + 1;
		history_note(h, stamp, at_ms[i]);
		f.min_txid = f.max_txid = next + i;
		f.size = next + i == 1 ? h->db_bytes : 200 + history_random(h, bytes);
		f.timestamp_ms = stamp;
		f.uploaded_ms = at_ms[i];
		put(h, &place[i], &f);
	}
}

static uint64_t merged_size(const struct history *h, const struct replica_file *inputs, size_t n)
{
	double sum = 0, db = (double)h->db_bytes;
	for (size_t i = 0; i < n; i++)
		sum += (double)inputs[i].size;
	return 200 + (uint64_t)(db * sum / (db + sum));
}

size_t history_merge(struct history *h, int64_t now_ms)
{
	struct levels_merge m;
	struct err e = ERR_INIT;
	size_t made = 0;
	for (;; made++) {
		must(levels_due(h->files, h->n_files, &h->levels, now_ms, &m, &e) == ERR_OK, e.text);
		if (m.count == 0)
			return made;
		const struct replica_file *in = &h->files[m.first], *last = &in[m.count - 1];
		for (size_t i = 0; i < m.count; i++)
			must(in[i].level == m.level - 1 && (i == 0 || in[i].min_txid == in[i - 1].max_txid + 1),
				"inputs that don't follow each other");
		struct replica_file out = {.level = m.level,
			.min_txid = in->min_txid,
			.max_txid = last->max_txid,
			.size = merged_size(h, in, m.count),
			.timestamp_ms = last->timestamp_ms,
			.uploaded_ms = now_ms};
		put(h, insert(h, &out, 1), &out);
	}
}

enum levels_reason history_snapshot(struct history *h, int64_t now_ms)
{
	struct levels_snapshot s;
	struct err e = ERR_INIT;
	int rc = levels_snapshot_due(h->files, h->n_files, &h->levels, h->db_bytes, now_ms, &s, &e);
	must(rc == ERR_OK, e.text);
	if (s.due == LEVELS_NOT_DUE)
		return s.due;
	struct replica_file f = {.level = LTX_SNAPSHOT_LEVEL,
		.min_txid = 1,
		.max_txid = history_last(h),
		.size = h->db_bytes,
		.timestamp_ms = h->uploads[h->n_uploads - 1].timestamp_ms,
		.uploaded_ms = now_ms};
	put(h, insert(h, &f, 1), &f);
	return s.due;
}

size_t history_retain(struct history *h, int64_t now_ms)
{
	struct err e = ERR_INIT;
	size_t n = h->n_files, kept = 0;
	h->reasons = realloc(h->reasons, n + 1);
	h->before = reallocarray(h->before, n + 1, sizeof(*h->before));
	must(h->reasons && h->before, "out of memory");
	memcpy(h->before, h->files, n * sizeof(*h->files));
	h->n_before = n;
	count_bytes_until(h, now_ms);
	int rc = retain_explain(h->files, n, &h->retain, now_ms, h->reasons, NULL, &e);
	must(rc == ERR_OK, e.text);
	for (size_t i = 0; i < n; i++) {
		if (h->reasons[i])
			h->files[kept++] = h->files[i];
		else
			h->bytes -= h->files[i].size;
	}
	h->n_files = kept;
	h->deleted += n - kept;
	h->batches += (n - kept + 999) / 1000;
	return n - kept;
}

/* From when on a step shows an upload: the first multiple of `step` after it; for step 0 at once.
 */
static int64_t shown_from(const struct upload *u, int64_t step)
{
	return step ? (u->timestamp_ms / step + 1) * step : u->timestamp_ms;
}

/* A state is shown until the next one is; that must be after the window's beginning. The last
 * upload is the present. */
bool *history_promised(const struct history *h, int64_t now_ms)
{
	bool *promised = calloc(h->n_uploads + 1, sizeof(*promised));
	must(promised, "out of memory");
	for (size_t i = 0; i < h->n_uploads; i++) {
		const struct upload *u = &h->uploads[i], *next = u + 1;
		promised[i] = i + 1 == h->n_uploads;
		for (int k = 0; k < h->retain.n_steps && !promised[i]; k++) {
			int64_t step = h->retain.steps[k].step_ms;
			int64_t until = shown_from(next, step);
			if (shown_from(u, step) < until && until > now_ms - h->retain.steps[k].window_ms)
				promised[i] = true;
		}
	}
	return promised;
}

/* Until when retention counts on a step to show what was before `next`. */
static int64_t held_until(const struct upload *next, int64_t step)
{
	int64_t by_stamp = shown_from(next, step), by_upload = next->uploaded_ms + step;
	return by_upload < by_stamp ? by_upload : by_stamp;
}

bool *history_held(const struct history *h, int64_t now_ms)
{
	bool *held = calloc(h->n_uploads + 1, sizeof(*held));
	must(held, "out of memory");
	for (int k = -1; k < h->retain.n_steps; k++) {
		int64_t step = k < 0 ? 0 : h->retain.steps[k].step_ms;
		int64_t window = k < 0 ? 0 : h->retain.steps[k].window_ms;
		size_t shown = h->n_uploads - 1; /* what comes after i in this step */
		held[shown] = true;
		for (size_t i = shown; i > 0; i--) {
			const struct upload *u = &h->uploads[i - 1];
			if (shown_from(u, step) == shown_from(u + 1, step))
				continue;
			if (held_until(&h->uploads[shown], step) <= now_ms - window - h->retain.grace_ms)
				break;
			held[i - 1] = true;
			shown = i - 1;
		}
	}
	return held;
}
