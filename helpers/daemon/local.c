#include "daemon/local.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "daemon/control.h"
#include "daemon/report.h"
#include "daemon/status_message.h"
#include "proto/request.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct local {
	struct schedule *schedule;
	struct control *control;
	const char *(*replica)(void *ctx, const char *id);
	void *ctx;
	int64_t started_us;
	bool inside; /* control_run is on the stack: it must not be called again */
};

/* MHD keeps work for a next run where there is more to read or a request was woken. */
static void run_control(struct local *l)
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
	run_control(ctx);
}

/* ---- answers ---- */

static json_t *database_of(struct local *l, size_t i)
{
	struct replicator_status status;
	struct message_status_database m;
	const char *id = schedule_id(l->schedule, i);
	const char *replica = l->replica ? l->replica(l->ctx, id) : NULL;
	schedule_status(l->schedule, i, &status);
	status_message(id, &status, &m);
	return report_database(
		&m, schedule_database(l->schedule, i), replica ? replica : "", clock_wall_ms());
}

static json_t *databases_of(struct local *l)
{
	json_t *all = json_array();
	for (size_t i = 0; all && i < schedule_count(l->schedule); i++) {
		if (json_array_append_new(all, database_of(l, i)) != 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
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

static json_t *list_answer(struct local *l)
{
	json_t *full = databases_of(l), *list = json_array();
	int rc = full && list ? ERR_OK : ERR_NOMEM;
	for (size_t i = 0; rc == ERR_OK && i < json_array_size(full); i++) {
		json_t *d = json_array_get(full, i);
		json_t *entry = json_pack("{s:n,s:O,s:O,s:O,s:O}", "app", "path",
			json_object_get(d, "path"), "replica", json_object_get(d, "replica"), "status",
			json_object_get(d, "state"), "last_sync_at", json_object_get(d, "last_upload_at"));
		if (json_array_append_new(list, entry) != 0)
			rc = ERR_NOMEM;
	}
	json_decref(full);
	if (rc == ERR_OK)
		return with("databases", list);
	json_decref(list);
	return NULL;
}

static json_t *info_answer(struct local *l)
{
	return json_pack("{s:s,s:i,s:I,s:i,s:I}", "version", LITESTREAM_VERSION, "pid", (int)getpid(),
		"uptime_seconds", (json_int_t)((clock_mono_us() - l->started_us) / 1000000), "workers", 0,
		"databases", (json_int_t)schedule_count(l->schedule));
}

/* ---- sync ---- */

struct local_sync {
	struct local *local;
	struct control_request *request; /* NULL: the client has gone */
};

static void on_gone(void *ctx)
{
	((struct local_sync *)ctx)->request = NULL;
}

static void on_synced(void *ctx, int code, const char *why)
{
	struct local_sync *s = ctx;
	struct err e = ERR_INIT;
	if (s->request && code == ERR_OK) {
		json_t *warnings = why[0] ? json_pack("[s]", why) : NULL;
		control_reply(s->request, 200, report_synced(warnings));
		json_decref(warnings);
	} else if (s->request) {
		err_set(&e, (enum err_code)code, "%s", why);
		control_fail(s->request, &e);
	}
	run_control(s->local);
	free(s);
}

/* A database may have been named by way of a link (current/ of Capistrano), and is asked for by its
 * real name. */
static const char *id_by_real_name(struct local *l, const char *name)
{
	for (size_t i = 0; i < schedule_count(l->schedule); i++) {
		char *real = fs_real_name(schedule_database(l->schedule, i));
		bool same = real && strcmp(real, name) == 0;
		free(real);
		if (same)
			return schedule_id(l->schedule, i);
	}
	return name; /* schedule_sync refuses it with a sentence */
}

static const char *id_of(struct local *l, const char *name)
{
	for (size_t i = 0; i < schedule_count(l->schedule); i++) {
		if (strcmp(schedule_id(l->schedule, i), name) == 0 ||
			strcmp(schedule_database(l->schedule, i), name) == 0)
			return schedule_id(l->schedule, i);
	}
	return id_by_real_name(l, name);
}

static int start_sync(
	struct local *l, struct control_request *q, const struct request_sync *body, struct err *e)
{
	if (body->app)
		return err_set(e, ERR_USAGE, "this is a single replicate: it knows no apps");
	struct local_sync *s = malloc(sizeof(*s));
	if (!s)
		return err_nomem(e, "syncing");
	*s = (struct local_sync){l, q};
	const char *id = body->database ? id_of(l, body->database) : NULL;
	int rc = schedule_sync(l->schedule, id, false, (int64_t)body->timeout * 1000, on_synced, s, e);
	if (rc != ERR_OK)
		free(s);
	else
		control_on_gone(q, on_gone, s);
	return rc;
}

static void do_sync(struct local *l, struct control_request *q)
{
	struct request_sync body;
	struct err e = ERR_INIT;
	int rc = request_sync_decode(&body, control_body(q), &e);
	if (rc == ERR_OK)
		rc = start_sync(l, q, &body, &e);
	if (rc != ERR_OK)
		control_fail(q, &e);
	request_sync_free(&body);
}

static void handle(void *ctx, struct control_request *q)
{
	struct local *l = ctx;
	struct err e = ERR_INIT;
	const char *path = control_path(q);
	bool get = strcmp(control_method(q), "GET") == 0;
	if (get && strcmp(path, "/info") == 0) {
		control_reply(q, 200, info_answer(l));
	} else if (get && strcmp(path, "/list") == 0) {
		control_reply(q, 200, list_answer(l));
	} else if (get && strcmp(path, "/status") == 0) {
		control_reply(q, 200, status_answer(l));
	} else if (!get && strcmp(path, "/sync") == 0) {
		do_sync(l, q);
	} else {
		err_set(&e, ERR_NOT_FOUND, "there is no %.16s %.64s here", control_method(q), path);
		control_fail(q, &e);
	}
}

/* ---- open and close ---- */

int local_open(struct local **out, struct schedule *s, const char *socket,
	const char *(*replica)(void *ctx, const char *id), void *ctx, struct err *e)
{
	struct local *l = calloc(1, sizeof(*l));
	if (!l)
		return err_nomem(e, "opening the control socket");
	l->schedule = s;
	l->replica = replica;
	l->ctx = ctx;
	l->started_us = clock_mono_us();
	const struct control_config cfg = {socket, getegid(), handle, l};
	int rc = control_open(&l->control, &cfg, e);
	if (rc == ERR_OK)
		rc = schedule_add_fd(s, control_fd(l->control), on_readable, l, e);
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
	free(l);
}
