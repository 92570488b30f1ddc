#include "cli/show.h"

#include "base/json.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *show_clean(const char *text)
{
	static char ring[4][1200];
	static unsigned next;
	char *out = ring[next++ % 4];
	size_t n = 0;
	for (; n < sizeof(ring[0]) - 1 && text[n]; n++)
		out[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
	out[n] = '\0';
	return out;
}

static const char *field(const json_t *object, const char *key)
{
	return show_clean(json_text(object, key));
}

void show_info(const json_t *answer)
{
	printf("version:    %s\n", field(answer, "version"));
	printf("pid:        %" PRId64 "\n", json_int(answer, "pid"));
	printf("uptime:     %" PRId64 " s\n", json_int(answer, "uptime_seconds"));
	printf("workers:    %" PRId64 "\n", json_int(answer, "workers"));
	printf("databases:  %" PRId64 "\n", json_int(answer, "databases"));
}

void show_list(const json_t *answer)
{
	const json_t *databases = json_object_get(answer, "databases");
	printf("%-20s %-12s %-24s %s  →  %s\n", "App", "Status", "Last upload", "Database", "Replica");
	for (size_t i = 0; i < json_array_size(databases); i++) {
		const json_t *d = json_array_get(databases, i);
		const char *at = json_text(d, "last_sync_at");
		printf("%-20s %-12s ", field(d, "app"), field(d, "status"));
		printf(
			"%-24s %s  →  %s\n", *at ? show_clean(at) : "-", field(d, "path"), field(d, "replica"));
	}
}

void show_database(const json_t *d)
{
	const char *reason = json_text(d, "reason"), *error = json_text(d, "last_error");
	const char *at = json_text(d, "last_upload_at"), *from = json_text(d, "earliest_at");
	const char *upkeep = json_text(d, "upkeep_error");
	printf("  %s\n", field(d, "path"));
	printf("    replica:      %s\n", field(d, "replica"));
	printf("    state:        %s\n", field(d, "state"));
	if (*reason)
		printf("    reason:       %s\n", show_clean(reason));
	printf("    TXID:         %s\n", field(d, "txid"));
	printf("    pending:      %" PRId64 " bytes, %" PRId64 " s behind\n",
		json_int(d, "pending_bytes"), json_int(d, "lag_seconds"));
	printf("    last upload:  %s\n", *at ? show_clean(at) : "never");
	if (*error)
		printf("    last error:   %s\n", show_clean(error));
	if (*from)
		printf("    restorable:   %s to %s\n", show_clean(from), field(d, "latest_at"));
	if (json_int(d, "replica_files"))
		printf("    in replica:   %" PRId64 " files, %" PRId64 " bytes\n",
			json_int(d, "replica_files"), json_int(d, "replica_bytes"));
	if (*upkeep)
		printf("    upkeep:       %s\n", show_clean(upkeep));
	if (strcmp(json_text(d, "fencing"), "weak") == 0)
		printf("    fencing:      weak (the store overwrites objects although told not to)\n");
}

static void show_app(const json_t *app)
{
	const json_t *databases = json_object_get(app, "databases");
	const char *error = json_text(app, "error");
	printf("%s: %s", field(app, "app"),
		json_is_true(json_object_get(app, "running")) ? "replicated" : "stopped");
	printf(", worker %s\n", field(app, "worker"));
	if (*error)
		printf("  error: %s\n", show_clean(error));
	for (size_t i = 0; i < json_array_size(databases); i++)
		show_database(json_array_get(databases, i));
}

void show_status(const json_t *answer)
{
	const json_t *apps = json_object_get(answer, "apps");
	for (size_t i = 0; i < json_array_size(apps); i++)
		show_app(json_array_get(apps, i));
}

static void show_live(const json_t *result)
{
	const char *live = json_text(result, "live"), *error = json_text(result, "live_error");
	if (strcmp(live, "same") == 0)
		printf("it is the live database, page by page\n");
	else if (*live)
		printf("the live database has moved on since, so it was not compared with it\n");
	else if (*error)
		printf("it could not be compared with the live database: %s\n", show_clean(error));
}

static void show_restored(const json_t *result, const char *verb)
{
	if (json_object_get(result, "skipped")) {
		printf("nothing was restored: %s\n", strcmp(json_text(result, "skipped"), "replica") == 0
												 ? "the replica is empty"
												 : "there is a database already");
		return;
	}
	bool proven = strcmp(json_text(result, "proof"), "proven") == 0;
	const char *done = strcmp(verb, "verify") == 0 ? "verified" : "restored";
	if (*json_text(result, "generation"))
		printf("%s generation %s of Litestream 0.3, index %s", done, field(result, "generation"),
			field(result, "index"));
	else
		printf("%s TXID %s", done, field(result, "txid"));
	printf(" of %s, %" PRId64 " bytes", field(result, "timestamp"), json_int(result, "bytes"));
	int64_t files = json_int(result, "files");
	printf(" from %" PRId64 " %s%s\n", files, files == 1 ? "file" : "files",
		proven ? ", checksum proven" : "; not proven: no checksum was recorded");
	if (*json_text(result, "before"))
		printf("what was there is kept beside it, its names end in .before-%s\n",
			field(result, "before"));
	show_live(result);
}

static void show_purged(const json_t *result)
{
	int64_t files = json_int(result, "files");
	printf("deleted %" PRId64 " level %s, %" PRId64 " bytes%s\n", files,
		files == 1 ? "file" : "files", json_int(result, "bytes"),
		json_is_true(json_object_get(result, "manifest")) ? ", and litestream.json" : "");
	if (json_is_true(json_object_get(result, "versioned")))
		printf("the bucket keeps versions of them, which take room and are paid for, until a "
			   "lifecycle rule of the bucket removes noncurrent versions\n");
}

void show_job_line(const json_t *line, const char *verb, FILE *out)
{
	static struct progress progress; /* a process shows one job */
	const json_t *at = json_object_get(line, "progress");
	const json_t *result = json_object_get(line, "result");
	bool purge = strcmp(verb, "purge") == 0;
	if (at) {
		int64_t done = json_int(at, "done"), total = json_int(at, "total");
		progress_show(&progress, out, (uint64_t)done, (uint64_t)total, purge ? "files" : NULL);
		return;
	}
	progress_end(&progress);
	if (json_object_get(line, "log"))
		fprintf(out, "%s\n", field(line, "log"));
	if (result && purge)
		show_purged(result);
	else if (result)
		show_restored(result, verb);
	fflush(out);
}

void show_error(const char *text)
{
	fprintf(stderr, "Error: %s\n", show_clean(text));
}

void show_line(const char *text)
{
	printf("%s\n", show_clean(text));
}
