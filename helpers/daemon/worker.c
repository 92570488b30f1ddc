#include "daemon/worker.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/log.h"
#include "daemon/credentials.h"
#include "daemon/spawn.h"
#include "daemon/status_message.h"
#include "daemon/worker_internal.h"
#include "replicate/advice.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define MS 1000ll
#define ALIVE_US (500 * MS)                  /* the watchdog hears from us at least so often … */
#define IDLE_MAX_US (ALIVE_NEXT_MAX_MS * MS) /* … or when nothing has changed for so long again */
#define STATUS_EVERY_US (200 * MS)           /* at most so often, however much changes */
#define SLACKENING 4                         /* each promise is so many times the quiet before it */
#define HANGING_US (2000 * MS)               /* a turn that takes so long is told in the log */
#define RETRY_US (10000 * MS)                /* a database that could not be opened */
#define BYE_MS 2000
#define BATCH_MAX 32 /* databases in one status message */

/* ---- talking ---- */

bool worker_say(struct worker *w, json_t *message)
{
	struct err e = ERR_INIT;
	bool said = message && channel_send(&w->channel, message, &e) == ERR_OK;
	if (!said)
		log_warn("cannot tell litestreamd: %s", message ? e.text : "out of memory");
	json_decref(message);
	w->alive_us = clock_mono_us() + ALIVE_US;
	return said;
}

/* ---- databases ---- */

static void fill_config(
	const struct worker *w, const struct message_database *d, struct replicator_config *c)
{
	*c = (struct replicator_config){
		.database = d->path,
		.replica = d->replica,
		.state_dir = d->state_dir,
		.sync_interval_ms = d->sync_interval_ms,
		.staging_max = d->staging_max,
		.copies_max = d->copies_max,
		.checkpoint_frames = (uint32_t)d->checkpoint_frames,
		.barrier_bytes = d->barrier_bytes,
		.no_barrier = d->no_barrier,
		.any_filesystem = d->any_filesystem,
		.no_retention = d->no_retention,
		.l0_retention_ms = d->l0_retention_ms,
		.l1_retention_ms = d->l1_retention_ms,
		.l2_retention_ms = d->l2_retention_ms,
		.l3_retention_ms = d->l3_retention_ms,
		.snapshot_interval_ms = d->snapshot_interval_ms,
		.snapshot_renew_ms = d->snapshot_renew_ms,
		.app = w->config.app,
		.storage_name = d->storage_name,
		.container_path = d->container_path,
	};
	credentials_to_store(&w->config.credentials, &c->store);
}

void worker_add(struct worker *w, size_t i, const struct decided *decided)
{
	const struct message_database *d = &w->config.databases[i];
	struct refused *r = &w->refused[i];
	struct replicator_config c;
	struct err e = ERR_INIT;
	fill_config(w, d, &c);
	if (decided) {
		c.accept = decided->what == DECISION_ACCEPT;
		c.takeover = decided->what == DECISION_TAKEOVER;
		c.seen_dev = decided->dev;
		c.seen_ino = decided->ino;
	}
	int rc = schedule_add(w->schedule, d->id, &c, &e);
	if (rc != ERR_OK && (!r->is || strcmp(r->reason, e.text) != 0))
		log_error("not replicating %s: %s", d->path, e.text);
	w->n_refused += (rc != ERR_OK) - r->is;
	if (rc == ERR_OK)
		w->index[schedule_count(w->schedule) - 1] = i;
	r->is = rc != ERR_OK;
	r->code = rc;
	memcpy(r->reason, e.text, sizeof(r->reason) - 1);
	r->reason[sizeof(r->reason) - 1] = '\0';
}

static void say_alive(struct worker *w, int64_t now);

static void add_all(struct worker *w)
{
	for (size_t i = 0; i < w->config.n_databases; i++) {
		if (schedule_stopping(w->schedule))
			break;
		worker_add(w, i, NULL);
		w->active_us = clock_mono_us();
		/* A thousand on a slow disk may take longer than the watchdog waits. */
		if (w->active_us >= w->alive_us)
			say_alive(w, w->active_us);
	}
	w->active_us = clock_mono_us();
	w->retry_us = w->active_us + RETRY_US;
}

static void retry_refused(struct worker *w, int64_t now)
{
	if (now < w->retry_us || schedule_stopping(w->schedule))
		return;
	w->retry_us = now + RETRY_US;
	for (size_t i = 0; i < w->config.n_databases; i++) {
		if (w->refused[i].is)
			worker_add(w, i, NULL);
	}
}

/* ---- status ---- */

