#include "replicate/inventory.h"

#include <stdlib.h>
#include <string.h>

void inventory_init(struct inventory *inv)
{
	memset(inv, 0, sizeof(*inv));
	pthread_mutex_init(&inv->lock, NULL);
}

void inventory_free(struct inventory *inv)
{
	free(inv->files);
	pthread_mutex_destroy(&inv->lock);
	memset(inv, 0, sizeof(*inv));
}

int replica_file_compare(const struct replica_file *a, const struct replica_file *b)
{
	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	if (a->min_txid != b->min_txid)
		return a->min_txid < b->min_txid ? -1 : 1;
	return a->max_txid < b->max_txid ? -1 : a->max_txid > b->max_txid;
}

/* Something changed. Lock held. */
static void touch(struct inventory *inv)
{
	inv->changes++;
	inv->totals_known = false;
}

void inventory_clear(struct inventory *inv)
{
	pthread_mutex_lock(&inv->lock);
	free(inv->files);
	inv->files = NULL;
	inv->count = inv->cap = 0;
	inv->known = false;
	touch(inv);
	pthread_mutex_unlock(&inv->lock);
}

/* ---- one by one ---- */

/* The first file that is not before f. Lock held. */
static size_t place_of(const struct inventory *inv, const struct replica_file *f)
{
	size_t low = 0, high = inv->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (replica_file_compare(&inv->files[mid], f) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Grows by a quarter: 20,000 files are a megabyte, and doubling it would be two. Lock held. */
static bool make_room(struct inventory *inv)
{
	if (inv->count < inv->cap)
		return true;
	size_t cap = inv->cap + inv->cap / 4 + 16;
	struct replica_file *files = realloc(inv->files, cap * sizeof(*files));
	if (!files)
		return false;
	inv->files = files;
	inv->cap = cap;
	return true;
}

int inventory_add(struct inventory *inv, const struct replica_file *f, struct err *e)
{
	int rc = ERR_OK;
	pthread_mutex_lock(&inv->lock);
	size_t at = place_of(inv, f);
	if (at < inv->count && replica_file_compare(&inv->files[at], f) == 0) {
		inv->files[at] = *f;
	} else if (make_room(inv)) {
		memmove(&inv->files[at + 1], &inv->files[at], (inv->count - at) * sizeof(*f));
		inv->files[at] = *f;
		inv->count++;
	} else {
		inv->known = false;
		rc = err_nomem(e, "noting what is in the replica");
	}
	touch(inv);
	pthread_mutex_unlock(&inv->lock);
	return rc;
}

/* A mark that leaves the order as it is. */
#define GONE INT64_MIN

void inventory_remove(struct inventory *inv, const struct replica_file *files, size_t n)
{
	pthread_mutex_lock(&inv->lock);
	for (size_t i = 0; i < n; i++) {
		size_t at = place_of(inv, &files[i]);
		if (at < inv->count && replica_file_compare(&inv->files[at], &files[i]) == 0)
			inv->files[at].uploaded_ms = GONE;
	}
	size_t kept = 0;
	for (size_t i = 0; i < inv->count; i++)
		if (inv->files[i].uploaded_ms != GONE)
			inv->files[kept++] = inv->files[i];
	inv->count = kept;
	touch(inv);
	pthread_mutex_unlock(&inv->lock);
}

void inventory_clock_set(struct inventory *inv, int64_t now_ms, int64_t by_ms)
{
	pthread_mutex_lock(&inv->lock);
	for (size_t i = 0; i < inv->count; i++) {
		struct replica_file *f = &inv->files[i];
		if (by_ms > 0 ? f->uploaded_ms <= now_ms : f->uploaded_ms > now_ms + by_ms)
			f->uploaded_ms += by_ms;
	}
	touch(inv);
	pthread_mutex_unlock(&inv->lock);
}

/* ---- asked ---- */

int inventory_copy(struct inventory *inv, struct replica_file **out, size_t *count, struct err *e)
{
	int rc = ERR_OK;
	*out = NULL;
	pthread_mutex_lock(&inv->lock);
	*count = inv->count;
	if (inv->count) {
		*out = malloc(inv->count * sizeof(**out));
		if (*out)
			memcpy(*out, inv->files, inv->count * sizeof(**out));
		else
			rc = err_nomem(e, "looking at what is in the replica");
	}
	pthread_mutex_unlock(&inv->lock);
	return rc;
}

bool inventory_known(struct inventory *inv)
{
	pthread_mutex_lock(&inv->lock);
	bool known = inv->known;
	pthread_mutex_unlock(&inv->lock);
	return known;
}

void inventory_count_l0(struct inventory *inv, int64_t young_ms, struct inventory_l0 *out)
{
	uint64_t merged = 0;
	*out = (struct inventory_l0){0};
	pthread_mutex_lock(&inv->lock);
	for (size_t i = inv->count; i > 0 && inv->files[i - 1].level > 0; i--)
		if (inv->files[i - 1].level == 1 && inv->files[i - 1].max_txid > merged)
			merged = inv->files[i - 1].max_txid;
	for (size_t i = 0; i < inv->count && inv->files[i].level == 0; i++) {
		const struct replica_file *f = &inv->files[i];
		out->too_recent += f->uploaded_ms > young_ms;
		out->not_compacted += f->uploaded_ms <= young_ms && f->max_txid > merged;
		out->eligible += f->uploaded_ms <= young_ms && f->max_txid <= merged;
	}
	pthread_mutex_unlock(&inv->lock);
}

uint64_t inventory_changes(struct inventory *inv)
{
	pthread_mutex_lock(&inv->lock);
	uint64_t changes = inv->changes;
	pthread_mutex_unlock(&inv->lock);
	return changes;
}

static void add_to_totals(struct inventory_totals *t, const struct replica_file *f)
{
	t->files++;
	t->bytes += f->size;
	if (f->max_txid >= t->latest_txid && f->timestamp_ms) {
		t->latest_txid = f->max_txid;
		t->latest_ms = f->timestamp_ms;
	}
	if (f->min_txid != 1 || !f->timestamp_ms)
		return;
	if (!t->earliest_txid || f->max_txid < t->earliest_txid) {
		t->earliest_txid = f->max_txid;
		t->earliest_ms = f->timestamp_ms;
	}
	if (f->timestamp_ms <= t->snapshot_ms)
		return;
	t->snapshot_ms = f->timestamp_ms;
	t->snapshot_txid = f->max_txid;
	t->snapshot_made_ms = f->uploaded_ms;
}

void inventory_get_totals(struct inventory *inv, struct inventory_totals *out)
{
	pthread_mutex_lock(&inv->lock);
	if (!inv->totals_known) {
		memset(&inv->totals, 0, sizeof(inv->totals));
		for (size_t i = 0; i < inv->count; i++)
			add_to_totals(&inv->totals, &inv->files[i]);
		inv->totals_known = true;
	}
	*out = inv->totals;
	pthread_mutex_unlock(&inv->lock);
}
