#include "daemon/operation_internal.h"

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "conf/desired.h"
#include "conf/names.h"
#include "daemon/credentials.h"
#include "daemon/datadir.h"
#include "daemon/report.h"
#include "daemon/storage.h"
#include "proto/request.h"
#include "source/holders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_TIMEOUT_MS 120000

/* ---- the end ---- */

/* A job that was killed leaves its folder, which is its owner's. */
static void remove_test(const struct operation *o)
{
	char *folder = o->state_dir ? fs_join(o->state_dir, "verify") : NULL;
	if (folder && fs_remove_tree(folder) != 0)
		log_warn("cannot remove %s: %s", folder, strerror(errno));
	free(folder);
}

static void finish(struct operation *o)
{
	if (o->over)
		return;
	o->over = true;
	o->job = NULL;
	if (o->kind == JOB_VERIFY)
		remove_test(o);
	operation_let_go(o);
}

/* {"exit":6,"error":…} or {"exit":0,"result":{…}}, and the end of the stream. */
static void end_stream(struct operation *o, const struct err *e, json_t *result)
{
	json_t *line = json_object();
	int rc = line ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK)
		json_put_int(line, "exit", err_exit_code(e->code), &rc);
	if (rc == ERR_OK && e->code != ERR_OK)
		json_put_text(line, "error", e->text, &rc);
	if (rc == ERR_OK && result)
		json_put(line, "result", json_incref(result), &rc);
	control_stream_line(o->request, line);
	control_stream_end(o->request);
}

static json_t *check_answer(const struct operation *o, json_t *found)
{
	json_t *answer = found ? json_copy(found) : json_object();
	int rc = answer ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put_int(answer, "uid", o->storage.uid, &rc);
		json_put_int(answer, "gid", o->storage.gid, &rc);
		json_put_flag(answer, "exists", o->storage.exists, &rc);
	}
	if (rc == ERR_OK)
		return answer;
	json_decref(answer);
	return NULL;
}

/* Before the workers come back. What can't be noted is uploaded again, which loses nothing. */
static void note_purged(const struct operation *o)
{
	struct err e = ERR_INIT;
	if (datadir_mark_purged(o->routes->supervisor->state_dir, fs_basename(o->state_dir), &e) !=
		ERR_OK)
		log_warn("%s", e.text);
}

static void on_end(void *ctx, const struct err *e, json_t *result)
{
	struct operation *o = ctx;
	if (o->kind == JOB_PURGE && e->code == ERR_OK)
		note_purged(o);
	if (o->request && o->streaming)
		end_stream(o, e, result);
	else if (o->request && e->code != ERR_OK)
		control_fail(o->request, e);
	else if (o->request)
		control_reply(o->request, 200, check_answer(o, result));
	o->request = NULL;
	finish(o);
}

static void on_gone(void *ctx)
{
	struct operation *o = ctx;
	o->request = NULL;
	/* Its folder is removed, or its worker comes back, when it has ended. */
	if (o->job && o->kind != JOB_RESTORE) {
		job_stop(o->job);
		return;
	}
	if (o->job)
		job_cancel(o->job);
	/* The job may run for some seconds more; its workers come back when it is over, and meanwhile
	 * the state folder's lock and the target's O_EXCL keep them apart. */
	finish(o);
}

/* ---- while it runs ---- */

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct operation *o = ctx;
	json_t *line = json_object(), *inner = json_object();
	int rc = line && inner ? ERR_OK : ERR_NOMEM;
	if (rc == ERR_OK) {
		json_put_int(inner, "done", (int64_t)done, &rc);
		json_put_int(inner, "total", (int64_t)total, &rc);
		json_put(line, "progress", inner, &rc);
	} else {
		json_decref(inner);
	}
	if (o->request && o->streaming)
		control_stream_line(o->request, line);
	else
		json_decref(line);
}

static void on_log(void *ctx, const char *text)
{
	struct operation *o = ctx;
	if (!o->request || !o->streaming) {
		log_info("looking at %s: %s", o->path, text);
		return;
	}
	json_t *line = json_object();
	int rc = ERR_OK;
	if (line)
		json_put_text(line, "log", text, &rc);
	control_stream_line(o->request, line);
}

/* ---- the start ---- */

/* What takes as long as it takes: its client is told of it in a stream, and it ends when the client
 * goes. */
