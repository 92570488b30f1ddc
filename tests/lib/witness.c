#include "lib/witness.h"

#include "base/fs.h"
#include "lib/ship.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 << 20)

void witness_start(struct witness *w, const char *dir, const char *db, const char *url)
{
	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "%s", dir);
	snprintf(w->db, sizeof(w->db), "%s", db);
	snprintf(w->twin_db, sizeof(w->twin_db), "%s/twin.db", dir);
	snprintf(w->url, sizeof(w->url), "%s", url);
	agent_start(&w->app);
	agent_start(&w->twin);
	agent_start(&w->reader);
}

void witness_stop(struct witness *w)
{
	agent_stop(&w->app);
	agent_stop(&w->twin);
	agent_stop(&w->reader);
}

static void create(struct agent *a, const char *db)
{
	agent_do(a, "open %s", db);
	agent_sql(a, "PRAGMA journal_mode = WAL");
	agent_sql(a, "PRAGMA synchronous = OFF");
	agent_sql(a, "CREATE TABLE n(id INTEGER PRIMARY KEY, number INTEGER)");
	agent_sql(a, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)");
	agent_sql(a, "INSERT INTO n VALUES (1, 0)");
	agent_sql(a, "WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 39) "
				 "INSERT INTO t SELECT i, hex(zeroblob(1500)) FROM c");
}

void witness_create(struct witness *w)
{
	create(&w->app, w->db);
	create(&w->twin, w->twin_db);
}

/* All of it or nothing: the number, and four rows of text that hardly can be compressed. Nothing in
 * it is random: the twin's pages are the same. */
static bool write_number(struct agent *a, uint64_t number)
{
	char text[700];
	snprintf(text, sizeof(text),
		"BEGIN; UPDATE n SET number = %" PRIu64 "; WITH RECURSIVE "
		"r(i, x) AS (SELECT 1, %" PRIu64 " UNION ALL "
		"SELECT i + 1, (x * 1103515245 + 12345) %% 2147483648 FROM r WHERE i < 375), "
		"s(text) AS (SELECT group_concat(printf('%%08x', x), '') FROM r), "
		"c(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM c WHERE k < 3) "
		"INSERT OR REPLACE INTO t SELECT (%" PRIu64 " + k) %% 40, text || k FROM c, s; COMMIT",
		number, number * 7919 % 2147483647, number * 7);
	if (strncmp(agent_do(a, "sql %s", text), "ok ", 3) == 0)
		return true;
	char why[sizeof(a->line)];
	memcpy(why, a->line, sizeof(why));
	agent_do(a, "sql ROLLBACK"); /* SQLite may have done so already */
	memcpy(a->line, why, sizeof(why));
	return false;
}

bool witness_try(struct witness *w)
{
	if (!write_number(&w->app, w->number + 1)) {
		w->refused++;
		return false;
	}
	w->number++;
	if (write_number(&w->twin, w->number))
		return true;
	fprintf(stderr, "the twin: %s\n", w->twin.line);
	abort();
}

void witness_commit(struct witness *w)
{
	if (witness_try(w))
		return;
	fprintf(stderr, "the app could not commit: %s\n", w->app.line);
	abort();
}

void witness_acked(struct witness *w)
{
	w->acked = w->number;
}

/* ---- what must be true ---- */

static size_t descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

void witness_begin(struct witness *w)
{
	w->descriptors = descriptors();
}

bool witness_no_leak(const struct witness *w)
{
	size_t now = descriptors();
	if (now != w->descriptors)
		fprintf(stderr, "%zu descriptors before, %zu now\n", w->descriptors, now);
	return now == w->descriptors;
}

static bool same_files(const char *a, const char *b)
{
	struct buf x, y;
	struct err e = ERR_INIT;
	buf_init(&x, FILE_MAX);
	buf_init(&y, FILE_MAX);
	bool read = !fs_read_file(a, &x, &e) && !fs_read_file(b, &y, &e);
	bool same = read && x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
	if (!same)
		fprintf(stderr, "%s and %s differ %s\n", a, b, e.text);
	buf_free(&x);
	buf_free(&y);
	return same;
}

/* Everything that the twin committed is in its file then. */
static void fold_twin(struct witness *w)
{
	agent_sql(&w->twin, "PRAGMA wal_checkpoint(TRUNCATE)");
}

bool witness_same(struct witness *w, const char *path)
{
	fold_twin(w);
	return same_files(path, w->twin_db);
}

static bool holds_right_state(struct witness *w, const char *path)
{
	agent_do(&w->reader, "open %s", path);
	uint64_t number = strtoull(agent_sql(&w->reader, "SELECT number FROM n"), NULL, 10);
	bool right = number >= w->acked && number <= w->number;
	if (!right)
		fprintf(stderr,
			"restored: %" PRIu64 ", acknowledged: %" PRIu64 ", committed: %" PRIu64 "\n", number,
			w->acked, w->number);
	const char *said = agent_sql(&w->reader, "PRAGMA integrity_check");
	if (strcmp(said, "ok") != 0) {
		fprintf(stderr, "restored: integrity_check: %s\n", said);
		right = false;
	}
	agent_do(&w->reader, "close");
	return right;
}

bool witness_restored(struct witness *w, bool exact)
{
	char path[320];
	snprintf(path, sizeof(path), "%s/restored.db", w->dir);
	if (ship_restore(w->url, path))
		return false;
	bool right = (!exact || witness_same(w, path)) && holds_right_state(w, path);
	unlink(path);
	return right;
}

bool witness_untouched(struct witness *w)
{
	agent_do(&w->app, "timeout 0");
	bool writable = strncmp(agent_do(&w->app, "sql BEGIN IMMEDIATE; ROLLBACK"), "ok ", 3) == 0;
	if (!writable)
		fprintf(stderr, "the app can't write: %s\n", w->app.line);
	bool folded =
		writable && strcmp(agent_sql(&w->app, "PRAGMA wal_checkpoint(TRUNCATE)"), "0") == 0;
	if (writable && !folded)
		fprintf(stderr, "the app's checkpoint: %s\n", w->app.line);
	agent_do(&w->app, "timeout 5000");
	return folded && strcmp(agent_sql(&w->app, "PRAGMA integrity_check"), "ok") == 0 &&
		   witness_same(w, w->db);
}

/* ---- litter ---- */

static size_t litter;
static char *litter_name;

static int look_at(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	const char *name = path + at->base;
	bool aside = strstr(name, ".tmp") || strchr(name, '~') || strncmp(name, "staging-", 8) == 0;
	if (type != FTW_F || !aside)
		return 0;
	snprintf(litter_name, 300, "%s", path);
	litter++;
	return 0;
}

size_t witness_litter(const char *dir, char *named)
{
	litter = 0;
	litter_name = named;
	named[0] = '\0';
	nftw(dir, look_at, 16, FTW_PHYS);
	return litter;
}
