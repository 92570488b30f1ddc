/*
 * year [options] DIR URL - a year of a busy app beside the real replicator, in minutes.
 *
 * As bench/simulate: only the clock is injected. The app (lib/ledger.h) makes an upload every two
 * minutes of a working day, one in half an hour at other times, and each working day a burst of
 * 120, one a second; every 30 days the replicator is started anew, every 90 the app says VACUUM.
 * About every third day, at a random moment, the replica is listed: every state that is promised
 * must have a plan, and some are restored, by TXID and by time, and compared row by row.
 *
 *   -d DAYS   (365)
 *   -r ROWS   of 300 bytes in the database at the beginning (5000)
 *   -S N      seed (1)
 *
 * The last line of stdout is a JSON object. Exit 1 when a promise was not kept.
 */
#include "lib/history.h"
#include "lib/ledger.h"
#include "lib/simulated.h"

#include "base/clock.h"
#include "restore/restore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)
#define DAY_US (24 * HOUR_US)
#define DRAIN_US (60 * SECOND_US) /* an upload takes no longer */
#define SAMPLES 3                 /* states restored in a check, besides the present */
#define BURST 120
#define PAUSE_MS 60000 /* after so long weak fencing looks at the tail first */
#define RESTORES 5     /* of the present at the end, for the median */

struct year {
	int64_t days, rows;
	const char *url;
	char db[4096], restored[4096], state[4096];
	struct agent app;
	struct simulated sim;
	struct store *store; /* for looking at the replica; the replicator has its own */
	struct history past; /* its uploads, for what is promised */
	uint64_t op;         /* of the app, so far */
	uint64_t *op_of;     /* op_of[t]: the last operation in upload t; 0 before its first */
	size_t cap_op_of;
	int64_t check_us, sample_us, start_us;

	struct store_counts requests; /* of replicators that were closed */
	uint64_t uploads, paused, files_max, samples;
	double sampled_bytes;
	uint64_t checks, points, restores;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "year: %s: %s\n", what, why);
	exit(1);
}

static uint64_t chance(struct year *y, uint64_t bound)
{
	return history_random(&y->past, bound);
}

/* ---- the replicator ---- */

static struct replicator_status status_of(struct year *y)
{
	struct replicator_status st;
	replicator_get_status(y->sim.r, &st);
	if (st.state != REPLICATOR_REPLICATING && st.state != REPLICATOR_STARTING)
		die(replicator_state_name(st.state), st.reason);
	if (st.upkeep_error[0])
		die("upkeep", st.upkeep_error);
	return st;
}

static void open_replicator(struct year *y)
{
	struct err e = ERR_INIT;
	struct replicator_config cfg = {
		.database = y->db, .replica = y->url, .state_dir = y->state, .sync_interval_ms = 1000};
	y->sim.app_due = INT64_MAX;
	if (simulated_open(&y->sim, &cfg, &e))
		die(y->url, e.text);
}

static void add_counts(struct store_counts *sum, const struct store_counts *c)
{
	sum->put += c->put;
	sum->get += c->get;
	sum->head += c->head;
	sum->list += c->list;
	sum->del += c->del;
	sum->bytes_out += c->bytes_out;
	sum->bytes_in += c->bytes_in;
}

static void close_replicator(struct year *y)
{
	struct replicator_status st = status_of(y);
	add_counts(&y->requests, &st.requests);
	y->uploads += st.uploads;
	simulated_close(&y->sim);
}

/* The timestamp that upload t got, as its object says. */
static int64_t timestamp_of(struct year *y, uint64_t t)
{
	char folder[16], file[LTX_NAME_SIZE], name[64];
	struct store_object o;
	struct err e = ERR_INIT;
	store_level_prefix(y->store, 0, folder);
	ltx_format_name(t, t, file);
	snprintf(name, sizeof(name), "%s%s", folder, file);
	if (store_head(y->store, name, &o, &e))
		die("a new upload", e.text);
	return o.timestamp_ms;
}