static bool is_long(enum job_kind kind)
{
	return kind != JOB_CHECK && kind != JOB_LOOK;
}

static bool is_legacy(enum job_kind kind)
{
	return kind == JOB_COUNT_LEGACY || kind == JOB_CLEANUP_LEGACY;
}

/* Workers let go before a restore begins; the job itself has locked the file when it asks. */
static bool is_ours(void *ctx, pid_t pid)
{
	const struct operation *o = ctx;
	if (o->job && job_pid(o->job) == pid)
		return true;
	for (const struct app *a = o->routes->supervisor->apps; a; a = a->next)
		for (const struct child *c = a->children; c; c = c->next)
			if (c->pid == pid)
				return true;
	return false;
}

static int on_holders(void *ctx, struct err *e)
{
	struct operation *o = ctx;
	struct folder in;
	bool unsure;
	int rc = storage_again(o->routes->supervisor->cfg.storage_roots, o->target.storage_dir,
		o->target.mount, &o->storage, &in, e);
	if (rc == ERR_OK)
		rc = holders_find(&in, o->target.file, is_ours, o, &unsure, e);
	folder_close(&in);
	return rc;
}

int operation_check_unused(struct operation *o, struct err *e)
{
	return o->kind == JOB_RESTORE && o->target.force ? on_holders(o, e) : ERR_OK;
}

/* A check writes to a replica, and makes its folder; a purge and a clean-up write to what is there;
 * the others only read it. */
static enum confine_access replica_access(enum job_kind kind)
{
	if (kind == JOB_CHECK)
		return CONFINE_REPLICA;
	return kind == JOB_PURGE || kind == JOB_CLEANUP_LEGACY ? CONFINE_KEPT : CONFINE_SOURCE;
}

/* What it may see. */
static int job_folders(const struct operation *o, struct confine_folders *f, struct err *e)
{
	f->roots = o->routes->supervisor->cfg.storage_roots;
	int rc = confine_add_storage(
		f, o->target.storage_dir, o->target.mount, o->storage.folder_dev, o->storage.folder_ino, e);
	if (rc == ERR_OK && o->state_dir)
		rc = confine_add(f, CONFINE_STATE, o->state_dir, e);
	if (rc == ERR_OK)
		rc = confine_add_replica(f, replica_access(o->kind), o->target.replica, e);
	return rc;
}

static int start_job(struct operation *o, struct err *e)
{
	struct supervisor *s = o->routes->supervisor;
	struct secrets secrets;
	int rc = secrets_read(&secrets, s->secrets_dir, o->target.app, s->cfg.owner, e);
	if (rc == ERR_OK && o->target.own_keys && !(secrets.own && secrets.access_key_id))
		rc = err_set(e, ERR_DENIED, "the app %s has no keys of its own",
			o->target.app ? o->target.app : "that nobody named");
	struct message_job m = {
		.kind = o->kind,
		.path = o->path,
		.replica = o->target.replica,
		.state_dir = o->state_dir,
		.live = o->live,
		.in_place = o->target.force,
		.only_missing = o->target.only_missing,
		.mode = o->target.mode,
		.txid = o->target.txid,
		.timestamp_ms = o->target.timestamp_ms,
		.generation = o->target.generation,
		.index = o->target.index,
		.folder_dev = (int64_t)o->storage.folder_dev,
		.folder_ino = (int64_t)o->storage.folder_ino,
		.credentials = credentials_to_message(&secrets),
	};
	const struct job_events events = {
		on_progress, on_log, o->kind == JOB_RESTORE ? on_holders : NULL, on_end, o};
	struct confine_folders folders = {0};
	if (rc == ERR_OK)
		rc = job_folders(o, &folders, e);
	if (rc == ERR_OK)
		rc = job_start(o->routes->jobs, o->uid, o->gid, &folders, &m,
			is_long(o->kind) ? 0 : CHECK_TIMEOUT_MS, &events, &o->job, e);
	confine_free(&folders);
	secrets_free(&secrets);
	return rc;
}

/* Its worker's last sync came before: what that could not ship is only in the renamed files. */
static void tell_unshipped(struct operation *o, const struct app *a)
{
	for (const struct child *c = a->children; c; c = c->next)
		for (size_t i = 0; i < c->bye.n_unshipped; i++)
			if (strcmp(c->bye.unshipped[i], o->path) == 0)
				on_log(o, "not all that was committed could be uploaded: the rest is only in the "
						  "files that are kept beside the restored one");
}

