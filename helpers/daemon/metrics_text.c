#include "daemon/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- small things ---- */

struct page {
	struct buf *out;
	const struct metrics_source *sources;
	size_t n;
	int rc; /* the first failure: nothing is written after it */
};

static void put(struct page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct page *p, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!p->rc)
		p->rc = buf_append(p->out, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* How many bytes the UTF-8 character (RFC 3629) at s has; 0: it is none. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 : 4;
	if (n == 1)
		return 1;
	if (*s < 0xc2 || *s > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than need be, of UTF-16's, above U+10FFFF. */
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
		(*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

int metrics_text_escape(struct buf *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text, *plain = s;
	int rc = ERR_OK;
	while (!rc && *s) {
		size_t n = utf8_length(s);
		if (n > 0 && !strchr("\n\\\"", *s)) {
			s += n;
			continue;
		}
		rc = buf_append(out, plain, (size_t)(s - plain));
		if (!rc && n == 0)
			rc = buf_printf(out, "\\\\x%02X", *s);
		else if (!rc)
			rc = buf_printf(out, "\\%c", *s == '\n' ? 'n' : *s);
		plain = ++s;
	}
	return rc ? rc : buf_append(out, plain, (size_t)(s - plain));
}

static void put_escaped(struct page *p, const char *text)
{
	if (!p->rc)
		p->rc = metrics_text_escape(p->out, text);
}

static void head(struct page *p, const char *name, const char *type, const char *help)
{
	put(p, "# HELP %s %s\n", name, help);
	put(p, "# TYPE %s %s\n", name, type);
}

static void put_us(struct page *p, uint64_t us)
{
	put(p, "%" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static void put_ms(struct page *p, int64_t ms)
{
	put(p, "%" PRId64 ".%03" PRId64 "\n", ms / 1000, ms % 1000);
}

/* name{db="…",replica="…" */
static void begin_sample(struct page *p, const char *name, const struct metrics_database *d)
{
	put(p, "%s{db=\"", name);
	put_escaped(p, d->db);
	put(p, "\",replica=\"");
	put_escaped(p, d->replica);
	put(p, "\"");
}

static void each_database(struct page *p, const char *name,
	void (*fn)(struct page *p, const char *name, const struct metrics_database *d, const void *ctx),
	const void *ctx)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct metrics_part *part = p->sources[i].part;
		for (size_t k = 0; part && k < part->n_databases; k++)
			fn(p, name, &part->databases[k], ctx);
	}
}

/* ---- one number of a database ---- */

enum unit { NUMBER, SECONDS, AGE, TIME };

#define AT(member) offsetof(struct metrics_database, member)

static const struct plain {
	const char *name, *type;
	enum unit unit;
	size_t offset;
	const char *more; /* labels besides, or NULL */
	const char *help;
} plains[] = {
	{"litestream_db_size", "gauge", NUMBER, AT(db_bytes), NULL, "The database's size, in bytes."},
	{"litestream_wal_size", "gauge", NUMBER, AT(wal_bytes), NULL,
		"What the WAL holds that is in use, in bytes."},
	{"litestream_total_wal_bytes", "counter", NUMBER, AT(source.bytes), NULL,
		"Bytes of the WAL that were taken."},
	{"litestream_txid", "gauge", NUMBER, AT(txid), NULL,
		"The last transaction that is in the replica."},
	{"litestream_sync_count", "counter", NUMBER, AT(turns.n), NULL,
		"How often new commits were taken from the WAL, or could not be."},
	{"litestream_sync_error_count", "counter", NUMBER, AT(turns.failed), NULL,
		"How often that failed."},
	{"litestream_sync_seconds", "counter", SECONDS, AT(turns.us), NULL, "Time that it took."},
	{"litestream_disk_full", "gauge", NUMBER, AT(disk_full), NULL,
		"Is replication held up by a full disk here?"},
	{"litestream_checkpoint_count", "counter", NUMBER, AT(source.passives), "mode=\"PASSIVE\"",
		"Our own checkpoints."},
	{"litestream_checkpoint_error_count", "counter", NUMBER, AT(source.passives_lost),
		"mode=\"PASSIVE\"", "Those of them that failed."},
	{"litestream_checkpoint_seconds", "counter", SECONDS, AT(source.passives_us),
		"mode=\"PASSIVE\"", "Time that they took."},
	{"litestream_barrier_count", "counter", NUMBER, AT(source.barriers), NULL,
		"How often writers were held for a moment to let the WAL shrink."},
	{"litestream_replica_lag_seconds", "gauge", AGE, AT(lag_ms), NULL,
		"Age of the oldest commit that may not be in the replica; 0 when all are."},
	{"litestream_replica_last_success_timestamp_seconds", "gauge", TIME, AT(success_ms), NULL,
		"When the store last took an upload or showed the replica to be ours."},
	{"litestream_replica_last_upload_timestamp_seconds", "gauge", TIME, AT(upload_ms), NULL,
		"When the last upload was in the store, since the start."},
	{"litestream_replica_last_snapshot_timestamp_seconds", "gauge", TIME, AT(snapshot_ms), NULL,
		"The time of which the newest snapshot is."},
	{"litestream_replica_last_error_timestamp_seconds", "gauge", TIME, AT(error_ms), NULL,
		"When anything last went wrong, since the start."},
	{"litestream_replica_pending_bytes", "gauge", NUMBER, AT(pending_bytes), NULL,
		"What waits for its upload, in bytes."},
	{"litestream_replica_pending_transactions", "gauge", NUMBER, AT(pending_transactions), NULL,
		"Commits that wait, as far as they were followed one by one."},
	{"litestream_replica_uploads_total", "counter", NUMBER, AT(uploads), NULL,
		"Uploads of new commits."},
	{"litestream_replica_retries_total", "counter", NUMBER, AT(retries), NULL,
		"Requests that repeated one that had failed."},
	{"litestream_replica_files", "gauge", NUMBER, AT(replica_files), NULL,
		"LTX files in the replica."},
	{"litestream_replica_bytes", "gauge", NUMBER, AT(replica_bytes), NULL,
		"What they take, in bytes."},
	{"litestream_replica_upkeep_failing", "gauge", NUMBER, AT(upkeep_failing), NULL,
		"Is anything wrong with compaction, snapshots or retention?"},
	{"litestream_replica_weak_fencing", "gauge", NUMBER, AT(weak_fencing), NULL,
		"Does the store overwrite what it was told not to?"},
};

static void put_plain(
	struct page *p, const char *name, const struct metrics_database *d, const void *ctx)
{
	const struct plain *m = ctx;
	uint64_t value;
	memcpy(&value, (const char *)d + m->offset, sizeof(value));
	if (m->unit == TIME && !value)
		return; /* never */
	begin_sample(p, name, d);
	put(p, "%s%s} ", m->more ? "," : "", m->more ? m->more : "");
	if (m->unit == NUMBER)
		put(p, "%" PRIu64 "\n", value);
	else if (m->unit == SECONDS)
		put_us(p, value);
	else
		put_ms(p, (int64_t)value);
}

/* ---- several of a database ---- */

static void put_states(
	struct page *p, const char *name, const struct metrics_database *d, const void *ctx)
{
	(void)ctx;
	for (int s = REPLICATOR_STARTING; s <= REPLICATOR_UNUSABLE; s++) {
		begin_sample(p, name, d);
		put(p, ",state=\"%s\"} %d\n", replicator_state_name((enum replicator_state)s),
			d->state == (enum replicator_state)s);
	}
}

static void put_requests(
	struct page *p, const char *name, const struct metrics_database *d, const void *ctx)
{
	(void)ctx;
	for (int op = 0; op < STORE_OPERATIONS; op++) {
		begin_sample(p, name, d);
		put(p, ",operation=\"%s\"} %" PRIu64 "\n", store_operation_name((enum store_operation)op),
			d->requests[op]);
	}
}

static void put_l0(
	struct page *p, const char *name, const struct metrics_database *d, const void *ctx)
{
	const struct {
		const char *status;
		uint64_t n;
	} all[] = {{"eligible", d->l0.eligible}, {"not_compacted", d->l0.not_compacted},
		{"too_recent", d->l0.too_recent}};
	(void)ctx;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		begin_sample(p, name, d);
		put(p, ",status=\"%s\"} %" PRIu64 "\n", all[i].status, all[i].n);
	}
}

static void put_databases(struct page *p)
{
	for (size_t i = 0; i < sizeof(plains) / sizeof(plains[0]); i++) {
		head(p, plains[i].name, plains[i].type, plains[i].help);
		each_database(p, plains[i].name, put_plain, &plains[i]);
	}
	head(p, "litestream_replica_state", "gauge", "1 for the state that it is in.");
	each_database(p, "litestream_replica_state", put_states, NULL);
	head(p, "litestream_replica_requests_total", "counter",
		"Requests to the store by kind, repeated ones too.");
	each_database(p, "litestream_replica_requests_total", put_requests, NULL);
	head(p, "litestream_l0_retention_files_total", "gauge", "L0 files by what keeps them.");
	each_database(p, "litestream_l0_retention_files_total", put_l0, NULL);
}

/* ---- stores ---- */

/* name{replica_type="s3",operation="PUT" and, where there are several, the process */
static void begin_operation(
	struct page *p, const char *name, size_t process, const char *kind, int op)
{
	put(p, "%s{replica_type=\"%s\",operation=\"%s\"", name, kind,
		store_operation_name((enum store_operation)op));
	if (p->n > 1)
		put(p, ",process=\"%zu\"", process + 1);
}

typedef void operation_fn(
	struct page *p, const char *name, size_t process, const struct metrics_operations *o, int op);

static void each_operation(struct page *p, const char *name, operation_fn *fn)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct metrics_part *part = p->sources[i].part;
		for (size_t k = 0; part && k < part->n_operations; k++)
			for (int op = 0; op < STORE_OPERATIONS; op++)
				fn(p, name, i, &part->operations[k], op);
	}
}

