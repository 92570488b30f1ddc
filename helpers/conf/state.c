/*
 * state.json is one JSON object with the members of struct state by name. Numbers of 64 bits are
 * strings of 16 hexadecimal digits: JSON's numbers are doubles to many who read them.
 *
 * The file is read strictly where it matters (version, types, sizes); a key that is missing is 0 or
 * "", which every member takes for "unknown".
 */
#include "conf/state.h"

#include "base/fs.h"
#include "base/json.h"
#include "conf/inplace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STATE_FILE_MAX ((size_t)64 * 1024)

struct state_dir {
	char *path, *file;
	int lock_fd;
};

enum kind { KIND_TEXT, KIND_BOOL, KIND_U32, KIND_U64, KIND_I64, KIND_BYTES };

struct member {
	const char *name;
	enum kind kind;
	size_t offset, size;
};

#define MEMBER(kind, name)                                                           \
	{                                                                                \
#name, kind, offsetof(struct state, name), sizeof(((struct state *)0)->name) \
	}

static const struct member members[] = {
	MEMBER(KIND_TEXT, replica),
	MEMBER(KIND_TEXT, database),
	MEMBER(KIND_U64, dev),
	MEMBER(KIND_U64, ino),
	MEMBER(KIND_U32, page_size),
	MEMBER(KIND_U32, n_page),
	MEMBER(KIND_U64, txid),
	MEMBER(KIND_U64, checksum),
	MEMBER(KIND_I64, timestamp_ms),
	MEMBER(KIND_BOOL, pos.resumable),
	MEMBER(KIND_BYTES, pos.salt),
	MEMBER(KIND_U32, pos.frame),
	MEMBER(KIND_U32, pos.cksum[0]),
	MEMBER(KIND_U32, pos.cksum[1]),
	MEMBER(KIND_U64, node_id),
	MEMBER(KIND_U64, prev_node_id),
	MEMBER(KIND_U64, last_l0_node_id),
	MEMBER(KIND_BOOL, restored),
	MEMBER(KIND_U64, restored_of),
	MEMBER(KIND_TEXT, machine_id),
	MEMBER(KIND_TEXT, boot_id),
	MEMBER(KIND_U64, dir_dev),
	MEMBER(KIND_U64, dir_ino),
	MEMBER(KIND_BOOL, claim_due),
	MEMBER(KIND_BOOL, probed),
	MEMBER(KIND_BOOL, weak_fencing),
	MEMBER(KIND_U64, snapshot_txid),
	MEMBER(KIND_U64, manifest_digest),
	MEMBER(KIND_TEXT, stopped),
	MEMBER(KIND_TEXT, reason),
	MEMBER(KIND_I64, confirmed_wall_ms),
	MEMBER(KIND_I64, confirmed_boot_ms),
};

/* ---- folder and lock ---- */

static int refuse_locked(int fd, const char *dir, struct err *e)
{
	char pid[32] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
	pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	return err_set(e, ERR_AGAIN, "the state folder %s is in use by %s%s: stop it first", dir,
		*pid ? "process " : "another process", pid);
}

