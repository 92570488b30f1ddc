/*
 * litestream status: Litestream's table of what is on this machine, and beside it what a running
 * `replicate` says of itself on its control socket, where there is one.
 *
 * Which databases there are is told by the process that -socket names; without -socket by the
 * configuration, and the process is asked where the configuration has a socket. One answer a
 * replica: with several, a database has several rows.
 */
#include "base/json.h"
#include "cli/asking.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/show.h"
#include "cli/states.h"
#include "conf/state.h"
#include "daemon/client.h"
#include "daemon/report.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ASK_MS 10000

static const struct flag flags[] = {
	PLACE_FLAGS,
	ASKING_FLAGS(ASKING_LOOK_S),
	{NULL, FLAG_BOOL, NULL, NULL},
};

/* ---- a row ---- */

/* As go-humanize's Bytes: powers of ten, one decimal below ten. */
static void humanize(uint64_t bytes, char out[24])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	size_t u = 0;
	double v = (double)bytes;
	for (; v >= 1000 && u < 5; u++)
		v /= 1000;
	v = (double)(uint64_t)(v * 10 + 0.5) / 10;
	snprintf(out, 24, bytes >= 10 && v < 10 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void wal_size_of(const char *database, char out[24])
{
	struct stat st;
	char wal[PATH_MAX];
	snprintf(wal, sizeof(wal), "%s-wal", database);
	if (stat(wal, &st) == 0)
		humanize((uint64_t)st.st_size, out);
	else
		snprintf(out, 24, errno == ENOENT ? "0 B" : "-");
}

/* A row of Litestream's four columns. NULL: out of memory. */
static json_t *new_row(const char *database, const char *status, const char *txid)
{
	char size[24] = "-";
	struct stat st;
	bool there = stat(database, &st) == 0 || errno != ENOENT;
	if (there)
		wal_size_of(database, size);
	return json_pack("{s:s,s:s,s:s,s:s}", "database", database, "status",
		there ? status : "no database", "local_txid", there && *txid ? txid : "-", "wal_size",
		size);
}

/* ---- what is on disk ---- */

static int add_local(void *ctx, const struct state_place *s, struct err *e)
{
	json_t *rows = ctx;
	struct state *state = calloc(1, sizeof(*state));
	struct err why;
	char txid[17] = "", url[1100] = "";
	if (!state)
		return err_nomem(e, "looking at local state");
	int rc = state_peek(s->dir, state, &why), bad = ERR_OK;
	if (rc == ERR_OK && state->txid)
		snprintf(txid, sizeof(txid), "%016" PRIx64, state->txid);
	report_url(s->url ? s->url : rc == ERR_OK ? state->replica : "", url, sizeof(url));
	json_t *row = new_row(s->database,
		rc != ERR_OK && rc != ERR_NOT_FOUND ? "error"
		: *txid                             ? "ok"
											: "not initialized",
		txid);
	if (row) {
		json_put_text(row, "state", NULL, &bad);
		json_put_text(row, "reason", rc && rc != ERR_NOT_FOUND ? why.text : NULL, &bad);
		json_put_text(row, "replica", url, &bad);
		json_put_int(row, "replica_number", (int64_t)s->index + 1, &bad);
	}
	free(state);
	if (json_array_append_new(rows, row) != 0 || bad)
		return err_nomem(e, "looking at local state");
	return ERR_OK;
}

/* ---- what a process says ---- */

static json_t *databases_of(const json_t *answer)
{
	return json_object_get(json_array_get(json_object_get(answer, "apps"), 0), "databases");
}

/* All that it says, in the row, except for what names the row. */
static int merge(json_t *row, json_t *said, struct err *e)
{
	return json_object_update(row, said) != 0 || json_object_del(row, "id") != 0 ||
				   json_object_del(row, "path") != 0
			   ? err_nomem(e, "reading the status")
			   : ERR_OK;
}

static int add_said(json_t *rows, json_t *said, struct err *e)
{
	const char *txid = json_text(said, "txid");
	bool none = strspn(txid, "0") == strlen(txid);
	json_t *row =
		new_row(json_text(said, "path"), none ? "not initialized" : "ok", none ? "" : txid);
	if (json_array_append_new(rows, row) != 0)
		return err_nomem(e, "reading the status");
	return merge(row, said, e);
}

static bool is_meant(const char *wanted, const json_t *said)
{
	struct err e;
	char *real = wanted ? asking_path(json_text(said, "path"), &e) : NULL;
	bool same = !wanted || (real && strcmp(real, wanted) == 0);
	free(real);
	return same;
}

static int rows_of_process(struct args *a, json_t *rows, struct err *e)
{
	json_t *answer;
	char *wanted = NULL;
	int rc = asking_look(a, "/status", &answer, e);
	if (!rc && a->argc && !(wanted = asking_path(a->argv[0], e)))
		rc = ERR_NOMEM;
	json_t *list = databases_of(answer);
	for (size_t i = 0; !rc && i < json_array_size(list); i++)
		if (is_meant(wanted, json_array_get(list, i)))
			rc = add_said(rows, json_array_get(list, i), e);
	if (!rc && wanted && json_array_size(rows) == 0)
		rc = err_set(
			e, ERR_FAIL, "database not found: %s is not replicated by this process", wanted);
	free(wanted);
	json_decref(answer);
	return rc;
}

/* The socket of the configuration: the first process has its name, the others a number behind it. A
 * process that doesn't answer leaves the rows as they are. */
static int ask_number(
	const struct config *c, json_t *rows, int64_t number, int64_t timeout_ms, struct err *e)
{
	char socket[PATH_MAX];
	struct err why;
	json_t *answer = NULL;
	int rc = ERR_OK;
	snprintf(socket, sizeof(socket), number > 1 ? "%s.%" PRId64 : "%s", c->socket_path, number);
	int asked = client_ask_replicate(socket, "GET", "/status", NULL, timeout_ms, &answer, &why);
	json_t *list = asked == ERR_OK ? databases_of(answer) : NULL;
	for (size_t i = 0; !rc && i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		if (json_int(row, "replica_number") != number)
			continue;
		for (size_t k = 0; !rc && k < json_array_size(list); k++)
			if (strcmp(json_text(json_array_get(list, k), "path"), json_text(row, "database")) == 0)
				rc = merge(row, json_array_get(list, k), e);
	}
	json_decref(answer);
	return rc;
}

static int rows_of_machine(struct args *a, json_t *rows, struct err *e)
{
	struct config c;
	bool there;
	int64_t ms;
	int rc = asking_timeout(a, ASK_MS, &ms, e);
	if (rc)
		return rc;
	rc = a->argc ? config_file_load(a, &c, &there, e) : config_file_need(a, &c, e);
	if (!rc)
		rc = a->argc ? states_of(a, a->argv[0], add_local, rows, e)
					 : states_all(&c, add_local, rows, e);
	int64_t most = 0;
	for (size_t i = 0; !rc && c.socket_enabled && i < json_array_size(rows); i++) {
		int64_t number = json_int(json_array_get(rows, i), "replica_number");
		most = number > most ? number : most;
	}
	for (int64_t n = 1; !rc && n <= most; n++)
		rc = ask_number(&c, rows, n, ms, e);
	config_free(&c);
	return rc;
}

/* ---- printing ---- */

#define COLUMNS 7
static const char *const columns[COLUMNS] = {
	"database", "status", "local txid", "wal size", "state", "lag", "replica"};
static const char *const keys[COLUMNS] = {
	"database", "status", "local_txid", "wal_size", "state", "lag_seconds", "replica"};

static const char *cell(const json_t *row, size_t column, char room[32])
{
	const json_t *v = json_object_get(row, keys[column]);
	if (json_is_integer(v)) {
		snprintf(room, 32, "%" PRId64 "s", (int64_t)json_integer_value(v));
		return room;
	}
	const char *text = json_text(row, keys[column]);
	return *text ? show_clean(text) : "-";
}

static void print_table(const json_t *rows)
{
	int width[COLUMNS];
	char room[32];
	for (size_t k = 0; k < COLUMNS; k++) {
		width[k] = (int)strlen(columns[k]);
		for (size_t i = 0; i < json_array_size(rows); i++) {
			int n = (int)strlen(cell(json_array_get(rows, i), k, room));
			width[k] = n > width[k] ? n : width[k];
		}
	}
	for (size_t i = 0; i <= json_array_size(rows); i++)
		for (size_t k = 0; k < COLUMNS; k++)
			printf("%-*s%s", k + 1 < COLUMNS ? width[k] + 2 : 0,
				i == 0 ? columns[k] : cell(json_array_get(rows, i - 1), k, room),
				k + 1 < COLUMNS ? "" : "\n");
}

/* Of one database that was asked for: everything. Of several: what is not well. */
static void print_details(const json_t *rows, bool all)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		const char *reason = json_text(row, "reason");
		if (all && *json_text(row, "state")) {
			json_object_set(row, "path", json_object_get(row, "database"));
			show_database(row);
		} else if (*reason) {
			printf("%s: %s\n", show_clean(json_text(row, "database")), show_clean(reason));
		}
	}
}

