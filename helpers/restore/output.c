#include "restore/output.h"

#include "base/fs.h"
#include "base/log.h"
#include "source/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROC_FD_SIZE 32

static int check_absent(const struct output *o, struct err *e)
{
	/* A -wal without its database would be replayed into the restored one. */
	static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		char *name;
		if (asprintf(&name, "%s%s", o->name, endings[i]) < 0)
			return err_nomem(e, "looking at the target");
		struct stat st;
		int there = folder_stat(&o->folder, name, &st), saved = errno;
		free(name);
		if (!there)
			return err_set(e, ERR_EXISTS, "cannot restore, output path %s: %s%s",
				S_ISDIR(st.st_mode) ? "is a directory" : "already exists", o->path, endings[i]);
		if (saved != ENOENT)
			return err_errno(e, ERR_IO, saved, "cannot look at %s%s", o->path, endings[i]);
	}
	return ERR_OK;
}

static bool is_absent(const struct output *o)
{
	struct stat st;
	return folder_stat(&o->folder, o->name, &st) != 0 && errno == ENOENT;
}

/* Nobody may have the old database open: whoever has would write on into the renamed file. */
static int check_unused(struct output *o, struct err *e)
{
	bool unsure;
	if (o->options->in_use)
		return o->options->in_use(o->options->in_use_ctx, e);
	int rc = holders_find(&o->folder, o->name, NULL, NULL, &unsure, e);
	if (!rc && unsure && !o->told_unsure)
		log_warn("%s: whether processes of other users have it open can only be told by their "
				 "locks: none has",
			o->path);
	o->told_unsure |= unsure;
	return rc;
}

static int check_empty(const struct output *o, const struct stat *st, struct err *e)
{
	if (!o->only_missing || st->st_size == 0)
		return ERR_OK;
	return err_set(e, ERR_EXISTS, "cannot restore, %s is there already and not empty", o->path);
}

/* What is to be replaced, if there is anything. */
static int look_at_old(struct output *o, struct err *e)
{
	struct stat st;
	/* Where nothing is there is nothing to rename: who makes a database meanwhile keeps it. */
	if (o->only_missing && check_absent(o, e) == ERR_OK) {
		o->in_place = false;
		return ERR_OK;
	}
	err_clear(e);
	if (folder_stat(&o->folder, o->name, &st)) {
		if (errno != ENOENT)
			return err_errno(e, ERR_IO, errno, "cannot look at %s", o->path);
		return ERR_OK;
	}
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_EXISTS, "cannot replace %s: it is %s", o->path,
			S_ISLNK(st.st_mode) ? "a symbolic link; name the file itself" : "not a regular file");
	int rc = check_empty(o, &st, e);
	if (rc)
		return rc;
	o->uid = st.st_uid;
	o->gid = st.st_gid;
	o->mode = st.st_mode & 0777;
	struct holders_lock lock;
	rc = holders_lock(&lock, &o->folder, o->name, e);
	holders_unlock(&lock);
	return rc ? rc : check_unused(o, e);
}

static int open_folder(struct output *o, struct stat *st, struct err *e)
{
	const struct restore_folder *want = o->options->folder;
	char *dir = fs_dirname(o->path);
	if (!dir)
		return err_nomem(e, "looking at the target");
	int rc = folder_open(&o->folder, dir, e);
	if (rc == ERR_NOT_FOUND)
		rc = err_set(e, ERR_IO,
			"cannot restore to %s: there is no folder %s (make it first: its owner will own the "
			"database)",
			o->path, dir);
	if (!rc && want)
		rc = folder_check(&o->folder, want->dev, want->ino, e);
	if (!rc && fstat(o->folder.fd, st))
		rc = err_errno(e, ERR_IO, errno, "cannot look at the folder %s", dir);
	free(dir);
	return rc;
}

int output_init(struct output *o, const struct restore_options *options, struct err *e)
{
	const char *path = options->output;
	memset(o, 0, sizeof(*o));
	o->path = path;
	o->folder = FOLDER_NONE;
	o->fd = o->tmp.fd = -1;
	o->in_place = options->in_place;
	o->only_missing = options->only_missing;
	o->options = options;
	o->name = fs_basename(path);
	if (!*o->name || strcmp(o->name, ".") == 0 || strcmp(o->name, "..") == 0)
		return err_set(e, ERR_USAGE, "cannot restore to %s: it names no file", path);
	struct stat st;
	int rc = open_folder(o, &st, e);
	if (rc)
		return rc;
	o->uid = st.st_uid;
	o->gid = st.st_gid;
	o->mode = ((options->mode ? options->mode : st.st_mode) & 0666) | 0600;
	rc = inplace_recover_in(&o->folder, o->name, o->in_place && !o->only_missing, e);
	if (rc)
		return rc;
	/* Should somebody make a database meanwhile, that one stays. */
	if (!o->in_place && options->leftovers && is_absent(o))
		o->in_place = o->only_missing = true;
	return o->in_place ? look_at_old(o, e) : check_absent(o, e);
}

