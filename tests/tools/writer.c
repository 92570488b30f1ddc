/*
 * writer [options] DB - an app that writes numbered commits, each acknowledged outside of SQLite.
 *
 * Every commit adds rows (writer, seq, body) to the table `commits`, seq without holes from the
 * last one there + 1. Once a commit has returned, its last seq is stored in the ack file: eight
 * bytes, native order, mapped and shared, so that it survives kill -9 of this process and costs
 * no system call. Who reads the ack file knows: everything up to that number was acknowledged.
 *
 *   -w N    this writer's number (1)
 *   -n N    commits, then the end; 0 = no limit (0)
 *   -t S    seconds, then the end; 0 = no limit (0)
 *   -r N    commits a second, evenly; 0 = full speed (0)
 *   -b N    rows in a commit (1: autocommit)
 *   -s N    bytes of a body: from N/2 to N, random from the seed (100)
 *   -S N    seed (1)
 *   -T MS   busy timeout (5000)
 *   -y X    PRAGMA synchronous (NORMAL)
 *   -c N    PRAGMA wal_autocheckpoint (SQLite's own default)
 *   -k MS   its own wal_checkpoint(TRUNCATE) in between, each MS; the report tells of them
 *   -a PATH ack file
 *   -d      each number in it is durable before the next commit (msync), as with an app that tells
 *           its client, or a log of its own, before it goes on
 *   -x N    dies of SIGKILL in commit N, between the two copies of the wal-index header
 *
 * SIGTERM ends it after the commit that runs. The last line of stdout is a JSON object with what
 * was done and the latencies of the commits, from the first statement to the return of the last.
 */
#include "lib/chance.h"
#include "lib/noted.h"
#include "lib/number.h"
#include "lib/pausevfs.h"
#include "lib/truncate.h"

#include <inttypes.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/old_sqlite.h"

struct writer {
	int64_t id, commits, seconds, rate, batch, size, timeout_ms, truncate_ms, die_at, seed;
	const char *synchronous, *autocheckpoint, *ack_path, *db_path;
	bool durable_acks;
	struct chance chance;
	sqlite3 *db;
	sqlite3_stmt *insert, *begin, *commit;
	int64_t *acked;
	uint8_t *body;
	int64_t seq, done, busy, truncate_at;
	struct samples latency;
	struct truncates truncates;
};

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void die(struct writer *w, const char *what)
{
	fprintf(stderr, "writer %" PRId64 ": %s: %s\n", w->id, what,
		w->db ? sqlite3_errmsg(w->db) : "no database");
	exit(1);
}

static int64_t fill_body(struct writer *w)
{
	int64_t n = w->size / 2 + chance_below(&w->chance, w->size / 2 + 1);
	for (int64_t i = 0; i < n; i += 8) {
		uint64_t r = chance_next(&w->chance);
		memcpy(w->body + i, &r, sizeof(r));
	}
	return n;
}

/* Runs a statement to its end; true unless the database was busy, false then. */
static bool run(struct writer *w, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	sqlite3_reset(st);
	if (rc == SQLITE_DONE || rc == SQLITE_ROW)
		return true;
	if ((rc & 0xff) != SQLITE_BUSY)
		die(w, sqlite3_sql(st));
	w->busy++;
	return false;
}

