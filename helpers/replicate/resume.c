#include "replicate/resume.h"

#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "format/ltxset.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define TOKEN_MAX ((size_t)2 << 20)
#define RECORD_MAX (3 * TOKEN_MAX) /* quotes are escaped */

#define TAIL_HEX_SIZE (2 * LTX_TRAILER_SIZE + 1)

static void tail_of(const struct frozen *f, char out[TAIL_HEX_SIZE])
{
	digest_hex(f->tail, sizeof(f->tail), out);
}

/* ---- one record ---- */

/* The token, when it belongs to this file and replica. */
static int parse(struct resume *r, const struct buf *text, struct err *e)
{
	char *replica = NULL, *tail = NULL, *token = NULL, expected[TAIL_HEX_SIZE];
	uint64_t version = 0, size = 0;
	json_t *object = NULL;
	const struct json_field fields[] = {
		{.key = "version", .type = JSON_FIELD_COUNT, .out = &version, .max = VERSION},
		{.key = "replica", .type = JSON_FIELD_TEXT, .out = &replica, .max = 4096},
		{.key = "size", .type = JSON_FIELD_COUNT, .out = &size},
		{.key = "tail", .type = JSON_FIELD_TEXT, .out = &tail},
		{.key = "token", .type = JSON_FIELD_TEXT, .out = &token, .max = TOKEN_MAX},
	};
	int rc = json_parse_object(text->data, text->len, r->path, &object, e);
	if (!rc)
		rc = json_read_fields(object, fields, sizeof(fields) / sizeof(fields[0]), r->path, e);
	tail_of(r->file, expected);
	if (!rc && version == VERSION && size == r->file->size && !strcmp(tail, expected) &&
		!strcmp(replica, r->replica)) {
		r->token = token;
		token = NULL;
	}
	json_decref(object);
	free(replica);
	free(tail);
	free(token);
	return rc;
}

static int load(struct resume *r, struct err *e)
{
	struct err why = ERR_INIT;
	struct buf text;
	buf_init(&text, RECORD_MAX);
	int rc = fs_read_file(r->path, &text, &why);
	if (!rc)
		rc = parse(r, &text, &why);
	buf_free(&text);
	if (rc == ERR_NOMEM)
		return err_nomem(e, "reading what is recorded of an upload");
	if (rc && rc != ERR_NOT_FOUND)
		log_info("%s; the upload begins anew", why.text);
	r->put.token = r->token;
	return ERR_OK;
}

static int make(const struct resume *r, const char *token, struct buf *out)
{
	char tail[TAIL_HEX_SIZE];
	int rc = ERR_OK;
	json_t *object = json_object();
	tail_of(r->file, tail);
	json_put_int(object, "version", VERSION, &rc);
	json_put_text(object, "replica", r->replica, &rc);
	json_put_int(object, "size", (int64_t)r->file->size, &rc);
	json_put_text(object, "tail", tail, &rc);
	json_put_text(object, "token", token, &rc);
	if (!rc)
		rc = json_append_lines(out, object);
	json_decref(object);
	return rc;
}

static int keep(void *ctx, const char *token, struct err *e)
{
	const struct resume *r = ctx;
	struct buf text;
	if (!token) {
		fs_unlink(r->path);
		return ERR_OK;
	}
	if (fs_mkdirs(r->folder, 0700))
		return err_errno(e, ERR_IO, errno, "cannot create the folder %s", r->folder);
	buf_init(&text, RECORD_MAX);
	int rc = make(r, token, &text) ? err_nomem(e, "recording an upload")
								   : fs_replace_file(r->path, text.data, text.len, 0600, e);
	buf_free(&text);
	return rc;
}

static char *record_path(const char *folder, int level, uint64_t min_txid, uint64_t max_txid)
{
	char name[LTX_NAME_SIZE], *path = NULL;
	ltx_format_name(min_txid, max_txid, name);
	return asprintf(&path, "%s/%d-%s", folder, level, name) < 0 ? NULL : path;
}

int resume_init(struct resume *r, const char *state_dir, struct store *s, int level,
	const struct frozen *file, struct err *e)
{
	*r = (struct resume){.put = {.keep = keep, .ctx = r}, .replica = store_url(s), .file = file};
	r->folder = fs_join(state_dir, "uploads");
	if (r->folder)
		r->path = record_path(r->folder, level, file->header.min_txid, file->header.max_txid);
	int rc = r->path ? load(r, e) : err_nomem(e, "looking for an upload");
	if (rc)
		resume_free(r);
	return rc;
}

void resume_free(struct resume *r)
{
	free(r->folder);
	free(r->path);
	free(r->token);
	*r = (struct resume){0};
}

/* ---- all of them ---- */

static bool is_there(const char *path)
{
	struct stat st;
	return path && lstat(path, &st) == 0;
}

static bool has_file(const char *state_dir, int level, uint64_t min_txid, uint64_t max_txid)
{
	char name[LTX_NAME_SIZE], *path = NULL;
	ltx_format_name(min_txid, max_txid, name);
	if (asprintf(&path, "%s/ltx/%d/%s", state_dir, level, name) < 0)
		return true; /* who doesn't know gives nothing up */
	bool there = is_there(path);
	free(path);
	return there;
}

enum resume_kind resume_look(const char *state_dir, int level, uint64_t min_txid, uint64_t max_txid)
{
	char *folder = fs_join(state_dir, "uploads");
	char *path = folder ? record_path(folder, level, min_txid, max_txid) : NULL;
	bool known = path != NULL, recorded = is_there(path);
	free(path);
	free(folder);
	if (known && !recorded)
		return RESUME_NONE;
	return !known || has_file(state_dir, level, min_txid, max_txid) ? RESUME_WAITS : RESUME_ORPHAN;
}

/* "<level>-<name>" */
static bool parse_record_name(const char *name, int *level, uint64_t *min, uint64_t *max)
{
	*level = name[0] - '0';
	return *level >= 0 && *level < LTX_LEVELS && name[1] == '-' &&
		   ltx_parse_name(name + 2, min, max);
}

/* Counts the records; `drop`: and deletes what is no record of a file that is here. */
static size_t walk(const char *state_dir, bool drop)
{
	size_t n = 0;
	char *folder = fs_join(state_dir, "uploads");
	DIR *d = folder ? opendir(folder) : NULL;
	for (struct dirent *ent = d ? readdir(d) : NULL; ent; ent = readdir(d)) {
		int level;
		uint64_t min, max;
		if (!strcmp(ent->d_name, ".") || !strcmp(ent->d_name, ".."))
			continue;
		n++;
		if (!drop || (parse_record_name(ent->d_name, &level, &min, &max) &&
						 has_file(state_dir, level, min, max)))
			continue;
		char *path = fs_join(folder, ent->d_name);
		if (path)
			fs_unlink(path);
		free(path);
	}
	if (d)
		closedir(d);
	free(folder);
	return n;
}

bool resume_any(const char *state_dir)
{
	return walk(state_dir, false) > 0;
}

void resume_drop_orphans(const char *state_dir)
{
	walk(state_dir, true);
}
