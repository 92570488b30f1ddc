/*
 * What an inventory knows beyond a listing, kept over a restart, and brought together with the next
 * listing.
 *
 * A record is what the listing can't tell, and enough of the size to see that it is still the same
 * file. 32 bytes:
 *
 *     0  be64  lowest TXID
 *     8  be64  highest TXID
 *    16  u8    level, then 56 bits: timestamp in ms since 1970, 0 = unknown
 *    24  be32  when it came into the replica, in seconds since 1970
 *    28  be32  its size modulo 2^32
 */
#include "replicate/inventory.h"

#include "base/digest.h"
#include "base/endian.h"
#include "base/fs.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_SIZE 24
#define RECORD_SIZE 32
#define TAIL_SIZE 8
#define VERSION 1
#define FILES_MAX (1u << 22)
#define TIME_MASK ((UINT64_C(1) << 56) - 1)

static const uint8_t magic[4] = {'D', 'L', 'S', 'I'};

static uint64_t crc_of(const char *url)
{
	return crc64_iso(0, url, strlen(url));
}

/* ---- writing ---- */

static void put_record(uint8_t *p, const struct replica_file *f)
{
	uint64_t time = f->timestamp_ms > 0 ? (uint64_t)f->timestamp_ms & TIME_MASK : 0;
	put_be64(p, f->min_txid);
	put_be64(p + 8, f->max_txid);
	put_be64(p + 16, (uint64_t)f->level << 56 | time);
	put_be32(p + 24, (uint32_t)(f->uploaded_ms / 1000));
	put_be32(p + 28, (uint32_t)f->size);
}

int inventory_save(
	struct inventory *inv, const char *dir, const char *url, uint64_t *changes, struct err *e)
{
	struct replica_file *files;
	size_t n;
	uint64_t now = inventory_changes(inv); /* before the copy: what comes between is saved twice */
	int rc = inventory_copy(inv, &files, &n, e);
	if (rc)
		return rc;
	size_t size = HEAD_SIZE + n * RECORD_SIZE + TAIL_SIZE;
	char *path = fs_join(dir, "inventory");
	uint8_t *out = malloc(size);
	if (path && out) {
		memcpy(out, magic, sizeof(magic));
		put_be32(out + 4, VERSION);
		put_be64(out + 8, crc_of(url));
		put_be64(out + 16, n);
		for (size_t i = 0; i < n; i++)
			put_record(out + HEAD_SIZE + i * RECORD_SIZE, &files[i]);
		put_be64(out + size - TAIL_SIZE, crc64_iso(0, out, size - TAIL_SIZE));
		rc = fs_replace_file(path, out, size, 0600, e);
	} else {
		rc = err_nomem(e, "writing the inventory");
	}
	free(out);
	free(path);
	free(files);
	if (!rc && changes)
		*changes = now;
	return rc;
}

/* ---- reading ---- */

static bool is_whole(const struct buf *b, const char *url)
{
	if (b->len < HEAD_SIZE + TAIL_SIZE || memcmp(b->data, magic, sizeof(magic)) != 0 ||
		get_be32(b->data + 4) != VERSION || get_be64(b->data + 8) != crc_of(url))
		return false;
	uint64_t n = get_be64(b->data + 16);
	return n <= FILES_MAX && b->len == HEAD_SIZE + n * RECORD_SIZE + TAIL_SIZE &&
		   get_be64(b->data + b->len - TAIL_SIZE) == crc64_iso(0, b->data, b->len - TAIL_SIZE);
}

static void get_record(const uint8_t *p, struct replica_file *f)
{
	memset(f, 0, sizeof(*f));
	f->min_txid = get_be64(p);
	f->max_txid = get_be64(p + 8);
	f->level = p[16];
	f->timestamp_ms = (int64_t)(get_be64(p + 16) & TIME_MASK);
	f->uploaded_ms = (int64_t)get_be32(p + 24) * 1000;
	f->size = get_be32(p + 28);
}

/* What was saved, in its order; nothing when there is no such file, or not of this replica. */
static int read_saved(
	const char *dir, const char *url, struct replica_file **out, size_t *count, struct err *e)
{
	struct buf b;
	struct err why = ERR_INIT;
	*out = NULL;
	*count = 0;
	char *path = fs_join(dir, "inventory");
	if (!path)
		return err_nomem(e, "reading the inventory");
	buf_init(&b, HEAD_SIZE + (size_t)FILES_MAX * RECORD_SIZE + TAIL_SIZE);
	int rc = fs_read_file(path, &b, &why);
	if (!rc && !is_whole(&b, url)) {
		log_info(
			"%s is not of this replica, or damaged: the times of its files are asked anew", path);
		rc = ERR_DAMAGED;
	}
	size_t n = rc ? 0 : (size_t)get_be64(b.data + 16);
	if (n)
		*out = malloc(n * sizeof(**out));
	for (size_t i = 0; *out && i < n; i++)
		get_record(b.data + HEAD_SIZE + i * RECORD_SIZE, &(*out)[i]);
	*count = *out ? n : 0;
	buf_free(&b);
	free(path);
	if (rc == ERR_NOMEM || (n && !*out))
		return err_nomem(e, "reading the inventory");
	if (rc == ERR_IO)
		*e = why;
	return rc == ERR_IO ? rc : ERR_OK;
}