static void refused_status(
	const struct message_database *d, const struct refused *r, struct message_status_database *m)
{
	*m = (struct message_status_database){
		.id = d->id,
		/* Locked by somebody else is a matter of time, everything else of a person. */
		.state = (char *)(r->code == ERR_AGAIN ? "starting" : "unusable"),
		.code = (uint64_t)err_exit_code(r->code),
		.reason = (char *)r->reason,
	};
}

static int make_batch(struct batch *b, size_t n_databases, struct err *e)
{
	b->cap = n_databases < BATCH_MAX ? n_databases : BATCH_MAX;
	b->list = calloc(b->cap + 1, sizeof(*b->list));
	b->of = calloc(b->cap + 1, sizeof(*b->of));
	b->told = calloc(b->cap + 1, sizeof(*b->told));
	b->digest = calloc(b->cap + 1, sizeof(*b->digest));
	return b->list && b->of && b->told && b->digest ? ERR_OK : err_nomem(e, "starting a worker");
}

static void free_batch(struct batch *b)
{
	free(b->list);
	free(b->of);
	free(b->told);
	free(b->digest);
}

static void send_batch(struct worker *w, struct batch *b)
{
	const struct message_status m = {b->list, b->n};
	bool said = worker_say(w, message_status_encode(&m));
	for (size_t i = 0; i < b->n; i++)
		*b->told[i] = said ? b->digest[i] : 0;
	w->unsaid = !said;
	w->any_told = true;
	b->n = 0;
}

/* The next place of the batch is filled: it counts if it is another status than the last one. */
static void add_to_batch(struct worker *w, struct batch *b, uint64_t *told, uint64_t digest)
{
	if (digest == *told)
		return;
	b->told[b->n] = told;
	b->digest[b->n++] = digest;
	if (b->n == b->cap)
		send_batch(w, b);
}

/* Of a thousand databases a few change at a time: only these are looked at, and told. False: there
 * was nothing to look at. */
static bool collect(struct worker *w, struct batch *b, int64_t now)
{
	bool all = w->unsaid, any = w->n_refused > 0;
	w->unsaid = false;
	for (size_t i = 0; w->n_refused > 0 && i < w->config.n_databases; i++) {
		const struct refused *r = &w->refused[i];
		if (!r->is)
			continue;
		refused_status(&w->config.databases[i], r, &b->list[b->n]);
		add_to_batch(w, b, &w->told[i], crc64_iso((uint64_t)r->code, r->reason, strlen(r->reason)));
	}
	for (size_t i = 0; i < schedule_count(w->schedule); i++) {
		bool ran = schedule_ran(w->schedule, i);
		if (!ran && !all)
			continue;
		any = true;
		w->active_us = ran ? now : w->active_us;
		struct replicator_status *st = &b->of[b->n];
		schedule_status(w->schedule, i, st);
		status_message(schedule_id(w->schedule, i), st, &b->list[b->n]);
		add_to_batch(w, b, &w->told[w->index[i]], crc64_iso(0, st, sizeof(*st)));
	}
	return any;
}

/*
 * A turn that does not end holds its pin, or even the write lock: who waits for that must not wait
 * for long. Only litestreamd can help, by killing us, so we fall silent, whatever else there is to
 * tell. (Where it is the disk that takes so long it sees that, and waits.)
 */
static bool hangs(struct worker *w, int64_t now)
{
	size_t i = 0;
	int64_t us = schedule_longest_turn(w->schedule, now, &i);
	if (us >= HANGING_US && !w->told_hanging)
		log_error("%s: following its WAL is stuck for %.1f s now",
			schedule_database(w->schedule, i), (double)us / 1e6);
	w->told_hanging = us >= HANGING_US;
	return us > ALIVE_US;
}

void worker_tell_changes(struct worker *w, int64_t now)
{
	if (hangs(w, now))
		return;
	if (collect(w, &w->batch, now))
		w->status_us = now + STATUS_EVERY_US;
	if (w->batch.n > 0 || !w->any_told)
		send_batch(w, &w->batch);
}

/* Each wake-up costs both sides something, a day of idleness many times: the longer nothing has
 * run, the longer until the next one. */
static void say_alive(struct worker *w, int64_t now)
{
	int64_t wait = SLACKENING * (now - w->active_us);
	wait = wait < ALIVE_US ? ALIVE_US : wait > IDLE_MAX_US ? IDLE_MAX_US : wait;
	const struct message_alive m = {(uint64_t)(wait / MS)};
	worker_say(w, message_alive_encode(&m));
	w->alive_us = now + wait;
}

