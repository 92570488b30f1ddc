#include "daemon/report.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The names of a query's keys are read without hyphens, in any case, and decoded: one that is
 * written in a way that this doesn't understand counts as secret. */
static bool is_secret_key(const char *key, size_t n)
{
	static const char secret[] = "ssec"; /* sse-customer-key, and what goes with it */
	const char *want = secret;
	if (memchr(key, '%', n))
		return true;
	for (size_t i = 0; i < n && *want; i++) {
		if (key[i] == '-')
			continue;
		if (tolower((unsigned char)key[i]) != *want++)
			return false;
	}
	return !*want;
}

/* The query from '?' on, with "***" for the values that are secret. */
static void append_query(struct buf *out, const char *query)
{
	for (const char *p = query; *p;) {
		size_t key = 1 + strcspn(p + 1, "=&"); /* with '?' or '&' before it */
		size_t all = key + strcspn(p + key, "&");
		bool secret = p[key] == '=' && is_secret_key(p + 1, key - 1);
		buf_append(out, p, secret ? key + 1 : all);
		if (secret)
			buf_append_str(out, "***");
		p += all;
	}
}

void report_url(const char *url, char *out, size_t size)
{
	const char *rest = strstr(url, "://");
	size_t scheme = rest ? (size_t)(rest + 3 - url) : 0;
	size_t host = scheme + (rest ? strcspn(url + scheme, "/?") : 0);
	const char *at = rest ? memrchr(url + scheme, '@', host - scheme) : NULL;
	const char *from = at ? at : url + scheme;
	const char *query = rest ? strchr(from, '?') : NULL;
	size_t plain = query ? (size_t)(query - from) : strlen(from);
	struct buf text;
	buf_init(&text, size - 1);
	int rc = buf_append(&text, url, scheme);
	if (!rc && at)
		rc = buf_append_str(&text, "***");
	if (!rc)
		rc = buf_append(&text, from, plain);
	if (!rc && query)
		append_query(&text, query);
	snprintf(out, size, "%s", buf_str(&text));
	buf_free(&text);
}

static json_t *finish(json_t *object, int rc)
{
	if (rc == ERR_OK)
		return object;
	json_decref(object);
	return NULL;
}

/* null where there is none. */
static void put_txid(json_t *o, const char *key, uint64_t txid, int *rc)
{
	char text[17];
	snprintf(text, sizeof(text), "%016" PRIx64, txid);
	json_put_text(o, key, txid ? text : NULL, rc);
}

static void put_replica(json_t *o, const struct message_status_database *m, int *rc)
{
	put_txid(o, "earliest_txid", m->earliest_txid, rc);
	json_put_time(o, "earliest_at", m->earliest_ms, rc);
	put_txid(o, "latest_txid", m->latest_txid, rc);
	json_put_time(o, "latest_at", m->latest_ms, rc);
	json_put_time(o, "snapshot_at", m->snapshot_ms, rc);
	json_put_time(o, "next_snapshot_at", m->next_snapshot_ms, rc);
	json_put_int(o, "replica_files", (int64_t)m->replica_files, rc);
	json_put_int(o, "replica_bytes", (int64_t)m->replica_bytes, rc);
	json_put_text(
		o, "upkeep_error", m->upkeep_error && m->upkeep_error[0] ? m->upkeep_error : NULL, rc);
	json_put_time(o, "upkeep_error_at", m->upkeep_error_ms, rc);
}

static void put_requests(json_t *o, const struct message_status_database *m, int *rc)
{
	json_t *q = json_object();
	if (!q) {
		*rc = ERR_NOMEM;
		return;
	}
	json_put_int(q, "put", (int64_t)m->puts, rc);
	json_put_int(q, "get", (int64_t)m->gets, rc);
	json_put_int(q, "head", (int64_t)m->heads, rc);
	json_put_int(q, "list", (int64_t)m->lists, rc);
	json_put_int(q, "delete", (int64_t)m->deletes, rc);
	json_put_int(q, "retries", (int64_t)m->retries, rc);
	json_put_int(q, "bytes_out", (int64_t)m->bytes_out, rc);
	json_put_int(q, "bytes_in", (int64_t)m->bytes_in, rc);
	json_put(o, "requests", q, rc);
}

