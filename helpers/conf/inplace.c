#include "conf/inplace.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "conf/intent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define INTENT_MAX 4096
#define PARTS INTENT_PARTS
#define STAMP_TRIES 100

static const char *const parts[PARTS] = {"", "-wal", "-shm", "-journal"};

/* Everything about one exchange. */
struct exchange {
	const char *path; /* borrowed */
	char *dir, *intent;
	char *fresh; /* the new file's path */
	struct intent what;
	int lock_fd;
};

/* ---- names ---- */

/* "<dir>/.<name><ending>" */
static char *beside(const struct exchange *x, const char *ending)
{
	char *name, *out;
	if (asprintf(&name, ".%s%s", fs_basename(x->path), ending) < 0)
		return NULL;
	out = fs_join(x->dir, name);
	free(name);
	return out;
}

static int init(struct exchange *x, const char *path, struct err *e)
{
	memset(x, 0, sizeof(*x));
	x->path = path;
	x->lock_fd = -1;
	x->dir = fs_dirname(path);
	x->intent = x->dir ? beside(x, ".restoring") : NULL;
	return x->intent ? ERR_OK : err_nomem(e, "restoring in place");
}

static void done(struct exchange *x)
{
	fs_close(x->lock_fd);
	free(x->dir);
	free(x->intent);
	free(x->fresh);
}

/* Where part i is, and where it goes. */
static int names(const struct exchange *x, int i, char **from, char **to, struct err *e)
{
	if (asprintf(from, "%s%s", x->path, parts[i]) < 0)
		return err_nomem(e, "restoring in place");
	if (asprintf(to, "%s.before-%s%s", x->path, x->what.stamp, parts[i]) >= 0)
		return ERR_OK;
	free(*from);
	return err_nomem(e, "restoring in place");
}

