/* What a worker is told, and what it answers. */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/seen.h"
#include "daemon/worker_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- syncs ---- */

static void answer(struct worker *w, enum message_type type, uint64_t id, int code, const char *why)
{
	const struct message_answer m = {
		id, (uint64_t)err_exit_code(code), why[0] ? (char *)why : NULL};
	worker_say(w, message_answer_encode(type, &m));
}

struct sync_request {
	struct worker *worker;
	uint64_t id;
};

static void on_synced(void *ctx, int code, const char *why)
{
	struct sync_request *r = ctx;
	/* Who asks for the status after a sync must not be told of a time before it. */
	worker_tell_changes(r->worker, clock_mono_us());
	answer(r->worker, MESSAGE_SYNCED, r->id, code, why);
	free(r);
}

/* The index of the database that a sync names, by id or path; n_databases when there is none. */
static size_t find_database(const struct worker *w, const char *name)
{
	size_t i = 0;
	while (i < w->config.n_databases && strcmp(w->config.databases[i].id, name) != 0 &&
		   strcmp(w->config.databases[i].path, name) != 0)
		i++;
	return i;
}

/* ERR_OK, or why this sync can't come true. */
static int check_sync(const struct worker *w, size_t only, struct err *e)
{
	for (size_t i = 0; i < w->config.n_databases; i++) {
		if (w->refused[i].is && (only == w->config.n_databases || only == i))
			return err_set(e, (enum err_code)w->refused[i].code, "%s", w->refused[i].reason);
	}
	return ERR_OK;
}

static int start_sync(struct worker *w, const struct message_sync *m, struct err *e)
{
	size_t only = w->config.n_databases;
	if (m->database && (only = find_database(w, m->database)) == w->config.n_databases)
		return err_set(e, ERR_NOT_FOUND, "%s is not replicated here", m->database);
	int rc = check_sync(w, only, e);
	struct sync_request *r = rc == ERR_OK ? malloc(sizeof(*r)) : NULL;
	if (rc != ERR_OK)
		return rc;
	if (!r)
		return err_nomem(e, "syncing");
	*r = (struct sync_request){w, m->id};
	rc = schedule_sync(w->schedule, m->database ? w->config.databases[only].id : NULL, m->if_there,
		m->timeout_ms, on_synced, r, e);
	if (rc != ERR_OK)
		free(r);
	return rc;
}

static int take_sync(struct worker *w, const json_t *message, struct err *e)
{
	struct message_sync m;
	struct err why = ERR_INIT;
	int rc = message_sync_decode(&m, message, e);
	if (rc == ERR_OK && start_sync(w, &m, &why) != ERR_OK)
		answer(w, MESSAGE_SYNCED, m.id, why.code, why.text);
	message_sync_free(&m);
	return rc;
}

/* ---- decisions ---- */

static bool find_scheduled(const struct worker *w, const char *id, size_t *k)
{
	for (*k = 0; *k < schedule_count(w->schedule); ++*k)
		if (strcmp(schedule_id(w->schedule, *k), id) == 0)
			return true;
	return false;
}

/* It was let go: those behind it in the schedule have moved up, and it is opened anew. */
static void on_let_go(void *ctx, const char *id, const struct replicator_status *last, bool shipped)
{
	struct worker *w = ctx;
	size_t i = find_database(w, id);
	struct decided d = w->decided[i];
	(void)last, (void)shipped;
	w->decided[i] = (struct decided){.what = DECISION_NONE};
	for (size_t k = 0; k < schedule_count(w->schedule); k++)
		w->index[k] = find_database(w, schedule_id(w->schedule, k));
	worker_add(w, i, &d);
	worker_tell_changes(w, clock_mono_us());
	answer(w, MESSAGE_DECIDED, d.id, w->refused[i].code, w->refused[i].reason);
}

/* Is it in the state that this is the way out of? A word that came too early must not lie in wait
 * for what nobody has seen yet. */
static int check_state(
	struct worker *w, const char *path, size_t k, enum decision what, struct err *e)
{
	static struct replicator_status st; /* some KB */
	enum replicator_state wanted =
		what == DECISION_TAKEOVER ? REPLICATOR_FENCED : REPLICATOR_REPLACED;
	schedule_status(w->schedule, k, &st);
	if (st.state == wanted)
		return ERR_OK;
	return err_set(e, ERR_FAIL, "%s is %s, not %s: there is nothing to %s", path,
		replicator_state_name(st.state), replicator_state_name(wanted),
		what == DECISION_TAKEOVER ? "take over" : "accept");
}

