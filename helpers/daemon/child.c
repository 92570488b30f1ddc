#include "daemon/child.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "daemon/applog.h"
#include "daemon/child_asks.h"
#include "daemon/clean.h"
#include "daemon/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MS 1000ll
#define STOP_MARGIN_MS 5000         /* over the shutdown timeout, for a worker that hangs */
#define HEALTHY_US (60 * 1000 * MS) /* having run so long, the next backoff is the shortest */
/* While it starts it holds nothing that anybody waits for, and opens up to thousands of databases;
 * and where it waits for the disk or a processor an end would help nobody (heldup.h). */
#define STARTING_TIMES 10 /* the watchdog's time */
#define HELD_UP_TIMES 10  /* the same */
#define LOOK_US (250 * MS)

struct child *child_new(
	const struct child_config *cfg, const char *app, uid_t uid, gid_t gid, struct err *e)
{
	struct child *c = calloc(1, sizeof(*c));
	if (!c) {
		err_nomem(e, "keeping track of a worker");
		return NULL;
	}
	c->cfg = cfg;
	snprintf(c->app, sizeof(c->app), "%s", app);
	c->uid = uid;
	c->gid = gid;
	c->log_fd = c->channel.fd = -1;
	return c;
}

/* ---- the process ---- */

static void drop_process(struct child *c)
{
	c->pid = 0;
	channel_close(&c->channel);
	fs_close(c->log_fd);
	c->log_fd = -1;
	c->configured = false;
}

void child_free(struct child *c)
{
	if (!c)
		return;
	child_asks_fail(c, true, "the worker is gone");
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
	drop_process(c);
	message_status_free(&c->status);
	message_bye_free(&c->bye);
	free(c);
}

/* Half of it is random, so that the workers of a host don't come back all at once. */
static int64_t with_jitter(int64_t ms)
{
	uint32_t r;
	fs_random(&r, sizeof(r));
	return ms / 2 + (int64_t)(r % (uint64_t)(ms / 2 + 1));
}

static void wait_for_restart(struct child *c)
{
	int64_t next = c->backoff_ms ? c->backoff_ms * 2 : c->cfg->backoff_min_ms;
	c->backoff_ms = next > c->cfg->backoff_max_ms ? c->cfg->backoff_max_ms : next;
	c->state = CHILD_WAITING;
	c->next_start_us = clock_mono_us() + with_jitter(c->backoff_ms) * MS;
}

static int try_start(struct child *c, struct err *e)
{
	const char *const argv[] = {
		c->cfg->program, "replicate", "-worker-fd", "3", "-log-level", c->cfg->log_level, NULL};
	struct confine_folders folders = {0};
	int fd;
	c->log_fd = applog_open(c->cfg->log_dir, c->app, c->cfg->log_gid, e);
	if (c->log_fd < 0)
		return e->code;
	struct spawn s = {
		argv, c->uid, c->gid, c->cfg->run_as_self, c->log_fd, c->cfg->confinement, &folders};
	int rc = c->cfg->folders(c->cfg->ctx, c, &folders, e);
	if (rc == ERR_OK)
		rc = spawn_child(&s, &c->pid, &fd, e);
	if (rc == ERR_OK)
		channel_init(&c->channel, fd);
	confine_free(&folders);
	return rc;
}

static void start(struct child *c)
{
	struct err e = ERR_INIT;
	c->started_us = c->seen_us = clock_mono_us();
	c->stopped_us = c->look_us = 0;
	c->configured = c->has_status = c->late = false;
	message_status_free(&c->status);
	message_bye_free(&c->bye);
	if (try_start(c, &e) == ERR_OK) {
		c->state = CHILD_STARTING;
		log_info("%s: worker %d started for uid %u", c->app, (int)c->pid, (unsigned)c->uid);
		return;
	}
	drop_process(c);
	snprintf(c->trouble, sizeof(c->trouble), "%.299s", e.text);
	log_error("%s: cannot start a worker: %s", c->app, e.text);
	child_asks_fail(c, true, e.text);
	wait_for_restart(c);
}

