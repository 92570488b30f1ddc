#include "daemon/jobrun.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"
#include "conf/state.h"
#include "daemon/credentials.h"
#include "daemon/jobrun_internal.h"
#include "daemon/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PROGRESS_EVERY_US 250000
#define SEND_MS 5000
#define FIRST_ANSWER_MS 28000 /* as litestream restore */

/* ---- talking ---- */

static int send_message(struct jobrun *r, json_t *message, struct err *e)
{
	int rc = message ? channel_send(&r->channel, message, e) : err_nomem(e, "telling a result");
	json_decref(message);
	return rc;
}

/* Blocks until a message is there. */
static int receive(struct jobrun *r, json_t **message, struct err *e)
{
	int rc;
	while ((rc = channel_next(&r->channel, message, e)) == ERR_AGAIN) {
		if (r->channel.eof)
			return err_set(e, ERR_CANCELLED, "litestreamd has gone");
		channel_drain(&r->channel, SEND_MS);
		struct pollfd p = {r->channel.fd, POLLIN, 0};
		poll(&p, 1, -1);
		rc = channel_read(&r->channel, e);
		if (rc != ERR_OK)
			return rc;
	}
	return rc;
}

static int receive_job(struct jobrun *r, struct err *e)
{
	json_t *message = NULL;
	int rc = send_message(r, message_hello_encode(LITESTREAM_VERSION), e);
	if (rc == ERR_OK)
		rc = receive(r, &message, e);
	if (rc == ERR_OK)
		rc = message_job_decode(&r->job, message, e);
	json_decref(message);
	if (rc == ERR_OK)
		credentials_hide(&r->job.credentials);
	return rc;
}

/* ---- being told to stop, while the job works ---- */

/* Only peeks: the channel itself is the working thread's. Whatever comes after the job, or the end
 * of the connection, means stop. */
static void *listen_for_stop(void *arg)
{
	struct jobrun *r = arg;
	struct pollfd p[2] = {{r->channel.fd, POLLIN, 0}, {r->wake_fd, POLLIN, 0}};
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	if (!(p[1].revents & POLLIN)) {
		__atomic_store_n(&r->cancelled, 1, __ATOMIC_RELAXED);
		store_cancel(r->store);
		struct store *second = atomic_load(&r->second);
		if (second)
			store_cancel(second);
	}
	return NULL;
}

static int begin_listening(struct jobrun *r, struct err *e)
{
	int failed = thread_start(&r->listener, listen_for_stop, r);
	if (failed)
		return err_errno(e, ERR_FAIL, failed, "cannot start a thread");
	r->listening = true;
	return ERR_OK;
}

