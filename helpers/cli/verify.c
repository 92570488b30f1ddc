/* litestream verify: a test restore, of which nothing stays. */
#include "base/clock.h"
#include "base/fs.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/restore_flags.h"
#include "cli/stop.h"
#include "restore/restore.h"
#include "store/store.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* What was restored is whole, and its checksum the recorded one, when it comes here. */
static int examine(
	void *ctx, int fd, uint64_t checksum, const struct restore_result *result, struct err *e)
{
	(void)fd, (void)result, (void)e;
	*(uint64_t *)ctx = checksum;
	return ERR_OK;
}

static int print_json(
	const struct store *s, const struct restore_result *r, uint64_t checksum, struct err *e)
{
	char when[32];
	clock_format_rfc3339(r->timestamp_ms, when);
	json_t *root = json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:b,s:o}", "replica", store_url(s), "txid",
		json_sprintf("%016" PRIx64, r->txid), "timestamp", when, "bytes", (json_int_t)r->bytes,
		"page_size", (json_int_t)r->page_size, "files", (json_int_t)r->files, "proven",
		r->proof == RESTORE_PROVEN, "checksum", json_sprintf("%016" PRIx64, checksum));
	int rc = root && !json_dumpf(root, stdout, JSON_INDENT(2)) ? ERR_OK : ERR_NOMEM;
	json_decref(root);
	printf("\n");
	return rc ? err_nomem(e, "printing the result") : ERR_OK;
}

static void print_result(const struct store *s, const struct restore_result *r)
{
	char when[32];
	clock_format_rfc3339(r->timestamp_ms, when);
	printf(
		"verified %s\n  txid       %016" PRIx64 "\n  timestamp  %s\n", store_url(s), r->txid, when);
	printf("  size       %" PRIu64 " bytes (%" PRIu32 " pages of %" PRIu32 ")\n  files      %zu\n",
		r->bytes, r->n_page, r->page_size, r->files);
	printf("  checksum   %s\n", r->proof == RESTORE_PROVEN
									? "proven"
									: "not proven: the replica records none for this state");
}

static int verify(struct args *a, struct store *s, struct restore_options *o, struct err *e)
{
	struct restore_result r = {0};
	uint64_t checksum = 0;
	int rc = stop_begin(s, e);
	if (rc)
		return rc;
	o->examine = examine;
	o->examine_ctx = &checksum;
	o->cancelled = stop_flag();
	rc = restore_run(s, o, &r, e);
	stop_end();
	if (rc == ERR_CANCELLED)
		err_set(e, ERR_CANCELLED, "interrupted: nothing was verified");
	else if (!rc && args_bool(a, "json"))
		rc = print_json(s, &r, checksum, e);
	else if (!rc && !args_bool(a, "quiet"))
		print_result(s, &r);
	restore_plan_free(&r.plan);
	return rc;
}

/* Where the file would be, which never gets this name. */
static char *scratch(struct args *a)
{
	const char *tmp = getenv("TMPDIR"),
			   *dir = args_string(a, "dir", tmp && *tmp ? tmp : "/var/tmp");
	uint64_t salt;
	char name[64];
	fs_random(&salt, sizeof(salt));
	snprintf(name, sizeof(name), "litestream-verify-%016" PRIx64, salt);
	return fs_join(dir, name);
}

static int run(struct args *a, struct err *e)
{
	struct restore_options o = {.state_dir = ""};
	struct store *s = NULL;
	struct place place = {0};
	int rc = restore_flags_target(a, &o.target, e);
	char *output = rc ? NULL : scratch(a);
	if (!rc && !output)
		rc = err_nomem(e, "verifying");
	o.output = output;
	if (!rc)
		rc = place_find(&place, a, a->argv[0], e);
	place.store.first_answer_ms = RESTORE_FIRST_ANSWER_MS;
	if (!rc)
		rc = store_open(&s, place.url, &place.store, e);
	if (!rc)
		rc = verify(a, s, &o, e);
	store_close(s);
	place_free(&place);
	free(output);
	return rc;
}

static const struct flag flags[] = {
	{"txid", FLAG_STRING, "TXID", "the state of this transaction (16 hexadecimal digits)"},
	{"timestamp", FLAG_STRING, "TIME", "the last state at or before a time (RFC 3339)"},
	{"generation", FLAG_STRING, "ID", "of what Litestream 0.3 wrote there: this generation"},
	{"index", FLAG_STRING, "N", "of what Litestream 0.3 wrote there: up to this WAL (hex)"},
	{"dir", FLAG_STRING, "DIR", "where the test restore takes its room ($TMPDIR, /var/tmp)"},
	{"json", FLAG_BOOL, NULL, "print the result as JSON"},
	{"quiet", FLAG_BOOL, NULL, "print nothing but errors"},
	PLACE_FLAGS,
	{0},
};

const struct command command_verify = {
	.name = "verify",
	.arguments = "[flags] DB | URL",
	.summary = "Proves that a replica can be restored",
	.details = "Restores into a file without a name, compares it with the checksum that the\n"
			   "replicator recorded, and leaves nothing. Exit code 7: the replica is damaged.\n",
	.examples = "    litestream verify s3://mybkt/fruits.db\n"
				"    litestream verify -dir /data -timestamp 2026-01-31T12:00:00Z /backup/fruits\n",
	.flags = flags,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
