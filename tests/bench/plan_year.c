/*
 * plan_year [options] - a year of uploads at full rate, through the planning functions alone.
 *
 * What bench/year can't reach in minutes: an upload every second, for a year. Merges, snapshots and
 * retention are those of the replicator (lib/history.h), on files that have sizes but no bytes.
 * About every fifth day some hundred promised states, the oldest and the present among them, must
 * have a plan.
 *
 *   -d DAYS   (365)
 *   -e MS     between two uploads (1000); a part of five minutes, and at most one
 *   -m MB     that a snapshot weighs (200)
 *   -b BYTES  that an upload weighs, on average (3000)
 *
 * Retention looks every half hour. The last line of stdout is a JSON object; "measured" has the
 * requests that follow from what was made and deleted: a PUT for each file, a DELETE for 1,000
 * names, a HEAD before each round of deletions, and a LIST of everything on each day, in pages of
 * 1,000. Exit 1 when a promise was not kept.
 */
#include "lib/history.h"
#include "restore/restore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define START (INT64_C(20000) * DAY)
#define STRIDE (5 * MINUTE) /* uploads and merges at once */
#define ROUND (30 * MINUTE) /* between two looks of the retention */
#define POINTS 500          /* promised states of a check that get a plan, by chance */

struct plan_year {
	int64_t days, every_ms, mb, bytes;
	struct history h;
	int64_t *moments;
	size_t files_most;
	uint64_t heads, lists, checks, points;
	double retain_most; /* CPU seconds */
	int64_t check_ms;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "plan_year: %s: %s\n", what, why);
	exit(1);
}

