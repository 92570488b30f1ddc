/*
 * truncater [-t SECONDS] [-i MS] [-T MS] DB - an app that calls wal_checkpoint(TRUNCATE) itself.
 *
 * Every -i ms (100) with a busy timeout of -T ms (5000); -i 0: never, it only watches the WAL.
 * A call counts as busy when SQLite says so: SQLITE_BUSY, or a 1 in the first column of the answer.
 * Between calls it samples the size of the WAL every 5 ms. SIGTERM ends it. The last line of stdout
 * is a JSON object: calls, busy, durations, the largest WAL seen.
 */
#include "lib/samples.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct truncater {
	sqlite3 *db;
	char wal[4096];
	int64_t seconds, every_ms, timeout_ms;
	int64_t calls, busy, wal_max;
	struct samples latency;
};

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

/* Watches the WAL's size until then. */
static void watch_until(struct truncater *t, int64_t us)
{
	while (!stop && samples_now_us() < us) {
		struct stat st;
		if (stat(t->wal, &st) == 0 && st.st_size > t->wal_max)
			t->wal_max = st.st_size;
		int64_t soon = samples_now_us() + 5000;
		samples_sleep_until(soon < us ? soon : us);
	}
}

/* True when the checkpoint was busy. */
static bool truncate_once(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA wal_checkpoint(TRUNCATE)", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	bool busy = (rc & 0xff) == SQLITE_BUSY || (rc == SQLITE_ROW && sqlite3_column_int(st, 0) != 0);
	sqlite3_finalize(st);
	if (!busy && rc != SQLITE_ROW) {
		fprintf(stderr, "truncater: %s\n", sqlite3_errmsg(db));
		exit(1);
	}
	return busy;
}

static void truncate_all(struct truncater *t)
{
	int64_t now = samples_now_us();
	int64_t end = t->seconds ? now + t->seconds * 1000000 : INT64_MAX;
	int64_t step = t->every_ms ? t->every_ms * 1000 : 100000;
	for (int64_t next = now + step; !stop && samples_now_us() < end; next += step) {
		watch_until(t, next);
		if (!t->every_ms || stop)
			continue;
		int64_t before = samples_now_us();
		t->busy += truncate_once(t->db);
		samples_add(&t->latency, samples_now_us() - before);
		t->calls++;
	}
}

int main(int argc, char **argv)
{
	struct truncater t = {.every_ms = 100, .timeout_ms = 5000};
	for (int c; (c = getopt(argc, argv, "t:i:T:")) != -1;)
		if (c == 't')
			t.seconds = atoll(optarg);
		else if (c == 'i')
			t.every_ms = atoll(optarg);
		else if (c == 'T')
			t.timeout_ms = atoll(optarg);
		else
			return 2;
	if (optind != argc - 1) {
		fprintf(stderr, "usage: truncater [-t SECONDS] [-i MS] [-T MS] DB\n");
		return 2;
	}
	snprintf(t.wal, sizeof(t.wal), "%s-wal", argv[optind]);
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	if (sqlite3_open_v2(argv[optind], &t.db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
		fprintf(stderr, "truncater: %s: %s\n", argv[optind], sqlite3_errmsg(t.db));
		return 1;
	}
	sqlite3_busy_timeout(t.db, (int)t.timeout_ms);
	truncate_all(&t);
	printf("{\"calls\":%" PRId64 ",\"busy\":%" PRId64 ",\"wal_max_bytes\":%" PRId64, t.calls,
		t.busy, t.wal_max);
	samples_json(&t.latency, "truncate", stdout);
	printf("}\n");
	sqlite3_close(t.db);
	samples_free(&t.latency);
	return 0;
}
