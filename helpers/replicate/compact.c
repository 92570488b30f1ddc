#include "replicate/compact.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "format/ltx_merge.h"
#include "format/ltxset.h"
#include "replicate/compact_files.h"
#include "replicate/fence.h"
#include "replicate/ltxfile.h"
#include "replicate/putltx.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_MIN (UINT64_C(64) << 20)
#define LABEL_SIZE (FENCE_NAME_SIZE + 16)

struct input {
	struct ltxfile *file;
	bool fetched;
	char label[LABEL_SIZE];
};

struct job {
	struct compact_env *env;
	int level;
	const struct replica_file *files;
	size_t n;
	struct input inputs[COMPACT_MAX_INPUTS];
	char *path, *tmp; /* of the output */
	struct compact_result *out;
};

static int fault(struct job *j, enum compact_fault what, size_t culprit, int code)
{
	j->out->fault = what;
	j->out->culprit = culprit;
	return code;
}

/* ---- which inputs ---- */

static int check_inputs(const struct job *j, struct err *e)
{
	if (j->level < 1 || j->level >= LTX_SNAPSHOT_LEVEL || j->n == 0)
		return err_set(e, ERR_FAIL, "no level %d can be made of %zu files", j->level, j->n);
	for (size_t i = 0; i < j->n; i++) {
		const struct replica_file *f = &j->files[i];
		if (f->level != j->level - 1 || (i > 0 && f->min_txid != f[-1].max_txid + 1))
			return err_set(e, ERR_FAIL,
				"L%d from TXID %016" PRIx64 " can't be input %zu of a file of level %d", f->level,
				f->min_txid, i, j->level);
	}
	return ERR_OK;
}

/* As many as may be open and on disk at once. */
static size_t choose(const struct job *j)
{
	uint64_t space = j->env->copies_max > SPACE_MIN ? j->env->copies_max : SPACE_MIN;
	uint64_t bytes = j->files[0].size;
	size_t n = 1;
	while (n < j->n && n < COMPACT_MAX_INPUTS && j->files[n].size <= space &&
		   bytes + j->files[n].size <= space)
		bytes += j->files[n++].size;
	return n;
}

static int name_output(struct job *j, struct err *e)
{
	free(j->path);
	free(j->tmp);
	j->tmp = NULL;
	j->path = compact_path(
		j->env->state_dir, j->level, j->files[0].min_txid, j->files[j->n - 1].max_txid);
	if (!j->path || asprintf(&j->tmp, "%s.tmp", j->path) < 0) {
		j->tmp = NULL;
		return err_nomem(e, "compacting");
	}
	return ERR_OK;
}

/* ---- getting at an input ---- */

struct fetching {
	struct ltxfile *file;
	uint64_t left;
};

static int take_bytes(void *ctx, const void *p, size_t n, struct err *e)
{
	struct fetching *f = ctx;
	if (n > f->left)
		return err_set(e, ERR_DAMAGED, "the object is larger than it was listed");
	f->left -= n;
	return ltxfile_write(f->file, p, n, e);
}

/* The name of the object, for messages and the store. */
static void object_name(const struct job *j, size_t i, char name[FENCE_NAME_SIZE])
{
	const struct replica_file *f = &j->files[i];
	fence_name(j->env->store, f->level, f->min_txid, f->max_txid, name);
}

static int get_object(struct job *j, size_t i, struct ltxfile *to, struct err *e)
{
	char name[FENCE_NAME_SIZE];
	struct fetching f = {.file = to, .left = j->files[i].size};
	object_name(j, i, name);
	int rc = store_get(j->env->store, name, 0, 0, take_bytes, &f, e);
	if (!rc && f.left)
		rc = err_set(e, ERR_DAMAGED, "the object is smaller than it was listed");
	if (rc == ERR_DAMAGED || rc == ERR_NOT_FOUND) {
		fault(j, COMPACT_LOST, i, rc);
		err_wrap(e, "%s/%s", store_url(j->env->store), name);
	}
	return rc;
}

/* Into a file without a name, so that nothing stays behind. (Each has one of its own until then:
 * where the name can't be taken away the next one must not be written into the same file.) */
static int fetch(struct job *j, size_t i, struct err *e)
{
	struct input *in = &j->inputs[i];
	char *path = NULL;
	if (asprintf(&path, "%s.input-%zu", j->tmp, i) < 0)
		return err_nomem(e, "fetching a file to compact");
	int rc = ltxfile_create(&in->file, path, e);
	if (!rc)
		fs_unlink(path);
	free(path);
	if (!rc)
		rc = get_object(j, i, in->file, e);
	if (!rc)
		rc = ltxfile_rewind(in->file, e);
	in->fetched = true;
	object_name(j, i, in->label);
	return rc;
}

