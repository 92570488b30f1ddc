/*
 * POST /start, /stop, /register and /unregister: databases come into the schedule and leave it.
 *
 * A database leaves through schedule_remove: the rest is shipped, the replicator closed once nobody
 * is inside, and with it the only connections that this process has to the file (no descriptor of a
 * database is closed that another follower of this process still needs: there is one for a file,
 * which local_find sees to by comparing files, not names).
 */
#include "daemon/local_internal.h"

#include "base/json.h"
#include "base/log.h"
#include "daemon/report.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

static json_t *change_answer(const char *status, const char *id, uint64_t txid)
{
	return json_pack("{s:s,s:s,s:I}", "status", status, "path", id, "txid", (json_int_t)txid);
}

static uint64_t txid_of(struct local *l, const char *id)
{
	size_t i;
	struct replicator_status status = {0};
	const struct local_stopped *p = local_find_stopped(l, id);
	if (local_scheduled(l, id, &i))
		schedule_status(l->schedule, i, &status);
	return p && p->last.txid > status.txid ? p->last.txid : status.txid;
}

/* ---- what was stopped ---- */

static struct local_stopped *remember(struct local *l, const char *id)
{
	struct local_stopped *p = calloc(1, sizeof(*p));
	char *copy = strdup(id);
	if (!p || !copy) {
		free(p);
		free(copy);
		return NULL;
	}
	*p = (struct local_stopped){.local = l, .id = copy, .next = l->stopped};
	l->stopped = p;
	return p;
}

void local_drop(struct local *l, struct local_stopped *p)
{
	struct local_stopped **at = &l->stopped;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	while (p->waiters) {
		struct local_waiter *w = p->waiters;
		p->waiters = w->next;
		free(w);
	}
	free(p->id);
	free(p);
}

/* ---- stop and unregister ---- */

/* It is out in any case; that not all is shipped is an error with the whole answer beside it. */
static void fail_unshipped(
	struct control_request *q, const char *word, const struct local_stopped *p)
{
	struct err e = ERR_INIT;
	int code = p->last.code != ERR_OK ? p->last.code : ERR_UNREACHABLE;
	err_set(&e, (enum err_code)code,
		"%s is %s, but not all is shipped (%s%s%s): whoever replicates it next ships the rest",
		p->id, word, replicator_state_name(p->last.state), p->last.reason[0] ? ": " : "",
		p->last.reason);
	json_t *d = change_answer(word, p->id, p->last.txid);
	int rc = d ? ERR_OK : ERR_NOMEM;
	if (d) {
		json_put_flag(d, "shipped", false, &rc);
		json_put_text(d, "state", replicator_state_name(p->last.state), &rc);
		json_put_int(d, "pending_bytes", (int64_t)p->last.pending_bytes, &rc);
	}
	control_fail_with(q, &e, json_pack("{s:o}", "details", d));
}

static void answer_gone(
	struct control_request *q, const char *word, const struct local_stopped *p, bool shipped)
{
	int rc = ERR_OK;
	if (!shipped) {
		fail_unshipped(q, word, p);
		return;
	}
	json_t *answer = change_answer(word, p->id, p->last.txid);
	if (answer)
		json_put_flag(answer, "shipped", true, &rc);
	control_reply(q, 200, answer);
}

static void on_left(void *ctx, const char *id, const struct replicator_status *last, bool shipped)
{
	struct local_stopped *p = ctx;
	struct local *l = p->local;
	(void)id;
	p->left = true;
	p->last = *last;
	if (shipped)
		log_info("%s: %s over the control socket, all shipped", p->id,
			p->forget ? "unregistered" : "stopped");
	else
		log_warn("%s: %s over the control socket, not all is shipped (%s)", p->id,
			p->forget ? "unregistered" : "stopped", replicator_state_name(last->state));
	for (const struct local_waiter *w = p->waiters; w; w = w->next)
		if (w->request)
			answer_gone(w->request, w->forget ? "unregistered" : "stopped", p, shipped);
	while (p->waiters) {
		struct local_waiter *w = p->waiters;
		p->waiters = w->next;
		free(w);
	}
	if (p->forget) {
		l->host->forget(l->host->ctx, p->id);
		local_drop(l, p);
	}
	local_run(l);
}

