/*
 * truncater [-t SECONDS] [-i MS] [-T MS] DB - an app that calls wal_checkpoint(TRUNCATE) itself.
 *
 * Every -i ms (100) with a busy timeout of -T ms (5000); -i 0: never, it only watches the WAL.
 * Between calls it samples the size of the WAL every 5 ms. SIGTERM ends it. The last line of stdout
 * is a JSON object: calls, busy, durations, the largest WAL seen.
 */
#include "lib/truncate.h"

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
	int64_t wal_max;
	struct truncates calls;
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

static void truncate_all(struct truncater *t)
{
	int64_t now = samples_now_us();
	int64_t end = t->seconds ? now + t->seconds * 1000000 : INT64_MAX;
	int64_t step = t->every_ms ? t->every_ms * 1000 : 100000;
	for (int64_t next = now + step; !stop && samples_now_us() < end; next += step) {
		watch_until(t, next);
		if (!t->every_ms || stop)
			continue;
		truncates_call(&t->calls, t->db);
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
	printf("{\"wal_max_bytes\":%" PRId64 ",", t.wal_max);
	truncates_json(&t.calls, stdout);
	printf("}\n");
	sqlite3_close(t.db);
	samples_free(&t.calls.latency);
	return 0;
}