static int take_lock(struct state_dir *d, struct err *e)
{
	char *name = fs_join(d->path, "lock");
	if (!name)
		return err_nomem(e, "opening a state folder");
	d->lock_fd = fs_open(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	int saved = errno;
	free(name);
	if (d->lock_fd < 0)
		return err_errno(e, ERR_IO, saved, "cannot open %s/lock", d->path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return refuse_locked(d->lock_fd, d->path, e);
		return err_errno(e, ERR_IO, errno, "cannot lock %s/lock", d->path);
	}
	/* Only for the message above: a failure to write it harms nobody. 1 is said in a namespace of
	 * its own, and would name another process outside. */
	char pid[32] = "";
	int n = getpid() == 1 ? 0 : snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (!fs_ftruncate(d->lock_fd, 0))
		(void)!fs_pwrite_full(d->lock_fd, pid, (size_t)n, 0);
	return ERR_OK;
}

/* What a crash left of files that were being written aside: nobody else writes here now. */
static void remove_half_files(const struct state_dir *d)
{
	DIR *dir = opendir(d->path);
	for (const struct dirent *ent; dir && (ent = readdir(dir));) {
		char *path = strstr(ent->d_name, ".tmp-") ? fs_join(d->path, ent->d_name) : NULL;
		if (path)
			fs_unlink(path); /* another time, if not now */
		free(path);
	}
	if (dir)
		closedir(dir);
}

int state_dir_open(struct state_dir **out, const char *dir, struct err *e)
{
	struct state_dir *d = calloc(1, sizeof(*d));
	if (!d)
		return err_nomem(e, "opening a state folder");
	d->lock_fd = -1;
	d->path = strdup(dir);
	d->file = fs_join(dir, "state.json");
	int rc = ERR_OK;
	if (!d->path || !d->file)
		rc = err_nomem(e, "opening a state folder");
	else if (fs_mkdirs(dir, 0700))
		rc = err_errno(e, ERR_IO, errno, "cannot create the state folder %s", dir);
	else
		rc = take_lock(d, e);
	if (!rc) {
		remove_half_files(d);
		rc = state_settle_restored(d, e);
	}
	if (rc) {
		state_dir_close(d);
		return rc;
	}
	*out = d;
	return ERR_OK;
}

void state_dir_close(struct state_dir *d)
{
	if (!d)
		return;
	fs_close(d->lock_fd); /* which unlocks; the file stays: deleting it would race */
	free(d->path);
	free(d->file);
	free(d);
}

const char *state_dir_path(const struct state_dir *d)
{
	return d->path;
}

char *state_default_dir(const char *db_path)
{
	char *dir = fs_dirname(db_path), *name = NULL, *out = NULL;
	if (dir && asprintf(&name, ".%s-litestream", fs_basename(db_path)) >= 0)
		out = fs_join(dir, name);
	free(dir);
	free(name);
	return out;
}

uint64_t state_new_node_id(void)
{
	uint64_t id = 0;
	while (id == 0)
		fs_random(&id, sizeof(id));
	return id;
}

/* ---- who and where we are (F10) ---- */

/* The first word of a small file; "" where we can't read one. A failure that may pass is told: a
 * machine that is unknown for a moment must not look like another one. */
static int read_word(const char *path, char out[64], struct err *e)
{
	out[0] = '\0';
	if (access(path, R_OK))
		return ERR_OK;
	struct buf b;
	buf_init(&b, 256);
	int rc = fs_read_file(path, &b, e);
	if (!rc)
		snprintf(out, 64, "%.*s", (int)strcspn(buf_str(&b), " \n"), buf_str(&b));
	buf_free(&b);
	return rc;
}

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int fill_identity(const struct state_dir *d, struct state *s, struct err *e)
{
	struct stat st;
	if (stat(d->path, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at the state folder %s", d->path);
	int rc = read_word("/etc/machine-id", s->machine_id, e);
	if (!rc)
		rc = read_word(BOOT_ID, s->boot_id, e);
	s->dir_dev = st.st_dev;
	s->dir_ino = st.st_ino;
	return rc;
}

bool state_same_boot(const struct state *s)
{
	char now[64];
	return !read_word(BOOT_ID, now, NULL) && strcmp(now, s->boot_id) == 0;
}

bool state_boot_id(char out[STATE_WORD_MAX])
{
	return !read_word(BOOT_ID, out, NULL) && *out;
}

/* Both known, and not the same. */
static bool differ(const char *a, const char *b)
{
	return *a && *b && strcmp(a, b) != 0;
}

static int is_copied(const struct state_dir *d, const struct state *s, bool *copied, struct err *e)
{
	struct state now = {0};
	int rc = fill_identity(d, &now, e);
	if (rc)
		return rc;
	bool same_boot = strcmp(now.boot_id, s->boot_id) == 0;
	*copied = differ(now.machine_id, s->machine_id) || now.dir_ino != s->dir_ino ||
			  (now.dir_dev != s->dir_dev && same_boot);
	return ERR_OK;
}

/* ---- reading ---- */

static bool read_hex(const char *text, uint64_t *out)
{
	char *end;
	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return false;
	*out = strtoull(text, &end, 16);
	return true;
}

static bool read_bytes(const char *text, uint8_t *out, size_t n)
{
	if (strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned byte;
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			return false;
		out[i] = (uint8_t)byte;
	}
	return true;
}

static bool read_text(const char *text, char *out, size_t size)
{
	size_t n = strlen(text);
	if (n >= size)
		return false;
	memcpy(out, text, n + 1);
	return true;
}

static bool read_member(const struct member *m, const json_t *v, void *at)
{
	uint64_t u = 0;
	const char *text = json_string_value(v);
	switch (m->kind) {
	case KIND_TEXT:
		return text && read_text(text, at, m->size);
	case KIND_BYTES:
		return text && read_bytes(text, at, m->size);
	case KIND_BOOL:
		*(bool *)at = json_is_true(v);
		return json_is_boolean(v);
	case KIND_U64:
		return text && read_hex(text, at);
	case KIND_I64:
		*(int64_t *)at = json_integer_value(v);
		return json_is_integer(v);
	case KIND_U32:
		u = (uint64_t)json_integer_value(v);
		*(uint32_t *)at = (uint32_t)u;
		return json_is_integer(v) && u <= UINT32_MAX;
	}
	return false;
}

static int read_object(const char *file, const json_t *root, struct state *s, struct err *e)
{
	if (json_integer_value(json_object_get(root, "version")) != STATE_VERSION)
		return err_set(e, ERR_DAMAGED, "%s has a version that this program does not know", file);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const json_t *v = json_object_get(root, members[i].name);
		if (v && !read_member(&members[i], v, (char *)s + members[i].offset))
			return err_set(
				e, ERR_DAMAGED, "%s: \"%s\" is not what it should be", file, members[i].name);
	}
	return ERR_OK;
}

static int parse(const char *file, const struct buf *b, struct state *s, struct err *e)
{
	json_error_t why;
	json_t *root = json_loadb(buf_str(b), b->len, JSON_REJECT_DUPLICATES, &why);
	int rc = json_is_object(root)
				 ? read_object(file, root, s, e)
				 : err_set(e, ERR_DAMAGED, "%s is not a state file: %s", file, why.text);
	json_decref(root);
	return rc;
}

/* jansson does not always tell a want of memory from a text that is wrong, and a state must not be
 * given up for the former. */
static int parse_twice(const char *file, const struct buf *b, struct state *s, struct err *e)
{
	struct err first = ERR_INIT;
	return parse(file, b, s, &first) ? parse(file, b, s, e) : ERR_OK;
}

static int load(const char *file, struct state *s, struct err *e)
{
	memset(s, 0, sizeof(*s));
	struct buf b;
	buf_init(&b, STATE_FILE_MAX);
	int rc = fs_read_file(file, &b, e);
	if (rc == ERR_FULL)
		rc = err_set(e, ERR_DAMAGED, "%s is larger than a state can be", file);
	else if (!rc)
		rc = parse_twice(file, &b, s, e);
	buf_free(&b);
	return rc;
}

int state_peek(const char *dir, struct state *s, struct err *e)
{
	char *file = fs_join(dir, "state.json");
	int rc = file ? load(file, s, e) : err_nomem(e, "looking at a state");
	free(file);
	return rc;
}

bool state_exists(const struct state_dir *d)
{
	return access(d->file, F_OK) == 0;
}

int state_load(struct state_dir *d, struct state *s, bool *copied, struct err *e)
{
	*copied = false;
	int rc = load(d->file, s, e);
	if (!rc)
		rc = is_copied(d, s, copied, e);
	if (rc)
		memset(s, 0, sizeof(*s));
	return rc;
}

/* ---- writing ---- */

static json_t *make_hex(const void *at, size_t n)
{
	char text[2 * 64 + 1] = "";
	for (size_t i = 0; i < n && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)at)[i]);
	return json_string(text);
}

