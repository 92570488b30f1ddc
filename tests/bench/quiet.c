/*
 * quiet [-n N] [-i MS] [-j MS] [-S SEED] [-p PREFIX] DB TARGET - how long from a commit to an
 * object?
 *
 * The app of few commits: each one adds a row, notes the time at which the commit returned, and
 * waits until one more object is in the store; then it pauses from i to i + j ms, at random, so
 * that no replicator's own rhythm lines up with it. Works beside any replicator.
 *
 * TARGET is a folder: a new file is seen by inotify, in any folder below it; temporary names
 * (holding "tmp", or hidden) don't count. Or an s3:// URL: listed again and again, below PREFIX and
 * after the last name seen, with 1 ms between; the time is that at which the listing that shows it
 * came back.
 *
 * The last line of stdout is a JSON object with the latencies. Exit 1 when an object took over 20
 * s.
 */
#include "lib/samples.h"

#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define GIVE_UP_US (20 * INT64_C(1000000))
#define WATCHES_MAX 4096

struct quiet {
	sqlite3 *db;
	const char *target, *prefix;
	int64_t commits, pause_ms, jitter_ms;
	struct samples latency;
	/* a folder */
	int inotify;
	char *watched[WATCHES_MAX]; /* by watch descriptor */
	/* S3 */
	struct store *store;
	char last[1024]; /* greatest name seen */
	bool grown;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "quiet: %s: %s\n", what, why);
	exit(1);
}

/* ---- a folder ---- */

static bool temporary(const char *name)
{
	return name[0] == '.' || strstr(name, "tmp") != NULL;
}

static void watch_tree(struct quiet *q, const char *dir)
{
	int wd = inotify_add_watch(q->inotify, dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
	if (wd < 0 || wd >= WATCHES_MAX)
		die(dir, strerror(errno));
	free(q->watched[wd]);
	q->watched[wd] = strdup(dir);
	DIR *d = opendir(dir);
	for (struct dirent *entry; d && (entry = readdir(d));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		char below[4096];
		snprintf(below, sizeof(below), "%s/%s", dir, entry->d_name);
		watch_tree(q, below);
	}
	if (d)
		closedir(d);
}

/* Reads what inotify has; true when an object's name appeared. */
static bool folder_read(struct quiet *q)
{
	char events[16384] __attribute__((aligned(8)));
	bool seen = false;
	ssize_t n = read(q->inotify, events, sizeof(events));
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const struct inotify_event *)(events + at);
		at += (ssize_t)(sizeof(*event) + event->len);
		if (event->len == 0 || temporary(event->name))
			continue;
		if (event->mask & IN_ISDIR) {
			char below[4096];
			snprintf(below, sizeof(below), "%s/%s", q->watched[event->wd], event->name);
			watch_tree(q, below);
			continue;
		}
		seen = true;
	}
	return seen;
}

static bool folder_wait(struct quiet *q, int64_t until)
{
	for (;;) {
		struct pollfd p = {.fd = q->inotify, .events = POLLIN};
		int64_t left = until - samples_now_us();
		if (left <= 0 || poll(&p, 1, (int)(left / 1000 + 1)) == 0)
			return false;
		if (folder_read(q))
			return true;
	}
}

/* ---- S3 ---- */

static int note_name(void *ctx, const struct store_object *o, struct err *e)
{
	struct quiet *q = ctx;
	(void)e;
	snprintf(q->last, sizeof(q->last), "%s", o->name);
	q->grown = true;
	return ERR_OK;
}

static void s3_list(struct quiet *q)
{
	struct err e = ERR_INIT;
	q->grown = false;
	if (store_list(q->store, q->prefix, q->last[0] ? q->last : NULL, 0, note_name, q, &e))
		die(q->target, e.text);
}

static bool s3_wait(struct quiet *q, int64_t until)
{
	while (samples_now_us() < until) {
		s3_list(q);
		if (q->grown)
			return true;
		samples_sleep_until(samples_now_us() + 1000);
	}
	return false;
}

/* ---- both ---- */

static void open_target(struct quiet *q)
{
	struct err e = ERR_INIT;
	if (strstr(q->target, "://")) {
		if (store_open(&q->store, q->target, NULL, &e))
			die(q->target, e.text);
		return;
	}
	q->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (q->inotify < 0)
		die("inotify", strerror(errno));
	watch_tree(q, q->target);
}

/* Forgets what came before the commit, such as a checkpoint's or a compaction's objects. */
static void forget(struct quiet *q)
{
	if (q->store)
		s3_list(q);
	else
		folder_read(q);
}

static void exec(struct quiet *q, const char *sql)
{
	if (sqlite3_exec(q->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die(sql, sqlite3_errmsg(q->db));
}

static void measure(struct quiet *q)
{
	for (int64_t i = 0; i < q->commits; i++) {
		int64_t pause = q->pause_ms + (q->jitter_ms ? random() % (q->jitter_ms + 1) : 0);
		samples_sleep_until(samples_now_us() + pause * 1000);
		forget(q);
		exec(q, "INSERT INTO quiet(body) VALUES (randomblob(100))");
		int64_t committed = samples_now_us();
		if (!(q->store ? s3_wait : folder_wait)(q, committed + GIVE_UP_US))
			die(q->target, "no object appeared within 20 s of a commit");
		samples_add(&q->latency, samples_now_us() - committed);
	}
}

static void usage(void)
{
	fprintf(stderr, "usage: quiet [-n N] [-i MS] [-j MS] [-S SEED] [-p PREFIX] DB TARGET\n");
	exit(2);
}

static void options(struct quiet *q, int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "n:i:j:S:p:")) != -1;)
		if (c == 'n')
			q->commits = atoll(optarg);
		else if (c == 'i')
			q->pause_ms = atoll(optarg);
		else if (c == 'j')
			q->jitter_ms = atoll(optarg);
		else if (c == 'S')
			srandom((unsigned)atoll(optarg));
		else if (c == 'p')
			q->prefix = optarg;
		else
			usage();
	if (optind != argc - 2)
		usage();
	q->target = argv[optind + 1];
	if (sqlite3_open(argv[optind], &q->db) != SQLITE_OK)
		die(argv[optind], sqlite3_errmsg(q->db));
}

int main(int argc, char **argv)
{
	static struct quiet q = {.commits = 10, .pause_ms = 2000, .jitter_ms = 1000, .prefix = ""};
	options(&q, argc, argv);
	sqlite3_busy_timeout(q.db, 5000);
	open_target(&q);
	measure(&q);
	printf("{\"commits\":%zu", q.latency.count);
	samples_json(&q.latency, "object", stdout);
	printf(",\"all_us\":[");
	for (size_t i = 0; i < q.latency.count; i++)
		printf("%s%" PRId64, i ? "," : "", q.latency.us[i]);
	printf("]}\n");
	sqlite3_close(q.db);
	store_close(q.store);
	samples_free(&q.latency);
	return 0;
}
