/* Answers of a control socket as text for people. Control characters in them become '?': some of
 * it was written by others. */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Any text, made harmless; up to four of one printf. */
const char *show_clean(const char *text);
/* One database of the answer to /status. */
void show_database(const json_t *d);
void show_info(const json_t *answer);
void show_list(const json_t *answer);
void show_status(const json_t *answer); /* of the daemon */
/* A line of a job's stream: "restore", "verify" or "purge". Logs, results and lines of progress go
 * to `out` (progress.h). */
void show_job_line(const json_t *line, const char *verb, FILE *out);
void show_line(const char *text);  /* any text, as one line */
void show_error(const char *text); /* the same on stderr, behind "Error: " */

#endif