/* A file without a name can only be given one through /proc. */
static bool can_link(int fd)
{
	char proc[PROC_FD_SIZE];
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return access(proc, F_OK) == 0;
}

/* ".<name>.tmp-<random>" */
static int open_named(struct output *o, struct err *e)
{
	char *hidden;
	if (asprintf(&hidden, ".%s", o->name) < 0)
		return err_nomem(e, "making a temporary file");
	int rc = ERR_OK;
	if (folder_aside(&o->tmp, &o->folder, hidden, 0600))
		rc = err_errno(e, ERR_IO, errno, "cannot restore to %s: cannot create %s/%s", o->path,
			o->folder.path, o->tmp.name);
	o->fd = o->tmp.fd;
	free(hidden);
	return rc;
}

int output_open(struct output *o, struct err *e)
{
	if (o->options->sums) { /* it never gets a name */
		o->fd = folder_create_scratch(&o->folder);
		return o->fd >= 0 ? ERR_OK
						  : err_errno(e, ERR_IO, errno, "cannot make a file in %s", o->folder.path);
	}
	o->fd = folder_create_unnamed(&o->folder);
	if (o->fd >= 0 && can_link(o->fd))
		return ERR_OK;
	fs_close(o->fd);
	o->fd = -1;
	return open_named(o, e);
}

void output_discard(struct output *o)
{
	if (o->tmp.fd >= 0)
		folder_unlink(&o->folder, o->tmp.name);
	fs_close(o->fd);
	o->fd = o->tmp.fd = -1;
}

int output_settle(struct output *o, struct err *e)
{
	struct stat st;
	if (fstat(o->fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at the restored %s", o->path);
	bool own = st.st_uid == o->uid && st.st_gid == o->gid;
	/* Who isn't root can't give files away: the database is then its own, as everything is that it
	 * makes. A group of its own it can set. */
	if (!own && fchown(o->fd, geteuid() == 0 ? o->uid : (uid_t)-1, o->gid) && geteuid() == 0)
		return err_errno(
			e, ERR_IO, errno, "cannot give the restored %s to uid %ld", o->path, (long)o->uid);
	if (fchmod(o->fd, o->mode))
		return err_errno(e, ERR_IO, errno, "cannot set the mode of %s", o->path);
	if (fs_fsync(o->fd))
		return err_errno(e, fs_error_code(errno), errno, "cannot fsync %s", o->path);
	return ERR_OK;
}

/* Locks before the last look: who opens the database between the two waits, or is seen. */
static int exchange(struct output *o, struct err *e)
{
	struct holders_lock lock;
	struct stat st;
	int rc = holders_lock(&lock, &o->folder, o->name, e);
	if (!rc)
		rc = check_unused(o, e);
	if (!rc && !folder_stat(&o->folder, o->name, &st))
		rc = o->options->in_place ? check_empty(o, &st, e) : check_absent(o, e);
	if (!rc)
		rc = inplace_exchange(
			&o->folder, o->name, o->fd, o->tmp.fd >= 0 ? o->tmp.name : NULL, o->stamp, e);
	if (!rc)
		o->tmp.fd = -1; /* o->fd is the same one */
	holders_unlock(&lock);
	return rc;
}

int output_place(struct output *o, struct err *e)
{
	if (o->in_place)
		return exchange(o, e);
	int rc = check_absent(o, e);
	if (rc)
		return rc;
	if (o->tmp.fd >= 0 ? folder_rename_new(&o->folder, o->tmp.name, o->name)
					   : folder_link_fd(&o->folder, o->fd, o->name)) {
		if (errno == EEXIST)
			return err_set(
				e, ERR_EXISTS, "cannot restore, output path already exists: %s", o->path);
		return err_errno(e, ERR_IO, errno, "cannot put %s in place", o->path);
	}
	fs_close(o->fd);
	o->fd = o->tmp.fd = -1;
	if (folder_sync(&o->folder)) {
		rc = err_errno(e, ERR_IO, errno, "cannot fsync the folder %s", o->folder.path);
		folder_unlink(&o->folder, o->name);
	}
	return rc;
}

void output_free(struct output *o)
{
	output_discard(o);
	folder_close(&o->folder);
}