/* ---- together with a listing ---- */

/* The file of the same name in a sorted array; NULL = it has none. */
static const struct replica_file *find(
	const struct replica_file *files, size_t n, const struct replica_file *f)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = replica_file_compare(&files[mid], f);
		if (c == 0)
			return &files[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* In the order of TXIDs; of the same TXID first what is known, then the lower level. */
static int by_max(const void *a, const void *b)
{
	const struct replica_file *x = *(struct replica_file *const *)a;
	const struct replica_file *y = *(struct replica_file *const *)b;
	if (x->max_txid != y->max_txid)
		return x->max_txid < y->max_txid ? -1 : 1;
	bool p = x->timestamp_ms > 0, q = y->timestamp_ms > 0;
	if (p != q)
		return p ? -1 : 1;
	return x->level - y->level;
}

/*
 * Times that a listing can't tell, for what is still 0. `listed` has when the store took each file,
 * in the order of `files`. A file that ends with a known one has its time. An L0 was taken soon
 * after it was made, and before every later one: its time is at most theirs. Last, time grows with
 * the TXID (F9), whatever clocks said.
 */
static void guess(struct replica_file **order, size_t n, const struct replica_file *files,
	const int64_t *listed, int64_t now_ms)
{
	for (size_t i = 1; i < n; i++)
		if (!order[i]->timestamp_ms && order[i - 1]->max_txid == order[i]->max_txid)
			order[i]->timestamp_ms = order[i - 1]->timestamp_ms;
	int64_t next = now_ms;
	for (size_t i = n; i-- > 0;) {
		struct replica_file *f = order[i];
		if (!f->timestamp_ms && f->level == 0) {
			int64_t at = listed[f - files];
			f->timestamp_ms = at > 0 && at < next ? at : next;
		}
		if (f->timestamp_ms && f->timestamp_ms < next)
			next = f->timestamp_ms;
	}
	int64_t last = 0;
	for (size_t i = 0; i < n; i++) {
		if (order[i]->timestamp_ms && order[i]->timestamp_ms < last)
			order[i]->timestamp_ms = last;
		if (order[i]->timestamp_ms)
			last = order[i]->timestamp_ms;
	}
}

struct merge {
	struct replica_file *files, *saved, **order;
	int64_t *listed;
	size_t n, n_saved;
};

static void take(
	struct merge *m, const struct inventory *inv, const struct ltx_file *l, int64_t now)
{
	struct replica_file *f = &m->files[m->n];
	*f = (struct replica_file){l->level, l->min_txid, l->max_txid, l->size, 0, now};
	const struct replica_file *known = find(inv->files, inv->count, f);
	if (!known)
		known = find(m->saved, m->n_saved, f);
	if (known && (uint32_t)known->size == (uint32_t)f->size) {
		f->timestamp_ms = known->timestamp_ms;
		f->uploaded_ms = known->uploaded_ms;
	}
	m->listed[m->n] = l->modified_ms;
	m->order[m->n++] = f;
}

static void replace(struct inventory *inv, struct merge *m)
{
	free(inv->files);
	inv->files = m->files;
	inv->count = m->n;
	inv->cap = m->n;
	inv->known = true;
	inv->totals_known = false;
	inv->changes++;
	m->files = NULL;
}

/* What is in the inventory and not listed. Lock held. */
static void take_unlisted(struct merge *m, const struct inventory *inv)
{
	size_t listed = m->n;
	for (size_t i = 0; i < inv->count; i++) {
		if (find(m->files, listed, &inv->files[i]))
			continue;
		m->files[m->n] = inv->files[i];
		m->listed[m->n] = 0;
		m->order[m->n] = &m->files[m->n];
		m->n++;
	}
}

static int compare_files(const void *a, const void *b)
{
	return replica_file_compare(a, b);
}

/* Lock held: what comes in meanwhile comes before or after. */
static int join(struct inventory *inv, const struct ltx_set *set, struct merge *m, bool all,
	int64_t now_ms, struct err *e)
{
	size_t room = set->count + (all ? inv->count : 0) + 1;
	m->files = malloc(room * sizeof(*m->files));
	m->order = malloc(room * sizeof(struct replica_file *));
	m->listed = malloc(room * sizeof(*m->listed));
	if (!m->files || !m->order || !m->listed)
		return err_nomem(e, "noting what is in the replica");
	for (size_t i = 0; i < set->count; i++)
		take(m, inv, &set->files[i], now_ms);
	if (all)
		take_unlisted(m, inv);
	qsort(m->order, m->n, sizeof(struct replica_file *), by_max);
	guess(m->order, m->n, m->files, m->listed, now_ms);
	qsort(m->files, m->n, sizeof(*m->files), compare_files);
	replace(inv, m);
	return ERR_OK;
}

int inventory_load(struct inventory *inv, const struct ltx_set *set, bool all, const char *dir,
	const char *url, int64_t now_ms, struct err *e)
{
	struct merge m = {0};
	int rc = read_saved(dir, url, &m.saved, &m.n_saved, e);
	if (rc)
		return rc;
	pthread_mutex_lock(&inv->lock);
	rc = join(inv, set, &m, all, now_ms, e);
	pthread_mutex_unlock(&inv->lock);
	free(m.files);
	free(m.order);
	free(m.listed);
	free(m.saved);
	return rc;
}