/* Notes the uploads that are new, each with the operation it ends at; `before` was the last one
 * that was uploaded already. Only the last of several surely holds all. */
static void note_uploads(struct year *y, uint64_t before)
{
	struct replicator_status st = status_of(y);
	while (history_last(&y->past) < st.txid) {
		uint64_t t = history_last(&y->past) + 1;
		if (t >= y->cap_op_of) {
			y->cap_op_of = 2 * t + 1024;
			y->op_of = reallocarray(y->op_of, y->cap_op_of, sizeof(*y->op_of));
			if (!y->op_of)
				die("the uploads", "out of memory");
		}
		y->op_of[t] = t == st.txid ? y->op : before;
		int64_t stamp = timestamp_of(y, t);
		size_t n = y->past.n_uploads;
		y->paused += n > 0 && stamp - y->past.uploads[n - 1].timestamp_ms > PAUSE_MS;
		history_note(&y->past, stamp, clock_wall_ms());
	}
}

/* Until everything committed is in the replica. */
static void drain(struct year *y, uint64_t op_before)
{
	int64_t limit = clock_mono_us() + DRAIN_US;
	struct err e = ERR_INIT;
	uint64_t ticket = replicator_sync(y->sim.r);
	y->sim.turn_due = 0;
	int rc;
	while ((rc = replicator_sync_done(y->sim.r, ticket, &e)) == ERR_AGAIN) {
		if (clock_mono_us() > limit)
			die("an upload", "it took more than a minute");
		simulated_run(&y->sim, clock_mono_us() + 10000);
	}
	if (rc)
		die("an upload", e.text);
	note_uploads(y, op_before);
}

/* ---- checking ---- */

static void list_replica(struct year *y, struct ltx_set *set)
{
	struct err e = ERR_INIT;
	ltxset_init(set);
	if (restore_list(y->store, set, &e))
		die("listing", e.text);
}

/* The files of the plan for upload t; 0 = there is none. */
static size_t plan_for(const struct ltx_set *set, uint64_t t, uint64_t *bytes)
{
	struct restore_plan plan;
	struct err e = ERR_INIT;
	struct restore_plan_input in = {.set = set, .target = {.txid = t}, .now_ms = clock_wall_ms()};
	if (restore_plan_make(&in, &plan, &e))
		die("a promised state", e.text);
	size_t n = plan.count;
	*bytes = 0;
	for (size_t i = 0; i < n; i++)
		*bytes += plan.files[i].size;
	restore_plan_free(&plan);
	return n;
}

static void restore(struct year *y, const struct restore_target *target)
{
	struct restore_options o = {.target = *target, .output = y->restored, .state_dir = ""};
	struct restore_result result = {0};
	struct err e = ERR_INIT;
	unlink(y->restored);
	if (restore_run(y->store, &o, &result, &e))
		die("restore", e.text);
	if (result.proof != RESTORE_PROVEN)
		die("restore", "what came back was not proven");
	restore_plan_free(&result.plan);
}

/* Restores the state after uploads[i] by TXID or by a time at which it was the present, and
 * compares all of it. */
static void check_state(struct year *y, size_t i)
{
	const struct upload *u = &y->past.uploads[i];
	uint64_t t = y->past.forgotten + i + 1, n;
	struct restore_target target = {.txid = t};
	if (chance(y, 2)) {
		int64_t until = i + 1 < y->past.n_uploads ? u[1].timestamp_ms : clock_wall_ms();
		int64_t span = until > u->timestamp_ms ? until - u->timestamp_ms : 1;
		target.timestamp_ms = u->timestamp_ms + (int64_t)chance(y, (uint64_t)span);
		target.txid = 0;
	}
	restore(y, &target);
	if (!ledger_check(y->restored, (uint64_t)y->rows, &n))
		die("restore", "the rows are not those of the app");
	if (n != y->op_of[t])
		die("restore", "it is a state of another moment");
	y->restores++;
}

