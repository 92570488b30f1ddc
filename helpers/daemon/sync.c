#include "daemon/sync.h"

#include "base/json.h"
#include "daemon/report.h"
#include "proto/request.h"

#include <stdlib.h>
#include <string.h>

struct call {
	struct control_request *request; /* NULL: its client has gone */
	size_t waiting, asked, n_failed;
	struct err worst;
	json_t *warnings, *failed; /* NULL: none yet */
	struct part *parts;        /* that wait for a worker */
};

/* One database of it that a worker was asked for. */
struct part {
	struct part *next;
	struct call *call;
	struct child *child; /* borrowed: it answers before it goes */
	uint64_t ticket;
	char path[];
};

/* ---- the answer ---- */

static void fail(struct call *call)
{
	json_t *details = call->failed ? json_object() : NULL;
	int rc = ERR_OK;
	if (details)
		json_put(details, "databases", json_incref(call->failed), &rc);
	if (call->n_failed > 1)
		err_set(&call->worst, call->worst.code, "%zu of %zu databases are not in their replicas",
			call->n_failed, call->asked);
	control_fail_with(call->request, &call->worst, details);
}

static void maybe_over(struct call *call)
{
	if (--call->waiting > 0)
		return;
	if (call->request && call->worst.code != ERR_OK)
		fail(call);
	else if (call->request)
		control_reply(call->request, 200, report_synced(call->warnings));
	json_decref(call->warnings);
	json_decref(call->failed);
	free(call);
}

/* Without memory for it a line of the answer is lost: the sync was made, or failed, all the same.
 */
static void append(json_t **list, json_t *value)
{
	if (!*list)
		*list = json_array();
	if (*list && value)
		json_array_append_new(*list, value);
	else
		json_decref(value);
}

static void note(struct call *call, const char *path, const struct err *result)
{
	if (result->code == ERR_OK && result->text[0])
		append(&call->warnings, json_string(result->text));
	if (result->code == ERR_OK)
		return;
	call->n_failed++;
	if (path)
		append(&call->failed, json_pack("{s:s,s:i,s:s}", "path", path, "code",
								  err_exit_code(result->code), "error", result->text));
	if (err_worse(result->code, call->worst.code))
		call->worst = *result;
}

/* ---- asking ---- */

static void unlink_part(struct part *p)
{
	struct part **link = &p->call->parts;
	while (*link && *link != p)
		link = &(*link)->next;
	if (*link)
		*link = p->next;
}

static void on_done(void *ctx, const struct err *result)
{
	struct part *p = ctx;
	unlink_part(p);
	note(p->call, p->path, result);
	maybe_over(p->call);
	free(p);
}

/* Nobody waits any more: the last of them frees the call. */
static void on_gone(void *ctx)
{
	struct call *call = ctx;
	call->request = NULL;
	call->waiting++; /* held until all are cancelled */
	while (call->parts) {
		struct part *p = call->parts;
		call->parts = p->next;
		child_ask_cancel(p->child, p->ticket);
		call->waiting--;
		free(p);
	}
	maybe_over(call);
}

const struct desired_database *sync_find(const struct app *a, const char *name)
{
	for (size_t i = 0; i < a->desired.n_databases; i++) {
		const struct desired_database *d = &a->desired.databases[i];
		if (strcmp(d->path, name) == 0 || strcmp(d->id, name) == 0)
			return d;
	}
	return NULL;
}

struct child *sync_worker(const struct app *a, size_t i, struct err *e)
{
	const struct desired_database *d = &a->desired.databases[i];
	struct child *c = a->children;
	while (c && c->uid != d->uid)
		c = c->next;
	if (a->verdicts[i].code > 0)
		err_set(e, (enum err_code)a->verdicts[i].code, "%s", a->verdicts[i].reason);
	else if (!a->desired.running)
		err_set(e, ERR_FAIL, "replication of %s is stopped", a->name);
	else if (a->paused > 0)
		err_set(e, ERR_FAIL, "%s: databases of its app are being restored", d->path);
	else if (!c || !c->wanted)
		err_set(e, ERR_FAIL, "%s has no worker%s%s", d->path, c && c->trouble[0] ? ": " : "",
			c ? c->trouble : "");
	return e->code == ERR_OK ? c : NULL;
}

static void ask(struct call *call, const struct app *a, size_t i, const struct request_sync *body)
{
	const struct desired_database *d = &a->desired.databases[i];
	struct err e = ERR_INIT;
	struct child *c = sync_worker(a, i, &e);
	size_t n = strlen(d->path) + 1;
	struct part *p = c ? malloc(sizeof(*p) + n) : NULL;
	call->asked++;
	if (c && !p)
		err_nomem(&e, "syncing");
	if (!p) {
		note(call, d->path, &e);
		return;
	}
	*p = (struct part){.call = call, .child = c};
	memcpy(p->path, d->path, n);
	call->waiting++;
	uint64_t ticket =
		child_sync(c, d->id, !body->database, (int64_t)body->timeout * 1000, on_done, p);
	if (!ticket) /* it is answered, and p is no more */
		return;
	p->ticket = ticket;
	p->next = call->parts;
	call->parts = p;
}

static void ask_app(struct call *call, const struct app *a, const struct request_sync *body)
{
	struct err e = ERR_INIT;
	const struct desired_database *only = body->database ? sync_find(a, body->database) : NULL;
	if (!a->desired.running || a->gone) {
		err_set(&e, ERR_FAIL, "replication of %s is stopped", a->name);
		note(call, NULL, &e);
		return;
	}
	for (size_t i = 0; i < a->desired.n_databases; i++)
		if (!only || only == &a->desired.databases[i])
			ask(call, a, i, body);
}

static bool is_meant(const struct app *a, const struct request_sync *body)
{
	if (body->app && strcmp(a->name, body->app) != 0)
		return false;
	if (body->database)
		return sync_find(a, body->database) != NULL;
	return body->app || a->desired.running; /* "all" means all that run */
}

static void start(struct routes *r, struct control_request *q, const struct request_sync *body)
{
	struct err e = ERR_INIT;
	struct call *call = calloc(1, sizeof(*call));
	bool any = false;
	if (!call) {
		err_nomem(&e, "syncing");
		control_fail(q, &e);
		return;
	}
	call->request = q;
	call->waiting = 1; /* held until all are asked */
	control_on_gone(q, on_gone, call);
	for (const struct app *a = r->supervisor->apps; a; a = a->next) {
		if (!is_meant(a, body))
			continue;
		any = true;
		ask_app(call, a, body);
	}
	if (!any && body->database)
		err_set(&e, ERR_NOT_FOUND, "%s is not replicated", body->database);
	else if (!any && body->app)
		routes_no_such_app(body->app, &e);
	note(call, NULL, &e);
	maybe_over(call);
}

void sync_start(struct routes *r, struct control_request *q)
{
	struct request_sync body;
	struct err e = ERR_INIT;
	if (request_sync_decode(&body, control_body(q), &e) == ERR_OK)
		start(r, q, &body);
	else
		control_fail(q, &e);
	request_sync_free(&body);
}
