/*
 * What one process has for its metrics: itself, its stores, its databases. Where several processes
 * replicate each collects its part, and the first one puts them together (metrics_peers.h).
 */
#ifndef DAEMON_METRICS_PART_H
#define DAEMON_METRICS_PART_H

#include "base/buf.h"
#include "base/err.h"
#include "daemon/schedule.h"
#include "store/totals.h"

#include <stddef.h>
#include <stdint.h>

#define METRICS_PART_MAX ((size_t)32 << 20) /* bytes, encoded */

struct metrics_process {
	int64_t started_ms; /* wall time */
	uint64_t cpu_us, resident_bytes;
};

/* Of a kind of store that was asked anything. */
struct metrics_operations {
	char kind[8]; /* "s3" */
	struct store_total of[STORE_OPERATIONS];
};

struct metrics_database {
	char *db;      /* path */
	char *replica; /* name */
	enum replicator_state state;
	uint64_t db_bytes, wal_bytes, txid, pending_bytes, pending_transactions, uploads, retries;
	uint64_t replica_files, replica_bytes;
	uint64_t requests[STORE_OPERATIONS];
	uint64_t weak_fencing, upkeep_failing, disk_full; /* 0 or 1 */
	int64_t lag_ms;                                   /* age, not a time */
	int64_t upload_ms, success_ms, snapshot_ms;       /* wall times; 0 = none */
	int64_t error_ms;
	struct source_counts source;
	struct replicator_turns turns;
	struct inventory_l0 l0;
};

struct metrics_part {
	struct metrics_process process;
	struct metrics_operations *operations;
	size_t n_operations;
	struct metrics_database *databases;
	size_t n_databases;
};

/* The name of a database's replica by the database's id, or NULL: then it is called by its type. */
typedef const char *metrics_name_fn(void *ctx, const char *id);

/* From the schedule's thread. ERR_NOMEM. metrics_part_free in every case. */
int metrics_part_collect(struct metrics_part *p, struct schedule *s, metrics_name_fn *name,
	void *ctx, int64_t started_ms, struct err *e);
void metrics_part_free(struct metrics_part *p); /* an all-zero one is fine */

/* As bytes for another process of the same program, and back: ERR_DAMAGED for other bytes. */
int metrics_part_encode(const struct metrics_part *p, struct buf *out);
int metrics_part_decode(struct metrics_part *p, const void *data, size_t n, struct err *e);

#endif
