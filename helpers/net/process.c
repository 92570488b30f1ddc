#include "net/process.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 50 /* how often is looked whether it has ended, or we shall */

extern char **environ;

static int spawn(const char *command, int out, pid_t *pid)
{
	char *const argv[] = {"sh", "-c", (char *)command, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, usual;
	sigemptyset(&none);
	sigfillset(&usual);
	int rc = posix_spawn_file_actions_init(&files);
	if (rc)
		return rc;
	if ((rc = posix_spawnattr_init(&attr))) {
		posix_spawn_file_actions_destroy(&files);
		return rc;
	}
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &usual);
	posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	rc = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	if (!rc)
		rc = posix_spawn(pid, "/bin/sh", &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc;
}

/* What is there now. *open: there may come more. */
static int read_some(int fd, struct buf *out, bool *open, struct err *e)
{
	char part[4096];
	int rc = ERR_OK;
	ssize_t n;
	do {
		n = read(fd, part, sizeof(part));
		if (n > 0 && buf_append(out, part, (size_t)n))
			rc = err_set(e, ERR_DENIED, "it printed more than %zu bytes", PROCESS_OUTPUT_MAX);
	} while (!rc && (n > 0 || (n < 0 && errno == EINTR)));
	*open = n < 0 && errno == EAGAIN;
	explicit_bzero(part, sizeof(part));
	return rc;
}

/* Until it has ended; *status is waitpid's. */
static int wait_for(
	struct http_pool *p, pid_t pid, int fd, struct buf *out, int *status, struct err *e)
{
	int64_t until = clock_mono_us() + (int64_t)PROCESS_MS * 1000;
	bool open = true;
	for (;;) {
		struct pollfd f = {.fd = open ? fd : -1, .events = POLLIN};
		poll(&f, 1, LOOK_MS);
		pid_t ended = waitpid(pid, status, WNOHANG);
		int rc = open ? read_some(fd, out, &open, e) : ERR_OK;
		if (ended == pid || (ended < 0 && errno == ECHILD))
			return rc;
		if (!rc && http_pool_is_cancelled(p))
			rc = err_set(e, ERR_CANCELLED, "the request was stopped on request");
		if (!rc && clock_mono_us() > until)
			rc = err_set(e, ERR_UNREACHABLE, "it did not end within %d s", PROCESS_MS / 1000);
		if (rc) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			waitpid(pid, status, 0);
			return rc;
		}
	}
}

static int take_output(const struct buf *text, int status, struct iam_keys *out, struct err *e)
{
	json_t *object = NULL;
	struct err why;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return WIFSIGNALED(status)
				   ? err_set(e, ERR_DENIED, "it was ended by %s", strsignal(WTERMSIG(status)))
				   : err_set(e, ERR_DENIED, "it ended with %d", WEXITSTATUS(status));
	int rc = json_parse_object(text->data, text->len, "its output", &object, &why);
	if (rc == ERR_NOMEM)
		return err_nomem(e, "reading credentials");
	bool known = rc == ERR_OK && json_int(object, "Version") == 1;
	json_decref(object);
	if (!known)
		return err_set(e, ERR_DENIED, "it printed no JSON object with \"Version\": 1");
	rc = iam_keys_read(out, text->data, text->len, "SessionToken", e);
	return rc == ERR_DAMAGED ? (int)(e->code = ERR_DENIED) : rc;
}

int process_ask(struct http_pool *p, const char *command, struct iam_keys *out, struct err *e)
{
	struct buf text;
	int ends[2], status = 0;
	pid_t pid;
	*out = (struct iam_keys){0};
	buf_init(&text, PROCESS_OUTPUT_MAX);
	/* All of it at once: growing would leave pieces behind that nobody wipes. */
	if (buf_reserve(&text, PROCESS_OUTPUT_MAX))
		return err_nomem(e, "reading credentials");
	if (pipe2(ends, O_CLOEXEC)) {
		buf_free(&text);
		return err_errno(e, ERR_IO, errno, "cannot start credential_process");
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	int rc = spawn(command, ends[1], &pid);
	fs_close(ends[1]);
	if (rc) {
		fs_close(ends[0]);
		buf_free(&text);
		return err_errno(e, ERR_IO, rc, "cannot start credential_process");
	}
	rc = wait_for(p, pid, ends[0], &text, &status, e);
	if (!rc)
		rc = take_output(&text, status, out, e);
	if (rc && rc != ERR_CANCELLED)
		err_wrap(e, "credential_process");
	fs_close(ends[0]);
	buf_wipe(&text);
	return rc;
}