/* After each round of the schedule: that is when something can have changed. */
static int64_t on_round(void *ctx, int64_t now)
{
	struct worker *w = ctx;
	channel_flush(&w->channel);
	if (w->n_refused > 0)
		retry_refused(w, now);
	if ((now >= w->status_us || now >= w->alive_us) && hangs(w, now))
		return now + ALIVE_US;
	if (now >= w->status_us)
		worker_tell_changes(w, now);
	/* What was promised held for a worker in which nothing runs. */
	if (now >= w->alive_us || (w->active_us == now && w->alive_us > now + ALIVE_US))
		say_alive(w, now);
	int64_t next = w->alive_us;
	/* What happens within STATUS_EVERY_US of a status is told right after it. */
	if (w->status_us > now && w->status_us < next && w->status_us - now < STATUS_EVERY_US)
		next = w->status_us;
	if (channel_pending(&w->channel) && now + 50 * MS < next)
		next = now + 50 * MS;
	return next;
}

/* ---- beginning and end ---- */

static int open_signals(struct worker *w, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return w->signal_fd >= 0 ? ERR_OK : err_errno(e, ERR_IO, errno, "cannot wait for signals");
}

static int receive_config(struct worker *w, struct err *e)
{
	json_t *message = NULL;
	int rc;
	while ((rc = channel_next(&w->channel, &message, e)) == ERR_AGAIN) {
		if (w->channel.eof)
			return err_set(e, ERR_CANCELLED, "litestreamd has gone");
		channel_flush(&w->channel);
		struct pollfd p = {w->channel.fd, POLLIN, 0};
		poll(&p, 1, -1);
		rc = channel_read(&w->channel, e);
		if (rc != ERR_OK)
			return rc;
	}
	if (rc == ERR_OK)
		rc = message_config_decode(&w->config, message, e);
	json_decref(message);
	return rc;
}

static int begin(struct worker *w, struct err *e)
{
	int rc = open_signals(w, e);
	if (rc != ERR_OK)
		return rc;
	worker_say(w, message_hello_encode(LITESTREAM_VERSION));
	rc = receive_config(w, e);
	if (rc != ERR_OK)
		return rc;
	credentials_hide(&w->config.credentials);
	advice_set_app(w->config.app);
	size_t n = w->config.n_databases + 1;
	w->refused = calloc(n, sizeof(*w->refused));
	w->told = calloc(n, sizeof(*w->told));
	w->index = calloc(n, sizeof(*w->index));
	w->decided = calloc(n, sizeof(*w->decided));
	if (!w->refused || !w->told || !w->index || !w->decided)
		return err_nomem(e, "starting a worker");
	rc = make_batch(&w->batch, w->config.n_databases, e);
	if (rc == ERR_OK)
		rc = schedule_new(&w->schedule, 0, 0, e);
	if (rc == ERR_OK)
		rc = schedule_add_fd(w->schedule, w->channel.fd, worker_on_channel, w, e);
	if (rc == ERR_OK)
		rc = schedule_add_fd(w->schedule, w->signal_fd, worker_on_signal, w, e);
	if (rc == ERR_OK)
		schedule_set_hook(w->schedule, on_round, w);
	return rc;
}

static void say_bye(struct worker *w)
{
	size_t n = schedule_count(w->schedule);
	struct message_bye m = {calloc(n + 1, sizeof(char *)), 0};
	for (size_t i = 0; m.unshipped && i < n; i++) {
		if (!schedule_shipped(w->schedule, i))
			m.unshipped[m.n_unshipped++] = (char *)schedule_database(w->schedule, i);
	}
	for (size_t i = 0; i < m.n_unshipped; i++)
		log_warn("%s: stopped before everything was uploaded", m.unshipped[i]);
	worker_say(w, message_bye_encode(&m));
	channel_drain(&w->channel, BYE_MS);
	free(m.unshipped);
}

int worker_run(int fd, struct err *e)
{
	struct worker w = {.signal_fd = -1};
	spawn_protect_self();
	spawn_raise_descriptors();
	channel_init(&w.channel, fd);
	int rc = begin(&w, e);
	if (rc == ERR_OK) {
		log_info("worker started: %zu %s", w.config.n_databases,
			w.config.n_databases == 1 ? "database" : "databases");
		add_all(&w);
		schedule_run(w.schedule);
		worker_tell_changes(&w, clock_mono_us());
		say_bye(&w);
	}
	schedule_free(w.schedule);
	free(w.refused);
	free(w.told);
	free(w.index);
	free(w.decided);
	free_batch(&w.batch);
	message_config_free(&w.config);
	channel_close(&w.channel);
	fs_close(w.signal_fd);
	return rc;
}
