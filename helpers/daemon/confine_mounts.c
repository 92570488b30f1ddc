/*
 * A root of its own for a child that is the first process of new namespaces:
 *
 *   1. every mount private: what follows happens for nobody else
 *   2. all that is bound is opened, while the old root is in view
 *   3. a tmpfs on /tmp becomes the new root; parts of the system are cloned (open_tree), made
 *      read-only (mount_setattr) and attached (move_mount), then the child's folders, then a /proc
 *      that shows this process namespace and can't be written: uid 0 could change the kernel there
 *   4. pivot_root, the old root is let go of, the tmpfs becomes read-only
 *
 * A mount gets its attributes before it can be seen, and targets are reached by descriptors, a part
 * of the path at a time, without following links: folders of users are among them. The system calls
 * are those of Linux 5.12.
 */
#include "daemon/confine_internal.h"

#include "base/buf.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/mount.h, which glibc 2.36's sys/mount.h can't be included with. */
#define TREE_CLONE 1u
#define TREE_RECURSIVE 0x8000u
#define MOVE_FROM_EMPTY_PATH 0x04u
#define MOVE_TO_EMPTY_PATH 0x40u
#define ATTR_RDONLY 0x01u
#define ATTR_NOSUID 0x02u
#define ATTR_NODEV 0x04u
#define ATTR_NOEXEC 0x08u

struct attributes {
	uint64_t set, clear, propagation, userns_fd;
};

#define NEW_ROOT "/tmp" /* every system has it; what it covers is out of view after step 2 */
/* As many folders as the paths have parts; later nobody can make any. */
#define ROOT_OPTIONS "mode=0755,size=8m,nr_inodes=0"
#define MADE_MODE 0755

struct building {
	const struct confine *c;
	struct system_part parts[SYSTEM_PARTS_MAX];
	int part_fds[SYSTEM_PARTS_MAX]; /* -1 = not there */
	size_t n_parts;
	int *folders; /* by the index of c->folders; -1 = left out */
	int root;
	dev_t root_dev;
};

static int failed(const char *what, const char *path, struct err *e)
{
	return err_errno(e, ERR_IO, errno, "cannot %s %s for a child", what, path);
}

static int set_attributes(int dirfd, const char *path, unsigned flags, uint64_t attributes)
{
	struct attributes a = {.set = attributes};
	return (int)syscall(SYS_mount_setattr, dirfd, path, flags, &a, sizeof(a));
}

/* ---- places in the new root ---- */

/* The next part of a path. Only in the tmpfs is anything made: what is missing in a folder that is
 * attached already isn't ours to make. */
