/*
 * The store in a folder, in Litestream's layout for files ("ltx/<level>/<name>", the timestamp is
 * the mtime).
 *
 * A put is one file fsync and one folder fsync: temporary file in the folder of its name, written,
 * fsynced, linked to its name (link fails if that exists: this is the condition) or renamed over
 * it, the temporary name removed, the folder fsynced. Temporary names have a '~', which no object's
 * name has, so they are never listed and never taken for an object. A crash leaves one behind; it
 * is removed when its folder, or one below the replica's, is listed a day later, by its ctime (the
 * mtime is the object's timestamp).
 */
#include "base/clock.h"
#include "base/fs.h"
#include "store/driver.h"
#include "store/file_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_SIZE ((size_t)64 * 1024)
#define FILE_MODE 0600 /* a database's content is its owner's business */
#define DIR_MODE 0700

struct file_store {
	char *root;
};

static const char *root_of(const struct store *s)
{
	return ((const struct file_store *)s->impl)->root;
}

static int errno_error(int errnum, const char *what, const char *path, struct err *e)
{
	enum err_code code = ERR_IO;
	if (errnum == EACCES || errnum == EPERM)
		code = ERR_DENIED;
	else if (errnum == ENOENT || errnum == ENOTDIR || errnum == EISDIR)
		code = ERR_NOT_FOUND;
	else if (errnum == ENOMEM)
		code = ERR_NOMEM;
	return err_errno(e, code, errnum, "cannot %s %s", what, path);
}

static int file_open(
	struct store *s, const struct store_url *url, const struct store_options *opts, struct err *e)
{
	(void)opts;
	if ((*url->host && strcmp(url->host, "localhost") != 0) || url->port)
		return err_set(e, ERR_USAGE,
			"a file URL has no host: file:///path with three slashes, not file://%s/…", url->host);
	if (url->path[0] != '/' || !url->path[1])
		return err_set(e, ERR_USAGE, "the replica URL %s names no folder", s->url);
	int rc = store_url_check_params(url, NULL, e);
	if (rc)
		return rc;
	size_t n = strlen(url->path) + 8;
	char *display = malloc(n);
	struct file_store *f = calloc(1, sizeof(*f));
	if (f)
		f->root = strdup(url->path);
	if (!display || !f || !f->root) {
		free(display);
		if (f)
			free(f->root);
		free(f);
		return err_nomem(e, "opening a file store");
	}
	snprintf(display, n, "file://%s", url->path);
	free(s->url);
	s->url = display;
	s->impl = f;
	return ERR_OK;
}

static void file_close(struct store *s)
{
	struct file_store *f = s->impl;
	free(f->root);
	free(f);
}

/* A replica's folder that is missing and can't be made because all around it is read-only: so looks
 * to a confined process what its user may not. One that is there is on a disk that has failed. */
static bool is_refused(const struct store *s, int errnum)
{
	struct stat st;
	return errnum == EROFS && fs_statat(AT_FDCWD, root_of(s), &st) && errno == ENOENT;
}

/* Opens the new temporary file beside `path`, making the folders when they are missing. */
static int open_temporary(const struct store *s, const char *dir, char **out, struct err *e)
{
	uint64_t random;
	fs_random(&random, sizeof(random));
	char name[40];
	snprintf(name, sizeof(name), FILE_TEMPORARY_PREFIX "%016" PRIx64, random);
	char *path = fs_join(dir, name);
	if (!path)
		return err_nomem(e, "writing a file"), -1;
	int fd = fs_open(path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE);
	if (fd < 0 && errno == ENOENT && fs_mkdirs(dir, DIR_MODE) == 0)
		fd = fs_open(path, O_WRONLY | O_CREAT | O_EXCL, FILE_MODE);
	if (fd < 0) {
		int why = errno;
		int code = errno_error(why, "create a file in", dir, e);
		if (e && code == ERR_NOT_FOUND)
			e->code = ERR_IO;
		if (e && is_refused(s, why))
			e->code = ERR_DENIED;
		free(path);
		return -1;
	}
	*out = path;
	return fd;
}

static int write_from_fd(
	struct store *s, int fd, const struct store_body *body, const char *path, struct err *e)
{
	char *copy = malloc(COPY_SIZE);
	if (!copy)
		return err_nomem(e, "writing a file");
	int rc = ERR_OK;
	for (uint64_t done = 0; done < body->size && !rc;) {
		size_t n = body->size - done < COPY_SIZE ? (size_t)(body->size - done) : COPY_SIZE;
		if (store_is_cancelled(s))
			rc = store_cancelled_error(s, e);
		else if (fs_pread_full(body->fd, copy, n, (off_t)(body->offset + done)))
			rc = err_errno(e, ERR_IO, errno, "cannot read what is to be stored as %s", path);
		else if (fs_write_full(fd, copy, n))
			rc = errno_error(errno, "write", path, e);
		done += n;
	}
	free(copy);
	return rc;
}

