/*
 * The local file system. All calls go through one replaceable table, so that tests can make the
 * Nth call fail. Descriptors are close-on-exec and never 0 to 2; EINTR is retried.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

struct fs_ops {
	int (*openat)(int dirfd, const char *path, int flags, mode_t mode);
	ssize_t (*read)(int fd, void *p, size_t n);
	ssize_t (*write)(int fd, const void *p, size_t n);
	ssize_t (*pread)(int fd, void *p, size_t n, off_t off);
	ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t off);
	int (*fsync)(int fd);
	int (*fdatasync)(int fd);
	int (*ftruncate)(int fd, off_t size);
	int (*renameat)(int olddir, const char *oldpath, int newdir, const char *newpath);
	int (*renameat2)(
		int olddir, const char *oldpath, int newdir, const char *newpath, unsigned flags);
	int (*linkat)(int olddir, const char *oldpath, int newdir, const char *newpath, int flags);
	int (*unlinkat)(int dirfd, const char *path, int flags);
	int (*mkdirat)(int dirfd, const char *path, mode_t mode);
	int (*fallocate)(int fd, int mode, off_t off, off_t n);
	int (*statvfs)(const char *path, struct statvfs *st);
	int (*fstatat)(int dirfd, const char *path, struct stat *st, int flags);
};

/* The table of the system's calls: what a test copies and changes. */
extern const struct fs_ops fs_system_ops;

/* Replaces the calls for the whole process; NULL brings the system's back. `ops` stays the
 * caller's and must live while it is in use. */
void fs_set_ops(const struct fs_ops *ops);

/* As openat(2), O_CLOEXEC added. A descriptor of at least 3, or -1 with errno. */
int fs_openat(int dirfd, const char *path, int flags, mode_t mode);
int fs_open(const char *path, int flags, mode_t mode);

/* close(2) where fd >= 0. Never for a database or its -shm while SQLite has it open. */
void fs_close(int fd);

/* All n bytes or an error: 0, or -1 with errno. A file that ends early is errno = ENODATA. */
int fs_read_full(int fd, void *p, size_t n);
int fs_pread_full(int fd, void *p, size_t n, off_t off);
int fs_write_full(int fd, const void *p, size_t n);
int fs_pwrite_full(int fd, const void *p, size_t n, off_t off);

int fs_fsync(int fd); /* these as the system calls: 0, or -1 with errno */
int fs_fdatasync(int fd);
int fs_ftruncate(int fd, off_t size);
int fs_rename(const char *from, const char *to);
int fs_renameat(int olddir, const char *from, int newdir, const char *to);
/* Replaces nothing: EEXIST when `to` is there. Where the file system can't rename so, by a link. */
int fs_rename_new(const char *from, const char *to);
int fs_link(const char *from, const char *to);
int fs_link_fd(int fd, const char *to); /* names an O_TMPFILE file; needs /proc */
int fs_unlink(const char *path);

/* The same in an opened folder (base/folder.h). fs_statat looks at a link itself. */
int fs_rename_new_at(int dirfd, const char *from, const char *to);
int fs_link_fd_at(int fd, int dirfd, const char *to);
int fs_unlinkat(int dirfd, const char *name);
int fs_statat(int dirfd, const char *name, struct stat *st);
int fs_mkdirat(int dirfd, const char *name, mode_t mode);
int fs_rmdirat(int dirfd, const char *name);
int fs_fsync_folder(int fd); /* 0 also where the file system can't */

/* Gives the disk back that n bytes from `off` on take; they read as zeros, the size stays. 0, or -1
 * with errno: not every file system can (EOPNOTSUPP). */
int fs_punch(int fd, off_t off, off_t n);

/* ERR_FULL for an errno that says that there is no room (on the disk, of this user's quota, in a
 * file), else ERR_IO. */
enum err_code fs_error_code(int errnum);

/* Is it the system that is short of something (descriptors, memory, room), or a disk that failed?
 * Then nothing is wrong with the file that was asked for, and it may pass. */
bool fs_may_pass(int errnum);

/* Bytes that may still be written to the file system of `path`. 0, or -1 with errno. */
int fs_free_bytes(const char *path, uint64_t *bytes);

/* fsyncs a folder, or the folder that holds `path`. 0 (also where the file system can't fsync
 * folders), or -1 with errno. */
int fs_fsync_dir(const char *dir);
int fs_fsync_parent(const char *path);

/* mkdir -p, new folders made durable; those that exist are left as they are. 0, or -1 with errno.
 */
int fs_mkdirs(const char *dir, mode_t mode);

/* rm -r of what is below and including `dir`, not following links, at most 16 levels deep. A
 * missing one is success. */
int fs_remove_tree(const char *dir);
int fs_remove_tree_at(int dirfd, const char *name);

/*
 * Puts a whole file in place: written to "<path>.tmp-<random>" (O_EXCL), fsynced, renamed, the
 * folder fsynced. On failure the old file is as it was and the temporary one is gone; except that,
 * when only the folder's fsync failed, the new file is there but may not survive a loss of power.
 */
int fs_replace_file(const char *path, const void *data, size_t n, mode_t mode, struct err *e);

/* Appends the whole file to out (which must be initialised: its max is the limit). ERR_NOT_FOUND
 * when there is none, ERR_FULL when it is larger, ERR_IO otherwise. */
int fs_read_file(const char *path, struct buf *out, struct err *e);
/* From where an opened file is; `path` is for messages. */
int fs_read_rest(int fd, const char *path, struct buf *out, struct err *e);

/* "<dir>/<name>" as a new string (free), NULL when out of memory. One slash between them. */
char *fs_join(const char *dir, const char *name);

/* The folder part of a path as a new string: "." where there is none. NULL when out of memory. */
char *fs_dirname(const char *path);

/* The last part of a path, borrowed from it. */
const char *fs_basename(const char *path);

/* The path with its folder's real name, links followed, and the last part as it is: a file that is
 * reached in two ways has one such name. As it was where there is no such folder. A new string
 * (free), NULL when out of memory. */
char *fs_real_name(const char *path);

/* Fills n bytes from the kernel's random source. */
void fs_random(void *p, size_t n);

#endif
