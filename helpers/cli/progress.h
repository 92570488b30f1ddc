/*
 * How far something has come: a bar that is drawn over itself where standard error is a terminal,
 * elsewhere (a log, ssh without a terminal) a line now and then.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PROGRESS_LINE_US (INT64_C(10) * 1000000)
#define PROGRESS_TEXT 96

struct progress { /* zeros to begin with */
	int64_t next_us;
	bool drawn;
};

/*
 * done of total: bytes, or what `unit` names (NULL: bytes). The bar goes to stderr at most five
 * times a second and at the end. Lines go to `lines` (NULL: none) each PROGRESS_LINE_US, so that
 * what is quick has none.
 */
void progress_show(
	struct progress *p, FILE *lines, uint64_t done, uint64_t total, const char *unit);

/* Takes the bar away, if one was drawn. */
void progress_end(struct progress *p);

/* "[======>     ]  52 % of 1200.0 MB", and without the bar. Return out. */
const char *progress_bar(uint64_t done, uint64_t total, const char *unit, char out[PROGRESS_TEXT]);
const char *progress_text(uint64_t done, uint64_t total, const char *unit, char out[PROGRESS_TEXT]);

#endif
