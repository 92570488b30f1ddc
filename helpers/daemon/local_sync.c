/*
 * POST /sync {path, wait, timeout}: with `wait` the answer comes when the store has acknowledged
 * what was committed before the call, without it when that has been read out of the WAL.
 */
#include "daemon/local_internal.h"

#include <stdlib.h>
#include <string.h>

struct local_syncing {
	struct local *local;
	struct control_request *request; /* NULL: the client has gone */
	char *id;
	bool wait;
	struct replicator_status before;
};

static void on_gone(void *ctx)
{
	((struct local_syncing *)ctx)->request = NULL;
}

static void status_of(struct local *l, const char *id, struct replicator_status *out)
{
	size_t i;
	memset(out, 0, sizeof(*out));
	if (local_scheduled(l, id, &i))
		schedule_status(l->schedule, i, out);
}

/* What is on its way has the next number. */
static json_t *answer(const struct local_syncing *s)
{
	struct replicator_status now;
	status_of(s->local, s->id, &now);
	bool moved = now.txid != s->before.txid || now.pending_bytes != s->before.pending_bytes;
	const char *word = !moved ? "no_change" : s->wait ? "synced" : "synced_local";
	return json_pack("{s:s,s:s,s:I,s:I}", "status", word, "path", s->id, "txid",
		(json_int_t)(now.txid + (now.pending_bytes > 0)), "replicated_txid", (json_int_t)now.txid);
}

static void on_synced(void *ctx, int code, const char *why)
{
	struct local_syncing *s = ctx;
	struct err e = ERR_INIT;
	if (s->request && code == ERR_OK) {
		control_reply(s->request, 200, answer(s));
	} else if (s->request) {
		err_set(&e, (enum err_code)code, "%s", why);
		control_fail(s->request, &e);
	}
	local_run(s->local);
	free(s->id);
	free(s);
}

static int begin(struct local *l, struct control_request *q, const char *id,
	const struct request_database *r, struct err *e)
{
	struct local_syncing *s = calloc(1, sizeof(*s));
	char *copy = strdup(id);
	int64_t timeout_ms = (int64_t)r->timeout * 1000;
	if (!s || !copy) {
		free(s);
		free(copy);
		return err_nomem(e, "syncing");
	}
	*s = (struct local_syncing){.local = l, .request = q, .id = copy, .wait = r->wait};
	status_of(l, id, &s->before);
	int rc = r->wait ? schedule_sync(l->schedule, id, false, timeout_ms, on_synced, s, e)
					 : schedule_capture(l->schedule, id, timeout_ms, on_synced, s, e);
	if (rc == ERR_OK) {
		control_on_gone(q, on_gone, s);
	} else {
		free(s->id);
		free(s);
	}
	return rc;
}

void local_sync(struct local *l, struct control_request *q)
{
	struct request_database r;
	struct err e = ERR_INIT;
	bool known = false;
	size_t i;
	int rc = request_database_decode(&r, REQUEST_SYNC, control_body(q), &e);
	char *id = rc == ERR_OK ? local_find(l, r.path, &known) : NULL;
	if (rc == ERR_OK && !id)
		rc = err_nomem(&e, "syncing");
	if (rc == ERR_OK && known && !local_scheduled(l, id, &i)) {
		err_set(&e, ERR_FAIL, "%s is stopped: litestream start %s", id, id);
		control_fail_as(q, CONTROL_CONFLICT, &e, NULL);
	} else if (rc == ERR_OK && !known) {
		local_fail_unknown(q, r.path);
	} else {
		if (rc == ERR_OK)
			rc = begin(l, q, id, &r, &e);
		if (rc != ERR_OK)
			control_fail(q, &e);
	}
	free(id);
	request_database_free(&r);
}
