#include "lib/replica.h"

#include "base/endian.h"
#include "format/ltxset.h"
#include "lib/ltx_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int rc, const struct err *e)
{
	if (rc) {
		fprintf(stderr, "replica: %d %s\n", rc, e->text);
		abort();
	}
}

static void *must_alloc(size_t n)
{
	void *p = calloc(1, n ? n : 1);
	if (!p)
		abort();
	return p;
}

void replica_init(struct replica *r, struct store *store, uint32_t page_size, bool ours)
{
	memset(r, 0, sizeof(*r));
	r->store = store;
	r->page_size = page_size;
	r->ours = ours;
	r->node_id = ours ? 0x1122334455667788 : 0;
}

void replica_free(struct replica *r)
{
	for (uint64_t t = 0; t <= r->txid; t++) {
		free(r->states[t].image);
		free(r->states[t].changed);
	}
}

/* Page 1: what every SQLite database in WAL mode begins with. */
static void fill_first_page(const struct replica *r, struct replica_state *s)
{
	uint8_t *p = s->image;
	ltx_fill_page(p, r->page_size, 1, r->seed);
	memset(p, 0, 100);
	memcpy(p, "SQLite format 3", 16);
	put_be16(p + 16, r->page_size == 65536 ? 1 : (uint16_t)r->page_size);
	p[18] = p[19] = 2;
	p[21] = 64;
	p[22] = p[23] = 32;
	put_be32(p + 24, r->seed);
	put_be32(p + 28, s->n_page);
	put_be32(p + 92, r->seed);
}

static void write_page(const struct replica *r, struct replica_state *s, uint32_t pgno)
{
	uint8_t *page = s->image + (size_t)(pgno - 1) * r->page_size;
	s->changed[pgno - 1] = 1;
	if (pgno == 1)
		fill_first_page(r, s);
	else if ((pgno + r->seed) % 7 == 0)
		memset(page, 0, r->page_size);
	else
		ltx_fill_page(page, r->page_size, pgno, r->seed);
}

static uint64_t checksum_of(const struct replica *r, const struct replica_state *s)
{
	uint64_t sum = 0;
	for (uint32_t pgno = 1; pgno <= s->n_page; pgno++)
		sum = ltx_checksum_xor(sum,
			ltx_page_checksum(pgno, s->image + (size_t)(pgno - 1) * r->page_size, r->page_size));
	return sum;
}

uint64_t replica_commit(struct replica *r, uint32_t n_page, uint32_t writes)
{
	const struct replica_state *old = &r->states[r->txid];
	if (++r->txid > REPLICA_STATES)
		abort();
	r->seed++;
	struct replica_state *s = &r->states[r->txid];
	s->n_page = n_page;
	s->image = must_alloc((size_t)n_page * r->page_size);
	s->changed = must_alloc(n_page);
	uint32_t kept = old->n_page < n_page ? old->n_page : n_page;
	if (kept)
		memcpy(s->image, old->image, (size_t)kept * r->page_size);
	for (uint32_t pgno = kept + 1; pgno <= n_page; pgno++)
		write_page(r, s, pgno);
	for (uint32_t i = 0; i < writes && n_page > 1; i++)
		write_page(r, s, 2 + (r->seed * 2654435761u + i * 40503u) % (n_page - 1));
	if (!r->lean || n_page != old->n_page)
		write_page(r, s, 1);
	s->checksum = checksum_of(r, s);
	return r->txid;
}

static bool changed_between(const struct replica *r, uint64_t min, uint64_t max, uint32_t pgno)
{
	for (uint64_t t = min; t <= max; t++)
		if (pgno <= r->states[t].n_page && r->states[t].changed[pgno - 1])
			return true;
	return false;
}

void replica_encode(const struct replica *r, uint64_t min, uint64_t max, struct buf *out)
{
	const struct replica_state *s = &r->states[max];
	struct ltx_header h = {
		.page_size = r->page_size,
		.commit = s->n_page,
		.min_txid = min,
		.max_txid = max,
		.timestamp = REPLICA_START_MS + (int64_t)max * 1000,
		.node_id = r->node_id,
		.ours = r->ours,
		.before_checksum = r->ours && min > 1 ? r->states[min - 1].checksum : 0,
		.after_checksum = r->ours ? s->checksum : 0,
	};
	struct ltx_encoder *enc;
	struct err e = ERR_INIT;
	must(ltx_encoder_new(&enc, &h, ltx_write_buf, out, &e), &e);
	for (uint32_t pgno = 1; pgno <= s->n_page; pgno++)
		if (min == 1 || changed_between(r, min, max, pgno))
			must(ltx_encoder_page(enc, pgno, s->image + (size_t)(pgno - 1) * r->page_size, &e), &e);
	must(ltx_encoder_finish(enc, NULL, NULL, &e), &e);
	ltx_encoder_free(enc);
}

static void object_name(
	const struct replica *r, int level, uint64_t min, uint64_t max, char out[64])
{
	char prefix[16], name[LTX_NAME_SIZE];
	store_level_prefix(r->store, level, prefix);
	ltx_format_name(min, max, name);
	snprintf(out, 64, "%s%s", prefix, name);
}

void replica_put_bytes(
	const struct replica *r, int level, uint64_t min, uint64_t max, const void *p, size_t n)
{
	char name[64];
	object_name(r, level, min, max, name);
	struct store_body body = {.data = n ? p : "", .fd = -1, .size = n};
	struct store_put_opts opts = {.timestamp_ms = REPLICA_START_MS + (int64_t)max * 1000};
	struct err e = ERR_INIT;
	must(store_put(r->store, name, &body, &opts, &e), &e);
}

void replica_delete(const struct replica *r, int level, uint64_t min, uint64_t max)
{
	char name[64];
	object_name(r, level, min, max, name);
	const char *names[] = {name};
	struct store_delete_result result;
	struct err e = ERR_INIT;
	must(store_delete(r->store, names, 1, &result, &e), &e);
}

void replica_put(const struct replica *r, int level, uint64_t min, uint64_t max)
{
	struct buf b;
	buf_init(&b, SIZE_MAX / 2);
	replica_encode(r, min, max, &b);
	replica_put_bytes(r, level, min, max, b.data, b.len);
	buf_free(&b);
}

uint64_t replica_ship(struct replica *r, uint32_t n_page, uint32_t writes)
{
	uint64_t txid = replica_commit(r, n_page, writes);
	replica_put(r, 0, txid, txid);
	return txid;
}

bool replica_is_state(const struct replica *r, uint64_t txid, const char *path)
{
	const struct replica_state *s = &r->states[txid];
	size_t n = (size_t)s->n_page * r->page_size;
	FILE *f = fopen(path, "rb");
	if (!f)
		return false;
	uint8_t *got = must_alloc(n + 1);
	bool same = fread(got, 1, n + 1, f) == n && memcmp(got, s->image, n) == 0;
	free(got);
	fclose(f);
	return same;
}
