#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return openat(dirfd, path, flags, mode);
}

static int sys_fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
	return fstatat(dirfd, path, st, flags);
}

static int sys_renameat(int olddir, const char *from, int newdir, const char *to)
{
	return renameat(olddir, from, newdir, to);
}

static int sys_renameat2(int olddir, const char *from, int newdir, const char *to, unsigned flags)
{
	return renameat2(olddir, from, newdir, to, flags);
}

const struct fs_ops fs_system_ops = {
	.openat = sys_openat,
	.read = read,
	.write = write,
	.pread = pread,
	.pwrite = pwrite,
	.fsync = fsync,
	.fdatasync = fdatasync,
	.ftruncate = ftruncate,
	.renameat = sys_renameat,
	.renameat2 = sys_renameat2,
	.linkat = linkat,
	.unlinkat = unlinkat,
	.mkdirat = mkdirat,
	.fallocate = fallocate,
	.statvfs = statvfs,
	.fstatat = sys_fstatat,
};

static const struct fs_ops *ops = &fs_system_ops;

void fs_set_ops(const struct fs_ops *o)
{
	ops = o ? o : &fs_system_ops;
}

int fs_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;
	do {
		fd = ops->openat(dirfd, path, flags | O_CLOEXEC, mode);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	/* A closed standard stream must not become a file that a stray printf writes into. */
	int high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int saved = errno;
	close(fd);
	errno = saved;
	return high;
}

int fs_open(const char *path, int flags, mode_t mode)
{
	return fs_openat(AT_FDCWD, path, flags, mode);
}

void fs_close(int fd)
{
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
}

int fs_read_full(int fd, void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = ops->read(fd, (char *)p + done, n - done);
		if (r > 0)
			done += (size_t)r;
		else if (r == 0 || errno != EINTR)
			return errno = r == 0 ? ENODATA : errno, -1;
	}
	return 0;
}

int fs_pread_full(int fd, void *p, size_t n, off_t off)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = ops->pread(fd, (char *)p + done, n - done, off + (off_t)done);
		if (r > 0)
			done += (size_t)r;
		else if (r == 0 || errno != EINTR)
			return errno = r == 0 ? ENODATA : errno, -1;
	}
	return 0;
}

int fs_write_full(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = ops->write(fd, (const char *)p + done, n - done);
		if (r > 0)
			done += (size_t)r;
		else if (r == 0 || errno != EINTR)
			return errno = r == 0 ? EIO : errno, -1;
	}
	return 0;
}

int fs_pwrite_full(int fd, const void *p, size_t n, off_t off)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = ops->pwrite(fd, (const char *)p + done, n - done, off + (off_t)done);
		if (r > 0)
			done += (size_t)r;
		else if (r == 0 || errno != EINTR)
			return errno = r == 0 ? EIO : errno, -1;
	}
	return 0;
}

int fs_fsync(int fd)
{
	int rc;
	do {
		rc = ops->fsync(fd);
	} while (rc && errno == EINTR);
	return rc;
}

int fs_fdatasync(int fd)
{
	int rc;
	do {
		rc = ops->fdatasync(fd);
	} while (rc && errno == EINTR);
	return rc;
}

int fs_ftruncate(int fd, off_t size)
{
	int rc;
	do {
		rc = ops->ftruncate(fd, size);
	} while (rc && errno == EINTR);
	return rc;
}

int fs_renameat(int olddir, const char *from, int newdir, const char *to)
{
	return ops->renameat(olddir, from, newdir, to);
}

int fs_rename(const char *from, const char *to)
{
	return fs_renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int fs_rename_new_at(int dirfd, const char *from, const char *to)
{
	int rc = ops->renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE);
	if (!rc || (errno != EINVAL && errno != ENOSYS))
		return rc;
	rc = ops->linkat(dirfd, from, dirfd, to, 0);
	return rc ? rc : fs_unlinkat(dirfd, from);
}

int fs_rename_new(const char *from, const char *to)
{
	return fs_rename_new_at(AT_FDCWD, from, to);
}

int fs_link(const char *from, const char *to)
{
	return ops->linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fs_link_fd_at(int fd, int dirfd, const char *to)
{
	char from[32];
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	return ops->linkat(AT_FDCWD, from, dirfd, to, AT_SYMLINK_FOLLOW);
}

int fs_link_fd(int fd, const char *to)
{
	return fs_link_fd_at(fd, AT_FDCWD, to);
}

int fs_unlinkat(int dirfd, const char *name)
{
	return ops->unlinkat(dirfd, name, 0);
}

int fs_unlink(const char *path)
{
	return fs_unlinkat(AT_FDCWD, path);
}

int fs_statat(int dirfd, const char *name, struct stat *st)
{
	return ops->fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW);
}

int fs_mkdirat(int dirfd, const char *name, mode_t mode)
{
	return ops->mkdirat(dirfd, name, mode);
}

enum err_code fs_error_code(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG ? ERR_FULL : ERR_IO;
}

int fs_rmdirat(int dirfd, const char *name)
{
	return ops->unlinkat(dirfd, name, AT_REMOVEDIR);
}

bool fs_may_pass(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == EIO ||
		   fs_error_code(errnum) == ERR_FULL;
}