static void start_or_fail(struct operation *o)
{
	struct err e = ERR_INIT;
	if (operation_check_unused(o, &e) != ERR_OK || start_job(o, &e) != ERR_OK)
		on_end(o, &e, NULL);
}

void routes_prepare(struct routes *r)
{
	for (struct operation *o = r->operations; o; o = o->next) {
		if (o->over || o->job || !operation_waits(o) || !operation_is_ready(o))
			continue;
		if (o->kind == JOB_RESTORE)
			tell_unshipped(o, supervisor_find(r->supervisor, o->paused));
		start_or_fail(o);
	}
	for (struct operation **link = &r->operations; *link;) {
		struct operation *o = *link;
		if (!o->over) {
			link = &o->next;
			continue;
		}
		*link = o->next;
		request_target_free(&o->target);
		free(o->path);
		free(o->state_dir);
		free(o);
	}
}

void routes_free(struct routes *r)
{
	for (struct operation *o = r->operations; o; o = o->next)
		o->over = true;
	routes_prepare(r);
}

static int check_target(struct operation *o, struct err *e)
{
	const struct supervisor_config *cfg = &o->routes->supervisor->cfg;
	struct request_target *t = &o->target;
	if (t->app && !name_is_app(t->app))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be the name of an app", t->app);
	int rc = storage_look(cfg->storage_roots, t->storage_dir, t->file, t->mount, &o->storage, e);
	if (rc != ERR_OK)
		return rc;
	if (!(o->path = fs_join(t->storage_dir, t->file)))
		return err_nomem(e, "looking at a database");
	/* A new file belongs to whom the folder belongs, one in place of another to whom that did. */
	bool as_folder = o->kind == JOB_RESTORE && !(t->force && o->storage.exists);
	o->uid = as_folder ? o->storage.folder_uid : o->storage.uid;
	o->gid = as_folder ? o->storage.folder_gid : o->storage.gid;
	return supervisor_check_root(o->routes->supervisor, o->uid,
		o->storage.exists && !as_folder ? o->path : t->storage_dir, e);
}

/* {"skipped":"database"}: there is one, and only a missing one was to be restored. */
static void skip(struct operation *o)
{
	struct err e = ERR_INIT;
	int rc = ERR_OK;
	json_t *result = json_object();
	if (result)
		json_put_text(result, "skipped", "database", &rc);
	o->streaming = true;
	control_stream_begin(o->request);
	on_end(o, &e, result);
	json_decref(result);
}

static void begin(struct operation *o)
{
	struct err e = ERR_INIT;
	int rc = check_target(o, &e);
	if (rc == ERR_OK && o->target.only_missing && o->storage.exists && !o->storage.empty) {
		skip(o);
		return;
	}
	if (rc == ERR_OK && o->kind == JOB_RESTORE)
		rc = operation_plan_restore(o, &e);
	else if (rc == ERR_OK && is_legacy(o->kind))
		rc = operation_check_well(o, &e);
	else if (rc == ERR_OK && o->kind == JOB_VERIFY)
		rc = operation_plan_verify(o, &e);
	else if (rc == ERR_OK && o->kind == JOB_PURGE)
		rc = operation_plan_purge(o, &e);
	if (rc != ERR_OK) {
		on_end(o, &e, NULL);
		return;
	}
	control_on_gone(o->request, on_gone, o);
	if (is_long(o->kind)) {
		o->streaming = true;
		control_stream_begin(o->request);
	}
	if (!operation_waits(o))
		start_or_fail(o);
}

void operation_start(struct routes *r, struct control_request *q, enum job_kind kind)
{
	struct err e = ERR_INIT;
	struct operation *o = calloc(1, sizeof(*o));
	if (!o) {
		err_nomem(&e, "starting");
		control_fail(q, &e);
		return;
	}
	o->routes = r;
	o->request = q;
	o->kind = kind;
	o->next = r->operations;
	r->operations = o;
	bool with_point = kind == JOB_RESTORE || kind == JOB_VERIFY || kind == JOB_PURGE;
	int rc = with_point ? request_restore_decode(&o->target, control_body(q), &e)
						: request_check_decode(&o->target, control_body(q), &e);
	if (rc == ERR_OK)
		begin(o);
	else
		on_end(o, &e, NULL);
}
