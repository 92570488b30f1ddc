#include "daemon/datadir.h"

#include "base/fs.h"
#include "conf/names.h"
#include "conf/trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_folder(const char *path, mode_t mode, uid_t owner, bool as_self, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) == 0)
		return trusted_check_folder(path, owner, e);
	if (errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot look at %s", path);
	if (mkdir(path, mode) != 0)
		return err_errno(e, ERR_IO, errno, "cannot make the folder %s", path);
	/* The umask took bits away. */
	if (chmod(path, mode) != 0)
		return err_errno(e, ERR_IO, errno, "cannot set the mode of %s", path);
	if (!as_self && lchown(path, owner, (gid_t)-1) != 0)
		return err_errno(e, ERR_IO, errno, "cannot give %s to uid %u", path, (unsigned)owner);
	return ERR_OK;
}

static int make_inner(
	const char *dir, const char *name, mode_t mode, uid_t owner, bool as_self, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return make_folder(path, mode, owner, as_self, e);
}

int datadir_prepare(const char *data_dir, uid_t owner, bool as_self, struct err *e)
{
	int rc = make_folder(data_dir, 0711, owner, as_self, e);
	if (rc == ERR_OK)
		rc = make_inner(data_dir, "desired", 0700, owner, as_self, e);
	if (rc == ERR_OK)
		rc = make_inner(data_dir, "secrets", 0700, owner, as_self, e);
	if (rc == ERR_OK)
		rc = make_inner(data_dir, "state", 0711, geteuid(), as_self, e);
	return rc;
}

int datadir_lock(const char *state_dir, int *fd, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/.lock", state_dir);
	*fd = fs_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot open %s", path);
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	int saved = errno;
	fs_close(*fd);
	*fd = -1;
	if (saved == EWOULDBLOCK)
		return err_set(e, ERR_AGAIN, "another litestreamd uses %s", state_dir);
	return err_errno(e, ERR_IO, saved, "cannot lock %s", path);
}

static int check_state(int dir, const char *path, uid_t uid, struct err *e)
{
	struct stat st;
	if (fstat(dir, &st) != 0)
		return err_errno(e, ERR_IO, errno, "cannot look at %s", path);
	if (st.st_uid != uid)
		return err_set(e, ERR_DATABASE,
			"the state folder %s belongs to uid %u, not to uid %u; remove it, what is in it is "
			"found out again",
			path, (unsigned)st.st_uid, (unsigned)uid);
	return ERR_OK;
}

/* The folder above is ours and nobody else can write there: what we made, we open. */
int datadir_state(
	const char *state_dir, const char *id, uid_t uid, gid_t gid, bool as_self, struct err *e)
{
	char path[4096];
	if (!name_is_id(id))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be an id", id);
	snprintf(path, sizeof(path), "%s/%s", state_dir, id);
	bool made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST)
		return err_errno(e, ERR_IO, errno, "cannot make the state folder %s", path);
	int dir = fs_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (dir < 0)
		return err_errno(e, ERR_IO, errno, "cannot open the state folder %s", path);
	int rc = ERR_OK;
	if (made && !as_self && fchown(dir, uid, gid) != 0) {
		rc = err_errno(e, ERR_IO, errno, "cannot give %s to uid %u", path, (unsigned)uid);
		rmdir(path);
	}
	if (rc == ERR_OK)
		rc = check_state(dir, path, uid, e);
	fs_close(dir);
	return rc;
}

bool datadir_changed(const char *dir, int64_t *mtime_ns)
{
	struct stat st;
	if (stat(dir, &st) != 0)
		return false;
	int64_t now = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	bool changed = now != *mtime_ns;
	*mtime_ns = now;
	return changed;
}

static bool mark_name(const char *state_dir, const char *id, char *name, size_t size)
{
	int n = snprintf(name, size, "%s/.purged-%s", state_dir, id);
	return n > 0 && (size_t)n < size;
}

int datadir_mark_purged(const char *state_dir, const char *id, struct err *e)
{
	char name[4096];
	int fd = mark_name(state_dir, id, name, sizeof(name))
				 ? fs_open(name, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600)
				 : -1;
	if (fd < 0 || fs_fsync_dir(state_dir) != 0) {
		fs_close(fd);
		return err_errno(
			e, ERR_IO, errno, "cannot note in %s that a replica was deleted", state_dir);
	}
	fs_close(fd);
	return ERR_OK;
}

bool datadir_is_purged(const char *state_dir, const char *id)
{
	char name[4096];
	return mark_name(state_dir, id, name, sizeof(name)) && access(name, F_OK) == 0;
}

void datadir_unmark_purged(const char *state_dir, const char *id)
{
	char name[4096];
	if (mark_name(state_dir, id, name, sizeof(name)))
		fs_unlink(name);
}
