#include "daemon/jobs.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "daemon/clean.h"
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000ll
#define CANCEL_US (10000 * MS)
#define LOG_LINE_MAX 1024
#define LOG_LINES_MAX 10000 /* of one job; a log has an end, whoever writes it */
#define LOG_READS_MAX 64    /* in one turn, and more than a pipe holds */

struct job {
	struct job *next;
	struct jobs *jobs;
	pid_t pid; /* 0: has ended, freed in the next turn */
	struct channel channel;
	int log_fd; /* its standard error, our end */
	char line[LOG_LINE_MAX];
	size_t line_len, lines;
	json_t *message; /* until it said hello */
	int64_t kill_at_us;
	bool timed_out, broken;
	struct job_events events; /* end == NULL: told already, or cancelled */
	bool has_result;
	struct message_result result;
};

void jobs_init(struct jobs *j, const struct child_config *cfg)
{
	j->cfg = cfg;
	j->list = NULL;
}

static void job_free(struct job *job)
{
	if (job->pid > 0)
		kill(job->pid, SIGKILL);
	channel_close(&job->channel);
	fs_close(job->log_fd);
	json_decref(job->message);
	message_result_free(&job->result);
	free(job);
}

void jobs_free(struct jobs *j)
{
	while (j->list) {
		struct job *job = j->list;
		j->list = job->next;
		job_free(job);
	}
}

/* ---- start ---- */

static int spawn_job(
	struct job *job, uid_t uid, gid_t gid, const struct confine_folders *folders, struct err *e)
{
	const struct child_config *cfg = job->jobs->cfg;
	const char *const argv[] = {cfg->program, "job", "-fd", "3", NULL};
	int log_pipe[2], fd;
	if (pipe2(log_pipe, O_CLOEXEC) != 0)
		return err_errno(e, ERR_IO, errno, "cannot make a pipe");
	struct spawn s = {argv, uid, gid, cfg->run_as_self, log_pipe[1], cfg->confinement, folders};
	int rc = spawn_child(&s, &job->pid, &fd, e);
	fs_close(log_pipe[1]);
	if (rc != ERR_OK) {
		fs_close(log_pipe[0]);
		return rc;
	}
	/* Only our end: the child may block on its log, we never. */
	fcntl(log_pipe[0], F_SETFL, O_NONBLOCK);
	job->log_fd = log_pipe[0];
	channel_init(&job->channel, fd);
	return ERR_OK;
}

int job_start(struct jobs *j, uid_t uid, gid_t gid, const struct confine_folders *folders,
	const struct message_job *message, int64_t timeout_ms, const struct job_events *events,
	struct job **out, struct err *e)
{
	struct job *job = calloc(1, sizeof(*job));
	if (!job)
		return err_nomem(e, "starting a job");
	job->jobs = j;
	job->log_fd = job->channel.fd = -1;
	job->events = *events;
	job->kill_at_us = timeout_ms > 0 ? clock_mono_us() + timeout_ms * MS : INT64_MAX;
	job->message = message_job_encode(message);
	int rc = job->message ? ERR_OK : err_nomem(e, "starting a job");
	if (rc == ERR_OK)
		rc = spawn_job(job, uid, gid, folders, e);
	if (rc != ERR_OK) {
		job_free(job);
		return rc;
	}
	job->next = j->list;
	j->list = *out = job;
	return ERR_OK;
}

/* ---- what it says ---- */

static void tell_line(struct job *job)
{
	bool any = job->line_len > 0;
	job->line[job->line_len] = '\0';
	job->line_len = 0;
	if (!any || !job->events.end || !job->events.log || ++job->lines > LOG_LINES_MAX)
		return;
	clean_text(job->line);
	job->events.log(
		job->events.ctx, job->lines < LOG_LINES_MAX ? job->line : "it says more than is passed on");
}

/* One that talks without end must not keep the daemon from everybody else. */
static void read_log(struct job *job)
{
	char part[1024];
	for (int i = 0; job->log_fd >= 0; i++) {
		ssize_t n = i < LOG_READS_MAX ? read(job->log_fd, part, sizeof(part)) : -1;
		if (i == LOG_READS_MAX || (n < 0 && errno == EAGAIN))
			return;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (ssize_t k = 0; k < n; k++) {
			if (part[k] != '\n')
				job->line[job->line_len++] = part[k];
			if (part[k] == '\n' || job->line_len == LOG_LINE_MAX - 1)
				tell_line(job);
		}
	}
	fs_close(job->log_fd);
	job->log_fd = -1;
}

static void on_log_fd(void *ctx, short events)
{
	(void)events;
	read_log(ctx);
}

static int take_hello(struct job *job, const json_t *message, struct err *e)
{
	struct message_hello hello;
	int rc = message_hello_decode(&hello, message, e);
	if (rc == ERR_OK && hello.protocol != PROTO_VERSION)
		rc =
			err_set(e, ERR_FAIL, "the program %s speaks another protocol", job->jobs->cfg->program);
	message_hello_free(&hello);
	if (rc == ERR_OK && job->message)
		rc = channel_send(&job->channel, job->message, e);
	json_decref(job->message);
	job->message = NULL;
	return rc;
}

static int answer_holders(struct job *job, struct err *e)
{
	struct err why = ERR_INIT;
	if (!job->events.end || !job->events.in_use)
		return err_set(e, ERR_USAGE, "a job that may not ask this");
	int rc = job->events.in_use(job->events.ctx, &why);
	const struct message_answer m = {
		0, (uint64_t)err_exit_code(rc), rc == ERR_OK ? NULL : why.text};
	json_t *held = message_answer_encode(MESSAGE_HELD, &m);
	rc = held ? channel_send(&job->channel, held, e) : err_nomem(e, "answering a job");
	json_decref(held);
	return rc;
}