static void on_client_gone(void *ctx)
{
	((struct local_waiter *)ctx)->request = NULL;
}

/* It is in the schedule. The request is answered when it has left. */
static int begin_leaving(struct local *l, struct control_request *q, const char *id, bool forget,
	uint64_t timeout_s, struct err *e)
{
	struct local_stopped *p = local_find_stopped(l, id);
	struct local_waiter *w = calloc(1, sizeof(*w));
	if (w && !p)
		p = remember(l, id);
	if (!w || !p) {
		free(w);
		return err_nomem(e, "stopping a database");
	}
	*w = (struct local_waiter){.request = q, .forget = forget, .next = p->waiters};
	p->waiters = w;
	p->forget = p->forget || forget;
	control_on_gone(q, on_client_gone, w);
	l->host->hold(l->host->ctx, id);
	return schedule_remove(l->schedule, id, (int64_t)timeout_s * 1000, on_left, p, e);
}

/* It is known, and not in the schedule: stopped before, or it couldn't be opened. */
static int leave_at_once(
	struct local *l, struct control_request *q, const char *id, bool forget, struct err *e)
{
	struct local_stopped *p = local_find_stopped(l, id);
	uint64_t txid = txid_of(l, id);
	if (forget) {
		l->host->forget(l->host->ctx, id);
		if (p)
			local_drop(l, p);
		log_info("%s: unregistered over the control socket", id);
		control_reply(q, 200, change_answer("unregistered", id, txid));
		return ERR_OK;
	}
	const char *word = p ? "already_stopped" : "stopped";
	if (!p && !(p = remember(l, id)))
		return err_nomem(e, "stopping a database");
	p->left = true;
	l->host->hold(l->host->ctx, id);
	control_reply(q, 200, change_answer(word, id, txid));
	return ERR_OK;
}

static int leave(struct local *l, struct control_request *q, const struct request_database *r,
	bool forget, struct err *e)
{
	size_t i;
	bool known = false;
	char *id = local_find(l, r->path, &known);
	int rc = id ? ERR_OK : err_nomem(e, "stopping a database");
	if (rc == ERR_OK && !known && forget)
		control_reply(q, 200, change_answer("already_unregistered", id, 0));
	else if (rc == ERR_OK && !known)
		local_fail_unknown(q, r->path);
	else if (rc == ERR_OK && local_scheduled(l, id, &i))
		rc = begin_leaving(l, q, id, forget, r->timeout, e);
	else if (rc == ERR_OK)
		rc = leave_at_once(l, q, id, forget, e);
	free(id);
	return rc;
}

/* Answers the request, at once or later, or fails with what is to be answered. */
typedef int change_fn(
	struct local *l, struct control_request *q, const struct request_database *r, struct err *e);

static void decode_and(
	struct local *l, struct control_request *q, enum request_verb verb, change_fn *fn)
{
	struct request_database r;
	struct err e = ERR_INIT;
	int rc = request_database_decode(&r, verb, control_body(q), &e);
	if (rc == ERR_OK && schedule_stopping(l->schedule))
		rc = err_set(&e, ERR_CANCELLED, "litestream is stopping");
	if (rc == ERR_OK)
		rc = fn(l, q, &r, &e);
	if (rc != ERR_OK)
		control_fail(q, &e);
	request_database_free(&r);
}

static int stop(
	struct local *l, struct control_request *q, const struct request_database *r, struct err *e)
{
	return leave(l, q, r, false, e);
}

static int unregister(
	struct local *l, struct control_request *q, const struct request_database *r, struct err *e)
{
	return leave(l, q, r, true, e);
}

