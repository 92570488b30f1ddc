/* litestream generations: what Litestream 0.3 left in a replica */
#include "base/amount.h"
#include "base/clock.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct generation {
	uint64_t name;
	size_t snapshots, segments;
	uint32_t first_index, last_index; /* that a restore can go up to */
	uint64_t size;                    /* of all its files */
	int64_t created_ms, updated_ms;
};

/* The generation whose files begin at set->files[at]; *next = where the next one begins. */
static struct generation read_one(const struct v3_set *set, size_t at, size_t *next)
{
	const struct v3_file *f = &set->files[at];
	struct generation g = {.name = f->generation,
		.first_index = f->index,
		.created_ms = f->modified_ms,
		.updated_ms = f->modified_ms};
	for (; at < set->count && set->files[at].generation == g.name; at++) {
		f = &set->files[at];
		g.snapshots += f->snapshot;
		g.segments += !f->snapshot;
		g.size += f->size;
		g.last_index = f->index > g.last_index ? f->index : g.last_index;
		g.created_ms = f->modified_ms < g.created_ms ? f->modified_ms : g.created_ms;
		g.updated_ms = f->modified_ms > g.updated_ms ? f->modified_ms : g.updated_ms;
	}
	*next = at;
	return g;
}

static int64_t mtime_ms(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

/* To seconds from 10 s on, below to tenths, as 0.3 shows it. */
static int64_t rounded(int64_t ms)
{
	int64_t size = ms < 0 ? -ms : ms;
	return size > 10000 ? ms / 1000 * 1000 : size > 1000 ? ms / 100 * 100 : ms;
}

/* When the app last wrote: what a replica's lag is taken from. Of a URL nobody knows: now. */
static int64_t written_ms(const char *database)
{
	struct stat st;
	char *wal;
	if (!database || asprintf(&wal, "%s-wal", database) < 0)
		return clock_wall_ms();
	int64_t last = INT64_MIN;
	if (stat(database, &st) == 0)
		last = mtime_ms(&st);
	if (stat(wal, &st) == 0 && mtime_ms(&st) > last)
		last = mtime_ms(&st);
	free(wal);
	return last == INT64_MIN ? clock_wall_ms() : last;
}

/* The first five columns are Litestream 0.3's. */
static void print_one(const struct listing *l, const struct generation *g)
{
	char start[32], end[32], lag[AMOUNT_DURATION_SIZE];
	amount_format_duration(rounded(written_ms(l->database) - g->updated_ms), lag);
	printf("%-8s  %016" PRIx64 "  %-12s  %-20s  %-20s  %9zu  %8zu  %08" PRIx32 "  %08" PRIx32
		   "  %12" PRIu64 "\n",
		l->name, g->name, lag, listing_time(g->created_ms, start), listing_time(g->updated_ms, end),
		g->snapshots, g->segments, g->first_index, g->last_index, g->size);
}

static int add_json(json_t *all, const struct listing *l, const struct generation *g, struct err *e)
{
	char created[32], updated[32];
	clock_format_rfc3339(g->created_ms, created);
	clock_format_rfc3339(g->updated_ms, updated);
	json_t *one = json_pack("{s:s,s:o,s:s,s:s,s:I,s:I,s:o,s:o,s:I}", "name", l->name, "generation",
		json_sprintf("%016" PRIx64, g->name), "created", created, "updated", updated, "snapshots",
		(json_int_t)g->snapshots, "segments", (json_int_t)g->segments, "first_index",
		json_sprintf("%08" PRIx32, g->first_index), "last_index",
		json_sprintf("%08" PRIx32, g->last_index), "size", (json_int_t)g->size);
	return one && !json_array_append_new(all, one) ? ERR_OK : err_nomem(e, "printing the list");
}

static int add(void *ctx, const struct listing *l, struct err *e)
{
	struct listing_table *t = ctx;
	int rc = ERR_OK;
	snprintf(t->where, sizeof(t->where), "%s", l->url);
	for (size_t i = 0; i < l->v3.count && !rc;) {
		const struct generation g = read_one(&l->v3, i, &i);
		if (!t->all && t->count == 0)
			printf("%-8s  %-16s  %-12s  %-20s  %-20s  %9s  %8s  %-8s  %-8s  %12s\n", "name",
				"generation", "lag", "start", "end", "snapshots", "segments", "from", "to", "size");
		t->count++;
		if (t->all)
			rc = add_json(t->all, l, &g, e);
		else
			print_one(l, &g);
	}
	return rc;
}

static int run(struct args *a, struct err *e)
{
	return listing_show(a, LISTING_V3, add,
		"no backup of Litestream 0.3 found: litestream ltx -level all lists what 0.5 and we write",
		e);
}

static const struct flag flags[] = {
	{"json", FLAG_BOOL, NULL, "print the list as JSON"},
	PLACE_FLAGS,
	{0},
};

const struct command command_generations = {
	.name = "generations",
	.arguments = "[flags] DB | URL",
	.summary = "Lists what Litestream 0.3 left in a replica",
	.details =
		"A generation is an unbroken line of WALs. restore -generation takes its name, -index a\n"
		"number between its first and its last index. Of a database all its replicas are listed;\n"
		"lag is how much later than the last upload the app last wrote, of a URL: how long ago\n"
		"that was.\n",
	.examples = "    litestream generations s3://mybkt/fruits.db\n"
				"    litestream generations -replica s3 /data/fruits.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