/* Does it still stand there that the word is about? Another file may have come since, which nobody
 * has seen. */
static int check_seen(
	const struct message_decide *m, const char *path, struct stat *st, struct err *e)
{
	char now[SEEN_SIZE];
	if (stat(path, st) != 0)
		return err_errno(e, ERR_FAIL, errno, "cannot %s what is not there: %s",
			m->takeover ? "take over with" : "accept", path);
	if (!m->seen || strcmp(m->seen, seen_text(st, now)) == 0)
		return ERR_OK;
	return err_set(e, ERR_FAIL,
		"%s has changed since it was looked at, so nothing was decided: look at it again", path);
}

static int start_decision(struct worker *w, const struct message_decide *m, struct err *e)
{
	enum decision what = m->takeover ? DECISION_TAKEOVER : DECISION_ACCEPT;
	size_t i = find_database(w, m->database), k;
	if (i == w->config.n_databases)
		return err_set(e, ERR_NOT_FOUND, "%s is not replicated here", m->database);
	const struct message_database *d = &w->config.databases[i];
	if (w->decided[i].what != DECISION_NONE || schedule_stopping(w->schedule))
		return err_set(e, ERR_AGAIN, "%s is being let go: try again in a moment", d->path);
	if (!find_scheduled(w, d->id, &k))
		return err_set(e, (enum err_code)w->refused[i].code, "%s", w->refused[i].reason);
	struct stat st;
	int rc = check_state(w, d->path, k, what, e);
	if (rc == ERR_OK)
		rc = check_seen(m, d->path, &st, e);
	if (rc != ERR_OK)
		return rc;
	log_info("%s: %s by a person's word", d->path, m->takeover ? "taking over" : "accepted");
	rc = schedule_remove(w->schedule, d->id, 0, on_let_go, w, e);
	if (rc == ERR_OK)
		w->decided[i] = (struct decided){what, m->id, st.st_dev, st.st_ino};
	return rc;
}

static int take_decide(struct worker *w, const json_t *message, struct err *e)
{
	struct message_decide m;
	struct err why = ERR_INIT;
	int rc = message_decide_decode(&m, message, e);
	if (rc == ERR_OK && start_decision(w, &m, &why) != ERR_OK)
		answer(w, MESSAGE_DECIDED, m.id, why.code, why.text);
	message_decide_free(&m);
	return rc;
}

/* ---- all messages ---- */

static void stop(struct worker *w, const char *why)
{
	if (!schedule_stopping(w->schedule))
		log_info("stopping: %s", why);
	schedule_stop(w->schedule, w->config.shutdown_timeout_ms);
}

static int take_message(struct worker *w, const json_t *message, struct err *e)
{
	enum message_type type;
	int rc = message_type(message, &type, e);
	if (rc != ERR_OK)
		return rc;
	if (type == MESSAGE_SYNC)
		return take_sync(w, message, e);
	if (type == MESSAGE_DECIDE)
		return take_decide(w, message, e);
	if (type != MESSAGE_STOP)
		return err_set(e, ERR_USAGE, "a message that a worker does not take");
	stop(w, "litestreamd said so");
	return ERR_OK;
}

void worker_on_channel(void *ctx)
{
	struct worker *w = ctx;
	struct err e = ERR_INIT;
	json_t *message;
	int rc = channel_read(&w->channel, &e);
	while (rc == ERR_OK && (rc = channel_next(&w->channel, &message, &e)) == ERR_OK) {
		rc = take_message(w, message, &e);
		json_decref(message);
	}
	if (rc == ERR_AGAIN && !w->channel.eof)
		return;
	/* Without the daemon nobody would watch us: the next one starts a worker of its own. */
	schedule_remove_fd(w->schedule, w->channel.fd);
	stop(w, w->channel.eof ? "litestreamd has gone" : e.text);
}

void worker_on_signal(void *ctx)
{
	struct worker *w = ctx;
	struct signalfd_siginfo info;
	while (read(w->signal_fd, &info, sizeof(info)) > 0)
		stop(w, "a signal");
}
