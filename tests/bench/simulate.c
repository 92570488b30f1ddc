/*
 * simulate [options] DIR URL - days of an app beside the real replicator, in minutes.
 *
 * The clock is injected: when nothing is due it jumps to the next thing that is, so a quiet month
 * takes seconds (lib/simulated.h). Everything else is as always: SQLite, an app in a process of its
 * own, the replicator's turns, work and upkeep, the store's client. A database is made in DIR and
 * replicated to URL.
 *
 *   -m MB    size of the database (20), of rows of 1,000 bytes that don't compress
 *   -n N     commits, at random moments; or
 *   -e MS    one commit each MS milliseconds; neither: none, but the app has the database open
 *   -i MS    sync-interval (1000)
 *   -w H     hours before the measured time, with the same app (0)
 *   -t H     hours that are measured (24)
 *   -S N     seed (1)
 *
 * A commit rewrites one row. The last line of stdout is a JSON object: the requests by kind of the
 * first upload ("begin"), of the hours before ("warm"), of the measured time ("measured") with its
 * uploads, and of what was left to ship then ("after").
 */
#include "lib/agent.h"
#include "lib/simulated.h"

#include "base/clock.h"
#include "replicate/replicator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HOUR_US (INT64_C(3600) * 1000000)
#define BEGIN_US (10 * INT64_C(60) * 1000000)
#define SETTLE_US (10 * INT64_C(1000000))

struct simulation {
	int64_t mb, commits, every_ms, interval_ms, warm_hours, hours;
	const char *url;
	char db[4096];
	struct agent app;
	struct simulated sim;
	int64_t *moments; /* of the commits with -n, ascending */
	int64_t done;     /* commits so far */
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "simulate: %s: %s\n", what, why);
	exit(1);
}

/* ---- what happens ---- */

static void one_commit(void *ctx)
{
	struct simulation *s = ctx;
	int64_t rows = s->mb * 1000;
	agent_sql(&s->app, "UPDATE t SET b = randomblob(1000) WHERE a = %" PRId64,
		1 + (int64_t)random() % rows);
	s->done++;
	if (s->moments)
		s->sim.app_due = s->done < s->commits ? s->moments[s->done] : INT64_MAX;
	else
		s->sim.app_due += s->every_ms * 1000;
}

/* ---- begin and end ---- */

static void make_app(struct simulation *s, const char *dir)
{
	snprintf(s->db, sizeof(s->db), "%s/app.db", dir);
	agent_start(&s->app);
	agent_do(&s->app, "open %s", s->db);
	agent_sql(&s->app, "PRAGMA journal_mode = WAL");
	agent_sql(&s->app, "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)");
	agent_sql(&s->app,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRId64
		") INSERT INTO t SELECT i, randomblob(1000) FROM n",
		s->mb * 1000);
}

