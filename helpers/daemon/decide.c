#include "daemon/decide.h"

#include "daemon/sync.h"
#include "proto/request.h"

#include <stdlib.h>

struct call {
	struct control_request *request;
	struct child *child; /* borrowed: it answers before it goes */
	uint64_t ticket;
};

/* A word that the worker has heard already counts; one that was held for it is taken back. */
static void on_gone(void *ctx)
{
	struct call *call = ctx;
	child_ask_cancel(call->child, call->ticket);
	free(call);
}

static void on_done(void *ctx, const struct err *result)
{
	struct call *call = ctx;
	if (result->code != ERR_OK)
		control_fail(call->request, result);
	else
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
	*call = (struct call){.request = q, .child = c};
	uint64_t ticket = child_decide(c, d->id, body->takeover, body->seen, on_done, call);
	if (ticket) { /* else it is answered */
		call->ticket = ticket;
		control_on_gone(q, on_gone, call);
	}
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