static void close_input(struct input *in)
{
	ltxfile_close(in->file);
	in->file = NULL;
	in->fetched = false;
}

/* Our copy of an input, where there is one and it is what the replica has. An open file stays what
 * it is, whoever deletes its name. */
static int open_copy(struct job *j, size_t i, struct err *e)
{
	const struct replica_file *f = &j->files[i];
	struct input *in = &j->inputs[i];
	uint64_t size = 0;
	char *path = compact_path(j->env->state_dir, f->level, f->min_txid, f->max_txid);
	if (!path)
		return err_nomem(e, "compacting");
	struct err why = ERR_INIT;
	int rc = ltxfile_open(&in->file, path, &why);
	if (!rc)
		rc = ltxfile_size(in->file, &size, &why);
	if (rc == ERR_NOMEM)
		*e = why;
	if (rc || size != f->size)
		close_input(in);
	snprintf(in->label, sizeof(in->label), "our copy of L%d %s", f->level, fs_basename(path));
	free(path);
	return rc == ERR_NOMEM ? rc : ERR_OK;
}

static int open_input(struct job *j, size_t i, struct err *e)
{
	int rc = open_copy(j, i, e);
	return rc || j->inputs[i].file ? rc : fetch(j, i, e);
}

static void close_inputs(struct job *j)
{
	for (size_t i = 0; i < COMPACT_MAX_INPUTS; i++)
		close_input(&j->inputs[i]);
}

/* ---- the output ---- */

static int merge_into(
	struct job *j, struct ltxfile *to, struct ltx_merge_result *merged, struct err *e)
{
	struct ltx_merge_input in[COMPACT_MAX_INPUTS];
	for (size_t i = 0; i < j->n; i++)
		in[i] = (struct ltx_merge_input){
			.name = j->inputs[i].label,
			.min_txid = j->files[i].min_txid,
			.max_txid = j->files[i].max_txid,
			.read = ltxfile_read,
			.ctx = j->inputs[i].file,
		};
	int rc = ltx_merge(in, j->n, ltxfile_write_gently, to, j->env->cancelled, merged, e);
	return rc ? rc : ltxfile_flush(to, 1, e);
}

static int merge_once(struct job *j, struct ltx_merge_result *merged, struct err *e)
{
	struct ltxfile *to = NULL;
	*merged = (struct ltx_merge_result){0}; /* nobody's fault when it does not even begin */
	int rc = ltxfile_create(&to, j->tmp, e);
	if (!rc)
		rc = merge_into(j, to, merged, e);
	ltxfile_close(to);
	return rc;
}

/* Merging input `culprit` failed. ERR_OK: something was done about it, merge again. */
static int mend(struct job *j, const struct ltx_merge_result *merged, int code, struct err *e)
{
	size_t i = merged->culprit;
	struct input *in = &j->inputs[i];
	if (code == ERR_NOMEM || code == ERR_CANCELLED)
		return code;
	if (merged->fault == LTX_MERGE_OTHER_SIZE) {
		for (size_t k = i; k < j->n; k++)
			close_input(&j->inputs[k]);
		j->n = i;
		return name_output(j, e);
	}
	if (merged->fault == LTX_MERGE_NO_FIT)
		return fault(j, COMPACT_NO_FIT, i, code);
	if (merged->fault != LTX_MERGE_BAD_FILE)
		return code;
	if (in->fetched)
		return code == ERR_DAMAGED ? fault(j, COMPACT_LOST, i, code) : code;
	log_debug("%s: it is fetched", e->text);
	err_clear(e);
	close_input(in);
	return fetch(j, i, e);
}

/* Reading from the start again after a failure. */
static int rewind_inputs(struct job *j, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < j->n; i++)
		rc = ltxfile_rewind(j->inputs[i].file, e);
	return rc;
}

/* Each round fetches an input or leaves some out: they end. */
static int merge(struct job *j, struct err *e)
{
	struct ltx_merge_result merged;
	int rc = ERR_OK;
	for (size_t i = 0; !rc && i < j->n; i++)
		rc = open_input(j, i, e);
	while (!rc) {
		rc = merge_once(j, &merged, e);
		if (!rc)
			break;
		fs_unlink(j->tmp);
		rc = mend(j, &merged, rc, e);
		if (!rc)
			rc = rewind_inputs(j, e);
	}
	close_inputs(j);
	return rc;
}

