#include "restore/v3.h"

#include "base/log.h"
#include "restore/fetch.h"
#include "restore/v3apply.h"
#include "restore/verify.h"

#include <inttypes.h>
#include <string.h>

/* ---- the listing ---- */

static int add_object(void *ctx, const struct store_object *o, struct err *e)
{
	char name[V3_NAME_SIZE];
	struct v3_file f = {.size = o->size, .modified_ms = o->modified_ms};
	size_t n = strlen(o->name);
	/* Longer ones are somebody else's. */
	if (n + sizeof(V3_PREFIX) > sizeof(name))
		return ERR_OK;
	memcpy(name, V3_PREFIX, sizeof(V3_PREFIX) - 1);
	memcpy(name + sizeof(V3_PREFIX) - 1, o->name, n + 1);
	if (!v3_parse_name(name, &f))
		return ERR_OK;
	return v3_set_add(ctx, &f) ? err_nomem(e, "listing the replica") : ERR_OK;
}

int v3_list(struct store *s, struct v3_set *set, struct err *e)
{
	int rc = store_list(s, V3_PREFIX, NULL, 0, add_object, set, e);
	v3_set_sort(set);
	return rc;
}

/* ---- reading ---- */

struct run {
	struct store *store;
	const struct restore_options *options;
	struct restore_result *result;
	struct fetch *fetch;
	struct v3_stream *stream;
	struct v3_apply *apply;
	uint64_t bytes_done, bytes_total;
};

static ptrdiff_t read_object(void *ctx, void *p, size_t n, struct err *e)
{
	struct run *r = ctx;
	const struct restore_options *o = r->options;
	if (o->cancelled && __atomic_load_n(o->cancelled, __ATOMIC_RELAXED)) {
		err_set(e, ERR_CANCELLED, "the restore was stopped");
		return -1;
	}
	ptrdiff_t got = fetch_read(r->fetch, p, n, e);
	r->bytes_done += got > 0 ? (uint64_t)got : 0;
	if (got > 0 && o->progress)
		o->progress(o->progress_ctx, r->bytes_done, r->bytes_total);
	return got;
}

/* Says which object it is that something is wrong with. */
static int name_object(const struct run *r, const struct v3_file *f, struct err *e)
{
	char name[V3_NAME_SIZE];
	bool content = e->code == ERR_DAMAGED || e->code == ERR_UNSUPPORTED;
	if (v3_stream_read_failed(r->stream) || !content)
		return e->code;
	return err_wrap(e, "%s/%s", store_url(r->store), v3_format_name(f, name));
}

/* Segments of one WAL adjoin. */
static int check_place(const struct run *r, const struct v3_file *f, struct err *e)
{
	uint64_t at = v3_apply_offset(r->apply);
	struct v3_file expected = *f;
	char name[V3_NAME_SIZE], missing[V3_NAME_SIZE];
	expected.offset = at;
	v3_format_name(f, name);
	v3_format_name(&expected, missing);
	if (f->offset > at)
		return err_set(e, ERR_DAMAGED, "%s: a gap: %s is missing, the next one is %s",
			store_url(r->store), missing, name);
	if (f->offset < at)
		return err_set(e, ERR_DAMAGED,
			"%s/%s overlaps the segment before it, which reaches to byte %" PRIu64
			" of the WAL (two writers on one replica?)",
			store_url(r->store), name, at);
	return ERR_OK;
}

static int read_segment(struct run *r, size_t i, struct err *e)
{
	const struct v3_file *f = &r->result->plan.v3[i];
	int rc = ERR_OK;
	if (i == 1 || f[-1].index != f->index)
		v3_apply_wal(r->apply);
	rc = check_place(r, f, e);
	if (rc)
		return rc;
	rc = v3_apply_segment(r->apply, r->stream, e);
	bool last = i + 1 == r->result->plan.n_v3 || f[1].index != f->index;
	if (!rc && last)
		rc = v3_apply_wal_end(r->apply, e);
	return rc ? name_object(r, f, e) : ERR_OK;
}

static int read_all(struct run *r, struct err *e)
{
	const struct restore_plan *plan = &r->result->plan;
	int rc = ERR_OK;
	for (size_t i = 0; i < plan->n_v3 && !rc; i++) {
		v3_stream_begin(r->stream, read_object, r);
		if (i > 0)
			rc = read_segment(r, i, e);
		else if (v3_apply_snapshot(r->apply, r->stream, e))
			rc = name_object(r, &plan->v3[0], e);
		r->result->files++;
		if (!rc)
			fetch_next_file(r->fetch);
	}
	return rc;
}

static int begin(struct run *r, const struct output *output, struct err *e)
{
	const struct restore_plan *plan = &r->result->plan;
	const struct fetch_list list = {.v3 = plan->v3, .count = plan->n_v3};
	const struct fetch_limits limits = fetch_limits_for(r->store, r->options->parallelism);
	for (size_t i = 0; i < plan->n_v3; i++)
		r->bytes_total += plan->v3[i].size;
	int rc = v3_stream_new(&r->stream, e);
	if (!rc)
		rc = v3_apply_new(&r->apply, output->fd, output->path, &output->folder, e);
	if (!rc)
		rc = fetch_new(&r->fetch, r->store, &list, &limits, e);
	return rc;
}

int v3_restore(struct store *s, const struct restore_options *options, struct output *output,
	struct restore_result *result, struct err *e)
{
	struct run r = {.store = s, .options = options, .result = result};
	result->timestamp_ms = v3_plan_time(&result->plan);
	result->proof = RESTORE_NOT_PROVEN;
	int rc = begin(&r, output, e);
	if (!rc)
		rc = read_all(&r, e);
	if (!rc)
		rc = v3_apply_finish(r.apply, &result->page_size, &result->n_page, e);
	result->bytes = (uint64_t)result->n_page * result->page_size;
	if (!rc)
		rc = verify_database(output->fd, result->page_size, e);
	fetch_free(r.fetch);
	v3_apply_free(r.apply);
	v3_stream_free(r.stream);
	return rc;
}

int v3_look(struct store *s, const struct restore_plan *plan, struct err *e)
{
	char name[V3_NAME_SIZE];
	uint8_t head[V3_MAGIC_SIZE];
	const struct v3_file *f = &plan->v3[0];
	size_t n = f->size < sizeof(head) ? (size_t)f->size : sizeof(head);
	v3_format_name(f, name);
	int rc = fetch_range(s, name, f->size, 0, head, n, e);
	if (!rc && v3_check_magic(head, n, e))
		rc = err_wrap(e, "%s/%s", store_url(s), name);
	return rc;
}