static void put_total(
	struct page *p, const char *name, size_t process, const struct metrics_operations *o, int op)
{
	begin_operation(p, name, process, o->kind, op);
	put(p, "} %" PRIu64 "\n", o->of[op].requests);
}

static void put_bytes(
	struct page *p, const char *name, size_t process, const struct metrics_operations *o, int op)
{
	if (op == STORE_OPERATION_HEAD)
		return;
	begin_operation(p, name, process, o->kind, op);
	put(p, "} %" PRIu64 "\n", o->of[op].bytes);
}

static void put_histogram(
	struct page *p, const char *name, size_t process, const struct metrics_operations *o, int op)
{
	char series[80];
	uint64_t sum = 0;
	snprintf(series, sizeof(series), "%s_bucket", name);
	for (int i = 0; i <= STORE_TIMES; i++) {
		sum += o->of[op].took[i];
		begin_operation(p, series, process, o->kind, op);
		if (i < STORE_TIMES)
			put(p, ",le=\"%g\"} %" PRIu64 "\n", store_times[i], sum);
		else
			put(p, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
	}
	snprintf(series, sizeof(series), "%s_sum", name);
	begin_operation(p, series, process, o->kind, op);
	put(p, "} ");
	put_us(p, o->of[op].us);
	snprintf(series, sizeof(series), "%s_count", name);
	begin_operation(p, series, process, o->kind, op);
	put(p, "} %" PRIu64 "\n", sum);
}

static void put_errors(
	struct page *p, const char *name, size_t process, const struct metrics_operations *o, int op)
{
	for (size_t i = 0; i < STORE_ERROR_CODES; i++) {
		if (!o->of[op].errors[i])
			continue;
		begin_operation(p, name, process, o->kind, op);
		put(p, ",code=\"%s\"} %" PRIu64 "\n", store_error_code(i), o->of[op].errors[i]);
	}
}

static void put_stores(struct page *p)
{
	static const struct {
		const char *name, *type, *help;
		operation_fn *fn;
	} all[] = {
		{"litestream_replica_operation_total", "counter",
			"Requests to stores of a type, repeated ones too.", put_total},
		{"litestream_replica_operation_bytes", "counter",
			"Bytes sent with PUT and DELETE, received with GET and LIST.", put_bytes},
		{"litestream_replica_operation_duration_seconds", "histogram", "How long requests took.",
			put_histogram},
		{"litestream_replica_operation_errors_total", "counter",
			"Requests that failed, by the store's word for it.", put_errors},
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		head(p, all[i].name, all[i].type, all[i].help);
		each_operation(p, all[i].name, all[i].fn);
	}
}

/* ---- processes ---- */

static void begin_process(struct page *p, const char *name, size_t process)
{
	if (p->n > 1)
		put(p, "%s{process=\"%zu\"} ", name, process + 1);
	else
		put(p, "%s ", name);
}

static void put_running(struct page *p)
{
	head(p, "litestream_process_up", "gauge", "Did the process of these replicas answer?");
	for (size_t i = 0; i < p->n; i++) {
		begin_process(p, "litestream_process_up", i);
		put(p, "%d\n", p->sources[i].part != NULL);
	}
	head(p, "litestream_process_restarts_total", "counter",
		"How often it was started again after it had died.");
	for (size_t i = 0; i < p->n; i++) {
		begin_process(p, "litestream_process_restarts_total", i);
		put(p, "%" PRIu64 "\n", p->sources[i].restarts);
	}
}

static void put_started(struct page *p, const struct metrics_process *m)
{
	put_ms(p, m->started_ms);
}

static void put_cpu(struct page *p, const struct metrics_process *m)
{
	put_us(p, m->cpu_us);
}

static void put_resident(struct page *p, const struct metrics_process *m)
{
	put(p, "%" PRIu64 "\n", m->resident_bytes);
}

static void put_processes(struct page *p)
{
	static const struct {
		const char *name, *type, *help;
		void (*fn)(struct page *p, const struct metrics_process *m);
	} all[] = {
		{"process_start_time_seconds", "gauge", "When the process was started.", put_started},
		{"process_cpu_seconds_total", "counter", "Processor time that it took.", put_cpu},
		{"process_resident_memory_bytes", "gauge", "Memory that it has in use.", put_resident},
	};
	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
		head(p, all[k].name, all[k].type, all[k].help);
		for (size_t i = 0; i < p->n; i++) {
			if (!p->sources[i].part)
				continue;
			begin_process(p, all[k].name, i);
			all[k].fn(p, &p->sources[i].part->process);
		}
	}
}

int metrics_text(struct buf *out, const struct metrics_source *sources, size_t n)
{
	struct page p = {out, sources, n, ERR_OK};
	head(&p, "litestream_build_info", "gauge", "1; the label is the version.");
	put(&p, "litestream_build_info{version=\"%s\"} 1\n", LITESTREAM_VERSION);
	if (n > 1)
		put_running(&p);
	put_processes(&p);
	put_databases(&p);
	put_stores(&p);
	return p.rc;
}