static void say_stop(struct child *c)
{
	struct err e = ERR_INIT;
	json_t *stop = message_plain(MESSAGE_STOP);
	if (stop)
		channel_send(&c->channel, stop, &e);
	json_decref(stop);
	c->state = CHILD_STOPPING;
	c->kill_at_us = clock_mono_us() + (c->cfg->shutdown_ms + STOP_MARGIN_MS) * MS;
}

void child_want(struct child *c)
{
	c->wanted = true;
	if (c->state == CHILD_STOPPED || c->state == CHILD_WAITING) {
		c->backoff_ms = 0;
		c->trouble[0] = '\0';
		start(c);
	} else if (c->state != CHILD_STOPPING) {
		say_stop(c);
	}
}

void child_stop(struct child *c)
{
	c->wanted = false;
	if (c->state == CHILD_WAITING)
		c->state = CHILD_STOPPED;
	else if (c->state == CHILD_STARTING || c->state == CHILD_RUNNING)
		say_stop(c);
}

static void kill_it(struct child *c, const char *why)
{
	applog_write(c->cfg->log_dir, c->app, c->cfg->log_gid, LOG_ERROR, "worker %d %s: killed",
		(int)c->pid, why);
	snprintf(c->trouble, sizeof(c->trouble), "the worker %s and was killed", why);
	clean_text(c->trouble);
	if (c->pid > 0) /* never a process group, should it have ended just now */
		kill(c->pid, SIGKILL);
	c->kill_at_us = INT64_MAX;
	channel_close(&c->channel);
}