static json_t *make_u64(uint64_t v)
{
	char text[20];
	snprintf(text, sizeof(text), "%016" PRIx64, v);
	return json_string(text);
}

/* For want of memory nothing else may be written in a text's place: another replica's name would
 * make the next start give the state up. */
static json_t *make_text(const char *text)
{
	json_t *v = json_string(text);
	if (v || json_is_utf8(text))
		return v;
	return json_string("(not UTF-8)");
}

static json_t *make_member(const struct member *m, const void *at)
{
	switch (m->kind) {
	case KIND_TEXT:
		return make_text(at);
	case KIND_BYTES:
		return make_hex(at, m->size);
	case KIND_BOOL:
		return json_boolean(*(const bool *)at);
	case KIND_U64:
		return make_u64(*(const uint64_t *)at);
	case KIND_I64:
		return json_integer(*(const int64_t *)at);
	case KIND_U32:
		return json_integer(*(const uint32_t *)at);
	}
	return NULL;
}

/* By json_append_lines, which notices when memory was wanting for a part of the text: jansson's
 * json_dumps leaves out the key it was wanting for. */
static int make_json(const struct state *s, struct buf *out)
{
	json_t *root = json_object();
	int rc = json_object_set_new(root, "version", json_integer(STATE_VERSION));
	for (size_t i = 0; !rc && i < sizeof(members) / sizeof(members[0]); i++)
		rc = json_object_set_new(
			root, members[i].name, make_member(&members[i], (const char *)s + members[i].offset));
	rc = rc ? ERR_NOMEM : json_append_lines(out, root);
	json_decref(root);
	return rc;
}