/* What was written is read back before it gets a name to be trusted. */
static int finish(struct job *j, struct err *e)
{
	struct ltx_header h;
	int rc = ltxfile_verify(j->tmp, j->env->cancelled, &h, e);
	if (rc == ERR_DAMAGED) /* the disk's doing, not the replica's */
		rc = err_set(e, ERR_IO, "cannot read back what was written: %s", e->text);
	if (!rc)
		rc = ltxfile_publish(j->tmp, j->path, e);
	return rc;
}

static int make(struct job *j, struct err *e)
{
	char *folder = compact_folder(j->env->state_dir, j->level);
	if (!folder)
		return err_nomem(e, "compacting");
	int rc =
		fs_mkdirs(folder, 0700) ? err_errno(e, ERR_IO, errno, "cannot create %s", folder) : ERR_OK;
	free(folder);
	j->n = choose(j);
	if (!rc)
		rc = name_output(j, e);
	if (!rc)
		rc = merge(j, e);
	if (!rc)
		rc = finish(j, e);
	if (rc && j->tmp)
		fs_unlink(j->tmp);
	return rc;
}

/* A finished output that an earlier call left: *found, and j->n are the inputs that it holds. */
static int find_finished(struct job *j, bool *found, struct err *e)
{
	struct ltx_header h;
	struct err why = ERR_INIT;
	size_t n = compact_find(j->env->state_dir, j->level, j->files, j->n), all = j->n;
	*found = false;
	if (n == 0)
		return ERR_OK;
	j->n = n;
	int rc = name_output(j, e);
	if (rc)
		return rc;
	rc = ltxfile_verify(j->path, j->env->cancelled, &h, &why);
	*found = rc == ERR_OK && h.min_txid == j->files[0].min_txid &&
			 h.max_txid == j->files[n - 1].max_txid;
	if (rc == ERR_NOMEM || rc == ERR_CANCELLED) {
		*e = why;
		return rc;
	}
	if (!*found) {
		log_warn("%s can't be used and is made again: %s", j->path, why.text);
		fs_unlink(j->path);
		j->n = all;
	}
	return ERR_OK;
}

/* ---- the replica ---- */

static int put(struct job *j, struct err *e)
{
	struct frozen f;
	struct compact_env *env = j->env;
	struct put_ltx_how how = {
		.weak = env->weak,
		.unconditional = env->unconditional,
		.state_dir = env->state_dir,
	};
	int rc = env->gate ? env->gate(env->gate_ctx, e) : ERR_OK;
	if (!rc)
		rc = put_ltx(env->store, j->level, j->path, &how, &f, e);
	env->unconditional = how.unconditional;
	if (rc == ERR_CONDITION)
		fault(j, COMPACT_TAKEN, 0, rc);
	if (rc && rc != ERR_CONDITION)
		return rc;
	j->out->used = j->n;
	j->out->file = (struct replica_file){
		.level = j->level,
		.min_txid = f.header.min_txid,
		.max_txid = f.header.max_txid,
		.size = f.size,
		.timestamp_ms = f.header.timestamp,
		.uploaded_ms = clock_wall_ms(),
	};
	return rc;
}

/* Copies that nothing is made of any more. Those of L0 are another thread's. */
static void tidy(struct job *j)
{
	if (j->level >= COMPACT_TOP_LEVEL)
		fs_unlink(j->path);
	for (size_t i = 0; j->level > 1 && i < j->n; i++) {
		const struct replica_file *f = &j->files[i];
		char *path = compact_path(j->env->state_dir, f->level, f->min_txid, f->max_txid);
		if (path)
			fs_unlink(path);
		free(path);
	}
	compact_trim(j->env->state_dir, j->env->copies_max);
}

int compact_begin(const struct compact_env *env, struct err *e)
{
	return compact_clean(env->state_dir, e);
}

int compact_run(struct compact_env *env, int level, const struct replica_file *inputs, size_t n,
	struct compact_result *out, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	err_clear(e);
	*out = (struct compact_result){0};
	struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return err_nomem(e, "compacting");
	*j = (struct job){.env = env, .level = level, .files = inputs, .n = n, .out = out};
	bool found = false;
	int rc = check_inputs(j, e);
	if (!rc)
		rc = find_finished(j, &found, e);
	if (!rc && !found)
		rc = make(j, e);
	if (!rc)
		rc = put(j, e);
	if (!rc)
		tidy(j);
	free(j->path);
	free(j->tmp);
	free(j);
	return rc;
}
