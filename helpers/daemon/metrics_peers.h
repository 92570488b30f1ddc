/*
 * Several processes, one page: the first process asks the others for their parts.
 *
 * Of each there is a socket pair, over which goes the number of a question and back, and a file in
 * memory with the part that answers it. Both are made before the processes are and outlive each of
 * them: who is started again answers the latest question, and old answers are known by their
 * number.
 */
#ifndef DAEMON_METRICS_PEERS_H
#define DAEMON_METRICS_PEERS_H

#include "daemon/metrics_part.h"

#include <stdbool.h>

struct metrics_peers;

/* Before the processes are started. ERR_NOMEM, ERR_IO. */
int metrics_peers_new(struct metrics_peers **out, size_t n, struct err *e);
void metrics_peers_free(struct metrics_peers *p); /* NULL is fine; in each process */

size_t metrics_peers_count(const struct metrics_peers *p);

/* In process `index`, once at its start. */
void metrics_peers_started(struct metrics_peers *p, size_t index);
uint64_t metrics_peers_restarts(const struct metrics_peers *p, size_t index);

/* ---- in the first process ---- */

/* Asks all others; false for one that can't even be asked (it takes no questions any more). */
bool metrics_peers_ask(struct metrics_peers *p, size_t index, int64_t question);
/* Readable when an answer came. */
int metrics_peers_answer_fd(const struct metrics_peers *p, size_t index);
/* ERR_OK: the answer to this question, to be freed. ERR_AGAIN: not yet. ERR_DAMAGED, ERR_NOMEM. */
int metrics_peers_take(struct metrics_peers *p, size_t index, int64_t question,
	struct metrics_part *part, struct err *e);

/* ---- in another one ---- */

/* Readable when there is a question. */
int metrics_peers_question_fd(const struct metrics_peers *p, size_t index);
/* The latest question, 0 = none. */
int64_t metrics_peers_question(struct metrics_peers *p, size_t index);
/* Answers it. ERR_NOMEM, ERR_IO, ERR_FULL. */
int metrics_peers_answer(struct metrics_peers *p, size_t index, int64_t question,
	const struct metrics_part *part, struct err *e);

#endif
