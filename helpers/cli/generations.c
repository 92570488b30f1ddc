/* litestream generations: what Litestream 0.3 left in a replica */
#include "base/clock.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/stop.h"
#include "restore/v3.h"
#include "store/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

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

static void print_table(const struct v3_set *set)
{
	printf("%-16s  %-24s  %-24s  %9s  %8s  %-8s  %-8s  %12s\n", "generation", "created", "updated",
		"snapshots", "segments", "from", "to", "size");
	for (size_t i = 0; i < set->count;) {
		const struct generation g = read_one(set, i, &i);
		char created[32], updated[32];
		clock_format_rfc3339(g.created_ms, created);
		clock_format_rfc3339(g.updated_ms, updated);
		printf("%016" PRIx64 "  %-24s  %-24s  %9zu  %8zu  %08" PRIx32 "  %08" PRIx32 "  %12" PRIu64
			   "\n",
			g.name, created, updated, g.snapshots, g.segments, g.first_index, g.last_index, g.size);
	}
}

static int print_json(const struct v3_set *set, struct err *e)
{
	json_t *root = json_array();
	for (size_t i = 0; i < set->count;) {
		const struct generation g = read_one(set, i, &i);
		char created[32], updated[32];
		clock_format_rfc3339(g.created_ms, created);
		clock_format_rfc3339(g.updated_ms, updated);
		json_array_append_new(
			root, json_pack("{s:o,s:s,s:s,s:I,s:I,s:o,s:o,s:I}", "generation",
					  json_sprintf("%016" PRIx64, g.name), "created", created, "updated", updated,
					  "snapshots", (json_int_t)g.snapshots, "segments", (json_int_t)g.segments,
					  "first_index", json_sprintf("%08" PRIx32, g.first_index), "last_index",
					  json_sprintf("%08" PRIx32, g.last_index), "size", (json_int_t)g.size));
	}
	int rc = root && !json_dumpf(root, stdout, JSON_INDENT(2)) ? ERR_OK : ERR_NOMEM;
	json_decref(root);
	printf("\n");
	return rc ? err_nomem(e, "printing the list") : ERR_OK;
}

static int list(struct store *s, struct v3_set *set, struct err *e)
{
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	rc = v3_list(s, set, e);
	stop_end();
	if (!rc && set->count == 0)
		rc = err_set(e, ERR_NO_BACKUP, "%s: no backup of Litestream 0.3 found", store_url(s));
	return rc;
}

static int run(struct args *a, struct err *e)
{
	struct store *s;
	struct v3_set set;
	struct place place;
	int rc = place_find(&place, a, a->argv[0], e);
	if (!rc)
		rc = store_open(&s, place.url, &place.store, e);
	place_free(&place);
	if (rc)
		return rc;
	v3_set_init(&set);
	rc = list(s, &set, e);
	if (!rc && args_bool(a, "json"))
		rc = print_json(&set, e);
	else if (!rc)
		print_table(&set);
	v3_set_free(&set);
	store_close(s);
	return rc;
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
		"number between its first and its last index.\n",
	.examples = "    litestream generations s3://mybkt/fruits.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
