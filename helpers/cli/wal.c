/* litestream wal: WAL segments of Litestream 0.3; of other replicas the LTX files */
#include "base/clock.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/ltx.h"
#include "cli/place.h"

#include <inttypes.h>
#include <stdio.h>

struct segments {
	struct listing_table table; /* first: what listing_each hands on is both */
	uint64_t generation;        /* only this one; 0 = all */
	size_t files;               /* of Litestream 0.3, of which the table's are some */
};

static int add_one(
	struct listing_table *t, const struct listing *l, const struct v3_file *f, struct err *e)
{
	char created[32];
	if (t->count++ == 0 && !t->all)
		printf("%-8s  %-16s  %8s  %12s  %12s  %s\n", "replica", "generation", "index", "offset",
			"size", "created");
	if (!t->all) {
		printf("%-8s  %016" PRIx64 "  %8" PRIu32 "  %12" PRIu64 "  %12" PRIu64 "  %s\n", l->name,
			f->generation, f->index, f->offset, f->size, listing_time(f->modified_ms, created));
		return ERR_OK;
	}
	clock_format_rfc3339(f->modified_ms, created);
	json_t *one = json_pack("{s:s,s:o,s:o,s:I,s:I,s:s}", "replica", l->name, "generation",
		json_sprintf("%016" PRIx64, f->generation), "index", json_sprintf("%08" PRIx32, f->index),
		"offset", (json_int_t)f->offset, "size", (json_int_t)f->size, "created", created);
	return one && !json_array_append_new(t->all, one) ? ERR_OK : err_nomem(e, "printing the list");
}

static int add(void *ctx, const struct listing *l, struct err *e)
{
	struct segments *w = ctx;
	int rc = ERR_OK;
	w->files += l->v3.count;
	snprintf(w->table.where, sizeof(w->table.where), "%s", l->url);
	for (size_t i = 0; i < l->v3.count && !rc; i++) {
		const struct v3_file *f = &l->v3.files[i];
		if (!f->snapshot && (!w->generation || f->generation == w->generation))
			rc = add_one(&w->table, l, f, e);
	}
	return rc;
}

static int list_segments(struct args *a, struct segments *w, struct err *e)
{
	const char *generation = args_string(a, "generation", NULL);
	if (generation && (!v3_parse_generation(generation, &w->generation) || !w->generation))
		return args_usage(a, e, "-generation 9f0a5c2e6b7d8134",
			"-generation takes 16 hexadecimal digits, not \"%s\"", generation);
	int rc = listing_each(a, LISTING_V3, add, w, e);
	if (!rc && w->table.count == 0 && (w->files || generation))
		rc = err_set(e, ERR_NO_BACKUP, "%s: no WAL segment of Litestream 0.3 found%s%s",
			w->table.where, generation ? " of generation " : "", generation ? generation : "");
	return rc;
}

static int run(struct args *a, struct err *e)
{
	struct segments w = {.table = {.all = args_bool(a, "json") ? json_array() : NULL}};
	int rc = args_given(a, "level") ? ERR_OK : list_segments(a, &w, e);
	if (rc || w.files)
		return listing_end(&w.table, rc, e);
	json_decref(w.table.all);
	fprintf(stderr, "Warning: 'wal' command is deprecated, please use 'ltx' instead\n");
	return ltx_run(a, e);
}

static const struct flag flags[] = {
	{"generation", FLAG_STRING, "GENERATION", "only this one (16 digits)"},
	{"level", FLAG_STRING, "N", "of LTX files: this level, 0 to 9, or all (0)"},
	{"json", FLAG_BOOL, NULL, "print the list as JSON"},
	PLACE_FLAGS,
	{0},
};

const struct command command_wal = {
	.name = "wal",
	.arguments = "[flags] DB | URL",
	.summary = "Lists the WAL segments that Litestream 0.3 left in a replica",
	.details = "Of a database all its replicas are listed. Where 0.3 left nothing it is the old "
			   "name of ltx.\n",
	.examples = "    litestream wal s3://mybkt/fruits.db\n"
				"    litestream wal -replica s3 -generation 9f0a5c2e6b7d8134 /data/fruits.db\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
