#include "source/holders.h"

#include "base/clock.h"
#include "base/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where SQLite locks (os.h, wal.c): PENDING, RESERVED and the 510 bytes of SHARED in the database;
 * eight locks of the WAL and the "dead man's switch" in the -shm. */
#define DB_LOCK_FIRST 0x40000000
#define DB_LOCK_SIZE 512
#define SHM_LOCK_FIRST 120
#define SHM_LOCK_SIZE 9
#define PATIENCE_US 1000000 /* a rollback transaction or a recovery is over by then */
#define PARTS 4

/* "4711 (ruby)" */
static void name_process(pid_t pid, char *out, size_t size)
{
	char path[64], comm[32] = "";
	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
	int fd = fs_open(path, O_RDONLY, 0);
	ssize_t n = fd >= 0 ? read(fd, comm, sizeof(comm) - 1) : 0;
	fs_close(fd);
	comm[n > 0 ? n : 0] = '\0';
	for (char *p = comm; *p; p++)
		*p = *p == '\n' ? '\0' : (char)(isprint((unsigned char)*p) ? *p : '?');
	if (pid <= 0) /* a lock of another pid namespace, or of an open file description */
		snprintf(out, size, "a process that can't be seen from here");
	else
		snprintf(
			out, size, "process %ld%s%s%s", (long)pid, *comm ? " (" : "", comm, *comm ? ")" : "");
}

static int in_use(pid_t pid, const struct folder *in, const char *name, struct err *e)
{
	char who[96];
	name_process(pid, who, sizeof(who));
	return err_set(e, ERR_DATABASE,
		"%s has %s/%s open: stop it first, because it would go on in the old file", who, in->path,
		name);
}

/* ---- locks ---- */

/* Within PATIENCE_US. */
static int lock_bytes(int fd, int command, off_t first, off_t size, const struct folder *in,
	const char *name, struct err *e)
{
	int64_t until = clock_mono_us() + PATIENCE_US;
	for (;;) {
		struct flock lock = {F_WRLCK, SEEK_SET, first, size, 0};
		int rc = fcntl(fd, command, &lock);
		if (!rc && (command == F_SETLK || lock.l_type == F_UNLCK))
			return ERR_OK;
		if (rc && errno != EAGAIN && errno != EACCES && errno != EINTR)
			return err_errno(e, ERR_IO, errno, "cannot lock %s/%s", in->path, name);
		if (clock_mono_us() >= until) {
			lock = (struct flock){F_WRLCK, SEEK_SET, first, size, 0};
			rc = fcntl(fd, F_GETLK, &lock);
			return in_use(!rc && lock.l_type != F_UNLCK ? lock.l_pid : 0, in, name, e);
		}
		clock_sleep_us(20000);
	}
}

/* A write lock on all of the bytes. Where the file can't be written we can only ask. */
static int lock_file(
	const struct folder *in, const char *name, off_t first, off_t size, int *out, struct err *e)
{
	int command = F_SETLK, fd = folder_open_file(in, name, O_RDWR);
	if (fd < 0 && (errno == EACCES || errno == EROFS)) {
		command = F_GETLK;
		fd = folder_open_file(in, name, O_RDONLY);
	}
	if (fd < 0 && errno == ENOENT)
		return ERR_OK;
	if (fd < 0 && errno == ELOOP)
		return err_set(
			e, ERR_DATABASE, "%s/%s is a symbolic link or no regular file", in->path, name);
	if (fd < 0)
		return err_errno(e, ERR_DATABASE, errno, "cannot open %s/%s", in->path, name);
	*out = fd;
	return lock_bytes(fd, command, first, size, in, name, e);
}
int holders_lock(struct holders_lock *l, const struct folder *in, const char *name, struct err *e)
{
	char *shm;
	l->db_fd = l->shm_fd = -1;
	if (asprintf(&shm, "%s-shm", name) < 0)
		return err_nomem(e, "looking for users of a database");
	int rc = lock_file(in, name, DB_LOCK_FIRST, DB_LOCK_SIZE, &l->db_fd, e);
	if (!rc)
		rc = lock_file(in, shm, SHM_LOCK_FIRST, SHM_LOCK_SIZE, &l->shm_fd, e);
	free(shm);
	return rc;
}

void holders_unlock(struct holders_lock *l)
{
	fs_close(l->db_fd); /* which gives the locks back */
	fs_close(l->shm_fd);
	l->db_fd = l->shm_fd = -1;
}

/* ---- descriptors ---- */

struct search {
	struct stat files[PARTS];
	size_t n_files;
	bool unsure; /* there are processes whose files we may not see */
	int failed;  /* the errno of one that we could not look at */
};

static int look_at_files(struct search *s, const struct folder *in, const char *name, struct err *e)
{
	static const char *const parts[PARTS] = {"", "-wal", "-shm", "-journal"};
	for (int i = 0; i < PARTS; i++) {
		char *part;
		if (asprintf(&part, "%s%s", name, parts[i]) < 0)
			return err_nomem(e, "looking for users of a database");
		if (!folder_stat(in, part, &s->files[s->n_files]))
			s->n_files++;
		free(part);
	}
	return ERR_OK;
}

static bool has_one(struct search *s, pid_t pid)
{
	char path[64];
	bool found = false;
	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	int dir = fs_open(path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
	if (!d) {
		if (errno == EACCES || errno == EPERM)
			s->unsure = true;
		else if (errno != ENOENT && errno != ESRCH) /* it may have ended meanwhile */
			s->failed = errno;
		fs_close(dir);
		return false;
	}
	for (const struct dirent *ent = readdir(d); ent && !found; ent = readdir(d)) {
		struct stat st;
		if (ent->d_name[0] == '.' || fstatat(dirfd(d), ent->d_name, &st, 0))
			continue;
		for (size_t i = 0; i < s->n_files; i++)
			found |= st.st_dev == s->files[i].st_dev && st.st_ino == s->files[i].st_ino;
	}
	closedir(d);
	return found;
}

int holders_find(const struct folder *in, const char *name, bool (*ignore)(void *ctx, pid_t pid),
	void *ctx, bool *unsure, struct err *e)
{
	struct search s = {0};
	*unsure = false;
	int rc = look_at_files(&s, in, name, e);
	if (rc || s.n_files == 0)
		return rc;
	DIR *proc = opendir("/proc");
	if (!proc)
		return err_errno(
			e, ERR_IO, errno, "cannot look for processes that use %s/%s in /proc", in->path, name);
	for (const struct dirent *ent = readdir(proc); ent && !rc && !s.failed; ent = readdir(proc)) {
		char *end;
		pid_t pid = (pid_t)strtol(ent->d_name, &end, 10);
		if (*end || pid <= 0 || pid == getpid() || (ignore && ignore(ctx, pid)))
			continue;
		if (has_one(&s, pid))
			rc = in_use(pid, in, name, e);
	}
	closedir(proc);
	*unsure = s.unsure;
	if (!rc && s.failed)
		rc =
			err_errno(e, ERR_IO, s.failed, "cannot tell which processes use %s/%s", in->path, name);
	return rc;
}
