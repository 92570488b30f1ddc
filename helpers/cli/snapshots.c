/* litestream snapshots: the files of a replica that hold a whole database */
#include "base/clock.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/place.h"

#include <inttypes.h>
#include <stdio.h>

/* Litestream 0.3's snapshots, and LTX files that begin with TXID 1. */
struct snapshot {
	const struct v3_file *v3; /* one of the two */
	const struct ltx_file *ltx;
};

static int64_t time_of(const struct snapshot *s)
{
	return s->v3 ? s->v3->modified_ms : s->ltx->modified_ms;
}

static uint64_t size_of(const struct snapshot *s)
{
	return s->v3 ? s->v3->size : s->ltx->size;
}

/* Litestream 0.3's columns, its index in decimal as there. LTX files have no generation, and their
 * TXID stands where 0.3 had the index. */
static void print_one(const struct listing *l, const struct snapshot *s)
{
	char generation[17] = "-", index[17], created[32];
	if (s->v3) {
		snprintf(generation, sizeof(generation), "%016" PRIx64, s->v3->generation);
		snprintf(index, sizeof(index), "%" PRIu32, s->v3->index);
	} else {
		snprintf(index, sizeof(index), "%016" PRIx64, s->ltx->max_txid);
	}
	printf("%-8s  %-16s  %-16s  %12" PRIu64 "  %s\n", l->name, generation, index, size_of(s),
		listing_time(time_of(s), created));
}

static int add_json(json_t *all, const struct listing *l, const struct snapshot *s, struct err *e)
{
	char created[32];
	clock_format_rfc3339(time_of(s), created);
	json_t *one = json_pack(
		"{s:s,s:I,s:s}", "replica", l->name, "size", (json_int_t)size_of(s), "created", created);
	if (one && s->v3) {
		json_object_set_new(one, "generation", json_sprintf("%016" PRIx64, s->v3->generation));
		json_object_set_new(one, "index", json_sprintf("%08" PRIx32, s->v3->index));
	} else if (one) {
		json_object_set_new(one, "level", json_integer(s->ltx->level));
		json_object_set_new(one, "txid", json_sprintf("%016" PRIx64, s->ltx->max_txid));
	}
	return one && !json_array_append_new(all, one) ? ERR_OK : err_nomem(e, "printing the list");
}

static int add_one(
	struct listing_table *t, const struct listing *l, const struct snapshot *s, struct err *e)
{
	if (t->count++ == 0 && !t->all)
		printf(
			"%-8s  %-16s  %-16s  %12s  %s\n", "replica", "generation", "index", "size", "created");
	if (t->all)
		return add_json(t->all, l, s, e);
	print_one(l, s);
	return ERR_OK;
}

static int add(void *ctx, const struct listing *l, struct err *e)
{
	struct listing_table *t = ctx;
	int rc = ERR_OK;
	snprintf(t->where, sizeof(t->where), "%s", l->url);
	for (size_t i = 0; i < l->v3.count && !rc; i++) {
		const struct snapshot s = {.v3 = &l->v3.files[i]};
		if (s.v3->snapshot)
			rc = add_one(t, l, &s, e);
	}
	for (size_t i = 0; i < l->ltx.count && !rc; i++) {
		const struct snapshot s = {.ltx = &l->ltx.files[i]};
		if (s.ltx->min_txid == 1)
			rc = add_one(t, l, &s, e);
	}
	return rc;
}

static int run(struct args *a, struct err *e)
{
	return listing_show(
		a, LISTING_V3 | LISTING_LTX, add, "no backup found: there is no snapshot", e);
}

static const struct flag flags[] = {
	{"json", FLAG_BOOL, NULL, "print the list as JSON"},
	PLACE_FLAGS,
	{0},
};

const struct command command_snapshots = {
	.name = "snapshots",
	.arguments = "[flags] DB | URL",
	.summary = "Lists the snapshots in a replica",
	.details = "Those of Litestream 0.3, and LTX files that hold a whole database (they begin with "
			   "TXID\n"
			   "1): of these the TXID stands under index. Of a database all its replicas are "
			   "listed.\n",
	.examples = "    litestream snapshots s3://mybkt/fruits.db\n"
				"    litestream snapshots -replica s3 /data/fruits.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
