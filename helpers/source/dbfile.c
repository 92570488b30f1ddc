#include "source/dbfile.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#define SHARED_FIRST (0x40000000L + 2)
#define SHARED_SIZE 510
#define SHM_BASE 120

struct dbfile {
	int fd;
	int users;
	dev_t dev;
	ino_t ino;
	struct dbfile *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct dbfile *files;

static struct dbfile *find(const struct stat *st)
{
	for (struct dbfile *f = files; f; f = f->next)
		if (f->dev == st->st_dev && f->ino == st->st_ino)
			return f;
	return NULL;
}

static int refuse(struct err *e, const char *path, int errnum)
{
	if (errnum == ENOENT || errnum == ENOTDIR)
		return err_errno(e, ERR_NOT_FOUND, errnum, "there is no database %s", path);
	if (errnum == ELOOP)
		return err_set(e, ERR_DATABASE, "%s is a symbolic link: name the file itself", path);
	bool ours = errnum == EACCES || errnum == EPERM || errnum == EROFS;
	return err_errno(
		e, ours ? ERR_DATABASE : ERR_IO, errnum, "cannot open %s for reading and writing", path);
}

/* Mutex held. A path that changes between lstat and open may be a file that is here already: then
 * the new descriptor must stay open as long as that one, so it simply becomes one more entry. */
static int open_new(struct dbfile **out, const char *path, struct err *e)
{
	struct dbfile *f = calloc(1, sizeof(*f));
	if (!f)
		return err_nomem(e, "opening the database");
	f->fd = fs_open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (f->fd < 0) {
		free(f);
		return refuse(e, path, errno);
	}
	struct stat st;
	fstat(f->fd, &st);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->users = 1;
	f->next = files;
	files = f;
	*out = f;
	return ERR_OK;
}

int dbfile_open(struct dbfile **out, const char *path, struct err *e)
{
	struct stat st;
	if (lstat(path, &st))
		return refuse(e, path, errno);
	if (!S_ISREG(st.st_mode))
		return S_ISLNK(st.st_mode) ? refuse(e, path, ELOOP)
								   : err_set(e, ERR_DATABASE, "%s is not a regular file", path);
	pthread_mutex_lock(&mutex);
	int rc = ERR_OK;
	*out = find(&st);
	if (*out)
		(*out)->users++;
	else
		rc = open_new(out, path, e);
	pthread_mutex_unlock(&mutex);
	return rc;
}

/* Mutex held: is any entry of this inode in use? */
static int in_use(const struct dbfile *of)
{
	int users = 0;
	for (struct dbfile *f = files; f; f = f->next)
		if (f->dev == of->dev && f->ino == of->ino)
			users += f->users;
	return users;
}

void dbfile_close(struct dbfile *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&mutex);
	f->users--;
	if (in_use(f) == 0) {
		struct dbfile match = *f;
		for (struct dbfile **p = &files; *p;) {
			struct dbfile *each = *p;
			if (each->dev != match.dev || each->ino != match.ino) {
				p = &each->next;
				continue;
			}
			*p = each->next;
			fs_close(each->fd);
			free(each);
		}
	}
	pthread_mutex_unlock(&mutex);
}

int dbfile_fd(const struct dbfile *f)
{
	return f->fd;
}

bool dbfile_shared(const struct dbfile *f)
{
	pthread_mutex_lock(&mutex);
	bool shared = in_use(f) > 1;
	pthread_mutex_unlock(&mutex);
	return shared;
}

static enum dbfile_lock ask(int fd, off_t start, off_t len, pid_t *pid)
{
	/* A read lock is in the way of any lock of ours only when we ask for a write lock; a write lock
	 * is also in the way of a read lock. */
	for (int type = 0; type < 2; type++) {
		struct flock l = {
			.l_type = type == 0 ? F_RDLCK : F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = start,
			.l_len = len,
		};
		if (fcntl(fd, F_GETLK, &l))
			return DBFILE_UNKNOWN;
		if (l.l_type == F_UNLCK)
			continue;
		if (pid)
			*pid = l.l_pid > 0 ? l.l_pid : 0;
		return type == 0 ? DBFILE_EXCLUSIVE : DBFILE_SHARED;
	}
	return DBFILE_UNLOCKED;
}

enum dbfile_lock dbfile_foreign_lock(const struct dbfile *f, pid_t *pid)
{
	return ask(f->fd, SHARED_FIRST, SHARED_SIZE, pid);
}

enum dbfile_lock dbfile_foreign_shm_lock(const struct dbfile *shm, int lock, pid_t *pid)
{
	return ask(shm->fd, SHM_BASE + lock, 1, pid);
}

enum dbfile_lock dbfile_foreign_lock_path(const char *path, pid_t *pid)
{
	struct dbfile *f;
	if (dbfile_open(&f, path, NULL))
		return DBFILE_UNKNOWN;
	enum dbfile_lock lock = ask(f->fd, SHARED_FIRST, SHARED_SIZE, pid);
	dbfile_close(f);
	return lock;
}
