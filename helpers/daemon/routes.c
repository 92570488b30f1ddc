#include "daemon/routes.h"

#include "base/json.h"
#include "daemon/decide.h"
#include "daemon/discovery.h"
#include "daemon/forget.h"
#include "daemon/operation.h"
#include "daemon/report.h"
#include "daemon/sync.h"
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

/* ---- info, list, status, reload, forget ---- */

static void do_info(struct routes *r, struct control_request *q)
{
	control_reply(q, 200, report_info(r->supervisor));
}

static void do_list(struct routes *r, struct control_request *q)
{
	control_reply(q, 200, report_list(r->supervisor));
}

int routes_no_such_app(const char *app, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "nothing is replicated for the app \"%.64s\"", app);
}

static void do_status(struct routes *r, struct control_request *q)
{
	struct err e = ERR_INIT;
	const char *app = control_query(q, "app");
	if (app && !supervisor_find(r->supervisor, app)) {
		routes_no_such_app(app, &e);
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

/* ---- check, look, restore ---- */

static void do_check(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_CHECK);
}

static void do_look(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_LOOK);
}

static void do_verify(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_VERIFY);
}

static void do_purge(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_PURGE);
}

static void do_restore(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_RESTORE);
}

static void do_count_legacy(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_COUNT_LEGACY);
}

static void do_cleanup_legacy(struct routes *r, struct control_request *q)
{
	operation_start(r, q, JOB_CLEANUP_LEGACY);
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
	{"POST", "/sync", sync_start},
	{"POST", "/decide", decide_start},
	{"POST", "/check", do_check},
	{"POST", "/look", do_look},
	{"POST", "/discover", discovery_start},
	{"POST", "/restore", do_restore},
	{"POST", "/count-legacy", do_count_legacy},
	{"POST", "/cleanup-legacy", do_cleanup_legacy},
	{"POST", "/verify", do_verify},
	{"POST", "/purge", do_purge},
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
