#include "replicate/putltx.h"

#include "base/fs.h"
#include "format/ltxset.h"
#include "replicate/fence.h"
#include "replicate/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Files up to this size go in one request: some servers ignore the condition when a multipart
 * upload completes. */
#define ONE_PUT_MAX (UINT64_C(64) << 20)

struct putting {
	struct store *store;
	int level;
	const char *path;
	const struct frozen *file;
	char name[FENCE_NAME_SIZE];
};

/* F3: is what stands there what we put? */
static int look_at_it(const struct putting *p, struct err *e)
{
	bool same;
	int rc = fence_same_at(p->store, p->level, p->file, &same, e);
	if (rc == ERR_NOT_FOUND)
		return err_set(e, ERR_UNREACHABLE, "%s says that %s is there and that it is not",
			store_url(p->store), p->name);
	if (rc || same)
		return rc;
	return err_set(e, ERR_CONDITION,
		"%s/%s is there already, with other bytes than ours (%s): another program writes to this "
		"replica; nothing was overwritten",
		store_url(p->store), p->name, p->path);
}

/* *there: it needs no put. */
static int look_before(const struct putting *p, bool *there, struct err *e)
{
	struct store_object o;
	int rc = store_head(p->store, p->name, &o, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return ERR_OK;
	}
	*there = rc == ERR_OK;
	return rc ? rc : look_at_it(p, e);
}

bool put_ltx_in_parts(uint64_t size)
{
	return size > ONE_PUT_MAX;
}

static int put_body(
	const struct putting *p, int fd, bool only_if_absent, const char *state_dir, struct err *e)
{
	struct store_body body = {.fd = fd, .size = p->file->size};
	struct store_put_opts opts = {
		.only_if_absent = only_if_absent,
		.timestamp_ms = p->file->header.timestamp,
		.single = !put_ltx_in_parts(p->file->size),
	};
	struct resume resume;
	if (opts.single || !state_dir)
		return store_put(p->store, p->name, &body, &opts, e);
	int rc = resume_init(&resume, state_dir, p->store, p->level, p->file, e);
	if (rc)
		return rc;
	opts.resume = &resume.put;
	rc = store_put(p->store, p->name, &body, &opts, e);
	resume_free(&resume);
	return rc;
}

static int put_once(const struct putting *p, const struct put_ltx_how *how, struct err *e)
{
	int fd = fs_open(p->path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0)
		return err_errno(
			e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot open %s", p->path);
	int rc = put_body(p, fd, !how->unconditional, how->state_dir, e);
	fs_close(fd);
	return rc;
}

int put_ltx(struct store *s, int level, const char *path, struct put_ltx_how *how,
	struct frozen *out, struct err *e)
{
	struct putting p = {.store = s, .level = level, .path = path, .file = out};
	bool there = false;
	int rc = frozen_read(path, out, e);
	if (rc)
		return rc;
	fence_name(s, level, out->header.min_txid, out->header.max_txid, p.name);
	if (how->weak || how->unconditional)
		rc = look_before(&p, &there, e);
	if (rc || there)
		return rc;
	rc = put_once(&p, how, e);
	if (rc == ERR_CONDITION)
		return look_at_it(&p, e);
	if (rc == ERR_UNSUPPORTED && !how->unconditional) {
		how->unconditional = true;
		return put_ltx(s, level, path, how, out, e);
	}
	return rc;
}
