#include "daemon/decide.h"

#include "daemon/sync.h"
#include "proto/request.h"

#include <stdlib.h>

struct call {
	struct control_request *request; /* NULL: its client has gone */
};

static void on_gone(void *ctx)
{
	((struct call *)ctx)->request = NULL;
}

static void on_done(void *ctx, const struct err *result)
{
	struct call *call = ctx;
	if (call->request && result->code != ERR_OK)
		control_fail(call->request, result);
	else if (call->request)
		control_reply(call->request, 200, json_object());
	free(call);
}

static int find(struct routes *r, const struct request_decide *body, struct child **c,
	const struct desired_database **d, struct err *e)
{
	const struct app *a = supervisor_find(r->supervisor, body->app);
	if (!a || a->gone)
		return routes_no_such_app(body->app, e);
	*d = sync_find(a, body->database);
	if (!*d)
		return err_set(
			e, ERR_NOT_FOUND, "the app %s has no database %s", body->app, body->database);
	*c = sync_worker(a, (size_t)(*d - a->desired.databases), e);
	return *c ? ERR_OK : e->code;
}

static int start(
	struct routes *r, struct control_request *q, const struct request_decide *body, struct err *e)
{
	struct child *c = NULL;
	const struct desired_database *d = NULL;
	int rc = find(r, body, &c, &d, e);
	struct call *call = rc == ERR_OK ? malloc(sizeof(*call)) : NULL;
	if (rc != ERR_OK)
		return rc;
	if (!call)
		return err_nomem(e, "deciding");
	call->request = q;
	control_on_gone(q, on_gone, call);
	child_decide(c, d->id, body->takeover, body->seen, on_done, call);
	return ERR_OK;
}

void decide_start(struct routes *r, struct control_request *q)
{
	struct request_decide body;
	struct err e = ERR_INIT;
	int rc = request_decide_decode(&body, control_body(q), &e);
	if (rc == ERR_OK)
		rc = start(r, q, &body, &e);
	if (rc != ERR_OK)
		control_fail(q, &e);
	request_decide_free(&body);
}