static int save(struct state_dir *d, const char *file, struct state *s, struct err *e)
{
	int rc = fill_identity(d, s, e);
	if (rc)
		return rc;
	struct buf text;
	buf_init(&text, STATE_FILE_MAX);
	rc = make_json(s, &text) ? err_nomem(e, "writing the state")
							 : fs_replace_file(file, text.data, text.len, 0600, e);
	buf_free(&text);
	return rc;
}

int state_save(struct state_dir *d, struct state *s, struct err *e)
{
	return save(d, d->file, s, e);
}

/* ---- what a restore is about to leave ---- */

/* Names in the folder that belong to a restore that may not have happened. */
struct restored {
	char *json, *pages;
};

static int restored_names(const struct state_dir *d, struct restored *r, struct err *e)
{
	r->json = fs_join(d->path, "restored.json");
	r->pages = fs_join(d->path, STATE_RESTORED_PAGES);
	return r->json && r->pages ? ERR_OK : err_nomem(e, "opening a state folder");
}

static void restored_free(struct restored *r)
{
	free(r->json);
	free(r->pages);
}

int state_save_restored(struct state_dir *d, struct state *s, struct err *e)
{
	struct restored r;
	int rc = restored_names(d, &r, e);
	if (!rc)
		rc = save(d, r.json, s, e);
	restored_free(&r);
	return rc;
}

static int discard(const struct restored *r, struct err *e)
{
	const char *const both[] = {r->json, r->pages};
	for (int i = 0; i < 2; i++)
		if (!access(both[i], F_OK) && fs_unlink(both[i]))
			return err_errno(e, ERR_IO, errno, "cannot remove %s", both[i]);
	return ERR_OK;
}

int state_drop_restored(struct state_dir *d, struct err *e)
{
	struct restored r;
	int rc = restored_names(d, &r, e);
	if (!rc)
		rc = discard(&r, e);
	restored_free(&r);
	return rc;
}

static int rename_into(const struct state_dir *d, const char *from, const char *name, struct err *e)
{
	char *to = fs_join(d->path, name);
	if (!to)
		return err_nomem(e, "taking over a restored state");
	int rc = fs_rename(from, to) && errno != ENOENT
				 ? err_errno(e, ERR_IO, errno, "cannot rename %s to %s", from, to)
				 : ERR_OK;
	free(to);
	return rc;
}

/* What the folder knew of the former database goes; state.json last, so that a crash in between
 * begins again here. */
static int adopt(const struct state_dir *d, const struct restored *r, struct err *e)
{
	char *copies = fs_join(d->path, "ltx");
	if (!copies)
		return err_nomem(e, "taking over a restored state");
	int rc = fs_remove_tree(copies) && errno != ENOENT
				 ? err_errno(e, ERR_IO, errno, "cannot remove %s", copies)
				 : ERR_OK;
	free(copies);
	if (!rc)
		rc = rename_into(d, r->pages, "pages", e);
	if (!rc)
		rc = rename_into(d, r->json, "state.json", e);
	if (!rc && fs_fsync_dir(d->path))
		rc = err_errno(e, ERR_IO, errno, "cannot fsync %s", d->path);
	return rc;
}

int state_settle_restored(struct state_dir *d, struct err *e)
{
	struct restored r;
	struct state s;
	struct stat st;
	struct err why = ERR_INIT;
	int rc = restored_names(d, &r, e);
	if (!rc) {
		rc = load(r.json, &s, &why);
		if (rc == ERR_NOT_FOUND || rc == ERR_DAMAGED)
			rc = discard(&r, e);
		else if (rc)
			*e = why;
		else if (!(rc = inplace_recover(s.database, false, e)))
			rc = !stat(s.database, &st) && st.st_ino == s.ino ? adopt(d, &r, e) : discard(&r, e);
	}
	restored_free(&r);
	return rc;
}
