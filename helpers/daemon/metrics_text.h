/*
 * Metrics as text: Prometheus' format, version 0.0.4. docs/METRICS.md has all names.
 *
 *   # HELP litestream_txid The last transaction that is in the replica.
 *   # TYPE litestream_txid gauge
 *   litestream_txid{db="/data/app.db",replica="s3"} 42
 *
 * All samples of a name stand together. In a label's text '\', '"' and a line feed are escaped;
 * what is not UTF-8, which a path may hold, is written as \xNN (a server would refuse the whole
 * page).
 */
#ifndef DAEMON_METRICS_TEXT_H
#define DAEMON_METRICS_TEXT_H

#include "daemon/metrics_part.h"

#define METRICS_TEXT_MAX ((size_t)64 << 20)
#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* One process's, or what is known of it when it did not answer. */
struct metrics_source {
	const struct metrics_part *part; /* NULL: it did not answer */
	uint64_t restarts;
};

/* Appends a page. Where there is one source only, nothing is said of processes by their numbers.
 * ERR_NOMEM, ERR_FULL. */
int metrics_text(struct buf *out, const struct metrics_source *sources, size_t n);

/* Appends a label's text, without the quotes. */
int metrics_text_escape(struct buf *out, const char *text);

#endif
