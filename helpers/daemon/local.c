#include "daemon/local_internal.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "conf/config.h"
#include "daemon/report.h"
#include "daemon/status_message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* MHD keeps work for a next run where there is more to read or a request was woken. */
void local_run(struct local *l)
{
	if (l->inside)
		return;
	l->inside = true;
	do
		control_run(l->control);
	while (control_timeout_ms(l->control) == 0);
	l->inside = false;
}

static void on_readable(void *ctx)
{
	local_run(ctx);
}

int64_t local_look(struct local *l, int64_t now_us)
{
	if (now_us >= l->due_us)
		local_run(l);
	int ms = control_timeout_ms(l->control);
	l->due_us = ms < 0 ? INT64_MAX : now_us + (int64_t)ms * 1000;
	return l->due_us;
}

/* ---- finding ---- */

bool local_scheduled(struct local *l, const char *id, size_t *i)
{
	for (*i = 0; *i < schedule_count(l->schedule); ++*i)
		if (strcmp(schedule_id(l->schedule, *i), id) == 0)
			return true;
	return false;
}

struct local_stopped *local_find_stopped(struct local *l, const char *id)
{
	struct local_stopped *p = l->stopped;
	while (p && strcmp(p->id, id) != 0)
		p = p->next;
	return p;
}

/* What the host let go of by itself (a file is gone, of a folder that it watches), or has taken
 * again since. */
static void tidy(struct local *l)
{
	for (struct local_stopped *p = l->stopped, *next; p; p = next) {
		size_t i;
		next = p->next;
		if (p->left && (!l->host->replica(l->host->ctx, p->id) || local_scheduled(l, p->id, &i)))
			local_drop(l, p);
	}
}

struct wanted_file {
	const char *real; /* name */
	struct stat st;
	bool there;
};

static bool is_file(const struct wanted_file *w, const char *id)
{
	struct stat st;
	char *real = fs_real_name(id);
	bool same = real && strcmp(real, w->real) == 0;
	free(real);
	return same || (w->there && stat(id, &st) == 0 && st.st_ino == w->st.st_ino &&
					   st.st_dev == w->st.st_dev);
}

static const char *find_other_name(struct local *l, const char *path)
{
	const char *found = NULL;
	char *real = fs_real_name(path);
	struct wanted_file w = {.real = real};
	w.there = stat(path, &w.st) == 0;
	for (size_t i = 0; real && !found && i < schedule_count(l->schedule); i++)
		if (is_file(&w, schedule_id(l->schedule, i)))
			found = schedule_id(l->schedule, i);
	for (const struct local_stopped *p = l->stopped; real && !found && p; p = p->next)
		if (is_file(&w, p->id))
			found = p->id;
	free(real);
	return found;
}

char *local_find(struct local *l, const char *name, bool *known)
{
	size_t i;
	char *path = config_absolute(name);
	if (!path)
		return NULL;
	*known = local_scheduled(l, path, &i) || local_find_stopped(l, path) ||
			 l->host->replica(l->host->ctx, path);
	const char *other = *known ? NULL : find_other_name(l, path);
	if (!other)
		return path;
	free(path);
	*known = true;
	return strdup(other);
}

void local_fail_unknown(struct control_request *q, const char *path)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_NOT_FOUND, "database not found: %s is not replicated by this process", path);
	control_fail(q, &e);
}

/* ---- answers ---- */

static json_t *report(struct local *l, const char *id, const struct replicator_status *status,
	const char *instead_of_state)
{
	struct message_status_database m;
	const char *replica = l->host->replica(l->host->ctx, id);
	status_message(id, status, &m);
	if (instead_of_state) {
		m.state = (char *)instead_of_state;
		m.code = ERR_OK;
		m.reason = NULL;
	}
	return report_database(&m, id, replica ? replica : "", clock_wall_ms());
}

/* The databases of the schedule, then those that have left it. */
static json_t *databases_of(struct local *l)
{
	json_t *all = json_array();
	int rc = all ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; !rc && i < schedule_count(l->schedule); i++) {
		struct replicator_status status;
		schedule_status(l->schedule, i, &status);
		rc = json_array_append_new(all, report(l, schedule_id(l->schedule, i), &status, NULL));
	}
	for (const struct local_stopped *p = l->stopped; !rc && p; p = p->next)
		if (p->left)
			rc = json_array_append_new(all, report(l, p->id, &p->last, "stopped"));
	if (!rc)
		return all;
	json_decref(all);
	return NULL;
}

static json_t *with(const char *key, json_t *value)
{
	int rc = ERR_OK;
	json_t *o = json_object();
	if (!o) {
		json_decref(value);
		return NULL;
	}
	json_put(o, key, value, &rc);
	if (rc == ERR_OK)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *status_answer(struct local *l)
{
	json_t *app = with("databases", databases_of(l)), *apps = json_array();
	int rc = app && apps ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put_text(app, "app", NULL, &rc);
		json_put_flag(app, "running", true, &rc);
		json_put_text(app, "worker", "running", &rc);
	}
	if (rc == ERR_OK && json_array_append(apps, app) != 0)
		rc = ERR_NOMEM;
	json_decref(app);
	if (rc == ERR_OK)
		return with("apps", apps);
	json_decref(apps);
	return NULL;
}

/* Litestream's word for a state: it replicates, is open and doesn't, or is stopped. */
static const char *litestream_status(const char *state)
{
	if (strcmp(state, "replicating") == 0 || strcmp(state, "stopped") == 0)
		return state;
	return "open";
}

