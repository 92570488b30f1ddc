#include "replicate/compact_files.h"

#include "base/fs.h"
#include "format/ltxset.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *compact_folder(const char *state_dir, int level)
{
	char *folder = NULL;
	return asprintf(&folder, "%s/ltx/%d", state_dir, level) < 0 ? NULL : folder;
}

char *compact_path(const char *state_dir, int level, uint64_t min_txid, uint64_t max_txid)
{
	char name[LTX_NAME_SIZE], *path = NULL;
	ltx_format_name(min_txid, max_txid, name);
	return asprintf(&path, "%s/ltx/%d/%s", state_dir, level, name) < 0 ? NULL : path;
}

/* Takes a name in a folder; not ERR_OK ends the walk. */
typedef int (*entry_fn)(void *ctx, const char *path, const char *name, struct err *e);

/* A folder that is not there has no entries. */
static int walk(const char *state_dir, int level, entry_fn fn, void *ctx, struct err *e)
{
	char *folder = compact_folder(state_dir, level);
	if (!folder)
		return err_nomem(e, "looking for compacted files");
	DIR *d = opendir(folder);
	int rc = ERR_OK;
	if (!d && errno != ENOENT)
		rc = err_errno(e, ERR_IO, errno, "cannot read %s", folder);
	for (struct dirent *ent = d ? readdir(d) : NULL; ent && !rc; ent = readdir(d)) {
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		char *path = fs_join(folder, ent->d_name);
		rc = path ? fn(ctx, path, ent->d_name, e) : err_nomem(e, "looking for compacted files");
		free(path);
	}
	if (d)
		closedir(d);
	free(folder);
	return rc;
}

static int delete_unfinished(void *ctx, const char *path, const char *name, struct err *e)
{
	uint64_t min, max;
	(void)ctx;
	if (!ltx_parse_name(name, &min, &max) && fs_unlink(path) && errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot delete %s", path);
	return ERR_OK;
}

int compact_clean(const char *state_dir, struct err *e)
{
	int rc = ERR_OK;
	for (int level = 1; !rc && level < LTX_SNAPSHOT_LEVEL; level++)
		rc = walk(state_dir, level, delete_unfinished, NULL, e);
	return rc;
}

struct search {
	const struct replica_file *inputs;
	size_t n, found;
};

static int compare_name(void *ctx, const char *path, const char *name, struct err *e)
{
	struct search *s = ctx;
	uint64_t min, max;
	(void)path;
	(void)e;
	if (!ltx_parse_name(name, &min, &max) || min != s->inputs[0].min_txid)
		return ERR_OK;
	for (size_t i = s->found; i < s->n; i++)
		if (s->inputs[i].max_txid == max)
			s->found = i + 1;
	return ERR_OK;
}

size_t compact_find(const char *state_dir, int level, const struct replica_file *inputs, size_t n)
{
	struct search s = {.inputs = inputs, .n = n};
	struct err ignored = ERR_INIT; /* then it is merged again */
	return walk(state_dir, level, compare_name, &s, &ignored) ? 0 : s.found;
}

/* ---- the bound ---- */

struct oldest {
	char *path;
	uint64_t max_txid;
	uint64_t size, bytes; /* of that file; of all */
};

static int note_size(void *ctx, const char *path, const char *name, struct err *e)
{
	struct oldest *o = ctx;
	uint64_t min, max;
	struct stat st;
	if (!ltx_parse_name(name, &min, &max) || lstat(path, &st))
		return ERR_OK;
	o->bytes += (uint64_t)st.st_size;
	if (o->path && max >= o->max_txid)
		return ERR_OK;
	char *copy = strdup(path);
	if (!copy)
		return err_nomem(e, "counting compacted files");
	free(o->path);
	o->path = copy;
	o->max_txid = max;
	o->size = (uint64_t)st.st_size;
	return ERR_OK;
}

void compact_trim(const char *state_dir, uint64_t max)
{
	for (;;) {
		struct oldest o = {0};
		struct err ignored = ERR_INIT;
		int rc = ERR_OK;
		for (int level = 1; !rc && level < LTX_SNAPSHOT_LEVEL; level++)
			rc = walk(state_dir, level, note_size, &o, &ignored);
		bool gone = !rc && o.path && o.bytes > max && !fs_unlink(o.path);
		free(o.path);
		if (!gone)
			return;
	}
}
