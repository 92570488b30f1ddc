/* litestream databases: those of the configuration, or which replicas lie below a URL */
#include "base/clock.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/configured.h"
#include "cli/listing.h"
#include "cli/stop.h"
#include "restore/discover.h"

#include <inttypes.h>
#include <stdio.h>

static const char *or_dash(const char *s)
{
	return *s ? s : "-";
}

static void print_one(const struct store *s, const struct discovered *d)
{
	char txid[17] = "-", when[32] = "-";
	if (d->txid) {
		snprintf(txid, sizeof(txid), "%016" PRIx64, d->txid);
		clock_format_rfc3339(d->timestamp_ms, when);
	}
	printf("%-20s  %-24s  %-16s  %-24s  %12" PRIu64 "  %s%s%s\n", or_dash(d->manifest.app),
		or_dash(d->manifest.database), txid, when, d->bytes, store_url(s), *d->path ? "/" : "",
		d->path);
}

/* Beside the table, so that it stays one. */
static void print_trouble(const struct store *s, const struct discovered *d)
{
	const char *slash = *d->path ? "/" : "";
	if (d->err.code)
		fprintf(stderr, "%s\n", d->err.text);
	if (!d->has_manifest)
		fprintf(stderr, "%s%s%s: there is no " MANIFEST_NAME "\n", store_url(s), slash, d->path);
	else if (*d->manifest_error)
		fprintf(stderr, "%s%s%s: %s\n", store_url(s), slash, d->path, d->manifest_error);
	else if (*d->manifest.doubted)
		fprintf(stderr, "%s%s%s: in " MANIFEST_NAME " this is not believed: %s\n", store_url(s),
			slash, d->path, d->manifest.doubted);
}

static void print_table(const struct store *s, const struct discovery *found)
{
	printf("%-20s  %-24s  %-16s  %-24s  %12s  %s\n", "app", "database", "txid", "timestamp", "size",
		"replica");
	for (size_t i = 0; i < found->count; i++)
		print_one(s, &found->list[i]);
	fflush(stdout);
	for (size_t i = 0; i < found->count; i++)
		print_trouble(s, &found->list[i]);
	if (found->cut)
		fprintf(stderr, "there is more below %s than was looked at: name a folder in it\n",
			store_url(s));
}

static int find(struct store *s, struct store *self, struct discovery *found, struct err *e)
{
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	rc = discover(s, self, found, e);
	stop_end();
	if (!rc && found->count == 0)
		rc = err_set(e, ERR_NO_BACKUP, "%s: no backup found: there is no replica", store_url(s));
	return rc;
}

static int run_url(struct args *a, struct err *e)
{
	struct store *s, *self;
	struct discovery found = {0};
	int rc = discover_open(&s, &self, a->argv[0], NULL, e);
	if (rc)
		return rc;
	rc = find(s, self, &found, e);
	if (!rc && args_bool(a, "json"))
		rc = listing_print_json(discovery_json(&found), e);
	else if (!rc)
		print_table(s, &found);
	discovery_free(&found);
	store_close(self);
	store_close(s);
	return rc;
}

static int run(struct args *a, struct err *e)
{
	if (a->argc == 0)
		return configured_list(a, args_bool(a, "json"), e);
	if (args_given(a, "config"))
		return args_usage(a, e, NULL, "a URL and -config exclude each other");
	return run_url(a, e);
}

static const struct flag flags[] = {
	{"json", FLAG_BOOL, NULL, "print the list as JSON"},
	CONFIG_FLAGS,
	{0},
};

const struct command command_databases = {
	.name = "databases",
	.arguments = "[flags] [URL]",
	.summary = "Lists the databases of the configuration, or those whose replicas are below a URL",
	.details =
		"Of the configuration: path and replicas. Of a URL:\n"
		"App and database are what the litestream.json beside the data says, which whoever can\n"
		"write there can change. TXID, time and size are those of the last state.\n",
	.examples = "    litestream databases\n"
				"    litestream databases s3://mybkt\n"
				"    litestream databases -json /backup\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 1,
	.run = run,
};