json_t *report_database(
	const struct message_status_database *m, const char *path, const char *replica, int64_t now_ms)
{
	json_t *o = json_object();
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (rc != ERR_OK)
		return NULL;
	char txid[17], url[1100];
	snprintf(txid, sizeof(txid), "%016" PRIx64, m->txid);
	report_url(replica, url, sizeof(url));
	int64_t lag_ms = m->lag_since_ms > 0 ? now_ms - m->lag_since_ms : 0;
	json_put_text(o, "id", m->id, &rc);
	json_put_text(o, "path", path, &rc);
	json_put_text(o, "replica", url, &rc);
	json_put_text(o, "state", m->state, &rc);
	json_put_int(o, "code", (int64_t)m->code, &rc);
	json_put_text(o, "reason", m->reason && m->reason[0] ? m->reason : NULL, &rc);
	json_put_text(o, "txid", txid, &rc);
	json_put_int(o, "pending_bytes", (int64_t)m->pending_bytes, &rc);
	json_put_int(o, "pending_transactions", (int64_t)m->pending_transactions, &rc);
	json_put_int(o, "lag_seconds", lag_ms > 0 ? lag_ms / 1000 : 0, &rc);
	json_put_time(o, "last_upload_at", m->last_upload_ms, &rc);
	json_put_text(o, "last_error", m->last_error && m->last_error[0] ? m->last_error : NULL, &rc);
	json_put_time(o, "last_error_at", m->last_error_ms, &rc);
	json_put_int(o, "wal_bytes", (int64_t)m->wal_bytes, &rc);
	json_put_int(o, "db_bytes", (int64_t)m->db_bytes, &rc);
	json_put_text(o, "fencing", m->weak_fencing ? "weak" : "strong", &rc);
	json_put_int(o, "uploads", (int64_t)m->uploads, &rc);
	put_replica(o, m, &rc);
	put_requests(o, m, &rc);
	return finish(o, rc);
}

/* A word for a database that no worker speaks for. */
static void state_without_worker(const struct app *a, const struct verdict *v,
	const struct child *c, struct message_status_database *m)
{
	if (!a->desired.running || a->gone) {
		m->state = (char *)"stopped";
	} else if (a->paused > 0) {
		m->state = (char *)"restoring";
	} else if (v->code > 0) {
		m->state = (char *)"refused";
		m->code = (uint64_t)err_exit_code(v->code);
		m->reason = (char *)v->reason;
	} else {
		bool trouble = c && c->trouble[0];
		m->state = (char *)(trouble ? "restarting" : "starting");
		m->code = trouble ? ERR_FAIL : ERR_OK;
		m->reason = (char *)(trouble ? c->trouble : NULL);
	}
}

const struct message_status_database *report_last_word(
	const struct app *a, const struct desired_database *d, const struct child **child)
{
	for (const struct child *c = a->children; c; c = c->next) {
		if (c->uid != d->uid)
			continue;
		*child = c;
		for (size_t i = 0; c->has_status && i < c->status.n_databases; i++) {
			if (strcmp(c->status.databases[i].id, d->id) == 0)
				return &c->status.databases[i];
		}
		return NULL;
	}
	*child = NULL;
	return NULL;
}

static json_t *database_of(const struct app *a, size_t i, int64_t now_ms)
{
	const struct desired_database *d = &a->desired.databases[i];
	const struct child *c;
	const struct message_status_database *told = report_last_word(a, d, &c);
	struct message_status_database m = {0};
	bool live = c && c->state == CHILD_RUNNING && a->verdicts[i].code == ERR_OK;
	if (told)
		m = *told; /* borrowed: what it said last is better than nothing */
	if (!told || !live) {
		m.reason = NULL;
		m.code = ERR_OK;
		state_without_worker(a, &a->verdicts[i], c, &m);
	}
	m.id = d->id;
	json_t *o = report_database(&m, d->path, d->replica, now_ms);
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put_int(o, "uid", d->uid, &rc);
		json_put_int(o, "pid", c ? c->pid : 0, &rc);
		json_put_text(
			o, "confinement", c && c->pid > 0 ? confine_name(c->cfg->confinement) : NULL, &rc);
		json_put_flag(o, "unshipped", c && child_left_unshipped(c, d->path), &rc);
	}
	return finish(o, rc);
}

/* One word for an app: the worst of its workers. */
static const char *worker_word(const struct app *a)
{
	static const char *const worst[] = {"restarting", "stopping", "starting", "running"};
	for (size_t w = 0; w < sizeof(worst) / sizeof(worst[0]); w++) {
		for (const struct child *c = a->children; c; c = c->next) {
			if (strcmp(child_state_name(c), worst[w]) == 0)
				return worst[w];
		}
	}
	return "stopped";
}

