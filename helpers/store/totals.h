/*
 * What all stores of one kind ("file", "s3") were asked in this process, whichever of them are
 * still open: for metrics. Every number only grows. What one store was asked: store_get_counts.
 */
#ifndef STORE_TOTALS_H
#define STORE_TOTALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum store_operation {
	STORE_OPERATION_PUT,
	STORE_OPERATION_GET,
	STORE_OPERATION_HEAD,
	STORE_OPERATION_LIST,
	STORE_OPERATION_DELETE,
	STORE_OPERATIONS,
};

/* How long an answer took: one count for each bound that it did not exceed first, and one for what
 * took longer than all of them. */
#define STORE_TIMES 9
extern const double store_times[STORE_TIMES]; /* seconds, ascending */

#define STORE_ERROR_CODES 27

struct store_total {
	uint64_t requests; /* retries too */
	uint64_t bytes;    /* sent with PUT and DELETE, received with GET and LIST */
	uint64_t us;       /* that those that ended took together */
	uint64_t took[STORE_TIMES + 1];
	uint64_t errors[STORE_ERROR_CODES];
};

const char *store_operation_name(enum store_operation op); /* "PUT" */

/* What an error is counted as: S3's word for it where it is one of those that are known, else our
 * own (err_name), else "other": a server can't make up new ones. NULL from STORE_ERROR_CODES on. */
const char *store_error_code(size_t i);

/* Kinds of stores: NULL from the last one on. Those that tests have are among them. */
const char *store_kind(size_t kind);

/* False: nothing was asked of that. */
bool store_get_total(size_t kind, enum store_operation op, struct store_total *out);

#endif
