#include "conf/trusted.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_stat(const struct stat *st, const char *path, uid_t owner, struct err *e)
{
	if (st->st_uid != 0 && st->st_uid != owner)
		return err_set(e, ERR_DENIED, "%s belongs to uid %u, not to root or uid %u", path,
			(unsigned)st->st_uid, (unsigned)owner);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return err_set(e, ERR_DENIED, "%s can be written by others; chmod go-w %s", path, path);
	return ERR_OK;
}

/* Size is asked from the file as it is read, so a file that grows meanwhile is refused too. */
static int read_all(int fd, const char *path, struct buf *out, struct err *e)
{
	char part[4096];
	off_t at = 0;
	for (;;) {
		ssize_t n = pread(fd, part, sizeof(part), at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, ERR_IO, errno, "cannot read %s", path);
		if (n == 0)
			return ERR_OK;
		int rc = buf_append(out, part, (size_t)n);
		if (rc == ERR_FULL)
			return err_set(e, ERR_FULL, "%s is larger than %zu bytes", path, out->max);
		if (rc != ERR_OK)
			return err_nomem(e, "reading a file");
		at += n;
	}
}

static int read_opened(int fd, const char *path, uid_t owner, struct buf *out, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_errno(e, ERR_IO, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DENIED, "%s is not a regular file", path);
	int rc = check_stat(&st, path, owner, e);
	return rc == ERR_OK ? read_all(fd, path, out, e) : rc;
}

int trusted_read_file(
	const char *dir, const char *name, uid_t owner, struct buf *out, struct err *e)
{
	char *path = fs_join(dir, name);
	if (!path)
		return err_nomem(e, "reading a file");
	int rc;
	/* O_NONBLOCK: a FIFO in its place must not hold the daemon. */
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd >= 0)
		rc = read_opened(fd, path, owner, out, e);
	else if (errno == ENOENT)
		rc = err_set(e, ERR_NOT_FOUND, "there is no %s", path);
	else if (errno == ELOOP)
		rc = err_set(e, ERR_DENIED, "%s is a symbolic link", path);
	else
		rc = err_errno(e, ERR_IO, errno, "cannot open %s", path);
	fs_close(fd);
	free(path);
	return rc;
}

int trusted_check_folder(const char *dir, uid_t owner, struct err *e)
{
	struct stat st;
	if (lstat(dir, &st) != 0)
		return err_errno(e, ERR_IO, errno, "cannot look at %s", dir);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_DENIED, "%s is not a folder", dir);
	return check_stat(&st, dir, owner, e);
}