static void open_replicator(struct simulation *s)
{
	struct err e = ERR_INIT;
	struct replicator_config cfg = {
		.database = s->db, .replica = s->url, .sync_interval_ms = s->interval_ms};
	s->sim.app = one_commit;
	s->sim.app_ctx = s;
	s->sim.app_due = INT64_MAX;
	if (simulated_open(&s->sim, &cfg, &e))
		die(s->url, e.text);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* The app goes on for `hours` from now. */
static void start_commits(struct simulation *s, int64_t start, int64_t hours)
{
	s->sim.app_due = s->every_ms ? start : INT64_MAX;
	if (s->commits == 0)
		return;
	s->moments = calloc((size_t)s->commits, sizeof(*s->moments));
	if (!s->moments)
		die("commits", "out of memory");
	for (int64_t i = 0; i < s->commits; i++)
		s->moments[i] = start + (int64_t)((double)random() / ((double)RAND_MAX + 1) *
										  (double)(hours * HOUR_US));
	qsort(s->moments, (size_t)s->commits, sizeof(*s->moments), by_value);
	s->sim.app_due = s->moments[0];
}

static void print_counts(
	const char *name, const struct store_counts *a, const struct store_counts *b)
{
	printf(",\"%s\":{\"put\":%" PRIu64 ",\"get\":%" PRIu64 ",\"head\":%" PRIu64 ",\"list\":%" PRIu64
		   ",\"del\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"bytes_in\":%" PRIu64 "}",
		name, b->put - a->put, b->get - a->get, b->head - a->head, b->list - a->list,
		b->del - a->del, b->bytes_out - a->bytes_out, b->bytes_in - a->bytes_in);
}

static struct replicator_status status_of(struct simulation *s)
{
	struct replicator_status st;
	replicator_get_status(s->sim.r, &st);
	if (st.state != REPLICATOR_REPLICATING)
		die(replicator_state_name(st.state), st.reason);
	if (st.upkeep_error[0])
		die("upkeep", st.upkeep_error);
	return st;
}

static void simulate(struct simulation *s)
{
	int64_t cpu = clock();
	simulated_run(&s->sim, clock_mono_us() + BEGIN_US);
	struct replicator_status begin = status_of(s);
	int64_t start = clock_mono_us();
	start_commits(s, start, s->warm_hours + s->hours);
	simulated_run(&s->sim, start + s->warm_hours * HOUR_US);
	struct replicator_status warm = status_of(s);
	int64_t commits = s->done;
	simulated_run(&s->sim, start + (s->warm_hours + s->hours) * HOUR_US);
	struct replicator_status end = status_of(s);
	s->sim.app_due = INT64_MAX;
	simulated_run(&s->sim, clock_mono_us() + s->interval_ms * 1000 + SETTLE_US);
	struct replicator_status after = status_of(s);
	if (after.pending_bytes > 0)
		die("the end", "the last commits were not uploaded");
	const struct store_counts none = {0};
	printf("{\"hours\":%" PRId64 ",\"interval_ms\":%" PRId64 ",\"db_bytes\":%" PRIu64
		   ",\"commits\":%" PRId64 ",\"uploads\":%" PRIu64 ",\"turns\":%" PRIu64
		   ",\"upkeeps\":%" PRIu64 ",\"cpu_seconds\":%.2f",
		s->hours, s->interval_ms, end.db_bytes, s->done - commits, end.uploads - warm.uploads,
		s->sim.turns, s->sim.upkeeps, (double)(clock() - cpu) / CLOCKS_PER_SEC);
	print_counts("begin", &none, &begin.requests);
	print_counts("warm", &begin.requests, &warm.requests);
	print_counts("measured", &warm.requests, &end.requests);
	print_counts("after", &end.requests, &after.requests);
	printf("}\n");
}

static void usage(void)
{
	fprintf(stderr, "usage: simulate [-m MB] [-n COMMITS | -e MS] [-i MS] [-w HOURS] [-t HOURS]"
					" [-S SEED] DIR URL\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static struct simulation s = {.mb = 20, .interval_ms = 1000, .hours = 24};
	for (int c; (c = getopt(argc, argv, "m:n:e:i:w:t:S:")) != -1;) {
		int64_t *numbers['z'] = {['m'] = &s.mb,
			['n'] = &s.commits,
			['e'] = &s.every_ms,
			['i'] = &s.interval_ms,
			['w'] = &s.warm_hours,
			['t'] = &s.hours};
		if (c == 'S')
			srandom((unsigned)atoll(optarg));
		else if (c < 'z' && numbers[c])
			*numbers[c] = atoll(optarg);
		else
			usage();
	}
	if (optind != argc - 2)
		usage();
	s.url = argv[optind + 1];
	make_app(&s, argv[optind]);
	simulated_clock();
	open_replicator(&s);
	simulate(&s);
	simulated_close(&s.sim);
	agent_stop(&s.app);
	free(s.moments);
	return 0;
}