void local_stop(struct local *l, struct control_request *q)
{
	decode_and(l, q, REQUEST_START_STOP, stop);
}

void local_unregister(struct local *l, struct control_request *q)
{
	decode_and(l, q, REQUEST_START_STOP, unregister);
}

/* ---- start ---- */

static int start_again(struct local *l, struct control_request *q, const char *id, struct err *e)
{
	struct local_stopped *p = local_find_stopped(l, id);
	int rc = l->host->start(l->host->ctx, id, e);
	if (rc != ERR_OK)
		return err_wrap(e, "%s", id);
	uint64_t txid = txid_of(l, id);
	if (p)
		local_drop(l, p);
	log_info("%s: started over the control socket", id);
	control_reply(q, 200, change_answer("started", id, txid));
	return ERR_OK;
}

static int start(
	struct local *l, struct control_request *q, const struct request_database *r, struct err *e)
{
	size_t i;
	bool known = false;
	char *id = local_find(l, r->path, &known);
	int rc = id ? ERR_OK : err_nomem(e, "starting a database");
	if (rc == ERR_OK && !known)
		local_fail_unknown(q, r->path);
	else if (rc == ERR_OK && !local_scheduled(l, id, &i))
		rc = start_again(l, q, id, e);
	else if (rc == ERR_OK && local_find_stopped(l, id))
		rc = err_set(e, ERR_AGAIN, "%s is just being stopped: start it when that is done", id);
	else if (rc == ERR_OK)
		control_reply(q, 200, change_answer("already_running", id, txid_of(l, id)));
	free(id);
	return rc;
}

void local_start(struct local *l, struct control_request *q)
{
	decode_and(l, q, REQUEST_START_STOP, start);
}

/* ---- register ---- */

/* Do two URLs name the same place, as far as can be told without asking it? */
static bool same_replica(const char *a, const char *b)
{
	struct store *sa = NULL, *sb = NULL;
	struct err e = ERR_INIT;
	bool same = strcmp(a, b) == 0;
	if (!same && store_open(&sa, a, NULL, &e) == ERR_OK && store_open(&sb, b, NULL, &e) == ERR_OK)
		same = strcmp(store_url(sa), store_url(sb)) == 0;
	store_close(sa);
	store_close(sb);
	return same;
}

static json_t *registered(const char *status, const char *id, const char *replica)
{
	return json_pack("{s:s,s:s,s:s}", "status", status, "path", id, "replica", replica);
}

/* Success for the replica that it has; another one would be a promise that nobody keeps. */
static int is_known(struct local *l, struct control_request *q, const char *id,
	const struct request_database *r, struct err *e)
{
	char shown[1100];
	const char *replica = l->host->replica(l->host->ctx, id);
	report_url(replica ? replica : "", shown, sizeof(shown));
	if (replica && !same_replica(replica, r->replica_url))
		return err_set(e, ERR_EXISTS,
			"%s is replicated to %s already: litestream unregister %s, to give it another replica",
			id, shown, id);
	control_reply(q, 200, registered("already_registered", id, shown));
	return ERR_OK;
}

static int enter(
	struct local *l, struct control_request *q, const struct request_database *r, struct err *e)
{
	char shown[1100];
	bool known = false;
	char *id = local_find(l, r->path, &known);
	int rc = id ? ERR_OK : err_nomem(e, "registering a database");
	report_url(r->replica_url, shown, sizeof(shown));
	if (rc == ERR_OK && known) {
		rc = is_known(l, q, id, r, e);
	} else if (rc == ERR_OK) {
		rc = l->host->add(l->host->ctx, id, r->replica_url, e);
		if (rc == ERR_OK) {
			log_info("%s: registered over the control socket, replica %s", id, shown);
			control_reply(q, 200, registered("registered", id, shown));
		}
	}
	free(id);
	return rc;
}

void local_register(struct local *l, struct control_request *q)
{
	decode_and(l, q, REQUEST_REGISTER, enter);
}
