/*
 * An app in a process of its own that does what the test says, one line at a time, and can be
 * stopped or killed inside SQLite (lib/pausevfs.h).
 *
 * Start agents before this process opens a database: they are forks. Lines that an agent
 * understands, and what it answers:
 *
 *   open PATH          ok, or err RC TEXT. The database is opened with a busy timeout of 5 s.
 *   close              ok
 *   timeout MS         ok
 *   sql TEXT           ok US VALUE (microseconds it took, first column of the last row), or
 *                      err RC TEXT
 *   pause POINT        ok; then, when SQLite gets there, the line "paused", until "go" is sent
 *   die POINT          ok; the process ends when SQLite gets there
 *   slow US            ok; every sync takes that much longer
 */
#ifndef TESTS_LIB_AGENT_H
#define TESTS_LIB_AGENT_H

#include "lib/follow.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct agent {
	pid_t pid;
	int to, from;
	char line[512]; /* the last answer */
};

void agent_start(struct agent *a);

/* Sends a line; waits for nothing. */
void agent_send(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Is an answer (or the end of the agent) waiting to be read? For follow_until. */
bool agent_answered(void *a);

/* The next answer; dies after 30 s. "" when the agent has ended. */
const char *agent_answer(struct agent *a);

/* Sends and returns the answer. */
const char *agent_do(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sends SQL and demands "ok"; the value. */
const char *agent_sql(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same while f takes its turns; the microseconds it took by the agent's clock, or -1 when the
 * answer was an error (a->line). */
int64_t agent_sql_beside(struct agent *a, struct follow *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

void agent_kill(struct agent *a); /* SIGKILL, waited for */
void agent_stop(struct agent *a); /* closes its database and ends; twice is fine */

#endif
