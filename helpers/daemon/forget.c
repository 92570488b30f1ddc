#include "daemon/forget.h"

#include "base/fs.h"
#include "conf/names.h"
#include "daemon/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

static int refuse_registered(const struct supervisor *s, const char *id, struct err *e)
{
	for (const struct app *a = s->apps; a; a = a->next) {
		for (size_t i = 0; !a->gone && i < a->desired.n_databases; i++) {
			const struct desired_database *d = &a->desired.databases[i];
			if (strcmp(d->id, id) == 0)
				return err_set(e, ERR_FAIL, "%s is registered, by the app %s; its state is kept",
					d->path, a->name);
		}
	}
	return ERR_OK;
}

/* Who works with a state folder holds this lock (conf/state.h). *fd is -1 where there is none. */
static int lock_state(const char *dir, int *fd, struct err *e)
{
	char *name = fs_join(dir, "lock");
	if (!name)
		return err_nomem(e, "removing a state folder");
	*fd = fs_open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
	int saved = errno;
	free(name);
	if (*fd < 0)
		return saved == ENOENT ? ERR_OK : err_errno(e, ERR_IO, saved, "cannot open %s/lock", dir);
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	fs_close(*fd);
	*fd = -1;
	return err_set(e, ERR_AGAIN, "the state folder %s is still in use", dir);
}

int forget_state(const struct supervisor *s, const char *id, struct err *e)
{
	if (!name_is_id(id))
		return err_set(e, ERR_USAGE, "\"%.64s\" can't be the name of a state folder", id);
	int rc = refuse_registered(s, id, e);
	if (rc != ERR_OK)
		return rc;
	char *dir = fs_join(s->state_dir, id);
	if (!dir)
		return err_nomem(e, "removing a state folder");
	int fd = -1;
	rc = lock_state(dir, &fd, e);
	if (rc == ERR_OK && fs_remove_tree(dir) != 0)
		rc = err_errno(e, ERR_IO, errno, "cannot remove %s", dir);
	if (rc == ERR_OK && fs_fsync_parent(dir) != 0)
		rc = err_errno(e, ERR_IO, errno, "cannot fsync the folder of %s", dir);
	if (rc == ERR_OK)
		datadir_unmark_purged(s->state_dir, id);
	if (rc == ERR_OK)
		fs_close(fd);
	free(dir);
	return rc;
}
