#include "base/folder.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROC_FD_SIZE 32

/* ---- folders ---- */

static int opened(struct folder *f, char *path, struct err *e)
{
	f->path = path;
	if (path)
		return ERR_OK;
	folder_close(f);
	return err_nomem(e, "opening a folder");
}

int folder_open(struct folder *f, const char *path, struct err *e)
{
	*f = FOLDER_NONE;
	f->fd = fs_open(path, O_RDONLY | O_DIRECTORY, 0);
	if (f->fd >= 0)
		return opened(f, strdup(path), e);
	return err_errno(e, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, errno,
		"cannot open the folder %s", path);
}

int folder_open_of(struct folder *f, const char *file, const char *doing, struct err *e)
{
	char *dir = fs_dirname(file);
	*f = FOLDER_NONE;
	if (!dir)
		return err_nomem(e, doing);
	int rc = folder_open(f, dir, e);
	if (rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_IO, "cannot create %s: there is no folder %s", file, dir);
	free(dir);
	return rc;
}

static int make_in(const struct folder *in, const char *name, struct err *e)
{
	bool made = !fs_mkdirat(in->fd, name, 0700);
	if ((made && !folder_sync(in)) || (!made && errno == EEXIST))
		return ERR_OK;
	int saved = errno;
	if (made) /* the next try must not find it, and take it for durable */
		fs_rmdirat(in->fd, name);
	return err_errno(
		e, fs_error_code(saved), saved, "cannot create the folder %s/%s", in->path, name);
}

int folder_open_in(
	struct folder *f, const struct folder *in, const char *name, bool make, struct err *e)
{
	*f = FOLDER_NONE;
	int rc = make ? make_in(in, name, e) : ERR_OK;
	if (rc)
		return rc;
	f->fd = fs_openat(in->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (f->fd >= 0)
		return opened(f, fs_join(in->path, name), e);
	if (errno == ENOTDIR || errno == ELOOP)
		return err_set(e, ERR_DATABASE, "%s/%s is a symbolic link or no folder", in->path, name);
	return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
		"cannot open the folder %s/%s", in->path, name);
}

void folder_close(struct folder *f)
{
	fs_close(f->fd);
	free(f->path);
	*f = FOLDER_NONE;
}