static void describe_end(struct child *c, int status)
{
	if (c->trouble[0] && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return; /* we did that, and said why */
	if (WIFSIGNALED(status))
		snprintf(c->trouble, sizeof(c->trouble), "the worker was killed by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(c->trouble, sizeof(c->trouble), "the worker ended with exit code %d; see its log",
			WEXITSTATUS(status));
}

static void on_channel(void *ctx, short events);

void child_stopped(struct child *c, bool stopped)
{
	c->stopped_us = stopped ? clock_mono_us() : 0;
}

void child_exited(struct child *c, int status)
{
	bool asked = c->state == CHILD_STOPPING;
	c->pid = 0;
	on_channel(c, 0); /* what it said last may not have been read yet */
	drop_process(c);
	child_asks_fail(c, !asked || !c->wanted, "the worker ended before it answered");
	if (asked) {
		c->state = CHILD_STOPPED;
		log_info("%s: worker ended", c->app);
		if (c->wanted)
			child_want(c);
		return;
	}
	describe_end(c, status);
	c->restarts++;
	if (clock_mono_us() - c->started_us >= HEALTHY_US)
		c->backoff_ms = 0;
	wait_for_restart(c);
	applog_write(c->cfg->log_dir, c->app, c->cfg->log_gid, LOG_WARN,
		"%s; it is started again in %.1f s", c->trouble,
		(double)(c->next_start_us - clock_mono_us()) / 1e6);
}

/* ---- what it says ---- */

static int take_hello(struct child *c, const json_t *message, struct err *e)
{
	struct message_hello hello;
	int rc = message_hello_decode(&hello, message, e);
	if (rc == ERR_OK && hello.protocol != PROTO_VERSION)
		rc = err_set(e, ERR_FAIL, "the worker program speaks protocol %llu, litestreamd %d",
			(unsigned long long)hello.protocol, PROTO_VERSION);
	message_hello_free(&hello);
	if (rc != ERR_OK || c->configured)
		return rc;
	json_t *config = NULL;
	rc = c->cfg->make(c->cfg->ctx, c, &config, e);
	if (rc == ERR_OK)
		rc = channel_send(&c->channel, config, e);
	json_decref(config);
	c->configured = rc == ERR_OK;
	return rc;
}

static int take_status(struct child *c, const json_t *message, struct err *e)
{
	struct message_status status;
	int rc = message_status_decode(&status, message, e);
	if (rc != ERR_OK) {
		message_status_free(&status);
		return rc;
	}
	for (size_t i = 0; i < status.n_databases; i++) {
		clean_text(status.databases[i].state);
		clean_text(status.databases[i].reason);
		clean_text(status.databases[i].last_error);
		clean_text(status.databases[i].upkeep_error);
	}
	rc = message_status_merge(&c->status, &status, e);
	message_status_free(&status);
	if (rc != ERR_OK)
		return rc;
	c->has_status = true;
	if (c->state == CHILD_STARTING) {
		c->state = CHILD_RUNNING;
		c->trouble[0] = '\0';
		child_asks_say(c);
	}
	return ERR_OK;
}

/* An idle worker may be silent for longer, if it said so. */
static int take_alive(struct child *c, const json_t *message, struct err *e)
{
	struct message_alive m;
	int rc = message_alive_decode(&m, message, e);
	if (rc == ERR_OK)
		c->seen_us = clock_mono_us() + (int64_t)m.next_ms * MS;
	return rc;
}

static int take_answer(
	struct child *c, enum message_type type, const json_t *message, struct err *e)
{
	struct message_answer m;
	int rc = message_answer_decode(type, &m, message, e);
	if (rc == ERR_OK) {
		struct err result = ERR_INIT;
		clean_text(m.text);
		if (m.code != 0 || m.text)
			err_set(&result, (enum err_code)m.code, "%s",
				m.text ? m.text : "it failed without a reason");
		child_asks_answer(c, m.id, &result);
	}
	message_answer_free(&m);
	return rc;
}

static int take_bye(struct child *c, const json_t *message, struct err *e)
{
	struct message_bye m;
	int rc = message_bye_decode(&m, message, e);
	if (rc != ERR_OK) {
		message_bye_free(&m);
		return rc;
	}
	/* The app's log has it from the worker. */
	for (size_t i = 0; i < m.n_unshipped; i++) {
		clean_text(m.unshipped[i]);
		log_warn("%s: %s was stopped before everything was uploaded", c->app, m.unshipped[i]);
	}
	message_bye_free(&c->bye);
	c->bye = m;
	return ERR_OK;
}

static int take_message(struct child *c, const json_t *message, struct err *e)
{
	enum message_type type;
	int rc = message_type(message, &type, e);
	if (rc != ERR_OK)
		return rc;
	switch (type) {
	case MESSAGE_HELLO:
		c->seen_us = clock_mono_us();
		return take_hello(c, message, e);
	case MESSAGE_STATUS:
		c->seen_us = clock_mono_us();
		return take_status(c, message, e);
	case MESSAGE_ALIVE:
		return take_alive(c, message, e);
	case MESSAGE_SYNCED:
	case MESSAGE_DECIDED:
		return take_answer(c, type, message, e);
	case MESSAGE_BYE:
		return take_bye(c, message, e);
	default:
		return err_set(e, ERR_USAGE, "a worker may not send this message");
	}
}

static void on_channel(void *ctx, short events)
{
	struct child *c = ctx;
	struct err e = ERR_INIT;
	(void)events;
	if (c->channel.fd < 0)
		return;
	channel_flush(&c->channel);
	int rc = channel_read(&c->channel, &e);
	json_t *message;
	while (rc == ERR_OK && (rc = channel_next(&c->channel, &message, &e)) == ERR_OK) {
		rc = take_message(c, message, &e);
		json_decref(message);
	}
	if (rc != ERR_OK && rc != ERR_AGAIN) {
		char why[280];
		snprintf(why, sizeof(why), "could not go on (%.250s)", e.text);
		kill_it(c, why);
	} else if (c->channel.eof) {
		/* It closed its end: it is ending, or broken. Either way it gets a second. */
		channel_close(&c->channel);
		c->kill_at_us = clock_mono_us() + 1000 * MS;
	}
}

/* ---- the loop ---- */

static int64_t patience_us(const struct child *c)
{
	return c->cfg->watchdog_ms * MS * (c->state == CHILD_STARTING ? STARTING_TIMES : 1);
}

/* Twice in a row: where the daemon itself was held up (stopped, a slow disk, a paused machine),
 * what the worker has said meanwhile is read in the turn between. */
static bool is_silent(struct child *c, int64_t now)
{
	int64_t silent_us = now - c->seen_us;
	bool late = silent_us >= patience_us(c), twice = late && c->late;
	c->late = late;
	if (!twice || now < c->look_us)
		return false;
	c->look_us = now + LOOK_US;
	bool held_up = heldup_look(&c->held_up, c->pid, now);
	return silent_us >= c->cfg->watchdog_ms * MS * HELD_UP_TIMES || !held_up;
}

static bool was_stopped_for_long(const struct child *c, int64_t now)
{
	return c->stopped_us != 0 && now - c->stopped_us >= c->cfg->watchdog_ms * MS;
}

static void kill_after(struct child *c, const char *what, int64_t us)
{
	char why[64];
	snprintf(why, sizeof(why), "%s for %.1f s", what, (double)us / 1e6);
	kill_it(c, why);
}

static void check_time(struct child *c, int64_t now)
{
	if (c->state == CHILD_WAITING && c->next_start_us <= now)
		start(c);
	bool alive = c->pid > 0 && c->channel.fd >= 0;
	bool watched = c->state == CHILD_STARTING || c->state == CHILD_RUNNING;
	if (alive && was_stopped_for_long(c, now)) {
		kill_after(c, "was stopped by a signal", now - c->stopped_us);
	} else if (alive && watched && is_silent(c, now)) {
		kill_after(c, "was silent", now - c->seen_us);
	} else if (c->pid > 0 && c->state == CHILD_STOPPING && c->kill_at_us <= now) {
		kill_it(c, "did not end in time");
	} else if (c->pid > 0 && c->channel.fd < 0 && c->kill_at_us <= now) {
		kill_it(c, "closed its channel and did not end");
	}
	child_asks_expire(c, now);
}

void child_prepare(struct child *c, struct pollset *p)
{
	check_time(c, clock_mono_us());
	if (c->state == CHILD_WAITING)
		pollset_wake_at(p, c->next_start_us);
	if (c->pid > 0 && c->channel.fd >= 0)
		pollset_add(p, c->channel.fd, channel_pending(&c->channel) ? POLLIN | POLLOUT : POLLIN,
			on_channel, c);
	if (c->channel.fd >= 0 && (c->state == CHILD_STARTING || c->state == CHILD_RUNNING)) {
		int64_t due = c->seen_us + patience_us(c);
		pollset_wake_at(p, due > c->look_us ? due : c->look_us);
	}
	if (c->channel.fd >= 0 && c->stopped_us != 0)
		pollset_wake_at(p, c->stopped_us + c->cfg->watchdog_ms * MS);
	if (c->pid > 0 && (c->state == CHILD_STOPPING || c->channel.fd < 0))
		pollset_wake_at(p, c->kill_at_us);
	child_asks_prepare(c, p);
}

const char *child_state_name(const struct child *c)
{
	switch (c->state) {
	case CHILD_STOPPED:
		return "stopped";
	case CHILD_STARTING:
		return "starting";
	case CHILD_RUNNING:
		return "running";
	case CHILD_STOPPING:
		return c->wanted ? "restarting" : "stopping";
	case CHILD_WAITING:
		return "restarting";
	}
	return "unknown";
}

bool child_left_unshipped(const struct child *c, const char *database)
{
	for (size_t i = 0; i < c->bye.n_unshipped; i++)
		if (strcmp(c->bye.unshipped[i], database) == 0)
			return true;
	return false;
}