static int step(const struct building *b, int at, const char *name, bool folder)
{
	struct stat st;
	int flags = O_PATH | O_NOFOLLOW | (folder ? O_DIRECTORY : 0);
	int fd = fs_openat(at, name, flags, 0);
	if (fd >= 0 || errno != ENOENT || fstat(at, &st) != 0 || st.st_dev != b->root_dev)
		return fd;
	if (folder)
		return mkdirat(at, name, MADE_MODE) == 0 ? fs_openat(at, name, flags, 0) : -1;
	fd = fs_openat(at, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	fs_close(fd);
	return fd >= 0 ? fs_openat(at, name, flags, 0) : -1;
}

/* Walks to the folder that holds the last part of `path`; *last is that part. */
static int walk_to(const struct building *b, const char *path, const char **last)
{
	int at = fcntl(b->root, F_DUPFD_CLOEXEC, 3);
	char name[256];
	for (path++; at >= 0; path++) {
		size_t n = strcspn(path, "/");
		if (!path[n])
			break;
		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		int next = n < sizeof(name) ? step(b, at, name, true) : (errno = ENAMETOOLONG, -1);
		fs_close(at);
		at = next;
		path += n;
	}
	*last = path;
	return at;
}

/* Where something is to be attached: a folder or a file, made if need be. */
static int place(const struct building *b, const char *path, bool folder)
{
	const char *last;
	int at = walk_to(b, path, &last);
	int fd = at >= 0 ? step(b, at, last, folder) : -1;
	fs_close(at);
	return fd;
}

/* ---- attaching ---- */

/* A clone of what `from` stands for at `path`; the child's own folders without what is mounted
 * below them. */
static int attach(const struct building *b, int from, const char *path, bool recursive,
	uint64_t attributes, struct err *e)
{
	struct stat st;
	unsigned deep = recursive ? TREE_RECURSIVE : 0;
	if (fstat(from, &st) != 0)
		return failed("look at", path, e);
	int tree = (int)syscall(SYS_open_tree, from, "", AT_EMPTY_PATH | TREE_CLONE | O_CLOEXEC | deep);
	int to = tree >= 0 ? place(b, path, S_ISDIR(st.st_mode)) : -1;
	int rc = to >= 0 ? set_attributes(tree, "", AT_EMPTY_PATH | deep, attributes) : -1;
	if (rc == 0)
		rc = (int)syscall(
			SYS_move_mount, tree, "", to, "", MOVE_FROM_EMPTY_PATH | MOVE_TO_EMPTY_PATH);
	rc = rc == 0 ? ERR_OK : failed("attach", path, e);
	fs_close(tree);
	fs_close(to);
	return rc;
}

static int make_link(const struct building *b, const char *path, struct err *e)
{
	char target[4096];
	const char *last;
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	int at = n > 0 ? walk_to(b, path, &last) : -1;
	int rc = -1;
	if (at >= 0) {
		target[n] = '\0';
		rc = symlinkat(target, at, last);
	}
	rc = rc == 0 ? ERR_OK : failed("make the link", path, e);
	fs_close(at);
	return rc;
}

static int make_copy(const struct building *b, const char *path, int from, struct err *e)
{
	struct buf text;
	const char *last;
	char source[64];
	if (from < 0)
		return ERR_OK;
	buf_init(&text, SYSTEM_FILE_MAX);
	snprintf(source, sizeof(source), "/proc/self/fd/%d", from);
	int rc = fs_read_file(source, &text, e);
	int at = rc == ERR_OK ? walk_to(b, path, &last) : -1;
	if (rc == ERR_OK) {
		int fd = at >= 0 ? fs_openat(at, last, O_WRONLY | O_CREAT | O_EXCL, 0644) : -1;
		if (fd < 0 || fs_write_full(fd, text.data, text.len) != 0)
			rc = failed("copy", path, e);
		fs_close(fd);
	}
	fs_close(at);
	buf_free(&text);
	return rc;
}

static bool is_large(const struct stat *st)
{
	return (uint64_t)st->st_size > SYSTEM_FILE_MAX;
}

static int add_part(
	const struct building *b, const struct system_part *part, int from, struct err *e)
{
	struct stat st;
	uint64_t attributes =
		ATTR_RDONLY | ATTR_NOSUID | (part->kind == SYSTEM_DEVICE ? 0 : ATTR_NODEV);
	/* A copy costs memory in each child; a long list of hosts is bound, and the child made anew
	 * when another one is there. */
	if (part->kind == SYSTEM_FILE && !(from >= 0 && fstat(from, &st) == 0 && is_large(&st)))
		return make_copy(b, part->path, from, e);
	if (part->kind == SYSTEM_TREE && lstat(part->path, &st) == 0 && S_ISLNK(st.st_mode))
		return make_link(b, part->path, e);
	return from >= 0 ? attach(b, from, part->path, true, attributes, e) : ERR_OK;
}

/* ---- the steps ---- */

static int open_all(struct building *b, struct err *e)
{
	size_t n = b->c->folders->n, i = 0;
	while (b->n_parts < SYSTEM_PARTS_MAX &&
		   confine_system_next(b->c->program, &i, &b->parts[b->n_parts])) {
		b->part_fds[b->n_parts] = fs_open(b->parts[b->n_parts].path, O_PATH, 0);
		b->n_parts++;
	}
	b->folders = malloc((n + 1) * sizeof(*b->folders));
	if (!b->folders)
		return err_nomem(e, "confining a child");
	int rc = ERR_OK;
	for (i = 0; rc == ERR_OK && i < n; i++)
		rc = confine_open(b->c, &b->c->folders->list[i], &b->folders[i], e);
	return rc;
}

static int open_root(struct building *b, struct err *e)
{
	struct stat st;
	if (mount("tmpfs", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, ROOT_OPTIONS) != 0)
		return failed("mount a tmpfs on", NEW_ROOT, e);
	b->root = fs_open(NEW_ROOT, O_PATH | O_DIRECTORY, 0);
	if (b->root < 0 || fstat(b->root, &st) != 0)
		return failed("open", NEW_ROOT, e);
	b->root_dev = st.st_dev;
	return ERR_OK;
}

static int add_system(const struct building *b, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; rc == ERR_OK && i < b->n_parts; i++)
		rc = add_part(b, &b->parts[i], b->part_fds[i], e);
	if (rc != ERR_OK)
		return rc;
	int proc = place(b, "/proc", true);
	fs_close(proc);
	if (proc < 0 || mount("proc", NEW_ROOT "/proc", "proc",
						MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
		return failed("mount", "/proc", e);
	return ERR_OK;
}

/* A folder in another one of them must come after that. */
static int shorter_first(const void *a, const void *b, void *list)
{
	const struct confine_folder *f = list;
	size_t x = strlen(f[*(const size_t *)a].path), y = strlen(f[*(const size_t *)b].path);
	return (x > y) - (x < y);
}

static int add_folders(const struct building *b, struct err *e)
{
	const struct confine_folders *f = b->c->folders;
	size_t *order = malloc((f->n + 1) * sizeof(*order));
	if (!order)
		return err_nomem(e, "confining a child");
	for (size_t i = 0; i < f->n; i++)
		order[i] = i;
	qsort_r(order, f->n, sizeof(*order), shorter_first, f->list);
	int rc = ERR_OK;
	for (size_t k = 0; rc == ERR_OK && k < f->n; k++) {
		const struct confine_folder *folder = &f->list[order[k]];
		uint64_t read_only = folder->access == CONFINE_SOURCE ? ATTR_RDONLY : 0;
		if (b->folders[order[k]] >= 0)
			rc = attach(b, b->folders[order[k]], folder->path, false,
				ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC | read_only, e);
	}
	free(order);
	return rc;
}

/* The old root ends up on top of the new one, and is taken off it. */
static int change_root(const struct building *b, struct err *e)
{
	if (fchdir(b->root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0)
		return failed("change", "the root", e);
	if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
		return failed("let go of", "the old root", e);
	if (set_attributes(AT_FDCWD, "/", 0, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC) != 0)
		return failed("make read-only", "/", e);
	return ERR_OK;
}

int confine_mounts_enter(const struct confine *c, struct err *e)
{
	struct building b = {.c = c, .root = -1};
	mode_t mask = umask(0022);
	int rc = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
				 ? ERR_OK
				 : failed("make private", "the mounts", e);
	if (rc == ERR_OK)
		rc = open_all(&b, e);
	if (rc == ERR_OK)
		rc = open_root(&b, e);
	if (rc == ERR_OK)
		rc = add_system(&b, e);
	if (rc == ERR_OK)
		rc = add_folders(&b, e);
	if (rc == ERR_OK)
		rc = change_root(&b, e);
	/* The other descriptors close themselves at exec; on failure the child ends. */
	fs_close(b.root);
	free(b.folders);
	umask(mask);
	return rc;
}