static int fill(struct store *s, int fd, const struct store_body *body,
	const struct store_put_opts *opts, const char *path, struct err *e)
{
	int rc = ERR_OK;
	if (!body->data)
		rc = write_from_fd(s, fd, body, path, e);
	else if (fs_write_full(fd, body->data, body->size))
		rc = errno_error(errno, "write", path, e);
	if (rc)
		return rc;
	if (opts->timestamp_ms > 0) {
		struct timespec t = {
			.tv_sec = opts->timestamp_ms / 1000, .tv_nsec = opts->timestamp_ms % 1000 * 1000000};
		struct timespec times[2] = {t, t};
		if (futimens(fd, times))
			return errno_error(errno, "set the time of", path, e);
	}
	return fs_fsync(fd) ? errno_error(errno, "fsync", path, e) : ERR_OK;
}

/*
 * Gives the temporary file its name if nobody has it. `*moved` says that the temporary name is
 * gone. Some file systems have no hard links (FAT, some FUSE): there renameat2 does it.
 */
static int publish_if_absent(
	const char *tmp, const char *path, const char *dir, bool *moved, struct err *e)
{
	if (!fs_link(tmp, path))
		return ERR_OK;
	int why = errno;
	if (why == EPERM || why == EOPNOTSUPP || why == ENOSYS || why == EMLINK) {
		*moved = !renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE);
		if (*moved)
			return ERR_OK;
		why = errno;
		if (why == EINVAL || why == ENOSYS)
			return err_set(e, ERR_UNSUPPORTED,
				"the file system of %s can neither link nor rename without replacing", path);
	}
	if (why != EEXIST)
		return errno_error(why, "link", path, e);
	/* Perhaps by an earlier try that failed behind its link, or was killed there: whoever finds
	 * that it is his takes it for stored. */
	if (fs_fsync_dir(dir))
		return errno_error(errno, "fsync", dir, e);
	return err_set(e, ERR_CONDITION, "%s exists already", path);
}

static int publish(const char *tmp, const char *path, const char *dir,
	const struct store_put_opts *opts, bool *moved, struct err *e)
{
	if (opts->only_if_absent) {
		int rc = publish_if_absent(tmp, path, dir, moved, e);
		if (rc)
			return rc;
		if (!*moved)
			*moved = !fs_unlink(tmp);
	} else {
		if (fs_rename(tmp, path))
			return errno_error(errno, "rename a file to", path, e);
		*moved = true;
	}
	return fs_fsync_dir(dir) ? errno_error(errno, "fsync", dir, e) : ERR_OK;
}

static int put_path(struct store *s, const char *path, const char *dir,
	const struct store_body *body, const struct store_put_opts *opts, struct err *e)
{
	char *tmp = NULL;
	int fd = open_temporary(s, dir, &tmp, e);
	if (fd < 0)
		return e ? (int)e->code : ERR_IO;
	bool moved = false;
	int rc = fill(s, fd, body, opts, path, e);
	fs_close(fd);
	if (!rc)
		rc = publish(tmp, path, dir, opts, &moved, e);
	if (!moved)
		fs_unlink(tmp);
	free(tmp);
	return rc;
}

static int file_put(struct store *s, const char *name, const struct store_body *body,
	const struct store_put_opts *opts, struct err *e)
{
	struct err own;
	if (!e)
		e = &own;
	char *path = fs_join(root_of(s), name), *dir = path ? fs_dirname(path) : NULL;
	int64_t began = store_begin(s, STORE_N_PUT);
	int rc = dir ? put_path(s, path, dir, body, opts, e) : err_nomem(e, "writing a file");
	if (!rc)
		store_count_bytes(s, STORE_N_PUT, body->size);
	free(dir);
	free(path);
	return store_end(s, STORE_N_PUT, began, NULL, rc);
}

static int send_range(struct store *s, int fd, const char *path, uint64_t offset, uint64_t length,
	store_sink sink, void *ctx, struct err *e)
{
	char *copy = malloc(COPY_SIZE);
	if (!copy)
		return err_nomem(e, "reading a file");
	int rc = ERR_OK;
	for (uint64_t done = 0; done < length && !rc;) {
		size_t n = length - done < COPY_SIZE ? (size_t)(length - done) : COPY_SIZE;
		if (store_is_cancelled(s))
			rc = store_cancelled_error(s, e);
		else if (fs_pread_full(fd, copy, n, (off_t)(offset + done)))
			rc = errno == ENODATA
					 ? err_set(e, ERR_DAMAGED, "%s became shorter while it was read", path)
					 : errno_error(errno, "read", path, e);
		else
			rc = sink(ctx, copy, n, e);
		done += n;
	}
	free(copy);
	if (!rc)
		store_count_bytes(s, STORE_N_GET, length);
	return rc;
}

