/*
 * reader [-t SECONDS] [-p MS] DB - an app that reads: short read transactions over `commits`.
 *
 * Each one adds up some of the last numbers and checks that two looks within one transaction agree
 * (a snapshot that moves would be damage). -p holds each transaction open for MS. SIGTERM ends it.
 * The last line of stdout is a JSON object: reads, busy answers, latencies.
 */
#include "lib/samples.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void die(sqlite3 *db, const char *what)
{
	fprintf(stderr, "reader: %s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
}

/* The value of a query of one number; -1 when the database was busy. */
static int64_t ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
	sqlite3_finalize(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE && (rc & 0xff) != SQLITE_BUSY)
		die(db, sql);
	return value;
}

static bool read_once(sqlite3 *db, int64_t pause_ms)
{
	static const char sum[] = "SELECT ifnull(sum(seq), 0) FROM (SELECT seq FROM commits"
							  " ORDER BY writer DESC, seq DESC LIMIT 100)";
	ask(db, "BEGIN");
	int64_t first = ask(db, sum);
	if (pause_ms)
		samples_sleep_until(samples_now_us() + pause_ms * 1000);
	int64_t second = ask(db, sum);
	ask(db, "COMMIT");
	if (first >= 0 && first != second) {
		fprintf(stderr, "reader: a snapshot moved: %" PRId64 ", then %" PRId64 "\n", first, second);
		exit(1);
	}
	return first >= 0;
}

static void read_all(sqlite3 *db, int64_t seconds, int64_t pause_ms)
{
	struct samples latency = {0};
	int64_t reads = 0, busy = 0;
	int64_t end = seconds ? samples_now_us() + seconds * 1000000 : INT64_MAX;
	while (!stop && samples_now_us() < end) {
		int64_t before = samples_now_us();
		bool ok = read_once(db, pause_ms);
		samples_add(&latency, samples_now_us() - before);
		reads += ok;
		busy += !ok;
		samples_sleep_until(samples_now_us() + 5000);
	}
	printf("{\"reads\":%" PRId64 ",\"busy\":%" PRId64, reads, busy);
	samples_json(&latency, "read", stdout);
	printf("}\n");
	samples_free(&latency);
}

int main(int argc, char **argv)
{
	int64_t seconds = 0, pause_ms = 0;
	sqlite3 *db = NULL;
	for (int c; (c = getopt(argc, argv, "t:p:")) != -1;)
		if (c == 't')
			seconds = atoll(optarg);
		else if (c == 'p')
			pause_ms = atoll(optarg);
		else
			return 2;
	if (optind != argc - 1) {
		fprintf(stderr, "usage: reader [-t SECONDS] [-p MS] DB\n");
		return 2;
	}
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	if (sqlite3_open_v2(argv[optind], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		die(db, argv[optind]);
	sqlite3_busy_timeout(db, 1000);
	read_all(db, seconds, pause_ms);
	sqlite3_close(db);
	return 0;
}
