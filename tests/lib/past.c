#include "lib/past.h"

#include "base/fs.h"
#include "restore/restore.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_MS INT64_C(1000)
#define HOUR_MS (3600 * SECOND_MS)

void past_start(struct past *p, const char *dir, const char *url)
{
	memset(p, 0, sizeof(*p));
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	p->url = url;
	agent_start(&p->app);
	agent_start(&p->reader);
}

void past_open(struct past *p, const char *db)
{
	snprintf(p->db, sizeof(p->db), "%s", db);
	agent_do(&p->app, "open %s", db);
	agent_sql(&p->app, "PRAGMA journal_mode = WAL");
	agent_sql(&p->app, "PRAGMA synchronous = OFF");
	agent_sql(&p->app, "CREATE TABLE IF NOT EXISTS n(id INTEGER PRIMARY KEY, number INTEGER)");
	agent_sql(&p->app, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b BLOB)");
	agent_sql(&p->app, "INSERT OR IGNORE INTO n VALUES (1, 0)");
	agent_sql(&p->app, "INSERT INTO t(b) SELECT randomblob(3000) FROM n, n, n, n, n");
}

void past_close(struct past *p)
{
	agent_stop(&p->app);
	agent_stop(&p->reader);
}

void past_upload(struct past *p, struct ship *s)
{
	if (p->count == PAST_MAX)
		abort();
	p->number++;
	agent_sql(&p->app, "BEGIN");
	agent_sql(&p->app, "UPDATE n SET number = %" PRIu64, p->number);
	agent_sql(&p->app, "INSERT OR REPLACE INTO t VALUES (%" PRIu64 ", randomblob(500))",
		p->number * 7 % 40);
	agent_sql(&p->app, "COMMIT");
	if (ship_sync(s, 0) != 0) {
		struct replicator_status st = ship_status(s);
		fprintf(stderr, "not shipped: %s %s\n", replicator_state_name(st.state), st.reason);
		abort();
	}
	struct replicator_status st = ship_status(s);
	p->uploads[p->count++] = (struct past_upload){st.txid, st.latest_ms, p->number};
}

void past_uploads(struct past *p, struct ship *s, int n, int64_t step_ms)
{
	for (int i = 0; i < n; i++) {
		ship_skip(step_ms);
		past_upload(p, s);
	}
}

/* ---- what must be there ---- */

bool past_is(struct past *p, const struct past_upload *u)
{
	char path[400], wal[420];
	struct store *s = NULL;
	struct err e = ERR_INIT;
	struct restore_result result = {0};
	snprintf(path, sizeof(path), "%s/past.db", p->dir);
	struct restore_options o = {
		.target.txid = u->txid, .output = path, .state_dir = "", .parallelism = 1};
	if (store_open(&s, p->url, NULL, &e))
		abort();
	unlink(path);
	int rc = restore_run(s, &o, &result, &e);
	restore_plan_free(&result.plan);
	store_close(s);
	if (rc || result.proof != RESTORE_PROVEN) {
		fprintf(stderr, "TXID %016" PRIx64 ": %s\n", u->txid, rc ? e.text : "not proven");
		return false;
	}
	agent_do(&p->reader, "open %s", path);
	uint64_t number = strtoull(agent_sql(&p->reader, "SELECT number FROM n"), NULL, 10);
	agent_do(&p->reader, "close");
	snprintf(wal, sizeof(wal), "%s-wal", path);
	unlink(wal);
	if (number != u->number)
		fprintf(stderr, "TXID %016" PRIx64 " is number %" PRIu64 ", not %" PRIu64 "\n", u->txid,
			number, u->number);
	return number == u->number;
}

/* Marks what the moments of one step promise: each the last upload before it. */
static void promise(const struct past *p, bool *must, int64_t now, int64_t window, int64_t step)
{
	for (size_t i = 0; i < p->count; i++) {
		int64_t from = p->uploads[i].ms;
		int64_t to = i + 1 < p->count ? p->uploads[i + 1].ms : INT64_MAX;
		/* The first moment at or behind which it is the last one. */
		int64_t least = now - window + 1 > from + 1 ? now - window + 1 : from + 1;
		int64_t moment = step ? (least + step - 1) / step * step : least;
		if (moment <= to && moment <= now)
			must[i] = true;
	}
}

bool past_check(struct past *p, int some)
{
	static bool must[PAST_MAX];
	int64_t now = clock_wall_ms();
	size_t n = 0, seen = 0, good = 0, tried = 0;
	memset(must, 0, sizeof(must));
	promise(p, must, now, 3 * HOUR_MS, 0);
	promise(p, must, now, 24 * HOUR_MS, 30 * SECOND_MS);
	promise(p, must, now, 72 * HOUR_MS, 300 * SECOND_MS);
	promise(p, must, now, 168 * HOUR_MS, HOUR_MS);
	must[p->count - 1] = true;
	for (size_t i = 0; i < p->count; i++)
		n += must[i];
	size_t stride = n / (size_t)some + 1;
	for (size_t i = p->count; i-- > 0;) {
		if (!must[i] || seen++ % stride)
			continue;
		tried++;
		good += past_is(p, &p->uploads[i]);
	}
	return good == tried;
}
