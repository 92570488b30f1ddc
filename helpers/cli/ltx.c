/* litestream ltx: the LTX files of a replica */
#include "cli/ltx.h"

#include "base/clock.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/stop.h"
#include "restore/restore.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ALL_LEVELS (-1)

static int parse_level(struct args *a, int *level, struct err *e)
{
	const char *text = args_string(a, "level", "0");
	*level = ALL_LEVELS;
	if (strcmp(text, "all") == 0)
		return ERR_OK;
	*level = text[0] - '0';
	if (strlen(text) == 1 && *level >= 0 && *level < LTX_LEVELS)
		return ERR_OK;
	return args_usage(a, e, NULL, "-level is 0 to 9 or all, not \"%s\"", text);
}

static void print_table(const struct ltx_set *set, int level)
{
	printf("%-5s  %-16s  %-16s  %12s  %s\n", "level", "min_txid", "max_txid", "size", "created");
	for (size_t i = 0; i < set->count; i++) {
		const struct ltx_file *f = &set->files[i];
		char when[32];
		if (level != ALL_LEVELS && f->level != level)
			continue;
		clock_format_rfc3339(f->modified_ms, when);
		printf("%-5d  %016" PRIx64 "  %016" PRIx64 "  %12" PRIu64 "  %s\n", f->level, f->min_txid,
			f->max_txid, f->size, when);
	}
}

static int print_json(const struct ltx_set *set, int level, struct err *e)
{
	json_t *root = json_array();
	for (size_t i = 0; i < set->count; i++) {
		const struct ltx_file *f = &set->files[i];
		char when[32];
		if (level != ALL_LEVELS && f->level != level)
			continue;
		clock_format_rfc3339(f->modified_ms, when);
		json_array_append_new(root, json_pack("{s:i,s:o,s:o,s:I,s:s}", "level", f->level,
										"min_txid", json_sprintf("%016" PRIx64, f->min_txid),
										"max_txid", json_sprintf("%016" PRIx64, f->max_txid),
										"size", (json_int_t)f->size, "timestamp", when));
	}
	return listing_print_json(root, e);
}

static int list(struct store *s, struct ltx_set *set, struct err *e)
{
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	rc = restore_list(s, set, e);
	stop_end();
	if (!rc && set->count == 0)
		rc = err_set(e, ERR_NO_BACKUP, "%s: no backup found: the replica is empty", store_url(s));
	return rc;
}

int ltx_run(struct args *a, struct err *e)
{
	int level;
	int rc = parse_level(a, &level, e);
	if (rc)
		return rc;
	struct store *s;
	struct ltx_set set;
	struct place place;
	rc = place_find(&place, a, a->argv[0], e);
	if (!rc)
		rc = store_open(&s, place.url, &place.store, e);
	place_free(&place);
	if (rc)
		return rc;
	ltxset_init(&set);
	rc = list(s, &set, e);
	if (!rc && args_bool(a, "json"))
		rc = print_json(&set, level, e);
	else if (!rc)
		print_table(&set, level);
	ltxset_free(&set);
	store_close(s);
	return rc;
}

static const struct flag flags[] = {
	{"level", FLAG_STRING, "N", "this level, 0 to 9, or all (0)"},
	{"json", FLAG_BOOL, NULL, "print the list as JSON"},
	PLACE_FLAGS,
	{0},
};

const struct command command_ltx = {
	.name = "ltx",
	.arguments = "[flags] DB | URL",
	.summary = "Lists the LTX files of a replica",
	.details = "The timestamp is the one that the store lists; that of the transactions is inside "
			   "the file.\n",
	.examples = "    litestream ltx -level all s3://mybkt/fruits.db\n"
				"    litestream ltx -level 9 -json /backup/fruits\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = ltx_run,
};
