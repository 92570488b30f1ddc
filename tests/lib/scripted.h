/* tests/servers/scripted.py for C tests: answers from a script, and what it was asked. */
#ifndef TESTS_LIB_SCRIPTED_H
#define TESTS_LIB_SCRIPTED_H

#include "lib/server.h"

#include <stdbool.h>

struct scripted {
	int pid, port;
	char dir[SERVER_DIR_MAX];
};

/* Starts the server; with `tls` under a certificate that is signed by <dir>/tls/ca.pem. */
void scripted_start(struct scripted *s, bool tls);
void scripted_stop(struct scripted *s);

/* Answers from now on: a JSON list (single quotes may stand for double ones). Forgets what was
 * asked. */
void scripted_answers(struct scripted *s, const char *json);

/* How many requests came whole, and one of them (borrowed until the next call; fails the test when
 * there is none). */
size_t scripted_count(struct scripted *s);
const char *scripted_method(struct scripted *s, size_t i);
const char *scripted_path(struct scripted *s, size_t i);
const char *scripted_header(struct scripted *s, size_t i, const char *name); /* NULL = none */
const char *scripted_sha256(struct scripted *s, size_t i);

#endif
