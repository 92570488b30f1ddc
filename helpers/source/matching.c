#include "source/matching.h"

#include "base/fs.h"
#include "format/dbheader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define WATCH_MASK (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);
	return n > m && strcmp(name + n - m, end) == 0;
}

bool matching_is_companion(const char *name)
{
	return ends_with(name, "-wal") || ends_with(name, "-shm") || ends_with(name, "-journal") ||
		   ends_with(name, "-txid") || strstr(name, ".before-");
}

/* Has it SQLite's header? A pipe that has taken the name must not hold us. */
static bool is_database(int dir_fd, const char *name)
{
	uint8_t bytes[DB_HEADER_SIZE];
	struct db_header h;
	struct err none;
	int fd = fs_openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	bool is = fd >= 0 && fs_pread_full(fd, bytes, sizeof(bytes), 0) == 0 &&
			  db_header_decode(bytes, &h, &none) == ERR_OK;
	fs_close(fd);
	return is;
}

static int look_at_file(struct matching *m, int dir_fd, const char *name, const char *relative,
	const struct stat *st, struct err *e)
{
	if (fnmatch(m->pattern, name, FNM_PERIOD) != 0 || matching_is_companion(name) ||
		m->known(m->ctx, relative))
		return ERR_OK;
	if (st->st_size < DB_HEADER_SIZE) {
		m->undecided++;
		return ERR_OK;
	}
	return is_database(dir_fd, name) ? m->found(m->ctx, relative, e) : ERR_OK;
}

static int look_into(
	struct matching *m, int fd, const char *path, const char *inside, int depth, struct err *e);

static int look_at_folder(struct matching *m, int dir_fd, const char *path, const char *name,
	const char *relative, int depth, struct err *e)
{
	if (!m->recursive || name[0] == '.')
		return ERR_OK;
	if (depth == MATCHING_DEPTH) {
		m->cut = true;
		return ERR_OK;
	}
	int fd = fs_openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0) /* it has gone, or is not for us to see: as if it weren't there */
		return ERR_OK;
	char *full = fs_join(path, name);
	if (!full) {
		fs_close(fd);
		return err_nomem(e, "looking for databases");
	}
	int rc = look_into(m, fd, full, relative, depth + 1, e);
	free(full);
	return rc;
}

static int look_at_entry(struct matching *m, int dir_fd, const char *path, const char *name,
	const char *inside, int depth, struct err *e)
{
	struct stat st;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return ERR_OK;
	if (++m->entries > MATCHING_ENTRIES) {
		m->cut = true;
		return ERR_OK;
	}
	char *relative = *inside ? fs_join(inside, name) : strdup(name);
	if (!relative)
		return err_nomem(e, "looking for databases");
	int rc = ERR_OK;
	if (S_ISDIR(st.st_mode))
		rc = look_at_folder(m, dir_fd, path, name, relative, depth, e);
	else if (S_ISREG(st.st_mode))
		rc = look_at_file(m, dir_fd, name, relative, &st, e);
	free(relative);
	return rc;
}

/* Takes the descriptor. */
static int look_into(
	struct matching *m, int fd, const char *path, const char *inside, int depth, struct err *e)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		int saved = errno;
		fs_close(fd);
		return err_errno(e, ERR_IO, saved, "cannot list %s", path);
	}
	if (m->watch_fd >= 0) /* a folder that can't be watched is found by the slow scans */
		inotify_add_watch(m->watch_fd, path, WATCH_MASK);
	int rc = ERR_OK;
	struct dirent *entry;
	while (rc == ERR_OK && m->entries <= MATCHING_ENTRIES && (entry = readdir(d)))
		rc = look_at_entry(m, dirfd(d), path, entry->d_name, inside, depth, e);
	closedir(d);
	return rc;
}

int matching_scan(struct matching *m, struct err *e)
{
	m->entries = m->undecided = 0;
	m->cut = false;
	int fd = fs_open(m->dir, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		return look_into(m, fd, m->dir, "", 0, e);
	int code = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND
			   : errno == EACCES                   ? ERR_DENIED
												   : ERR_IO;
	return err_errno(e, (enum err_code)code, errno, "cannot look into the folder %s", m->dir);
}
