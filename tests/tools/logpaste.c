/*
 * logpaste DB PORT - the app of a known text about Litestream, as far as that shows it: PUT of a
 * text answers
 * {"id":"…"}, GET /<id> answers the text. Makes its database and its table where there is none;
 * knows nothing of replication. SIGTERM ends it.
 */
#include <inttypes.h>
#include <microhttpd.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TEXT_MAX 65536

struct body {
	size_t len;
	char text[TEXT_MAX];
};

static sqlite3 *db;

static void check(int rc, const char *what)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return;
	fprintf(stderr, "logpaste: %s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
}

static sqlite3_stmt *prepare(const char *sql)
{
	sqlite3_stmt *s;
	check(sqlite3_prepare_v2(db, sql, -1, &s, NULL), sql);
	return s;
}

static void open_database(const char *path)
{
	check(sqlite3_open(path, &db), path);
	sqlite3_busy_timeout(db, 5000);
	check(sqlite3_exec(db,
			  "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS entries("
			  "id TEXT PRIMARY KEY, creation_time TEXT, contents TEXT)",
			  NULL, NULL, NULL),
		"making the table");
}

static void answer(struct MHD_Connection *c, unsigned status, const char *text)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
	MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
}

static void put(struct MHD_Connection *c, const struct body *b)
{
	uint32_t number;
	char id[16], text[64];
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		exit(1);
	snprintf(id, sizeof(id), "%08" PRIx32, number);
	sqlite3_stmt *s = prepare("INSERT INTO entries VALUES (?, datetime('now'), ?)");
	sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, b->text, (int)b->len, SQLITE_STATIC);
	check(sqlite3_step(s), "inserting");
	sqlite3_finalize(s);
	snprintf(text, sizeof(text), "{\"id\":\"%s\"}\n", id);
	answer(c, MHD_HTTP_OK, text);
}

static void get(struct MHD_Connection *c, const char *id)
{
	sqlite3_stmt *s = prepare("SELECT contents FROM entries WHERE id = ?");
	sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC);
	int rc = sqlite3_step(s);
	check(rc, "reading");
	if (rc == SQLITE_ROW)
		answer(c, MHD_HTTP_OK, (const char *)sqlite3_column_text(s, 0));
	else
		answer(c, MHD_HTTP_NOT_FOUND, "no such entry\n");
	sqlite3_finalize(s);
}

/* Called at the headers (*state NULL), for each part of the body, and at its end (*size 0). */
static enum MHD_Result serve(void *ctx, struct MHD_Connection *c, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **state)
{
	struct body *b = *state;
	(void)ctx;
	(void)version;
	if (!b)
		return (*state = calloc(1, sizeof(*b))) ? MHD_YES : MHD_NO;
	if (*size > TEXT_MAX - b->len)
		return MHD_NO;
	memcpy(b->text + b->len, data, *size);
	b->len += *size;
	if (*size == 0 && strcmp(method, "PUT") == 0)
		put(c, b);
	else if (*size == 0)
		get(c, url + 1);
	*size = 0;
	return MHD_YES;
}

static void done(
	void *ctx, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
	(void)ctx;
	(void)c;
	(void)code;
	free(*state);
}

int main(int argc, char **argv)
{
	sigset_t set;
	int sig;
	if (argc != 3) {
		fprintf(stderr, "usage: logpaste DB PORT\n");
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	open_database(argv[1]);
	/* One thread for all: SQLite's connection is never used by two. */
	struct MHD_Daemon *d =
		MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, (uint16_t)atoi(argv[2]), NULL, NULL,
			serve, NULL, MHD_OPTION_NOTIFY_COMPLETED, done, NULL, MHD_OPTION_END);
	if (!d) {
		fprintf(stderr, "logpaste: cannot listen at port %s\n", argv[2]);
		return 1;
	}
	sigwait(&set, &sig);
	MHD_stop_daemon(d);
	sqlite3_close(db);
	return 0;
}