static int take_message(struct job *job, const json_t *message, struct err *e)
{
	enum message_type type;
	struct message_progress progress;
	int rc = message_type(message, &type, e);
	if (rc != ERR_OK)
		return rc;
	switch (type) {
	case MESSAGE_HELLO:
		return take_hello(job, message, e);
	case MESSAGE_PROGRESS:
		rc = message_progress_decode(&progress, message, e);
		if (rc == ERR_OK && job->events.end && job->events.progress)
			job->events.progress(job->events.ctx, progress.done, progress.total);
		return rc;
	case MESSAGE_HOLDERS:
		return answer_holders(job, e);
	case MESSAGE_RESULT:
		message_result_free(&job->result);
		rc = message_result_decode(&job->result, message, e);
		if (rc == ERR_OK && !clean_json(job->result.result))
			rc = err_set(e, ERR_USAGE, "a result that can't be passed on");
		clean_text(job->result.error);
		job->has_result = rc == ERR_OK;
		return rc;
	default:
		return err_set(e, ERR_USAGE, "a job may not send this message");
	}
}

static void on_channel(void *ctx, short events)
{
	struct job *job = ctx;
	struct err e = ERR_INIT;
	(void)events;
	if (job->channel.fd < 0)
		return;
	channel_flush(&job->channel);
	int rc = channel_read(&job->channel, &e);
	json_t *message;
	while (rc == ERR_OK && (rc = channel_next(&job->channel, &message, &e)) == ERR_OK) {
		rc = take_message(job, message, &e);
		json_decref(message);
	}
	if (rc != ERR_OK && rc != ERR_AGAIN) {
		log_error("job %d: %s: killed", (int)job->pid, e.text);
		job->broken = true;
		job->kill_at_us = 0;
		channel_close(&job->channel);
	} else if (job->channel.eof) {
		channel_close(&job->channel);
	}
}

/* ---- end ---- */

static void end_of(const struct job *job, int status, struct err *e)
{
	if (job->has_result && job->result.exit == 0)
		err_clear(e);
	else if (job->has_result)
		err_set(e, (enum err_code)job->result.exit, "%s",
			job->result.error ? job->result.error : "it failed without a reason");
	else if (job->timed_out)
		err_set(e, ERR_UNREACHABLE, "there was no answer in time");
	else if (job->broken)
		err_set(e, ERR_FAIL, "the child that did it was not understood");
	else if (WIFSIGNALED(status))
		err_set(e, ERR_FAIL, "the child that did it was killed by signal %d", WTERMSIG(status));
	else
		err_set(e, ERR_FAIL, "the child that did it ended with exit code %d and without a result",
			WEXITSTATUS(status));
}

bool jobs_child_exited(struct jobs *j, pid_t pid, int status)
{
	for (struct job *job = j->list; job; job = job->next) {
		if (job->pid != pid)
			continue;
		job->pid = 0;
		on_channel(job, 0); /* what it said last */
		read_log(job);
		tell_line(job);
		struct err e = ERR_INIT;
		end_of(job, status, &e);
		void (*end)(void *, const struct err *, json_t *) = job->events.end;
		job->events.end = NULL;
		if (end)
			end(job->events.ctx, &e, job->result.result);
		return true;
	}
	return false;
}

pid_t job_pid(const struct job *job)
{
	return job->pid;
}

void job_cancel(struct job *job)
{
	job->events.end = NULL;
	job_stop(job);
}

void job_stop(struct job *job)
{
	struct err e = ERR_INIT;
	json_t *stop = message_plain(MESSAGE_STOP);
	if (stop)
		channel_send(&job->channel, stop, &e);
	json_decref(stop);
	int64_t kill_at = clock_mono_us() + CANCEL_US;
	if (kill_at < job->kill_at_us)
		job->kill_at_us = kill_at;
}

void jobs_cancel_all(struct jobs *j)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_CANCELLED, "litestreamd is stopping");
	for (struct job *job = j->list; job; job = job->next) {
		void (*end)(void *, const struct err *, json_t *) = job->events.end;
		job_cancel(job);
		if (end)
			end(job->events.ctx, &e, NULL);
	}
}

/* ---- the loop ---- */

static void free_ended(struct jobs *j)
{
	for (struct job **link = &j->list; *link;) {
		struct job *job = *link;
		if (job->pid == 0) {
			*link = job->next;
			job_free(job);
		} else {
			link = &job->next;
		}
	}
}

void jobs_prepare(struct jobs *j, struct pollset *p)
{
	free_ended(j);
	int64_t now = clock_mono_us();
	for (struct job *job = j->list; job; job = job->next) {
		if (job->kill_at_us <= now) {
			job->timed_out = true;
			job->kill_at_us = INT64_MAX;
			kill(job->pid, SIGKILL);
		}
		pollset_wake_at(p, job->kill_at_us);
		pollset_add(p, job->channel.fd, channel_pending(&job->channel) ? POLLIN | POLLOUT : POLLIN,
			on_channel, job);
		pollset_add(p, job->log_fd, POLLIN, on_log_fd, job);
	}
}

bool jobs_any(const struct jobs *j)
{
	for (const struct job *job = j->list; job; job = job->next) {
		if (job->pid > 0)
			return true;
	}
	return false;
}