int folder_check(const struct folder *f, dev_t dev, ino_t ino, struct err *e)
{
	struct stat st;
	if (fstat(f->fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at the folder %s", f->path);
	if (st.st_dev != dev || st.st_ino != ino)
		return err_set(e, ERR_DATABASE, "%s has been replaced by another folder", f->path);
	return ERR_OK;
}

/* ---- files in them ---- */

int folder_stat(const struct folder *f, const char *name, struct stat *st)
{
	return fs_statat(f->fd, name, st);
}

static int is_regular(int fd, struct stat *st)
{
	if (fstat(fd, st))
		return -1;
	return S_ISREG(st->st_mode) ? 0 : (errno = ELOOP, -1);
}

/* Without /proc: what was looked at may be exchanged before it is opened, so it is looked at again.
 */
static int open_looked_at(
	const struct folder *f, const char *name, int flags, const struct stat *was)
{
	struct stat st;
	int fd = fs_openat(f->fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return -1;
	if (!is_regular(fd, &st) && st.st_ino == was->st_ino && st.st_dev == was->st_dev)
		return fd;
	fs_close(fd);
	return errno = ELOOP, -1;
}

int folder_open_file(const struct folder *f, const char *name, int flags)
{
	struct stat st;
	char proc[PROC_FD_SIZE];
	int at = fs_openat(f->fd, name, O_PATH | O_NOFOLLOW, 0);
	if (at < 0)
		return -1;
	int fd = is_regular(at, &st);
	if (fd == 0) {
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", at);
		fd = fs_open(proc, flags, 0);
		if (fd < 0 && errno == ENOENT)
			fd = open_looked_at(f, name, flags, &st);
	}
	fs_close(at);
	return fd;
}

int folder_create(const struct folder *f, const char *name)
{
	return fs_openat(f->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
}

int folder_create_unnamed(const struct folder *f)
{
	return fs_openat(f->fd, ".", O_RDWR | O_TMPFILE, 0600);
}

int folder_create_scratch(const struct folder *f)
{
	struct folder_aside a;
	int fd = folder_create_unnamed(f);
	if (fd >= 0)
		return fd;
	if (folder_aside(&a, f, "", 0600))
		return -1;
	folder_unlink(f, a.name);
	return a.fd;
}

int folder_link_fd(const struct folder *f, int fd, const char *name)
{
	return fs_link_fd_at(fd, f->fd, name);
}

int folder_rename(const struct folder *f, const char *from, const char *to)
{
	return fs_renameat(f->fd, from, f->fd, to);
}

int folder_rename_new(const struct folder *f, const char *from, const char *to)
{
	return fs_rename_new_at(f->fd, from, to);
}

int folder_unlink(const struct folder *f, const char *name)
{
	return fs_unlinkat(f->fd, name);
}

int folder_remove_tree(const struct folder *f, const char *name)
{
	return fs_remove_tree_at(f->fd, name);
}

int folder_sync(const struct folder *f)
{
	return fs_fsync_folder(f->fd);
}

/* ---- whole files ---- */

int folder_aside(struct folder_aside *a, const struct folder *f, const char *name, mode_t mode)
{
	uint64_t salt;
	fs_random(&salt, sizeof(salt));
	a->fd = -1;
	a->renamed = false;
	int n = snprintf(a->name, sizeof(a->name), "%s.tmp-%016" PRIx64, name, salt);
	if (n >= (int)sizeof(a->name))
		return errno = ENAMETOOLONG, -1;
	a->fd = fs_openat(f->fd, a->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
	return a->fd >= 0 ? 0 : -1;
}

void folder_replace_not(struct folder_aside *a, const struct folder *f)
{
	int saved = errno;
	if (a->fd < 0)
		return;
	fs_close(a->fd);
	a->fd = -1;
	folder_unlink(f, a->name);
	errno = saved;
}

int folder_replace(struct folder_aside *a, const struct folder *f, const char *name)
{
	if (fs_fsync(a->fd) || folder_rename(f, a->name, name)) {
		folder_replace_not(a, f);
		return -1;
	}
	fs_close(a->fd);
	a->fd = -1;
	a->renamed = true;
	return folder_sync(f);
}

int folder_replace_file(const struct folder *f, const char *name, const void *data, size_t n,
	mode_t mode, struct err *e)
{
	struct folder_aside a;
	if (!folder_aside(&a, f, name, mode)) {
		if (fs_write_full(a.fd, data, n))
			folder_replace_not(&a, f);
		else if (!folder_replace(&a, f, name))
			return ERR_OK;
	}
	return err_errno(e, fs_error_code(errno), errno, "cannot %s %s/%.255s",
		a.renamed ? "fsync the folder of" : "write", f->path, name);
}

int fs_replace_file(const char *path, const void *data, size_t n, mode_t mode, struct err *e)
{
	struct folder f;
	int rc = folder_open_of(&f, path, "writing a file", e);
	if (!rc)
		rc = folder_replace_file(&f, fs_basename(path), data, n, mode, e);
	folder_close(&f);
	return rc;
}

int folder_read_file(const struct folder *f, const char *name, struct buf *out, struct err *e)
{
	char *path = fs_join(f->path, name);
	if (!path)
		return err_nomem(e, "reading a file");
	int fd = folder_open_file(f, name, O_RDONLY);
	int rc;
	if (fd >= 0)
		rc = fs_read_rest(fd, path, out, e);
	else if (errno == ELOOP)
		rc = err_set(e, ERR_IO, "%s is a symbolic link or no regular file", path);
	else
		rc = err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot open %s", path);
	fs_close(fd);
	free(path);
	return rc;
}