static void exec(struct writer *w, const char *sql)
{
	if (sqlite3_exec(w->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die(w, sql);
}

static sqlite3_stmt *prepare(struct writer *w, const char *sql)
{
	sqlite3_stmt *st = NULL;
	if (sqlite3_prepare_v3(w->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK)
		die(w, sql);
	return st;
}

static void map_ack(struct writer *w)
{
	static int64_t nowhere;
	w->acked = w->ack_path ? noted_map(w->ack_path, 1) : &nowhere;
	if (!w->acked)
		die(w, w->ack_path);
}

static void read_last(struct writer *w)
{
	sqlite3_stmt *last = prepare(w, "SELECT max(seq) FROM commits WHERE writer = ?1");
	sqlite3_bind_int64(last, 1, w->id);
	if (sqlite3_step(last) != SQLITE_ROW)
		die(w, "reading the last number");
	w->seq = sqlite3_column_int64(last, 0);
	sqlite3_finalize(last);
}

static void open_database(struct writer *w)
{
	char sql[128];
	if (sqlite3_open(w->db_path, &w->db) != SQLITE_OK)
		die(w, w->db_path);
	sqlite3_busy_timeout(w->db, (int)w->timeout_ms);
	exec(w, "PRAGMA journal_mode = WAL");
	snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s", w->synchronous);
	exec(w, sql);
	if (w->autocheckpoint) {
		snprintf(sql, sizeof(sql), "PRAGMA wal_autocheckpoint = %s", w->autocheckpoint);
		exec(w, sql);
	}
	exec(w, "CREATE TABLE IF NOT EXISTS commits(writer INTEGER, seq INTEGER, body BLOB,"
			" PRIMARY KEY(writer, seq))" WITHOUT_ROWID);
	w->insert = prepare(w, "INSERT INTO commits VALUES(?1, ?2, ?3)");
	w->begin = prepare(w, "BEGIN IMMEDIATE");
	w->commit = prepare(w, "COMMIT");
	read_last(w);
}

static bool insert_one(struct writer *w, int64_t seq)
{
	sqlite3_bind_int64(w->insert, 1, w->id);
	sqlite3_bind_int64(w->insert, 2, seq);
	sqlite3_bind_blob64(w->insert, 3, w->body, (uint64_t)fill_body(w), SQLITE_STATIC);
	return run(w, w->insert);
}

static bool write_batch(struct writer *w)
{
	if (w->batch == 1)
		return insert_one(w, w->seq + 1);
	if (!run(w, w->begin))
		return false;
	for (int64_t i = 1; i <= w->batch; i++)
		if (!insert_one(w, w->seq + i))
			die(w, "busy inside a transaction");
	while (!run(w, w->commit))
		;
	return true;
}

static void report(struct writer *w, int64_t start)
{
	double seconds = (double)(samples_now_us() - start) / 1e6;
	printf("{\"writer\":%" PRId64 ",\"commits\":%" PRId64 ",\"last\":%" PRId64 ",\"busy\":%" PRId64
		   ",\"seconds\":%.3f",
		w->id, w->done, w->seq, w->busy, seconds);
	samples_json(&w->latency, "commit", stdout);
	if (w->truncate_ms) {
		printf(",");
		truncates_json(&w->truncates, stdout);
	}
	printf("}\n");
}

static void truncate_in_between(struct writer *w, int64_t now_us)
{
	if (!w->truncate_ms || now_us < w->truncate_at)
		return;
	if (w->truncate_at)
		truncates_call(&w->truncates, w->db);
	w->truncate_at = now_us + w->truncate_ms * 1000;
}

static void die_now(enum pause_point at)
{
	(void)at;
	kill(getpid(), SIGKILL);
}

static void write_all(struct writer *w)
{
	int64_t start = samples_now_us();
	int64_t end = w->seconds ? start + w->seconds * 1000000 : INT64_MAX;
	while (!stop && (w->commits == 0 || w->done < w->commits)) {
		if (w->rate)
			samples_sleep_until(start + w->done * 1000000 / w->rate);
		int64_t before = samples_now_us();
		if (before >= end)
			break;
		if (w->die_at && w->done + 1 == w->die_at)
			pausevfs_arm(PAUSE_PUBLISH);
		if (!write_batch(w))
			continue;
		samples_add(&w->latency, samples_now_us() - before);
		w->seq += w->batch;
		w->done++;
		__atomic_store_n(w->acked, w->seq, __ATOMIC_RELEASE);
		if (w->durable_acks && msync(w->acked, sizeof(*w->acked), MS_SYNC) != 0)
			die(w, w->ack_path);
		truncate_in_between(w, samples_now_us());
	}
	report(w, start);
}

static void usage(void)
{
	fprintf(stderr, "usage: writer [-w N] [-n N] [-t S] [-r N] [-b N] [-s BYTES] [-S SEED]"
					" [-T MS] [-y SYNCHRONOUS] [-c PAGES] [-k MS] [-a ACKFILE [-d]] [-x N] DB\n");
	exit(2);
}

static void options(struct writer *w, int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "w:n:t:r:b:s:S:T:y:c:k:a:dx:")) != -1;) {
		int64_t *numbers['z'] = {['w'] = &w->id,
			['S'] = &w->seed,
			['n'] = &w->commits,
			['t'] = &w->seconds,
			['r'] = &w->rate,
			['b'] = &w->batch,
			['s'] = &w->size,
			['T'] = &w->timeout_ms,
			['k'] = &w->truncate_ms,
			['x'] = &w->die_at};
		if (c == 'y')
			w->synchronous = optarg;
		else if (c == 'c')
			w->autocheckpoint = optarg;
		else if (c == 'a')
			w->ack_path = optarg;
		else if (c == 'd')
			w->durable_acks = true;
		else if (c >= 'z' || !numbers[c] || !number_take(numbers[c], optarg))
			usage();
	}
	if (optind != argc - 1 || w->batch < 1 || (w->durable_acks && !w->ack_path))
		usage();
	w->db_path = argv[optind];
}

int main(int argc, char **argv)
{
	struct writer w = {.id = 1, .batch = 1, .size = 100, .timeout_ms = 5000, .seed = 1};
	w.synchronous = "NORMAL";
	options(&w, argc, argv);
	w.chance = chance_of((uint64_t)w.seed, (uint64_t)w.id);
	w.body = malloc((size_t)w.size + 8);
	if (!w.body)
		die(&w, "out of memory");
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	map_ack(&w);
	if (w.die_at)
		pausevfs_install(die_now);
	open_database(&w);
	write_all(&w);
	sqlite3_finalize(w.insert);
	sqlite3_finalize(w.begin);
	sqlite3_finalize(w.commit);
	sqlite3_close(w.db);
	samples_free(&w.latency);
	samples_free(&w.truncates.latency);
	free(w.body);
	return 0;
}