static int inode_at(const char *path, uint64_t *ino, struct err *e)
{
	struct stat st;
	*ino = 0;
	if (!lstat(path, &st))
		*ino = st.st_ino;
	else if (errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot look at %s", path);
	return ERR_OK;
}

static int sync_dir(const struct exchange *x, struct err *e)
{
	if (fs_fsync_dir(x->dir))
		return err_errno(e, ERR_IO, errno, "cannot fsync the folder %s", x->dir);
	return ERR_OK;
}

static int rename_new(const char *from, const char *to, struct err *e)
{
	if (fs_rename_new(from, to))
		return err_errno(
			e, errno == EEXIST ? ERR_DATABASE : ERR_IO, errno, "cannot rename %s to %s", from, to);
	return ERR_OK;
}

/* ---- the two ways ---- */

/* What is there must be what the intent says, or have been moved already. */
static int move_part(const struct exchange *x, int i, struct err *e)
{
	char *from, *to;
	uint64_t at;
	int rc = names(x, i, &from, &to, e);
	if (rc)
		return rc;
	rc = inode_at(from, &at, e);
	if (!rc && at && at != x->what.old_ino[i])
		rc = err_set(e, ERR_DATABASE,
			"%s was made by somebody while the restored database was about to take its place; stop "
			"what uses it and look at it",
			from);
	else if (!rc && at)
		rc = rename_new(from, to, e);
	free(from);
	free(to);
	return rc;
}

static int remove_intent(const struct exchange *x, struct err *e)
{
	if (fs_unlink(x->intent) && errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot remove %s", x->intent);
	return ERR_OK;
}

static int forward(const struct exchange *x, struct err *e)
{
	int rc = ERR_OK;
	for (int i = 0; !rc && i < PARTS; i++)
		rc = move_part(x, i, e);
	if (!rc)
		rc = sync_dir(x, e);
	if (!rc)
		rc = rename_new(x->fresh, x->path, e);
	return rc ? rc : sync_dir(x, e);
}

static int move_back(const struct exchange *x, int i, struct err *e)
{
	char *at, *from;
	uint64_t ino;
	int rc = names(x, i, &at, &from, e);
	if (rc)
		return rc;
	rc = inode_at(from, &ino, e);
	if (!rc && ino && ino == x->what.old_ino[i])
		rc = rename_new(from, at, e);
	free(at);
	free(from);
	return rc;
}

static int remove_fresh(const struct exchange *x, struct err *e)
{
	uint64_t ino;
	int rc = inode_at(x->fresh, &ino, e);
	if (!rc && ino == x->what.new_ino && fs_unlink(x->fresh))
		rc = err_errno(e, ERR_IO, errno, "cannot remove %s", x->fresh);
	return rc;
}

/* The database last: while it is missing nobody can use what belongs to it. */
static int back(const struct exchange *x, struct err *e)
{
	uint64_t at;
	int rc = inode_at(x->path, &at, e);
	/* An old -wal must not get beside a file that somebody made in between. */
	if (!rc && at && at != x->what.new_ino && at != x->what.old_ino[0])
		return err_set(e, ERR_DATABASE, "somebody has made a new file at %s", x->path);
	if (!rc && at && at == x->what.new_ino)
		rc = rename_new(x->path, x->fresh, e);
	for (int i = PARTS - 1; !rc && i >= 0; i--)
		rc = move_back(x, i, e);
	if (!rc)
		rc = remove_fresh(x, e);
	if (!rc)
		rc = sync_dir(x, e);
	return rc ? rc : remove_intent(x, e);
}

/* ---- the intent ---- */

/* Without a name, so that no crash leaves it behind; with one where the file system can't do that.
 */
static int open_nameless(struct exchange *x, char **tmp, struct err *e)
{
	uint64_t salt;
	x->lock_fd = fs_open(x->dir, O_WRONLY | O_TMPFILE, 0600);
	if (x->lock_fd >= 0)
		return ERR_OK;
	fs_random(&salt, sizeof(salt));
	if (asprintf(tmp, "%s.tmp-%016" PRIx64, x->intent, salt) < 0) {
		*tmp = NULL;
		return err_nomem(e, "restoring in place");
	}
	x->lock_fd = fs_open(*tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (x->lock_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot create %s", *tmp);
	return ERR_OK;
}

/* Locked before it has its name, so that nobody finishes what is under way. */
static int put_intent(struct exchange *x, const struct buf *text, const char *tmp, struct err *e)
{
	if (flock(x->lock_fd, LOCK_EX | LOCK_NB) || fs_write_full(x->lock_fd, text->data, text->len) ||
		fs_fsync(x->lock_fd))
		return err_errno(
			e, errno == ENOSPC ? ERR_FULL : ERR_IO, errno, "cannot write %s", x->intent);
	if (!(tmp ? fs_rename_new(tmp, x->intent) : fs_link_fd(x->lock_fd, x->intent)))
		return ERR_OK;
	if (errno == EEXIST)
		return err_set(e, ERR_AGAIN, "another restore of %s is under way", x->path);
	return err_errno(e, ERR_IO, errno, "cannot name %s", x->intent);
}

static int write_intent(struct exchange *x, struct err *e)
{
	struct buf text;
	char *tmp = NULL;
	buf_init(&text, INTENT_MAX);
	snprintf(x->what.file, sizeof(x->what.file), "%s", fs_basename(x->fresh));
	int rc = intent_encode(&x->what, &text, e);
	if (!rc)
		rc = open_nameless(x, &tmp, e);
	if (!rc)
		rc = put_intent(x, &text, tmp, e);
	if (rc && tmp)
		fs_unlink(tmp);
	buf_free(&text);
	free(tmp);
	return rc;
}

static int read_intent(struct exchange *x, struct err *e)
{
	struct buf text;
	buf_init(&text, INTENT_MAX);
	int rc = fs_read_file(x->intent, &text, e);
	if (!rc)
		rc = intent_decode(&x->what, &text, fs_basename(x->path), e);
	if (rc == ERR_DAMAGED || rc == ERR_FULL)
		rc = err_set(e, ERR_DATABASE,
			"%s, which an interrupted restore left, can't be read: see what is in the folder, put "
			"the right file at %s, and delete it",
			x->intent, x->path);
	if (!rc) {
		x->fresh = fs_join(x->dir, x->what.file);
		rc = x->fresh ? ERR_OK : err_nomem(e, "restoring in place");
	}
	buf_free(&text);
	return rc;
}

/* ERR_NOT_FOUND: there is none, or its owner has just finished. */
static int lock_intent(struct exchange *x, struct err *e)
{
	struct stat st;
	x->lock_fd = fs_open(x->intent, O_RDONLY | O_NOFOLLOW, 0);
	if (x->lock_fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	if (x->lock_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot open %s", x->intent);
	if (flock(x->lock_fd, LOCK_EX | LOCK_NB))
		return err_set(e, ERR_AGAIN, "another restore of %s is under way", x->path);
	if (fstat(x->lock_fd, &st) || st.st_nlink == 0)
		return ERR_NOT_FOUND;
	return ERR_OK;
}

/* ---- from the outside ---- */

static bool taken(const struct exchange *x)
{
	struct err e = ERR_INIT;
	for (int i = 0; i < PARTS; i++) {
		char *from, *to;
		struct stat st;
		if (names(x, i, &from, &to, &e))
			return false;
		bool there = !lstat(to, &st);
		free(from);
		free(to);
		if (there)
			return true;
	}
	return false;
}

/* "20261121T153000Z", with "-2" behind it if that is taken. */
static int choose_stamp(struct exchange *x, struct err *e)
{
	char now[32], compact[32];
	size_t n = 0;
	clock_format_rfc3339(clock_wall_ms(), now);
	for (const char *p = now; *p && *p != '.'; p++)
		if (*p != '-' && *p != ':')
			compact[n++] = *p;
	compact[n] = '\0';
	for (int i = 1; i < STAMP_TRIES; i++) {
		if (i == 1)
			snprintf(x->what.stamp, sizeof(x->what.stamp), "%.20sZ", compact);
		else
			snprintf(x->what.stamp, sizeof(x->what.stamp), "%.20sZ-%d", compact, i);
		if (!taken(x))
			return ERR_OK;
	}
	return err_set(e, ERR_EXISTS, "%s.before-%s is there already", x->path, x->what.stamp);
}

static int prepare(struct exchange *x, int fd, const char *tmp, struct err *e)
{
	struct stat st;
	int rc = choose_stamp(x, e);
	for (int i = 0; !rc && i < PARTS; i++) {
		char *from, *to;
		rc = names(x, i, &from, &to, e);
		if (rc)
			break;
		rc = inode_at(from, &x->what.old_ino[i], e);
		free(from);
		free(to);
	}
	if (!rc && fstat(fd, &st))
		rc = err_errno(e, ERR_IO, errno, "cannot look at the restored %s", x->path);
	x->what.new_ino = rc ? 0 : st.st_ino;
	char ending[INPLACE_STAMP_SIZE + 16];
	snprintf(ending, sizeof(ending), ".restored-%s", x->what.stamp);
	x->fresh = tmp ? strdup(tmp) : beside(x, ending);
	if (!rc && !x->fresh)
		rc = err_nomem(e, "restoring in place");
	return rc ? rc : write_intent(x, e);
}

int inplace_exchange(
	const char *path, int fd, const char *tmp, char stamp[INPLACE_STAMP_SIZE], struct err *e)
{
	struct exchange x;
	stamp[0] = '\0';
	int rc = init(&x, path, e);
	if (!rc)
		rc = prepare(&x, fd, tmp, e);
	if (rc) {
		done(&x);
		return rc;
	}
	for (int i = 0; i < PARTS; i++)
		if (x.what.old_ino[i])
			memcpy(stamp, x.what.stamp, INPLACE_STAMP_SIZE);
	if (!tmp && fs_link_fd(fd, x.fresh))
		rc = err_errno(e, ERR_IO, errno, "cannot name the restored %s", path);
	if (!rc)
		rc = sync_dir(&x, e);
	if (!rc)
		rc = forward(&x, e);
	struct err why = ERR_INIT;
	if (rc && back(&x, &why))
		log_error("%s: %s; the next restore or replicate tries again", path, why.text);
	else if (!rc && remove_intent(&x, &why))
		log_warn("%s", why.text); /* whoever finds it sees that everything is done */
	done(&x);
	return rc;
}

/* The user wants what is there now replaced as well: what is left of the first exchange goes where
 * it was to go. */
static int drop_exchange(const struct exchange *x, struct err *e)
{
	int rc = ERR_OK;
	for (int i = 1; !rc && i < PARTS; i++) {
		char *from, *to;
		uint64_t at;
		rc = names(x, i, &from, &to, e);
		if (rc)
			break;
		rc = inode_at(from, &at, e);
		if (!rc && at && at == x->what.old_ino[i])
			rc = rename_new(from, to, e);
		free(from);
		free(to);
	}
	if (!rc)
		rc = remove_fresh(x, e);
	return rc ? rc : remove_intent(x, e);
}

static int settle(const struct exchange *x, bool drop, struct err *e)
{
	uint64_t at, fresh;
	int rc = inode_at(x->path, &at, e);
	if (!rc)
		rc = inode_at(x->fresh, &fresh, e);
	if (rc)
		return rc;
	bool whole = fresh && fresh == x->what.new_ino;
	if (at && at == x->what.new_ino) {
		rc = remove_fresh(x, e); /* a second name, where rename was a link */
		return rc ? rc : remove_intent(x, e);
	}
	if ((at && at == x->what.old_ino[0]) || (!at && !whole)) {
		rc = back(x, e);
		if (!rc)
			log_warn("%s: a restore that was interrupted has been taken back", x->path);
		return rc;
	}
	if (at && drop)
		return drop_exchange(x, e);
	if (at)
		return err_set(e, ERR_DATABASE,
			"a restore of %s was interrupted, and somebody has made a new file there since. What "
			"was there before is %s.before-%s. To keep the new one delete %s; to replace it "
			"restore "
			"again with -force",
			x->path, x->path, x->what.stamp, x->intent);
	rc = forward(x, e);
	if (!rc)
		rc = remove_intent(x, e);
	if (!rc)
		log_warn("%s: a restore that was interrupted has been completed; what was there before is "
				 "%s.before-%s",
			x->path, x->path, x->what.stamp);
	return rc;
}

int inplace_recover(const char *path, bool drop, struct err *e)
{
	struct exchange x;
	int rc = init(&x, path, e);
	if (!rc)
		rc = lock_intent(&x, e);
	if (!rc)
		rc = read_intent(&x, e);
	if (!rc)
		rc = settle(&x, drop, e);
	done(&x);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}
