/*
 * simulate [options] DIR URL - days of an app beside the real replicator, in minutes.
 *
 * The clock is injected: when nothing is due it jumps to the next thing that is, so a quiet month
 * takes seconds. Everything else is as always: SQLite, an app in a process of its own, the
 * replicator's turns, work and upkeep (by hand, as the worker's loop orders them), the store's
 * client. A database is made in DIR and replicated to URL.
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

#include "base/clock.h"
#include "replicate/replicator.h"

#include <inttypes.h>
#include <poll.h>
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
	struct source_watch *watch;
	struct replicator *r;
	int64_t turn_due, work_due, upkeep_due, commit_due;
	int64_t *moments; /* of the commits with -n, ascending */
	int64_t done;     /* commits so far */
	uint64_t turns, works, upkeeps;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "simulate: %s: %s\n", what, why);
	exit(1);
}

/* ---- the clock ---- */

static int64_t skipped_us;

static int64_t real_us(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t wall_ms(void)
{
	return (real_us(CLOCK_REALTIME) + skipped_us) / 1000;
}

static int64_t mono_us(void)
{
	return real_us(CLOCK_MONOTONIC) + skipped_us;
}

static int64_t boot_ms(void)
{
	return (real_us(CLOCK_BOOTTIME) + skipped_us) / 1000;
}

static void sleep_us(int64_t us)
{
	skipped_us += us;
}

static const struct clock_ops injected = {wall_ms, mono_us, boot_ms, sleep_us};

/* ---- what happens ---- */

static void wanted(void *ctx, void *user)
{
	(void)user;
	((struct simulation *)ctx)->turn_due = 0;
}

/* The app and SQLite are done when they have answered, so every event of theirs is there. */
static void read_events(struct simulation *s)
{
	struct pollfd p = {.fd = source_watch_fd(s->watch), .events = POLLIN};
	if (poll(&p, 1, 0) > 0)
		source_watch_read(s->watch, wanted, s);
}

static int64_t after(int64_t wait)
{
	int64_t due;
	return __builtin_add_overflow(clock_mono_us(), wait, &due) ? INT64_MAX : due;
}

/* Upkeep is asked for after each turn and work. */
static void ask_upkeep(struct simulation *s)
{
	if (replicator_upkeep_wanted(s->r))
		s->upkeep_due = 0;
}

static void one_turn(struct simulation *s)
{
	int64_t wait;
	bool work;
	replicator_turn(s->r, &wait, &work);
	s->turn_due = after(wait);
	if (work)
		s->work_due = 0;
	s->turns++;
	ask_upkeep(s);
}

static void one_work(struct simulation *s)
{
	int64_t wait;
	replicator_work(s->r, &wait);
	s->work_due = after(wait);
	s->turn_due = 0;
	s->works++;
	ask_upkeep(s);
}

static void one_upkeep(struct simulation *s)
{
	int64_t wait;
	replicator_upkeep(s->r, &wait);
	s->upkeep_due = after(wait);
	s->turn_due = 0;
	s->upkeeps++;
}

static void one_commit(struct simulation *s)
{
	int64_t rows = s->mb * 1000;
	agent_sql(&s->app, "UPDATE t SET b = randomblob(1000) WHERE a = %" PRId64,
		1 + (int64_t)random() % rows);
	s->done++;
	if (s->moments)
		s->commit_due = s->done < s->commits ? s->moments[s->done] : INT64_MAX;
	else
		s->commit_due += s->every_ms * 1000;
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Everything that is due until then, in its order. */
static void run_until(struct simulation *s, int64_t until)
{
	while (clock_mono_us() < until) {
		int64_t now = clock_mono_us();
		if (s->commit_due <= now)
			one_commit(s);
		else if (s->turn_due <= now)
			one_turn(s);
		else if (s->work_due <= now)
			one_work(s);
		else if (s->upkeep_due <= now)
			one_upkeep(s);
		else {
			int64_t next = earliest(earliest(s->turn_due, s->work_due), s->upkeep_due);
			next = earliest(next, s->commit_due);
			skipped_us += earliest(next, until) - now;
		}
		read_events(s);
	}
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
	if (source_watch_new(&s->watch, &e))
		die("watch", e.text);
	struct replicator_config cfg = {.database = s->db,
		.replica = s->url,
		.watch = s->watch,
		.user = s,
		.sync_interval_ms = s->interval_ms};
	if (replicator_open(&s->r, &cfg, &e))
		die(s->url, e.text);
	s->work_due = s->upkeep_due = s->commit_due = INT64_MAX;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* The app goes on for `hours` from now. */
static void start_commits(struct simulation *s, int64_t start, int64_t hours)
{
	s->commit_due = s->every_ms ? start : INT64_MAX;
	if (s->commits == 0)
		return;
	s->moments = calloc((size_t)s->commits, sizeof(*s->moments));
	if (!s->moments)
		die("commits", "out of memory");
	for (int64_t i = 0; i < s->commits; i++)
		s->moments[i] = start + (int64_t)((double)random() / ((double)RAND_MAX + 1) *
										  (double)(hours * HOUR_US));
	qsort(s->moments, (size_t)s->commits, sizeof(*s->moments), by_value);
	s->commit_due = s->moments[0];
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
	replicator_get_status(s->r, &st);
	if (st.state != REPLICATOR_REPLICATING)
		die(replicator_state_name(st.state), st.reason);
	if (st.upkeep_error[0])
		die("upkeep", st.upkeep_error);
	return st;
}

static void simulate(struct simulation *s)
{
	int64_t cpu = clock();
	run_until(s, clock_mono_us() + BEGIN_US);
	struct replicator_status begin = status_of(s);
	int64_t start = clock_mono_us();
	start_commits(s, start, s->warm_hours + s->hours);
	run_until(s, start + s->warm_hours * HOUR_US);
	struct replicator_status warm = status_of(s);
	int64_t commits = s->done;
	run_until(s, start + (s->warm_hours + s->hours) * HOUR_US);
	struct replicator_status end = status_of(s);
	s->commit_due = INT64_MAX;
	run_until(s, clock_mono_us() + s->interval_ms * 1000 + SETTLE_US);
	struct replicator_status after = status_of(s);
	if (after.pending_bytes > 0)
		die("the end", "the last commits were not uploaded");
	const struct store_counts none = {0};
	printf("{\"hours\":%" PRId64 ",\"interval_ms\":%" PRId64 ",\"db_bytes\":%" PRIu64
		   ",\"commits\":%" PRId64 ",\"uploads\":%" PRIu64 ",\"turns\":%" PRIu64
		   ",\"upkeeps\":%" PRIu64 ",\"cpu_seconds\":%.2f",
		s->hours, s->interval_ms, end.db_bytes, s->done - commits, end.uploads - warm.uploads,
		s->turns, s->upkeeps, (double)(clock() - cpu) / CLOCKS_PER_SEC);
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
	clock_set_ops(&injected);
	open_replicator(&s);
	simulate(&s);
	replicator_close(s.r);
	source_watch_free(s.watch);
	agent_stop(&s.app);
	free(s.moments);
	return 0;
}