static json_t *app_of(const struct app *a, int64_t now_ms)
{
	json_t *o = json_object(), *databases = json_array();
	int rc = o && databases ? ERR_OK : ERR_NOMEM;
	uint64_t restarts = 0;
	for (const struct child *c = a->children; c; c = c->next)
		restarts += c->restarts;
	for (size_t i = 0; rc == ERR_OK && i < a->desired.n_databases; i++) {
		if (json_array_append_new(databases, database_of(a, i, now_ms)) != 0)
			rc = ERR_NOMEM;
	}
	if (rc != ERR_OK) {
		json_decref(databases);
		json_decref(o);
		return NULL;
	}
	json_put_text(o, "app", a->name, &rc);
	json_put_flag(o, "running", a->desired.running, &rc);
	json_put_text(o, "worker", worker_word(a), &rc);
	json_put_int(o, "restarts", (int64_t)restarts, &rc);
	json_put_text(o, "error", a->load_code != ERR_OK ? a->load_reason : NULL, &rc);
	json_put(o, "databases", databases, &rc);
	return finish(o, rc);
}

json_t *report_status(const struct supervisor *s, const char *only_app)
{
	json_t *o = json_object(), *apps = json_array();
	int rc = o && apps ? ERR_OK : ERR_NOMEM;
	int64_t now_ms = clock_wall_ms();
	for (const struct app *a = s->apps; a && rc == ERR_OK; a = a->next) {
		if (only_app && strcmp(only_app, a->name) != 0)
			continue;
		if (json_array_append_new(apps, app_of(a, now_ms)) != 0)
			rc = ERR_NOMEM;
	}
	if (rc == ERR_OK)
		json_put(o, "apps", apps, &rc);
	else
		json_decref(apps);
	return finish(o, rc);
}

static json_t *list_entry(const struct app *a, size_t i)
{
	json_t *full = database_of(a, i, clock_wall_ms());
	json_t *o = json_object();
	int rc = full && o ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put_text(o, "app", a->name, &rc);
		json_put_text(o, "path", json_text(full, "path"), &rc);
		json_put_text(o, "replica", json_text(full, "replica"), &rc);
		json_put_text(o, "status", json_text(full, "state"), &rc);
		json_put(o, "last_sync_at", json_incref(json_object_get(full, "last_upload_at")), &rc);
	}
	json_decref(full);
	return finish(o, rc);
}

json_t *report_list(const struct supervisor *s)
{
	json_t *o = json_object(), *databases = json_array();
	int rc = o && databases ? ERR_OK : ERR_NOMEM;
	for (const struct app *a = s->apps; a; a = a->next) {
		for (size_t i = 0; rc == ERR_OK && i < a->desired.n_databases; i++) {
			if (json_array_append_new(databases, list_entry(a, i)) != 0)
				rc = ERR_NOMEM;
		}
	}
	if (rc == ERR_OK)
		json_put(o, "databases", databases, &rc);
	else
		json_decref(databases);
	return finish(o, rc);
}

json_t *report_info(const struct supervisor *s)
{
	int64_t apps = 0, workers = 0, databases = 0;
	for (const struct app *a = s->apps; a; a = a->next) {
		apps++;
		databases += (int64_t)a->desired.n_databases;
		for (const struct child *c = a->children; c; c = c->next)
			workers += c->pid > 0;
	}
	json_t *o = json_object();
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (rc != ERR_OK)
		return NULL;
	json_put_text(o, "version", LITESTREAM_VERSION, &rc);
	json_put_int(o, "pid", getpid(), &rc);
	json_put_int(o, "uptime_seconds", (clock_mono_us() - s->started_us) / 1000000, &rc);
	json_put_text(o, "confinement", confine_name(s->cfg.child.confinement), &rc);
	json_put_int(o, "apps", apps, &rc);
	json_put_int(o, "workers", workers, &rc);
	json_put_int(o, "databases", databases, &rc);
	return finish(o, rc);
}

json_t *report_synced(json_t *warnings)
{
	json_t *o = json_object();
	int rc = o ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK)
		json_put(o, "warnings", warnings ? json_incref(warnings) : json_array(), &rc);
	return finish(o, rc);
}
