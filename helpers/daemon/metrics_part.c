#include "daemon/metrics_part.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define KINDS_MAX 8

/* ---- collecting ---- */

static uint64_t resident_bytes(void)
{
	unsigned long long all = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%llu %llu", &all, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t us_of(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

static void collect_process(struct metrics_process *p, int64_t started_ms)
{
	struct rusage u;
	p->started_ms = started_ms;
	p->resident_bytes = resident_bytes();
	if (getrusage(RUSAGE_SELF, &u) == 0)
		p->cpu_us = us_of(&u.ru_utime) + us_of(&u.ru_stime);
}

static int collect_operations(struct metrics_part *p, struct err *e)
{
	p->operations = calloc(KINDS_MAX, sizeof(*p->operations));
	if (!p->operations)
		return err_nomem(e, "collecting metrics");
	for (size_t kind = 0; store_kind(kind) && p->n_operations < KINDS_MAX; kind++) {
		struct metrics_operations *o = &p->operations[p->n_operations];
		bool any = false;
		for (int op = 0; op < STORE_OPERATIONS; op++)
			any |= store_get_total(kind, (enum store_operation)op, &o->of[op]);
		snprintf(o->kind, sizeof(o->kind), "%s", store_kind(kind));
		p->n_operations += any;
	}
	return ERR_OK;
}

static void fill_status(struct metrics_database *d, const struct replicator_status *st)
{
	int64_t lag = st->lag_since_ms ? clock_wall_ms() - st->lag_since_ms : 0;
	d->state = st->state;
	d->lag_ms = lag > 0 ? lag : 0;
	d->db_bytes = st->db_bytes;
	d->wal_bytes = st->wal_bytes;
	d->txid = st->txid;
	d->pending_bytes = st->pending_bytes;
	d->pending_transactions = st->pending_transactions;
	d->uploads = st->uploads;
	d->retries = st->requests.retries;
	d->replica_files = st->replica_files;
	d->replica_bytes = st->replica_bytes;
	d->requests[STORE_OPERATION_PUT] = st->requests.put;
	d->requests[STORE_OPERATION_GET] = st->requests.get;
	d->requests[STORE_OPERATION_HEAD] = st->requests.head;
	d->requests[STORE_OPERATION_LIST] = st->requests.list;
	d->requests[STORE_OPERATION_DELETE] = st->requests.del;
	d->weak_fencing = st->weak_fencing;
	d->upkeep_failing = st->upkeep_error[0] != '\0';
	d->upload_ms = st->last_upload_ms;
	d->snapshot_ms = st->snapshot_ms;
	d->error_ms = st->last_error_ms;
}

static void fill_measures(struct metrics_database *d, const struct replicator_measures *m)
{
	d->disk_full = m->disk_full;
	d->success_ms = m->confirmed_ms > d->upload_ms ? m->confirmed_ms : d->upload_ms;
	d->source = m->source;
	d->turns = m->turns;
	d->l0 = m->l0;
}

static int collect_database(struct metrics_database *d, struct schedule *s, size_t i,
	metrics_name_fn *name, void *ctx, struct err *e)
{
	struct replicator_status st;
	struct replicator_measures m;
	const char *replica = name ? name(ctx, schedule_id(s, i)) : NULL;
	schedule_status(s, i, &st);
	schedule_measure(s, i, &m);
	d->db = strdup(schedule_database(s, i));
	d->replica = strdup(replica ? replica : m.kind);
	fill_status(d, &st);
	fill_measures(d, &m);
	return d->db && d->replica ? ERR_OK : err_nomem(e, "collecting metrics");
}

int metrics_part_collect(struct metrics_part *p, struct schedule *s, metrics_name_fn *name,
	void *ctx, int64_t started_ms, struct err *e)
{
	*p = (struct metrics_part){0};
	collect_process(&p->process, started_ms);
	int rc = collect_operations(p, e);
	p->databases = calloc(schedule_count(s) + 1, sizeof(*p->databases));
	if (!p->databases)
		return err_nomem(e, "collecting metrics");
	while (!rc && p->n_databases < schedule_count(s)) {
		size_t i = p->n_databases++;
		rc = collect_database(&p->databases[i], s, i, name, ctx, e);
	}
	return rc;
}

void metrics_part_free(struct metrics_part *p)
{
	for (size_t i = 0; i < p->n_databases; i++) {
		free(p->databases[i].db);
		free(p->databases[i].replica);
	}
	free(p->databases);
	free(p->operations);
	*p = (struct metrics_part){0};
}

/* ---- between processes ----
 *
 * The structs as they are, each database followed by its two texts with their NULs. */

struct head {
	struct metrics_process process;
	size_t n_operations, n_databases;
};

int metrics_part_encode(const struct metrics_part *p, struct buf *out)
{
	struct head h = {p->process, p->n_operations, p->n_databases};
	int rc = buf_append(out, &h, sizeof(h));
	if (!rc)
		rc = buf_append(out, p->operations, p->n_operations * sizeof(*p->operations));
	for (size_t i = 0; !rc && i < p->n_databases; i++) {
		const struct metrics_database *d = &p->databases[i];
		rc = buf_append(out, d, sizeof(*d));
		if (!rc)
			rc = buf_append(out, d->db, strlen(d->db) + 1);
		if (!rc)
			rc = buf_append(out, d->replica, strlen(d->replica) + 1);
	}
	return rc;
}

struct rest {
	const char *at;
	size_t n;
};

static bool take(struct rest *r, void *to, size_t n)
{
	if (n > r->n)
		return false;
	memcpy(to, r->at, n);
	r->at += n;
	r->n -= n;
	return true;
}

/* NULL: there is none, or out of memory. */
static char *take_text(struct rest *r)
{
	size_t n = strnlen(r->at, r->n);
	char *text = n < r->n ? strdup(r->at) : NULL;
	if (text) {
		r->at += n + 1;
		r->n -= n + 1;
	}
	return text;
}

static bool take_database(struct rest *r, struct metrics_database *d)
{
	bool whole = take(r, d, sizeof(*d));
	d->db = whole ? take_text(r) : NULL;
	d->replica = d->db ? take_text(r) : NULL;
	return d->replica != NULL;
}

int metrics_part_decode(struct metrics_part *p, const void *data, size_t n, struct err *e)
{
	struct rest r = {data, n};
	struct head h;
	*p = (struct metrics_part){0};
	if (!take(&r, &h, sizeof(h)) || h.n_operations > KINDS_MAX || h.n_databases > SCHEDULE_MAX)
		return err_set(e, ERR_DAMAGED, "another process's metrics can't be read");
	p->process = h.process;
	p->operations = calloc(KINDS_MAX, sizeof(*p->operations));
	p->databases = calloc(h.n_databases + 1, sizeof(*p->databases));
	if (!p->operations || !p->databases)
		return err_nomem(e, "collecting metrics");
	bool whole = take(&r, p->operations, h.n_operations * sizeof(*p->operations));
	p->n_operations = whole ? h.n_operations : 0;
	while (whole && p->n_databases < h.n_databases)
		whole = take_database(&r, &p->databases[p->n_databases++]);
	return whole && r.n == 0 ? ERR_OK
							 : err_set(e, ERR_DAMAGED, "another process's metrics can't be read");
}