/* As Litestream has it, last_sync_at is left out where there was none; `state` and what follows it
 * are ours. */
static json_t *list_entry(const json_t *d)
{
	json_t *entry = json_pack("{s:O,s:s,s:O,s:O,s:O,s:O}", "path", json_object_get(d, "path"),
		"status", litestream_status(json_text(d, "state")), "state", json_object_get(d, "state"),
		"reason", json_object_get(d, "reason"), "replica", json_object_get(d, "replica"),
		"lag_seconds", json_object_get(d, "lag_seconds"));
	json_t *at = json_object_get(d, "last_upload_at");
	if (entry && json_is_string(at) && json_object_set(entry, "last_sync_at", at) != 0) {
		json_decref(entry);
		return NULL;
	}
	return entry;
}

static json_t *list_answer(struct local *l)
{
	json_t *full = databases_of(l), *list = json_array();
	int rc = full && list ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; rc == ERR_OK && i < json_array_size(full); i++)
		if (json_array_append_new(list, list_entry(json_array_get(full, i))) != 0)
			rc = ERR_NOMEM;
	json_decref(full);
	if (rc == ERR_OK)
		return with("databases", list);
	json_decref(list);
	return NULL;
}

static json_t *info_answer(struct local *l)
{
	size_t n = schedule_count(l->schedule);
	for (const struct local_stopped *p = l->stopped; p; p = p->next)
		n += p->left;
	int rc = ERR_OK;
	json_t *o = json_pack("{s:s,s:i,s:I,s:I}", "version", LITESTREAM_VERSION, "pid", (int)getpid(),
		"uptime_seconds", (json_int_t)((clock_mono_us() - l->started_us) / 1000000),
		"database_count", (json_int_t)n);
	if (o)
		json_put_time(o, "started_at", l->started_ms, &rc);
	return o;
}

static void txid(struct local *l, struct control_request *q)
{
	size_t i;
	bool known = false;
	struct replicator_status status = {0};
	struct err e = ERR_INIT;
	const char *path = control_query(q, "path");
	if (!path || !*path) {
		err_set(&e, ERR_USAGE, "path required: /txid?path=/data/app.db");
		control_fail(q, &e);
		return;
	}
	char *id = local_find(l, path, &known);
	const struct local_stopped *p = id ? local_find_stopped(l, id) : NULL;
	if (id && local_scheduled(l, id, &i))
		schedule_status(l->schedule, i, &status);
	else if (p)
		status = p->last;
	if (known)
		control_reply(q, 200, json_pack("{s:I}", "txid", (json_int_t)status.txid));
	else
		local_fail_unknown(q, path);
	free(id);
}

static void info(struct local *l, struct control_request *q)
{
	control_reply(q, 200, info_answer(l));
}

static void list(struct local *l, struct control_request *q)
{
	control_reply(q, 200, list_answer(l));
}

static void status(struct local *l, struct control_request *q)
{
	control_reply(q, 200, status_answer(l));
}

/* ---- requests ---- */

static const struct {
	const char *method, *path;
	void (*fn)(struct local *l, struct control_request *q);
} requests[] = {
	{"GET", "/info", info},
	{"GET", "/list", list},
	{"GET", "/status", status},
	{"GET", "/txid", txid},
	{"POST", "/sync", local_sync},
	{"POST", "/start", local_start},
	{"POST", "/stop", local_stop},
	{"POST", "/register", local_register},
	{"POST", "/unregister", local_unregister},
};

static void handle(void *ctx, struct control_request *q)
{
	struct err e = ERR_INIT;
	const char *path = control_path(q), *method = control_method(q);
	tidy(ctx);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (strcmp(path, requests[i].path) != 0)
			continue;
		if (strcmp(method, requests[i].method) == 0) {
			requests[i].fn(ctx, q);
			return;
		}
		err_set(&e, ERR_USAGE, "%s takes %s, not %.16s", path, requests[i].method, method);
		control_fail_as(q, CONTROL_WRONG_METHOD, &e, NULL);
		return;
	}
	err_set(&e, ERR_NOT_FOUND, "there is no %.16s %.64s here", method, path);
	control_fail(q, &e);
}

/* ---- open and close ---- */

int local_open(struct local **out, const struct local_config *cfg, struct err *e)
{
	struct local *l = calloc(1, sizeof(*l));
	if (!l)
		return err_nomem(e, "opening the control socket");
	l->schedule = cfg->schedule;
	l->host = cfg->host;
	l->started_us = clock_mono_us();
	l->started_ms = clock_wall_ms();
	const struct control_config control = {
		.socket = cfg->socket, .gid = getegid(), .mode = cfg->mode, .handle = handle, .ctx = l};
	int rc = control_open(&l->control, &control, e);
	if (rc == ERR_OK)
		rc = schedule_add_fd(l->schedule, control_fd(l->control), on_readable, l, e);
	if (rc != ERR_OK) {
		local_close(l);
		return rc;
	}
	*out = l;
	return ERR_OK;
}

void local_close(struct local *l)
{
	if (!l)
		return;
	l->inside = true; /* whoever is answered now must not run what is being closed */
	if (l->control)
		schedule_remove_fd(l->schedule, control_fd(l->control));
	control_close(l->control);
	while (l->stopped)
		local_drop(l, l->stopped);
	free(l);
}
