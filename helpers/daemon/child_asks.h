/*
 * What a worker is asked (sync, decide), until it answers. Inner part of child.c; the questions
 * themselves are in child.h.
 *
 * A worker that starts, or starts anew with other settings, is asked once it runs: until then the
 * message is held.
 */
#ifndef DAEMON_CHILD_ASKS_H
#define DAEMON_CHILD_ASKS_H

#include "daemon/child.h"

/* It runs: says what was held. What can't be said now ends with the process, or with its time. */
void child_asks_say(struct child *c);

/* The answer to question `id`; an id that nobody waits for is passed over. */
void child_asks_answer(struct child *c, uint64_t id, const struct err *result);

/* Ends those that its process was asked; with `held` those, too, that wait for the next one. */
void child_asks_fail(struct child *c, bool held, const char *why);

/* Ends those whose time is over. */
void child_asks_expire(struct child *c, int64_t now_us);

/* When the next one's time is over. */
void child_asks_prepare(const struct child *c, struct pollset *p);

#endif
