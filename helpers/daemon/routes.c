#include "daemon/routes.h"

#include "base/json.h"
#include "daemon/forget.h"
#include "daemon/operation.h"
#include "daemon/report.h"
#include "proto/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void routes_init(struct routes *r, struct supervisor *s, struct jobs *j)
{
	r->supervisor = s;
	r->jobs = j;
	r->operations = NULL;
}

/* ---- info, list, status, reload ---- */

static void do_info(struct routes *r, struct control_request *q)
{
	control_reply(q, 200, report_info(r->supervisor));
}

static void do_list(struct routes *r, struct control_request *q)
{
	control_reply(q, 200, report_list(r->supervisor));
}

static int no_such_app(const char *app, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "nothing is replicated for the app \"%.64s\"", app);
}

static void do_status(struct routes *r, struct control_request *q)
{
	struct err e = ERR_INIT;
	const char *app = control_query(q, "app");
	if (app && !supervisor_find(r->supervisor, app)) {
		no_such_app(app, &e);
		control_fail(q, &e);
		return;
	}
	control_reply(q, 200, report_status(r->supervisor, app));
}

static void do_reload(struct routes *r, struct control_request *q)
{
	struct request_reload body;
	struct err e = ERR_INIT;
	int rc = request_reload_decode(&body, control_body(q), &e);
	if (rc == ERR_OK)
		rc = supervisor_reload(r->supervisor, body.app, &e);
	if (rc == ERR_OK)
		control_reply(q, 200, report_status(r->supervisor, body.app));
	else
		control_fail(q, &e);
	request_reload_free(&body);
}

static void do_forget(struct routes *r, struct control_request *q)
{
	struct request_forget body;
	struct err e = ERR_INIT;
	int rc = request_forget_decode(&body, control_body(q), &e);
	if (rc == ERR_OK)
		rc = supervisor_reload_all(r->supervisor, &e);
	if (rc == ERR_OK)
		rc = forget_state(r->supervisor, body.id, &e);
	if (rc == ERR_OK)
		control_reply(q, 200, json_object());
	else
		control_fail(q, &e);
	request_forget_free(&body);
}

/* ---- sync: one request, one answer, several workers ---- */

struct sync_call {
	struct control_request *request; /* NULL: its client has gone */
	size_t waiting;
	struct err worst;
	json_t *warnings; /* NULL: none yet */
};

static void sync_maybe_over(struct sync_call *call)
{
	if (call->waiting > 0)
		return;
	if (call->request && call->worst.code != ERR_OK)
		control_fail(call->request, &call->worst);
	else if (call->request)
		control_reply(call->request, 200, report_synced(call->warnings));
	json_decref(call->warnings);
	free(call);
}

/* Without memory for it a warning is lost: the sync was made all the same. */
static void sync_warn(struct sync_call *call, const char *text)
{
	if (!call->warnings)
		call->warnings = json_array();
	if (call->warnings)
		json_array_append_new(call->warnings, json_string(text));
}

static void sync_done(void *ctx, const struct err *result)
{
	struct sync_call *call = ctx;
	if (result->code != ERR_OK && call->worst.code == ERR_OK)
		call->worst = *result;
	if (result->code == ERR_OK && result->text[0])
		sync_warn(call, result->text);
	call->waiting--;
	sync_maybe_over(call);
}

static void sync_gone(void *ctx)
{
	((struct sync_call *)ctx)->request = NULL; /* the last answer frees it */
}

static const struct desired_database *find_database(const struct app *a, const char *name)
{
	for (size_t i = 0; i < a->desired.n_databases; i++) {
		const struct desired_database *d = &a->desired.databases[i];
		if (strcmp(d->path, name) == 0 || strcmp(d->id, name) == 0)
			return d;
	}
	return NULL;
}

static int check_synced(const struct app *a, const struct request_sync *body, struct err *e)
{
	if (!a->desired.running || a->gone)
		return err_set(e, ERR_FAIL, "replication of %s is stopped", a->name);
	for (size_t i = 0; i < a->desired.n_databases; i++) {
		const struct desired_database *d = &a->desired.databases[i];
		bool meant = !body->database || d == find_database(a, body->database);
		if (meant && a->verdicts[i].code > 0)
			return err_set(e, (enum err_code)a->verdicts[i].code, "%s", a->verdicts[i].reason);
	}
	return ERR_OK;
}

static bool sync_wants(const struct app *a, const struct request_sync *body)
{
	if (body->app && strcmp(a->name, body->app) != 0)
		return false;
	if (body->database)
		return find_database(a, body->database) != NULL;
	return body->app || a->desired.running; /* "all" means all that run */
}

static void sync_app(struct sync_call *call, struct app *a, const struct request_sync *body)
{
	struct err e = ERR_INIT;
	if (check_synced(a, body, &e) != ERR_OK) {
		call->waiting++;
		sync_done(call, &e);
		return;
	}
	const struct desired_database *d = body->database ? find_database(a, body->database) : NULL;
	for (struct child *c = a->children; c; c = c->next) {
		if (!c->wanted || (d && c->uid != d->uid))
			continue;
		call->waiting++;
		child_sync(c, d ? d->id : NULL, (int64_t)body->timeout * 1000, sync_done, call);
	}
}

static void start_sync(
	struct routes *r, struct control_request *q, const struct request_sync *body, struct err *e)
{
	struct sync_call *call = calloc(1, sizeof(*call));
	if (!call) {
		err_nomem(e, "syncing");
		control_fail(q, e);
		return;
	}
	bool any = false;
	call->request = q;
	call->waiting = 1; /* held until all are asked */
	control_on_gone(q, sync_gone, call);
	for (struct app *a = r->supervisor->apps; a; a = a->next) {
		if (!sync_wants(a, body))
			continue;
		any = true;
		sync_app(call, a, body);
	}
	err_clear(e);
	if (!any && body->database)
		err_set(e, ERR_NOT_FOUND, "%s is not replicated", body->database);
	else if (!any && body->app)
		no_such_app(body->app, e);
	sync_done(call, e);
}

static void do_sync(struct routes *r, struct control_request *q)
{
	struct request_sync body;
	struct err e = ERR_INIT;
	if (request_sync_decode(&body, control_body(q), &e) == ERR_OK)
		start_sync(r, q, &body, &e);
	else
		control_fail(q, &e);
	request_sync_free(&body);
}

/* ---- check, restore ---- */

static void do_check(struct routes *r, struct control_request *q)
{
	operation_start(r, q, false);
}

static void do_restore(struct routes *r, struct control_request *q)
{
	operation_start(r, q, true);
}

static const struct route {
	const char *method, *path;
	void (*run)(struct routes *r, struct control_request *q);
} table[] = {
	{"GET", "/info", do_info},
	{"GET", "/list", do_list},
	{"GET", "/status", do_status},
	{"POST", "/reload", do_reload},
	{"POST", "/forget", do_forget},
	{"POST", "/sync", do_sync},
	{"POST", "/check", do_check},
	{"POST", "/restore", do_restore},
};

void routes_handle(void *ctx, struct control_request *q)
{
	struct routes *r = ctx;
	struct err e = ERR_INIT;
	if (r->supervisor->stopping) {
		err_set(&e, ERR_CANCELLED, "litestreamd is stopping");
		control_fail(q, &e);
		return;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(control_method(q), table[i].method) == 0 &&
			strcmp(control_path(q), table[i].path) == 0) {
			table[i].run(r, q);
			return;
		}
	}
	err_set(&e, ERR_NOT_FOUND, "there is no %.16s %.64s here", control_method(q), control_path(q));
	control_fail(q, &e);
}