int fs_fsync_folder(int fd)
{
	int rc = fs_fsync(fd);
	/* A file system that can't fsync folders: nothing more can be done. */
	return rc && errno == EINVAL ? 0 : rc;
}

int fs_fsync_dir(const char *dir)
{
	int fd = fs_open(dir, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return -1;
	int rc = fs_fsync_folder(fd);
	fs_close(fd);
	return rc;
}

int fs_fsync_parent(const char *path)
{
	char *dir = fs_dirname(path);
	if (!dir)
		return -1;
	int rc = fs_fsync_dir(dir);
	int saved = errno;
	free(dir);
	errno = saved;
	return rc;
}

int fs_punch(int fd, off_t off, off_t n)
{
	int rc;
	do {
		rc = ops->fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, n);
	} while (rc && errno == EINTR);
	return rc;
}

int fs_free_bytes(const char *path, uint64_t *bytes)
{
	struct statvfs st;
	int rc;
	do {
		rc = ops->statvfs(path, &st);
	} while (rc && errno == EINTR);
	if (rc)
		return -1;
	*bytes = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

/* One folder, its entry durable; one that is there already is fine. */
static int make_dir(const char *path, mode_t mode)
{
	if (ops->mkdirat(AT_FDCWD, path, mode) == 0) {
		if (!fs_fsync_parent(path))
			return 0;
		/* The next try must not find it, and take it for durable. */
		int saved = errno;
		fs_rmdirat(AT_FDCWD, path);
		return errno = saved, -1;
	}
	if (errno != EEXIST)
		return -1;
	struct stat st;
	if (stat(path, &st))
		return -1;
	if (!S_ISDIR(st.st_mode))
		return errno = ENOTDIR, -1;
	return 0;
}

int fs_mkdirs(const char *dir, mode_t mode)
{
	char *path = strdup(dir);
	if (!path)
		return -1;
	int rc = 0;
	for (char *p = path + (*path == '/'); !rc; p++) {
		char c = *p;
		if (c && c != '/')
			continue;
		*p = '\0';
		if (*path)
			rc = make_dir(path, mode);
		*p = c;
		if (!c)
			break;
	}
	int saved = errno;
	free(path);
	errno = saved;
	return rc;
}

static int remove_children(int dirfd, int depth);

static int remove_entry(int dirfd, const char *name, int depth)
{
	if (!ops->unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	if (depth == 0)
		return errno = ELOOP, -1;
	int fd = fs_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return -1;
	if (remove_children(fd, depth - 1))
		return -1;
	return ops->unlinkat(dirfd, name, AT_REMOVEDIR);
}

/* Owns dirfd. */
static int remove_children(int dirfd, int depth)
{
	DIR *d = fdopendir(dirfd);
	if (!d) {
		fs_close(dirfd);
		return -1;
	}
	int rc = 0;
	for (struct dirent *ent = readdir(d); ent && !rc; ent = readdir(d)) {
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			rc = remove_entry(dirfd, ent->d_name, depth);
	}
	int saved = errno;
	closedir(d);
	errno = saved;
	return rc;
}

int fs_remove_tree_at(int dirfd, const char *name)
{
	return remove_entry(dirfd, name, 16);
}

int fs_remove_tree(const char *dir)
{
	return fs_remove_tree_at(AT_FDCWD, dir);
}

int fs_read_rest(int fd, const char *path, struct buf *out, struct err *e)
{
	int rc = ERR_OK;
	char chunk[16384];
	for (;;) {
		ssize_t r = ops->read(fd, chunk, sizeof(chunk));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			rc = err_errno(e, ERR_IO, errno, "cannot read %s", path);
		if (r <= 0)
			break;
		rc = buf_append(out, chunk, (size_t)r);
		if (rc) {
			err_set(e, (enum err_code)rc,
				rc == ERR_FULL ? "%s is larger than expected" : "out of memory while reading %s",
				path);
			break;
		}
	}
	explicit_bzero(chunk, sizeof(chunk)); /* some files are secrets */
	return rc;
}

int fs_read_file(const char *path, struct buf *out, struct err *e)
{
	int fd = fs_open(path, O_RDONLY, 0);
	if (fd < 0)
		return err_errno(
			e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot open %s", path);
	int rc = fs_read_rest(fd, path, out, e);
	fs_close(fd);
	return rc;
}

char *fs_join(const char *dir, const char *name)
{
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	char *out;
	const char *slash = n == 1 && dir[0] == '/' ? "" : "/";
	if (asprintf(&out, "%.*s%s%s", (int)n, dir, slash, name) < 0)
		return NULL;
	return out;
}

char *fs_dirname(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

char *fs_real_name(const char *path)
{
	char folder[PATH_MAX];
	char *dir = fs_dirname(path);
	if (!dir)
		return NULL;
	char *out = realpath(dir, folder) ? fs_join(folder, fs_basename(path)) : strdup(path);
	free(dir);
	return out;
}

const char *fs_basename(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

void fs_random(void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = getrandom((char *)p + done, n - done, 0);
		if (r > 0)
			done += (size_t)r;
		else if (r < 0 && errno != EINTR)
			abort(); /* a kernel without getrandom: names and node ids would collide */
	}
}
