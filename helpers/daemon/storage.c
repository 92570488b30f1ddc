#include "daemon/storage.h"

#include "base/fs.h"
#include "conf/names.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

bool storage_walk_only;

/* The part of `dir` below `root`, or NULL when it isn't below it. */
static const char *below(const char *dir, const char *root, size_t root_len)
{
	while (root_len > 1 && root[root_len - 1] == '/')
		root_len--;
	if (root_len == 0 || root[0] != '/' || strncmp(dir, root, root_len) != 0)
		return NULL;
	if (root_len == 1)
		return dir + 1;
	return dir[root_len] == '/' ? dir + root_len + 1 : NULL;
}

/* The root that dir is below of: its length, 0 when there is none. */
static size_t find_root(const char *roots, const char *dir, const char **root, const char **rest)
{
	for (const char *p = roots; *p;) {
		size_t n = strcspn(p, ":");
		if ((*rest = below(dir, p, n))) {
			*root = p;
			return n;
		}
		p += n + (p[n] == ':');
	}
	return 0;
}

/* Kernels before 5.6, and some containers, have no openat2: the same, a part at a time. */
static int walk(int root, const char *rest)
{
	int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
	char part[256];
	while (at >= 0 && *rest) {
		size_t n = strcspn(rest, "/");
		if (n >= sizeof(part)) {
			fs_close(at);
			return errno = ENAMETOOLONG, -1;
		}
		memcpy(part, rest, n);
		part[n] = '\0';
		int next = openat(at, part, FOLDER_FLAGS);
		fs_close(at);
		at = next;
		rest += n + (rest[n] == '/');
	}
	return at;
}

static int open_beneath(int root, const char *rest)
{
	struct open_how how = {
		.flags = FOLDER_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = storage_walk_only ? -1 : (int)syscall(SYS_openat2, root, rest, &how, sizeof(how));
	if (storage_walk_only || (fd < 0 && (errno == ENOSYS || errno == EPERM)))
		fd = walk(root, rest);
	return fd;
}

static int folder_error(const char *dir, int errnum, struct err *e)
{
	if (errnum == ENOENT)
		return err_set(e, ERR_DATABASE, "there is no folder %s", dir);
	/* O_NOFOLLOW with O_DIRECTORY answers ENOTDIR for a link at the end. */
	if (errnum == ELOOP || errnum == ENOTDIR || errnum == EXDEV)
		return err_set(e, ERR_DATABASE,
			"%s is reached through a symbolic link or is no folder; name the real one", dir);
	return err_errno(
		e, fs_may_pass(errnum) ? ERR_IO : ERR_DATABASE, errnum, "cannot open the folder %s", dir);
}

int storage_open(const char *roots, const char *dir, bool mount, int *out, struct err *e)
{
	if (!name_is_folder(dir))
		return err_set(e, ERR_USAGE, "\"%.200s\" is not an absolute folder", dir);
	const char *root = "/", *rest = dir + 1;
	size_t n = find_root(roots, dir, &root, &rest);
	if (n == 0 && !mount)
		return err_set(e, ERR_USAGE, "%s is not below %s", dir, roots);
	if (n == 0) {
		root = "/", rest = dir + 1;
		n = 1;
	}
	char *root_path = strndup(root, n);
	if (!root_path)
		return err_nomem(e, "opening a folder");
	int root_fd = fs_open(root_path, O_PATH | O_DIRECTORY, 0);
	free(root_path);
	if (root_fd < 0)
		return err_errno(e, fs_may_pass(errno) ? ERR_IO : ERR_DATABASE, errno,
			"cannot open the storage root %.*s", (int)n, root);
	*out = open_beneath(root_fd, rest);
	int saved = errno;
	fs_close(root_fd);
	return *out >= 0 ? ERR_OK : folder_error(dir, saved, e);
}

static int look_at_file(
	int folder, const char *dir, const char *file, struct storage_answer *out, struct err *e)
{
	struct stat st;
	if (fstatat(folder, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT
				   ? ERR_OK
				   : err_errno(e, ERR_DATABASE, errno, "cannot look at %s/%s", dir, file);
	if (S_ISLNK(st.st_mode))
		return err_set(
			e, ERR_DATABASE, "%s/%s is a symbolic link; name the file itself", dir, file);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DATABASE, "%s/%s is not a regular file", dir, file);
	if (st.st_nlink != 1)
		return err_set(e, ERR_DATABASE,
			"%s/%s has %u hard links; a database must have one name only", dir, file,
			(unsigned)st.st_nlink);
	out->exists = true;
	out->empty = st.st_size == 0;
	out->uid = st.st_uid;
	out->gid = st.st_gid;
	return ERR_OK;
}

int storage_look(const char *roots, const char *storage_dir, const char *file, bool mount,
	struct storage_answer *out, struct err *e)
{
	memset(out, 0, sizeof(*out));
	if (!name_is_file(file))
		return err_set(e, ERR_USAGE,
			"\"%.140s\" can't be the name of a database: letters, digits, '_', '.', '-', at most "
			"128, and not ending in -wal, -shm or -journal",
			file);
	int folder = -1;
	int rc = storage_open(roots, storage_dir, mount, &folder, e);
	if (rc != ERR_OK)
		return rc;
	struct stat st;
	if (fstat(folder, &st) != 0) {
		rc = err_errno(e, ERR_IO, errno, "cannot look at %s", storage_dir);
	} else {
		out->uid = out->folder_uid = st.st_uid;
		out->gid = out->folder_gid = st.st_gid;
		out->folder_dev = st.st_dev;
		out->folder_ino = st.st_ino;
		rc = look_at_file(folder, storage_dir, file, out, e);
	}
	fs_close(folder);
	return rc;
}

int storage_again(const char *roots, const char *storage_dir, bool mount,
	const struct storage_answer *was, struct folder *out, struct err *e)
{
	*out = FOLDER_NONE;
	int rc = storage_open(roots, storage_dir, mount, &out->fd, e);
	if (rc == ERR_OK && !(out->path = strdup(storage_dir)))
		rc = err_nomem(e, "opening a folder");
	return rc == ERR_OK ? folder_check(out, was->folder_dev, was->folder_ino, e) : rc;
}
