#include "restore/header.h"

#include "base/thread.h"
#include "restore/fetch.h"

#include <inttypes.h>

int header_read(struct store *s, const struct ltx_file *f, struct ltx_header *h, struct err *e)
{
	char name[FETCH_NAME_SIZE];
	fetch_object_name(s, f, name);
	uint8_t head[LTX_HEADER_SIZE];
	if (f->size < sizeof(head))
		return err_set(e, ERR_DAMAGED, "%s/%s is truncated: %" PRIu64 " bytes are no LTX file",
			store_url(s), name, f->size);
	int rc = fetch_range(s, name, f->size, 0, head, sizeof(head), e);
	if (rc)
		return rc;
	if (ltx_header_decode(head, h, e))
		return err_wrap(e, "%s/%s", store_url(s), name);
	return ERR_OK;
}

struct stamp_job {
	struct store *store;
	const struct ltx_file *file;
	int64_t ms;
	struct err err;
};

static void stamp_one(void *arg)
{
	struct stamp_job *j = arg;
	struct ltx_header h;
	if (!header_read(j->store, j->file, &h, &j->err))
		j->ms = h.timestamp;
}

int header_stamps(
	void *ctx, const struct ltx_file *const *files, size_t n, int64_t *ms, struct err *e)
{
	struct stamp_job jobs[RESTORE_STAMPS] = {0};
	struct pool *pool = NULL;
	int rc = n > 1 ? pool_new(&pool, n, n, e) : ERR_OK;
	for (size_t i = 0; i < n && !rc; i++) {
		jobs[i] = (struct stamp_job){ctx, files[i], 0, ERR_INIT};
		if (pool)
			pool_run(pool, stamp_one, &jobs[i]);
		else
			stamp_one(&jobs[i]);
	}
	if (pool)
		pool_wait(pool);
	pool_free(pool);
	for (size_t i = 0; i < n && !rc; i++) {
		ms[i] = jobs[i].ms;
		rc = jobs[i].err.code;
		if (rc)
			*e = jobs[i].err;
	}
	return rc;
}
