/* SIGINT and SIGTERM for commands that read a store: they end the requests and raise a flag. */
#ifndef CLI_STOP_H
#define CLI_STOP_H

#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * From now on a signal cancels `s` and sets the flag; a second one ends the program at once. Call
 * before other threads are started: signals are blocked in those that come.
 */
int stop_begin(struct store *s, struct err *e);

/* Set to 1 by the first signal. */
const int *stop_flag(void);

/* Waits so many ms, or for the first signal: true. Between stop_begin and stop_end; ctx is
 * nobody's.
 */
bool stop_wait(void *ctx, int64_t ms);

/* Must be called before the store is closed. What was blocked before is so again, and nothing else.
 */
void stop_end(void);

#endif