static double seconds(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void listing(const struct history *h, struct ltx_set *set)
{
	ltxset_init(set);
	for (size_t i = 0; i < h->n_files; i++) {
		const struct replica_file *f = &h->files[i];
		struct ltx_file l = {f->level, f->min_txid, f->max_txid, f->size, f->uploaded_ms};
		if (ltxset_add(set, &l))
			die("listing", "out of memory");
	}
	ltxset_sort(set);
}

/* The files of the plan for upload t, and their bytes. */
static size_t plan_for(const struct ltx_set *set, uint64_t t, uint64_t *bytes)
{
	struct restore_plan plan;
	struct err e = ERR_INIT;
	struct restore_plan_input in = {.set = set, .target = {.txid = t}, .now_ms = INT64_MAX};
	if (restore_plan_make(&in, &plan, &e))
		die("a promised state", e.text);
	size_t n = plan.count;
	*bytes = 0;
	for (size_t i = 0; i < n; i++)
		*bytes += plan.files[i].size;
	restore_plan_free(&plan);
	return n;
}

/* The oldest promised state, the present and some between have plans. */
static void check(struct plan_year *y, int64_t now)
{
	struct ltx_set set;
	uint64_t bytes;
	history_forget(&y->h, now - 10 * DAY);
	bool *promised = history_promised(&y->h, now);
	size_t n = 0, left = POINTS, count = y->h.n_uploads;
	listing(&y->h, &set);
	for (size_t i = 0; i < count; i++)
		n += promised[i];
	bool first = true;
	for (size_t i = 0; i < count; i++) {
		if (!promised[i] || (!first && i + 1 < count && history_random(&y->h, n) >= left))
			continue;
		plan_for(&set, y->h.forgotten + i + 1, &bytes);
		y->points++;
		first = false;
	}
	y->checks++;
	free(promised);
	ltxset_free(&set);
}

static void stride(struct plan_year *y, int64_t from)
{
	size_t n = 0;
	for (int64_t t = from; t < from + STRIDE; t += y->every_ms)
		y->moments[n++] = t;
	history_upload(&y->h, y->moments, n, 2 * (uint64_t)y->bytes);
	history_merge(&y->h, from + STRIDE);
	history_snapshot(&y->h, from + STRIDE);
	if (y->h.n_files > y->files_most)
		y->files_most = y->h.n_files;
}

static void look(struct plan_year *y, int64_t now)
{
	double began = seconds(CLOCK_PROCESS_CPUTIME_ID);
	if (history_retain(&y->h, now) > 0)
		y->heads++;
	double took = seconds(CLOCK_PROCESS_CPUTIME_ID) - began;
	if (took > y->retain_most)
		y->retain_most = took;
}

static void run(struct plan_year *y)
{
	int64_t end = START + y->days * DAY;
	for (int64_t now = START; now < end;) {
		stride(y, now);
		now += STRIDE;
		if ((now - START) % ROUND == 0)
			look(y, now);
		if ((now - START) % DAY == 0)
			y->lists += (y->h.n_files + 999) / 1000;
		if (now >= y->check_ms) {
			check(y, now);
			y->check_ms = now + (int64_t)history_random(&y->h, 10 * DAY);
		}
	}
	check(y, end);
}

static void report(struct plan_year *y, double began)
{
	struct history *h = &y->h;
	struct ltx_set set;
	uint64_t bytes, puts = 0, levels[LTX_LEVELS] = {0};
	listing(h, &set);
	for (size_t i = 0; i < set.count; i++)
		levels[set.files[i].level]++;
	for (int k = 0; k < LTX_LEVELS; k++)
		puts += h->puts[k];
	size_t files = plan_for(&set, history_last(h), &bytes);
	printf("{\"days\":%" PRId64 ",\"uploads\":%" PRIu64
		   ",\"paused_uploads\":%d,\"db_bytes\":%" PRIu64
		   ",\"objects\":%zu,\"objects_most\":%zu,\"bytes\":%" PRIu64 ",\"bytes_mean\":%.0f",
		y->days, history_last(h), 0, h->db_bytes, h->n_files, y->files_most, h->bytes,
		h->byte_ms / (double)(y->days * DAY));
	printf(",\"levels\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"snapshots\":%" PRIu64,
		levels[0], levels[1], levels[2], levels[3], levels[LTX_SNAPSHOT_LEVEL]);
	printf(",\"puts\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"snapshot_puts\":%" PRIu64,
		h->puts[0], h->puts[1], h->puts[2], h->puts[3], h->puts[LTX_SNAPSHOT_LEVEL]);
	printf(",\"measured\":{\"put\":%" PRIu64 ",\"get\":0,\"head\":%" PRIu64 ",\"list\":%" PRIu64
		   ",\"del\":%" PRIu64 "}",
		puts, y->heads, y->lists, h->batches);
	printf(",\"checks\":%" PRIu64 ",\"points\":%" PRIu64
		   ",\"restore_files\":%zu,\"restore_bytes\":%" PRIu64
		   ",\"retain_ms\":%.1f,\"seconds\":%.1f}\n",
		y->checks, y->points, files, bytes, y->retain_most * 1e3, seconds(CLOCK_MONOTONIC) - began);
	ltxset_free(&set);
}

static void usage(void)
{
	fprintf(stderr, "usage: plan_year [-d DAYS] [-e MS] [-m MB] [-b BYTES]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static struct plan_year y = {.days = 365, .every_ms = 1000, .mb = 200, .bytes = 3000};
	for (int c; (c = getopt(argc, argv, "d:e:m:b:")) != -1;) {
		int64_t *numbers['z'] = {
			['d'] = &y.days, ['e'] = &y.every_ms, ['m'] = &y.mb, ['b'] = &y.bytes};
		if (c >= 'z' || !numbers[c])
			usage();
		*numbers[c] = atoll(optarg);
		if (*numbers[c] < 1)
			usage();
	}
	if (optind != argc || STRIDE % y.every_ms != 0 || y.every_ms > MINUTE)
		usage();
	y.moments = calloc((size_t)(STRIDE / y.every_ms) + 1, sizeof(*y.moments));
	if (!y.moments)
		die("the uploads", "out of memory");
	double began = seconds(CLOCK_MONOTONIC);
	history_init(&y.h, 1, (uint64_t)y.mb * 1000000);
	run(&y);
	report(&y, began);
	history_free(&y.h);
	free(y.moments);
	return 0;
}