/* Every promised state has a plan; some are restored. */
static void check(struct year *y)
{
	struct ltx_set set;
	uint64_t bytes;
	list_replica(y, &set);
	history_forget(&y->past, clock_wall_ms() - 30 * DAY_US / 1000);
	bool *promised = history_promised(&y->past, clock_wall_ms());
	size_t n = 0, last = y->past.n_uploads - 1;
	for (size_t i = 0; i <= last; i++) {
		if (!promised[i])
			continue;
		plan_for(&set, y->past.forgotten + i + 1, &bytes);
		n++;
	}
	check_state(y, last);
	for (int k = 0; k < SAMPLES; k++) {
		size_t i = chance(y, last + 1);
		while (!promised[i])
			i = i ? i - 1 : last;
		check_state(y, i);
	}
	y->checks++;
	y->points += n;
	free(promised);
	ltxset_free(&set);
}

/* ---- the app's days ---- */

static void sample(struct year *y)
{
	struct replicator_status st = status_of(y);
	y->sampled_bytes += (double)st.replica_bytes;
	y->samples++;
	if (st.replica_files > y->files_max)
		y->files_max = st.replica_files;
}

/* Lets time pass until then, with the checks that fall into it. */
static void pass(struct year *y, int64_t until)
{
	for (;;) {
		int64_t next = y->check_us < y->sample_us ? y->check_us : y->sample_us;
		if (next > until)
			break;
		simulated_run(&y->sim, next);
		if (next == y->sample_us) {
			sample(y);
			y->sample_us += HOUR_US * 6;
		} else {
			check(y);
			y->check_us += (int64_t)chance(y, 6 * DAY_US);
		}
	}
	simulated_run(&y->sim, until);
}

static void operation(struct year *y)
{
	ledger_do(&y->app, (uint64_t)y->rows, y->op + 1);
	y->op++;
	drain(y, y->op - 1);
}

/* Operations at random moments until then, `pause` apart on average. */
static void hours_of_work(struct year *y, int64_t until, int64_t pause)
{
	for (;;) {
		int64_t next = clock_mono_us() + 1 + (int64_t)chance(y, 2 * (uint64_t)pause);
		if (next >= until)
			break;
		pass(y, next);
		operation(y);
	}
	pass(y, until);
}

static void burst(struct year *y)
{
	for (int i = 0; i < BURST; i++) {
		int64_t next = clock_mono_us() + SECOND_US;
		operation(y);
		if (clock_mono_us() < next)
			pass(y, next);
	}
}

static void one_day(struct year *y, int64_t day)
{
	int64_t start = y->start_us + day * DAY_US;
	bool working = day % 7 < 5;
	hours_of_work(y, start + 8 * HOUR_US, 30 * 60 * SECOND_US);
	if (working)
		burst(y);
	hours_of_work(y, start + 20 * HOUR_US, (working ? 2 : 30) * 60 * SECOND_US);
	if (day % 90 == 89) {
		agent_sql(&y->app, "VACUUM");
		drain(y, y->op);
	}
	hours_of_work(y, start + 24 * HOUR_US, 30 * 60 * SECOND_US);
	if (day % 30 == 29) {
		close_replicator(y);
		open_replicator(y);
		drain(y, y->op);
	}
}

