#include "lib/agent.h"

#include "lib/pausevfs.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MS 30000

/* ---- in the agent ---- */

static FILE *in, *out;
static sqlite3 *db;
static bool dying; /* at the armed point, instead of pausing */

static void answer(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fputc('\n', out);
	fflush(out);
}

static void reached(enum pause_point at)
{
	(void)at;
	char line[64];
	if (dying)
		_exit(9);
	answer("paused");
	if (!fgets(line, sizeof(line), in))
		_exit(1);
}

static int keep_value(void *ctx, int n, char **values, char **names)
{
	(void)names;
	if (n > 0)
		snprintf(ctx, 200, "%s", values[0] ? values[0] : "NULL");
	return 0;
}

static int64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

static void report(int rc)
{
	if (rc == SQLITE_OK)
		answer("ok");
	else
		answer("err %d %s", rc, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

static void run_sql(const char *sql)
{
	char value[200] = "";
	int64_t began = now_us();
	int rc = sqlite3_exec(db, sql, keep_value, value, NULL);
	if (rc != SQLITE_OK) {
		report(rc);
		return;
	}
	for (char *p = value; *p; p++)
		if (*p == '\n')
			*p = ' ';
	answer("ok %lld %s", (long long)(now_us() - began), value);
}

static void open_db(const char *path)
{
	int rc = sqlite3_open(path, &db);
	if (rc == SQLITE_OK)
		sqlite3_busy_timeout(db, 5000);
	report(rc);
}

static void obey(const char *verb, const char *arg)
{
	if (strcmp(verb, "sql") == 0) {
		run_sql(arg);
		return;
	}
	if (strcmp(verb, "open") == 0) {
		open_db(arg);
		return;
	}
	if (strcmp(verb, "close") == 0) {
		report(sqlite3_close(db));
		db = NULL;
		return;
	}
	if (strcmp(verb, "timeout") == 0)
		sqlite3_busy_timeout(db, atoi(arg));
	else if (strcmp(verb, "slow") == 0)
		pausevfs_slow_sync(atoi(arg));
	else if (strcmp(verb, "pause") == 0 || strcmp(verb, "die") == 0) {
		dying = verb[0] == 'd';
		pausevfs_arm(pausevfs_point(arg));
	} else {
		answer("err 0 no such verb %s", verb);
		return;
	}
	answer("ok");
}

static void live(int from, int to)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in = fdopen(from, "r");
	out = fdopen(to, "w");
	pausevfs_install(reached);
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, in) > 0 && strcmp(line, "quit\n") != 0) {
		line[strcspn(line, "\n")] = '\0';
		char *arg = strchr(line, ' ');
		if (arg)
			*arg++ = '\0';
		obey(line, arg ? arg : "");
	}
	free(line);
	sqlite3_close(db);
	_exit(0);
}

/* ---- in the test ---- */

static void die(const char *what)
{
	fprintf(stderr, "agent: %s\n", what);
	abort();
}

void agent_start(struct agent *a)
{
	int to[2], from[2];
	memset(a, 0, sizeof(*a));
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		die("no pipe");
	signal(SIGPIPE, SIG_IGN);
	a->pid = fork();
	if (a->pid < 0)
		die("no process");
	if (a->pid == 0) {
		close(to[1]);
		close(from[0]);
		live(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	a->to = to[1];
	a->from = from[0];
}

static void send_line(struct agent *a, const char *verb, const char *fmt, va_list ap)
{
	char *text = NULL;
	int n = vasprintf(&text, fmt, ap);
	if (n < 0)
		die("memory");
	char *line = NULL;
	n = asprintf(&line, "%s%s\n", verb, text);
	if (n < 0 || write(a->to, line, (size_t)n) != n)
		die("it has ended");
	free(text);
	free(line);
}

void agent_send(struct agent *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	send_line(a, "", fmt, ap);
	va_end(ap);
}

bool agent_answered(void *agent)
{
	struct agent *a = agent;
	struct pollfd p = {.fd = a->from, .events = POLLIN};
	return poll(&p, 1, 0) > 0;
}

const char *agent_answer(struct agent *a)
{
	size_t n = 0;
	while (n < sizeof(a->line) - 1) {
		struct pollfd p = {.fd = a->from, .events = POLLIN};
		if (poll(&p, 1, ANSWER_MS) <= 0)
			die("no answer in time");
		if (read(a->from, a->line + n, 1) != 1 || a->line[n] == '\n')
			break;
		n++;
	}
	a->line[n] = '\0';
	return a->line;
}

const char *agent_do(struct agent *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	send_line(a, "", fmt, ap);
	va_end(ap);
	return agent_answer(a);
}

static const char *value_of(struct agent *a)
{
	if (strncmp(a->line, "ok ", 3) != 0) {
		fprintf(stderr, "agent: %s\n", a->line);
		abort();
	}
	const char *space = strchr(a->line + 3, ' ');
	return space ? space + 1 : "";
}

const char *agent_sql(struct agent *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	send_line(a, "sql ", fmt, ap);
	va_end(ap);
	agent_answer(a);
	return value_of(a);
}

int64_t agent_sql_beside(struct agent *a, struct follow *f, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	send_line(a, "sql ", fmt, ap);
	va_end(ap);
	if (!follow_until(f, agent_answered, a, ANSWER_MS * INT64_C(1000)))
		die("no answer beside the source");
	agent_answer(a);
	return strncmp(a->line, "ok ", 3) == 0 ? strtoll(a->line + 3, NULL, 10) : -1;
}

/* Other agents hold copies of our end of its pipe, so it is told to end. */
void agent_stop(struct agent *a)
{
	if (a->pid == 0)
		return;
	if (write(a->to, "quit\n", 5) != 5)
		kill(a->pid, SIGKILL);
	for (int i = 0; waitpid(a->pid, NULL, WNOHANG) == 0; i++) {
		usleep(1000);
		if (i == 5000)
			kill(a->pid, SIGKILL);
	}
	close(a->to);
	close(a->from);
	memset(a, 0, sizeof(*a));
}

void agent_kill(struct agent *a)
{
	if (a->pid != 0)
		kill(a->pid, SIGKILL);
	agent_stop(a);
}