static void end_listening(struct jobrun *r)
{
	uint64_t one = 1;
	if (!r->listening || write(r->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		return;
	pthread_join((pthread_t)r->listener, NULL);
	(void)!read(r->wake_fd, &one, sizeof(one));
	r->listening = false;
}

/* ---- restore ---- */

void jobrun_on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct jobrun *r = ctx;
	struct err e = ERR_INIT;
	int64_t now = clock_mono_us();
	if (done < total && now - r->progress_us < PROGRESS_EVERY_US)
		return;
	r->progress_us = now;
	const struct message_progress m = {done, total};
	if (!channel_pending(&r->channel)) /* a daemon that doesn't read needs no more of it */
		send_message(r, message_progress_encode(&m), &e);
	else
		channel_flush(&r->channel);
}

/* Where Litestream 0.3's state is, which has no TXID. */
static void put_v3_point(json_t *o, const struct restore_plan *plan, int *rc)
{
	char generation[17], index[9];
	snprintf(generation, sizeof(generation), "%016" PRIx64, plan->v3[0].generation);
	snprintf(index, sizeof(index), "%08" PRIx32, plan->v3[plan->n_v3 - 1].index);
	json_put_text(o, "generation", generation, rc);
	json_put_text(o, "index", index, rc);
}

void jobrun_put_result(json_t *o, const struct restore_result *result, int *rc)
{
	char txid[17], timestamp[32];
	const struct restore_plan *plan = &result->plan;
	snprintf(txid, sizeof(txid), "%016" PRIx64, result->txid);
	clock_format_rfc3339(result->timestamp_ms, timestamp);
	json_put_text(o, "txid", plan->n_v3 ? NULL : txid, rc);
	if (plan->n_v3)
		put_v3_point(o, plan, rc);
	json_put_text(o, "timestamp", timestamp, rc);
	json_put_int(o, "bytes", (int64_t)result->bytes, rc);
	json_put_int(o, "page_size", result->page_size, rc);
	json_put_int(o, "files", (int64_t)result->files, rc);
	json_put_text(o, "proof", result->proof == RESTORE_PROVEN ? "proven" : "not proven", rc);
}

static int restored_json(const struct restore_result *result, json_t **out, struct err *e)
{
	int rc = ERR_OK;
	*out = json_object();
	if (!*out)
		return err_nomem(e, "telling a result");
	jobrun_put_result(*out, result, &rc);
	if (result->before[0])
		json_put_text(*out, "before", result->before, &rc);
	return rc == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
}

/* The TXID that the state folder knows to be in this replica; 0 = none. */
static uint64_t uploaded_txid(const struct jobrun *r)
{
	struct err e = ERR_INIT;
	struct state_dir *dir = NULL;
	struct state state = {0};
	bool copied;
	if (!r->job.state_dir || state_dir_open(&dir, r->job.state_dir, &e) != ERR_OK)
		return 0;
	bool ours = state_load(dir, &state, &copied, &e) == ERR_OK &&
				strcmp(state.replica, store_url(r->store)) == 0;
	state_dir_close(dir);
	return ours ? state.txid : 0;
}

/* An empty replica, where only a missing database was to be restored: a first deploy, and no error.
 * Unless something was uploaded to it from here. */
static int no_replica(const struct jobrun *r, json_t **out, struct err *e)
{
	uint64_t txid = uploaded_txid(r);
	int rc = ERR_OK;
	if (txid)
		return err_set(e, ERR_NO_BACKUP,
			"%s is empty, but TXID %016" PRIx64 " of %s was uploaded to it from here: somebody "
			"emptied it, or another place has its name now (a disk that is not mounted?)",
			store_url(r->store), txid, r->job.path);
	err_clear(e);
	if (!(*out = json_object()))
		return err_nomem(e, "telling a result");
	json_put_text(*out, "skipped", "replica", &rc);
	return rc == ERR_OK ? ERR_OK : err_nomem(e, "telling a result");
}

static int read_target(const struct message_job *job, struct restore_target *t, struct err *e)
{
	*t = (struct restore_target){.txid = job->txid, .timestamp_ms = job->timestamp_ms};
	if (job->generation &&
		(!v3_parse_generation(job->generation, &t->generation) || !t->generation))
		return err_set(e, ERR_USAGE,
			"\"%.40s\" is no generation of Litestream 0.3: 16 hexadecimal digits", job->generation);
	if (job->index && !v3_parse_index(job->index, &t->index))
		return err_set(e, ERR_USAGE,
			"\"%.40s\" is no index of Litestream 0.3: up to 8 hexadecimal digits, at most 7fffffff",
			job->index);
	t->by_index = job->index != NULL;
	return ERR_OK;
}

/* The daemon is root and sees every process; we may see only ourselves. */
static int receive_held(struct jobrun *r, struct err *e)
{
	struct message_answer m = {0};
	enum message_type type;
	json_t *message = NULL;
	int rc = send_message(r, message_plain(MESSAGE_HOLDERS), e);
	if (rc == ERR_OK)
		rc = receive(r, &message, e);
	if (rc == ERR_OK)
		rc = message_type(message, &type, e);
	if (rc == ERR_OK && type == MESSAGE_STOP) {
		__atomic_store_n(&r->cancelled, 1, __ATOMIC_RELAXED);
		store_cancel(r->store);
		rc = err_set(e, ERR_CANCELLED, "the restore was stopped");
	} else if (rc == ERR_OK) {
		rc = message_answer_decode(MESSAGE_HELD, &m, message, e);
	}
	if (rc == ERR_OK && m.code != 0)
		rc = err_set(e, (enum err_code)m.code, "%s", m.text ? m.text : "it is in use");
	message_answer_free(&m);
	json_decref(message);
	return rc;
}

static int ask_holders(void *ctx, struct err *e)
{
	struct jobrun *r = ctx;
	end_listening(r);
	int rc = __atomic_load_n(&r->cancelled, __ATOMIC_RELAXED)
				 ? err_set(e, ERR_CANCELLED, "the restore was stopped")
				 : receive_held(r, e);
	return rc == ERR_OK ? begin_listening(r, e) : rc;
}

static int run_restore(struct jobrun *r, json_t **out, struct err *e)
{
	struct restore_result result = {0};
	const struct restore_folder judged = {(dev_t)r->job.folder_dev, (ino_t)r->job.folder_ino};
	struct restore_options what = {
		.output = r->job.path,
		.folder = &judged,
		.state_dir = r->job.state_dir ? r->job.state_dir : "",
		.in_place = r->job.in_place,
		.only_missing = r->job.only_missing,
		.mode = (mode_t)r->job.mode,
		.in_use = ask_holders,
		.in_use_ctx = r,
		.progress = jobrun_on_progress,
		.progress_ctx = r,
	};
	int rc = read_target(&r->job, &what.target, e);
	if (rc == ERR_OK)
		rc = restore_run(r->store, &what, &result, e);
	if (rc == ERR_OK)
		rc = restored_json(&result, out, e);
	else if (rc == ERR_NO_BACKUP && r->job.only_missing && result.empty_replica)
		rc = no_replica(r, out, e);
	restore_plan_free(&result.plan);
	return rc;
}

/* ---- all of it ---- */

static const struct {
	int (*run)(struct jobrun *r, json_t **out, struct err *e);
	bool brief; /* a person waits for the answer: give up sooner than a replicator would */
} kinds[] = {
	[JOB_CHECK] = {jobrun_check, true},
	[JOB_RESTORE] = {run_restore, false},
	[JOB_LOOK] = {jobrun_look, true},
	[JOB_DISCOVER] = {jobrun_discover, false},
	[JOB_COUNT_LEGACY] = {jobrun_legacy, false},
	[JOB_CLEANUP_LEGACY] = {jobrun_legacy, false},
	[JOB_VERIFY] = {jobrun_verify, false},
	[JOB_PURGE] = {jobrun_purge, false},
};

static int open_store(struct jobrun *r, struct err *e)
{
	struct store_options options;
	credentials_to_store(&r->job.credentials, &options);
	if (kinds[r->job.kind].brief) {
		options.connect_timeout_ms = 5000;
		options.stall_timeout_ms = 15000;
		options.request_timeout_ms = 30000;
		options.max_attempts = 3;
	} else {
		options.first_answer_ms = FIRST_ANSWER_MS;
	}
	return store_open(&r->store, r->job.replica, &options, e);
}

static int run_job(struct jobrun *r, json_t **out, struct err *e)
{
	int rc = open_store(r, e);
	if (rc == ERR_OK)
		rc = begin_listening(r, e);
	if (rc == ERR_OK)
		rc = kinds[r->job.kind].run(r, out, e);
	end_listening(r);
	return rc;
}

static int tell(struct jobrun *r, int code, json_t *result, const struct err *why, struct err *e)
{
	const struct message_result m = {
		.exit = (uint64_t)err_exit_code(code),
		.error = code == ERR_OK ? NULL : (char *)(why->text[0] ? why->text : err_name(code)),
		.result = code == ERR_OK ? result : NULL,
	};
	int rc = send_message(r, message_result_encode(&m), e);
	if (rc == ERR_OK && !channel_drain(&r->channel, SEND_MS))
		rc = err_set(e, ERR_FAIL, "litestreamd does not read the result");
	return rc;
}

int jobrun(int fd, struct err *e)
{
	struct jobrun r = {.wake_fd = -1};
	struct err why = ERR_INIT;
	json_t *result = NULL;
	spawn_protect_self();
	channel_init(&r.channel, fd);
	r.wake_fd = eventfd(0, EFD_CLOEXEC);
	int rc = r.wake_fd >= 0 ? receive_job(&r, e) : err_errno(e, ERR_IO, errno, "eventfd");
	if (rc == ERR_OK) {
		int code = run_job(&r, &result, &why);
		log_redact(why.text);
		rc = tell(&r, code, result, &why, e);
	}
	json_decref(result);
	store_close(atomic_load(&r.second));
	store_close(r.store);
	message_job_free(&r.job);
	channel_close(&r.channel);
	if (r.wake_fd >= 0)
		close(r.wake_fd);
	return rc;
}