static int get_path(struct store *s, const char *path, uint64_t offset, uint64_t length,
	store_sink sink, void *ctx, struct err *e)
{
	int fd = fs_open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
	struct stat st;
	int rc;
	if (fd < 0 || fstat(fd, &st))
		rc = errno_error(errno, "open", path, e);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, ERR_NOT_FOUND, "%s is not a regular file", path);
	else if ((offset > 0 && offset >= (uint64_t)st.st_size) ||
			 length > (uint64_t)st.st_size - offset)
		rc = err_set(e, ERR_DAMAGED, "%s has %lld bytes: byte %" PRIu64 " is not there", path,
			(long long)st.st_size, length ? offset + length - 1 : offset);
	else
		rc = send_range(
			s, fd, path, offset, length ? length : (uint64_t)st.st_size - offset, sink, ctx, e);
	fs_close(fd);
	return rc;
}

static int file_get(struct store *s, const char *name, uint64_t offset, uint64_t length,
	store_sink sink, void *ctx, struct err *e)
{
	char *path = fs_join(root_of(s), name);
	if (!path)
		return err_nomem(e, "reading a file");
	int64_t began = store_begin(s, STORE_N_GET);
	int rc = get_path(s, path, offset, length, sink, ctx, e);
	free(path);
	return store_end(s, STORE_N_GET, began, NULL, rc);
}

static int file_head(struct store *s, const char *name, struct store_object *out, struct err *e)
{
	char *path = fs_join(root_of(s), name);
	if (!path)
		return err_nomem(e, "looking for a file");
	int64_t began = store_begin(s, STORE_N_HEAD);
	struct stat st;
	int rc = ERR_OK;
	if (stat(path, &st))
		rc = errno_error(errno, "find", path, e);
	else if (!S_ISREG(st.st_mode))
		rc = err_set(e, ERR_NOT_FOUND, "%s is not a regular file", path);
	else
		file_describe(&st, out);
	free(path);
	if (!rc)
		out->timestamp_ms = out->modified_ms;
	return store_end(s, STORE_N_HEAD, began, NULL, rc);
}

static int file_list(struct store *s, const char *prefix, const char *after, size_t max,
	store_list_fn fn, void *ctx, struct err *e)
{
	char *dir = fs_join(root_of(s), prefix);
	if (!dir)
		return err_nomem(e, "listing a folder");
	int64_t began = store_begin(s, STORE_N_LIST);
	if (*prefix) /* what a put of litestream.json left is in a folder that nobody lists */
		file_remove_old_temporaries(root_of(s));
	int rc = file_list_tree(s, dir, after, max, fn, ctx, e);
	free(dir);
	return store_end(s, STORE_N_LIST, began, NULL, rc);
}

static int file_list_one(
	struct store *s, const char *prefix, size_t max, store_list_fn fn, void *ctx, struct err *e)
{
	char *dir = fs_join(root_of(s), prefix);
	if (!dir)
		return err_nomem(e, "listing a folder");
	int64_t began = store_begin(s, STORE_N_LIST);
	int rc = file_list_flat(s, dir, max, fn, ctx, e);
	free(dir);
	return store_end(s, STORE_N_LIST, began, NULL, rc);
}

static int delete_one(struct store *s, const char *name, struct err *e)
{
	char *path = fs_join(root_of(s), name);
	if (!path)
		return err_nomem(e, "deleting a file");
	int rc = ERR_OK;
	int64_t began = store_begin(s, STORE_N_DELETE);
	if (fs_unlink(path) && errno != ENOENT && errno != ENOTDIR)
		rc = errno_error(errno, "delete", path, e);
	free(path);
	return store_end(s, STORE_N_DELETE, began, NULL, rc);
}

/* Not fsynced: a deleted file that a crash brings back is deleted again by who wanted it gone. */
static int file_del(struct store *s, const char *const *names, size_t n,
	struct store_delete_result *results, struct err *e)
{
	int first = ERR_OK;
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		int rc =
			store_is_cancelled(s) ? store_cancelled_error(s, &why) : delete_one(s, names[i], &why);
		first = store_delete_note(first, &results[i], rc, &why, e);
	}
	return first;
}

const struct store_driver store_file_driver = {
	.caps = {.layout = STORE_LAYOUT_LTX, .conditional_put = true, .scheme = "file"},
	.open = file_open,
	.close = file_close,
	.put = file_put,
	.get = file_get,
	.head = file_head,
	.list = file_list,
	.list_folder = file_list_one,
	.del = file_del,
};