/* ---- the end ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double seconds(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double restore_seconds(struct year *y)
{
	double took[RESTORES];
	for (int i = 0; i < RESTORES; i++) {
		double began = seconds(CLOCK_MONOTONIC);
		restore(y, &(struct restore_target){0});
		took[i] = seconds(CLOCK_MONOTONIC) - began;
	}
	qsort(took, RESTORES, sizeof(*took), by_value);
	return took[RESTORES / 2];
}

static void report(struct year *y, double began)
{
	struct ltx_set set;
	uint64_t bytes, levels[LTX_LEVELS] = {0};
	struct replicator_status st = status_of(y);
	add_counts(&y->requests, &st.requests);
	y->uploads += st.uploads;
	list_replica(y, &set);
	for (size_t i = 0; i < set.count; i++)
		levels[set.files[i].level]++;
	size_t files = plan_for(&set, ltxset_max_txid(&set), &bytes);
	double restore = restore_seconds(y);
	const struct store_counts *c = &y->requests;
	printf("{\"days\":%" PRId64 ",\"operations\":%" PRIu64 ",\"uploads\":%" PRIu64
		   ",\"paused_uploads\":%" PRIu64 ",\"db_bytes\":%" PRIu64
		   ",\"objects\":%zu,\"objects_most\":%" PRIu64 ",\"bytes\":%" PRIu64
		   ",\"bytes_mean\":%.0f",
		y->days, y->op, y->uploads, y->paused, st.db_bytes, set.count, y->files_max,
		st.replica_bytes, y->sampled_bytes / (double)(y->samples ? y->samples : 1));
	printf(",\"levels\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"snapshots\":%" PRIu64,
		levels[0], levels[1], levels[2], levels[3], levels[LTX_SNAPSHOT_LEVEL]);
	printf(",\"measured\":{\"put\":%" PRIu64 ",\"get\":%" PRIu64 ",\"head\":%" PRIu64
		   ",\"list\":%" PRIu64 ",\"del\":%" PRIu64 ",\"bytes_out\":%" PRIu64
		   ",\"bytes_in\":%" PRIu64 "}",
		c->put, c->get, c->head, c->list, c->del, c->bytes_out, c->bytes_in);
	printf(",\"checks\":%" PRIu64 ",\"points\":%" PRIu64 ",\"restores\":%" PRIu64
		   ",\"restore_files\":%zu,\"restore_bytes\":%" PRIu64 ",\"restore_seconds\":%.4f"
		   ",\"seconds\":%.1f}\n",
		y->checks, y->points, y->restores, files, bytes, restore, seconds(CLOCK_MONOTONIC) - began);
	ltxset_free(&set);
}

static void begin(struct year *y, const char *dir)
{
	struct err e = ERR_INIT;
	snprintf(y->db, sizeof(y->db), "%s/app.db", dir);
	snprintf(y->restored, sizeof(y->restored), "%s/restored.db", dir);
	snprintf(y->state, sizeof(y->state), "%s/state", dir);
	agent_start(&y->app);
	agent_do(&y->app, "open %s", y->db);
	ledger_create(&y->app, (uint64_t)y->rows);
	agent_sql(&y->app, "PRAGMA synchronous = OFF");
	if (store_open(&y->store, y->url, NULL, &e))
		die(y->url, e.text);
	simulated_clock();
	/* From a midnight on. */
	simulated_skip(DAY_US - clock_wall_ms() % (DAY_US / 1000) * 1000);
	y->start_us = clock_mono_us();
	y->check_us = y->start_us + DAY_US;
	y->sample_us = y->start_us + HOUR_US;
	open_replicator(y);
	drain(y, 0);
}

static void usage(void)
{
	fprintf(stderr, "usage: year [-d DAYS] [-r ROWS] [-S SEED] DIR URL\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static struct year y = {.days = 365, .rows = 5000};
	uint64_t seed = 1;
	for (int c; (c = getopt(argc, argv, "d:r:S:")) != -1;) {
		if (c == 'd')
			y.days = atoll(optarg);
		else if (c == 'r')
			y.rows = atoll(optarg);
		else if (c == 'S')
			seed = strtoull(optarg, NULL, 10);
		else
			usage();
	}
	if (optind != argc - 2 || y.days < 1 || y.rows < 10)
		usage();
	double began = seconds(CLOCK_MONOTONIC);
	history_init(&y.past, seed, 0);
	y.url = argv[optind + 1];
	begin(&y, argv[optind]);
	for (int64_t day = 0; day < y.days; day++)
		one_day(&y, day);
	check(&y);
	report(&y, began);
	simulated_close(&y.sim);
	store_close(y.store);
	agent_stop(&y.app);
	history_free(&y.past);
	free(y.op_of);
	return 0;
}