static int run(struct args *a, struct err *e)
{
	json_t *rows = json_array();
	int rc = rows ? ERR_OK : err_nomem(e, "reading the status");
	if (!rc && args_given(a, "socket") && args_given(a, "config"))
		rc = args_usage(a, e, NULL, "-socket names a process, -config a file: one of them");
	if (!rc)
		rc = args_given(a, "socket") ? rows_of_process(a, rows, e) : rows_of_machine(a, rows, e);
	if (!rc && args_bool(a, "json"))
		return listing_print_json(rows, e);
	if (!rc) {
		print_table(rows);
		print_details(rows, a->argc > 0);
	}
	json_decref(rows);
	return rc;
}

const struct command command_status = {
	.name = "status",
	.arguments = "[flags] [DB]",
	.summary = "Shows how far the replication of each database is",
	.details =
		"With -socket the databases of that `litestream replicate`; without it those of the\n"
		"configuration, what is on disk, and what the process says where the configuration has\n"
		"a socket (docs/SOCKET.md). Status is ok, not initialized, no database or error.\n",
	.examples = "    litestream status\n"
				"    litestream status /data/app.db\n"
				"    litestream status -json -socket /run/app.sock\n",
	.flags = flags,
	.min_args = 0,
	.max_args = 1,
	.run = run,
};
