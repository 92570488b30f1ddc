#include "source/find.h"

#include "base/fs.h"
#include "format/dbheader.h"
#include "source/matching.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct find {
	find_fn fn;
	void *ctx;
	struct find_totals *t;
};

static void note_unreadable(struct find *f, const char *dir, const char *name)
{
	if (f->t->unreadable++ == 0)
		snprintf(f->t->first_unreadable, sizeof(f->t->first_unreadable), "%s%s%s", dir,
			*name ? "/" : "", name);
}

static bool is_passed_over(const char *name)
{
	return name[0] == '.' || matching_is_companion(name);
}

/* The header, if the file has one; -1 with errno. Another one may have taken the name since it was
 * looked at: a pipe that nobody writes to must not hold us. */
static int read_header(int dir_fd, const char *name, uint8_t header[DB_HEADER_SIZE])
{
	struct stat st;
	int fd = fs_openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return -1;
	int rc = fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
				 ? fs_pread_full(fd, header, DB_HEADER_SIZE, 0)
				 : (errno = EINVAL, -1);
	int saved = errno;
	fs_close(fd);
	errno = saved;
	return rc;
}

static int look_at_file(
	struct find *f, int dir_fd, const char *dir, const char *name, off_t size, struct err *e)
{
	uint8_t bytes[DB_HEADER_SIZE];
	struct db_header h;
	struct err none;
	if (size < DB_HEADER_SIZE)
		return ERR_OK;
	if (read_header(dir_fd, name, bytes) != 0) {
		if (errno == EACCES || errno == EPERM)
			note_unreadable(f, dir, name);
		return ERR_OK;
	}
	if (db_header_decode(bytes, &h, &none) != ERR_OK)
		return ERR_OK;
	if (f->t->databases == FIND_DATABASES) {
		f->t->cut = true;
		return ERR_OK;
	}
	f->t->databases++;
	const struct find_file file = {dir, name, (uint64_t)size, h.page_size, h.read_version == 2};
	return f->fn(f->ctx, &file, e);
}

static int look_below(struct find *f, int fd, const char *dir, int depth, struct err *e);

static int look_at_folder(
	struct find *f, int dir_fd, const char *dir, const char *name, int depth, struct err *e)
{
	if (depth == FIND_DEPTH) {
		f->t->cut = true;
		return ERR_OK;
	}
	int fd = fs_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0) {
		if (errno == EACCES || errno == EPERM)
			note_unreadable(f, dir, name);
		return ERR_OK;
	}
	char *path = fs_join(dir, name);
	int rc = path ? look_below(f, fd, path, depth + 1, e) : err_nomem(e, "looking for databases");
	if (!path)
		fs_close(fd);
	free(path);
	return rc;
}

static int look_at_entry(
	struct find *f, int dir_fd, const char *dir, const char *name, int depth, struct err *e)
{
	struct stat st;
	if (is_passed_over(name))
		return ERR_OK;
	if (f->t->entries++ >= FIND_ENTRIES) {
		f->t->cut = true;
		return ERR_OK;
	}
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return ERR_OK; /* it has gone, or can't be looked at: then its folder can't be searched */
	if (S_ISDIR(st.st_mode))
		return look_at_folder(f, dir_fd, dir, name, depth, e);
	return S_ISREG(st.st_mode) ? look_at_file(f, dir_fd, dir, name, st.st_size, e) : ERR_OK;
}

/* Takes the descriptor. */
static int look_below(struct find *f, int fd, const char *dir, int depth, struct err *e)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		fs_close(fd);
		return err_errno(e, ERR_IO, errno, "cannot list %s", dir);
	}
	/* Without the right to search it nothing in it can be looked at. */
	if (faccessat(fd, ".", X_OK, AT_EACCESS) != 0)
		note_unreadable(f, dir, "");
	int rc = ERR_OK;
	struct dirent *entry;
	while (rc == ERR_OK && !(f->t->cut && f->t->entries > FIND_ENTRIES) && (entry = readdir(d)))
		rc = look_at_entry(f, dirfd(d), dir, entry->d_name, depth, e);
	closedir(d);
	return rc;
}

int find_databases(
	const char *dir, find_fn fn, void *ctx, struct find_totals *totals, struct err *e)
{
	struct find f = {fn, ctx, totals};
	memset(totals, 0, sizeof(*totals));
	int fd = fs_open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd >= 0)
		return look_below(&f, fd, dir, 0, e);
	if (errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "there is no folder %s", dir);
	if (errno == ENOTDIR || errno == ELOOP)
		return err_set(e, ERR_DATABASE, "%s is no folder, or a symbolic link to one", dir);
	return err_errno(
		e, errno == EACCES ? ERR_DENIED : ERR_IO, errno, "cannot look into the folder %s", dir);
}
