#include "conf/inplace.h"

#include "base/clock.h"
#include "base/folder.h"
#include "base/fs.h"
#include "base/log.h"
#include "conf/intent.h"

#include <errno.h>
#include <fcntl.h>
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

#define NAME_SIZE (256 + INPLACE_STAMP_SIZE + 32) /* a file's, and what we put around it */

/* Everything about one exchange. All of it is names in one folder. */
struct exchange {
	const struct folder *in; /* borrowed, as is name */
	const char *name;        /* of the database */
	char intent[NAME_SIZE];
	char fresh[NAME_SIZE]; /* the new file */
	struct intent what;
	int lock_fd;
};

/* Where a part is, and where it goes. */
struct names {
	char from[NAME_SIZE], to[NAME_SIZE];
};

/* ---- names ---- */

static int init(struct exchange *x, const struct folder *in, const char *name, struct err *e)
{
	memset(x, 0, sizeof(*x));
	x->in = in;
	x->name = name;
	x->lock_fd = -1;
	if (strlen(name) > 255)
		return err_set(e, ERR_IO, "a name that is too long: %.60s...", name);
	snprintf(x->intent, sizeof(x->intent), ".%s.restoring", name);
	return ERR_OK;
}

static struct names names_of(const struct exchange *x, int i)
{
	struct names n;
	snprintf(n.from, sizeof(n.from), "%.255s%s", x->name, parts[i]);
	snprintf(n.to, sizeof(n.to), "%.255s.before-%s%s", x->name, x->what.stamp, parts[i]);
	return n;
}

static int inode_at(const struct exchange *x, const char *name, uint64_t *ino, struct err *e)
{
	struct stat st;
	*ino = 0;
	if (!folder_stat(x->in, name, &st))
		*ino = st.st_ino;
	else if (errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot look at %s/%s", x->in->path, name);
	return ERR_OK;
}

static int sync_dir(const struct exchange *x, struct err *e)
{
	if (folder_sync(x->in))
		return err_errno(e, ERR_IO, errno, "cannot fsync the folder %s", x->in->path);
	return ERR_OK;
}

static int rename_new(const struct exchange *x, const char *from, const char *to, struct err *e)
{
	if (folder_rename_new(x->in, from, to))
		return err_errno(e, errno == EEXIST ? ERR_DATABASE : ERR_IO, errno,
			"cannot rename %s to %s in %s", from, to, x->in->path);
	return ERR_OK;
}

/* ---- the two ways ---- */

/* What is there must be what the intent says, or have been moved already. */
static int move_part(const struct exchange *x, int i, struct err *e)
{
	const struct names n = names_of(x, i);
	uint64_t at;
	int rc = inode_at(x, n.from, &at, e);
	if (!rc && at && at != x->what.old_ino[i])
		return err_set(e, ERR_DATABASE,
			"%s/%s was made by somebody while the restored database was about to take its place; "
			"stop what uses it and look at it",
			x->in->path, n.from);
	return !rc && at ? rename_new(x, n.from, n.to, e) : rc;
}

static int remove_intent(const struct exchange *x, struct err *e)
{
	if (folder_unlink(x->in, x->intent) && errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot remove %s/%s", x->in->path, x->intent);
	return ERR_OK;
}

/* Whoever may write in the folder can give the new file's name to another one. */
static int place_fresh(const struct exchange *x, struct err *e)
{
	uint64_t at;
	int rc = rename_new(x, x->fresh, x->name, e);
	if (!rc)
		rc = inode_at(x, x->name, &at, e);
	if (!rc && at != x->what.new_ino)
		rc = err_set(e, ERR_DATABASE,
			"%s/%s is not the restored database: somebody exchanged it while it was put in place",
			x->in->path, x->name);
	return rc;
}

static int forward(const struct exchange *x, struct err *e)
{
	int rc = ERR_OK;
	for (int i = 0; !rc && i < PARTS; i++)
		rc = move_part(x, i, e);
	if (!rc)
		rc = sync_dir(x, e);
	if (!rc)
		rc = place_fresh(x, e);
	return rc ? rc : sync_dir(x, e);
}

static int move_back(const struct exchange *x, int i, struct err *e)
{
	const struct names n = names_of(x, i);
	uint64_t ino;
	int rc = inode_at(x, n.to, &ino, e);
	return !rc && ino && ino == x->what.old_ino[i] ? rename_new(x, n.to, n.from, e) : rc;
}

static int remove_fresh(const struct exchange *x, struct err *e)
{
	uint64_t ino;
	int rc = inode_at(x, x->fresh, &ino, e);
	if (!rc && ino == x->what.new_ino && folder_unlink(x->in, x->fresh))
		rc = err_errno(e, ERR_IO, errno, "cannot remove %s/%s", x->in->path, x->fresh);
	return rc;
}

/* The database last: while it is missing nobody can use what belongs to it. */
static int back(const struct exchange *x, struct err *e)
{
	uint64_t at;
	int rc = inode_at(x, x->name, &at, e);
	/* An old -wal must not get beside a file that somebody made in between. */
	if (!rc && at && at != x->what.new_ino && at != x->what.old_ino[0])
		return err_set(
			e, ERR_DATABASE, "somebody has made a new file at %s/%s", x->in->path, x->name);
	if (!rc && at && at == x->what.new_ino)
		rc = rename_new(x, x->name, x->fresh, e);
	for (int i = PARTS - 1; !rc && i >= 0; i--)
		rc = move_back(x, i, e);
	if (!rc)
		rc = remove_fresh(x, e);
	if (!rc)
		rc = sync_dir(x, e);
	return rc ? rc : remove_intent(x, e);
}

/* ---- the intent ---- */

/* Without a name, so that no crash leaves it behind; with one (*aside) where the file system can't
 * do that. */
static int open_nameless(struct exchange *x, struct folder_aside *aside, struct err *e)
{
	aside->fd = -1;
	x->lock_fd = folder_create_unnamed(x->in);
	if (x->lock_fd >= 0)
		return ERR_OK;
	if (folder_aside(aside, x->in, x->intent, 0600))
		return err_errno(e, ERR_IO, errno, "cannot create %s/%s", x->in->path, aside->name);
	x->lock_fd = aside->fd;
	return ERR_OK;
}

/* Locked before it has its name, so that nobody finishes what is under way. */
static int put_intent(struct exchange *x, const struct buf *text, const char *tmp, struct err *e)
{
	if (flock(x->lock_fd, LOCK_EX | LOCK_NB) || fs_write_full(x->lock_fd, text->data, text->len) ||
		fs_fsync(x->lock_fd))
		return err_errno(
			e, fs_error_code(errno), errno, "cannot write %s/%s", x->in->path, x->intent);
	if (!(tmp ? folder_rename_new(x->in, tmp, x->intent)
			  : folder_link_fd(x->in, x->lock_fd, x->intent)))
		return ERR_OK;
	if (errno == EEXIST)
		return err_set(e, ERR_AGAIN, "another restore of %s/%s is under way", x->in->path, x->name);
	return err_errno(e, ERR_IO, errno, "cannot name %s/%s", x->in->path, x->intent);
}

static int write_intent(struct exchange *x, struct err *e)
{
	struct buf text;
	struct folder_aside aside = {.fd = -1};
	buf_init(&text, INTENT_MAX);
	snprintf(x->what.file, sizeof(x->what.file), "%.255s", x->fresh);
	int rc = intent_encode(&x->what, &text, e);
	if (!rc)
		rc = open_nameless(x, &aside, e);
	if (!rc)
		rc = put_intent(x, &text, aside.fd >= 0 ? aside.name : NULL, e);
	if (rc && aside.fd >= 0)
		folder_unlink(x->in, aside.name);
	buf_free(&text);
	return rc;
}

static int read_intent(struct exchange *x, struct err *e)
{
	struct buf text;
	buf_init(&text, INTENT_MAX);
	int rc = fs_read_rest(x->lock_fd, x->intent, &text, e);
	if (!rc)
		rc = intent_decode(&x->what, &text, x->name, e);
	if (rc == ERR_DAMAGED || rc == ERR_FULL)
		rc = err_set(e, ERR_DATABASE,
			"%s/%s, which an interrupted restore left, can't be read: see what is in the folder, "
			"put the right file at %s, and delete it",
			x->in->path, x->intent, x->name);
	if (!rc)
		snprintf(x->fresh, sizeof(x->fresh), "%s", x->what.file);
	buf_free(&text);
	return rc;
}

/* ERR_NOT_FOUND: there is none, or its owner has just finished. */
static int lock_intent(struct exchange *x, struct err *e)
{
	struct stat st;
	x->lock_fd = folder_open_file(x->in, x->intent, O_RDONLY);
	if (x->lock_fd < 0 && errno == ENOENT)
		return ERR_NOT_FOUND;
	if (x->lock_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot open %s/%s", x->in->path, x->intent);
	if (flock(x->lock_fd, LOCK_EX | LOCK_NB))
		return err_set(e, ERR_AGAIN, "another restore of %s/%s is under way", x->in->path, x->name);
	if (fstat(x->lock_fd, &st) || st.st_nlink == 0)
		return ERR_NOT_FOUND;
	return ERR_OK;
}

/* ---- from the outside ---- */

static bool taken(const struct exchange *x)
{
	for (int i = 0; i < PARTS; i++) {
		const struct names n = names_of(x, i);
		struct stat st;
		if (!folder_stat(x->in, n.to, &st))
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
	return err_set(
		e, ERR_EXISTS, "%s/%s.before-%s is there already", x->in->path, x->name, x->what.stamp);
}

static int prepare(struct exchange *x, int fd, const char *tmp, struct err *e)
{
	struct stat st;
	int rc = choose_stamp(x, e);
	for (int i = 0; !rc && i < PARTS; i++)
		rc = inode_at(x, names_of(x, i).from, &x->what.old_ino[i], e);
	if (!rc && fstat(fd, &st))
		rc = err_errno(e, ERR_IO, errno, "cannot look at the restored %s/%s", x->in->path, x->name);
	if (rc)
		return rc;
	x->what.new_ino = st.st_ino;
	if (tmp)
		snprintf(x->fresh, sizeof(x->fresh), "%s", tmp);
	else
		snprintf(x->fresh, sizeof(x->fresh), ".%.255s.restored-%s", x->name, x->what.stamp);
	return write_intent(x, e);
}

int inplace_exchange(const struct folder *in, const char *name, int fd, const char *tmp,
	char stamp[INPLACE_STAMP_SIZE], struct err *e)
{
	struct exchange x;
	stamp[0] = '\0';
	int rc = init(&x, in, name, e);
	if (!rc)
		rc = prepare(&x, fd, tmp, e);
	if (rc) {
		fs_close(x.lock_fd);
		return rc;
	}
	for (int i = 0; i < PARTS; i++)
		if (x.what.old_ino[i])
			memcpy(stamp, x.what.stamp, INPLACE_STAMP_SIZE);
	if (!tmp && folder_link_fd(in, fd, x.fresh))
		rc = err_errno(e, ERR_IO, errno, "cannot name the restored %s/%s", in->path, name);
	if (!rc)
		rc = sync_dir(&x, e);
	if (!rc)
		rc = forward(&x, e);
	struct err why = ERR_INIT;
	if (rc && back(&x, &why))
		log_error("%s/%s: %s; the next restore or replicate tries again", in->path, name, why.text);
	else if (!rc && remove_intent(&x, &why))
		log_warn("%s", why.text); /* whoever finds it sees that everything is done */
	fs_close(x.lock_fd);
	return rc;
}

/* The user wants what is there now replaced as well: what is left of the first exchange goes where
 * it was to go. */
static int drop_exchange(const struct exchange *x, struct err *e)
{
	int rc = ERR_OK;
	for (int i = 1; !rc && i < PARTS; i++) {
		const struct names n = names_of(x, i);
		uint64_t at;
		rc = inode_at(x, n.from, &at, e);
		if (!rc && at && at == x->what.old_ino[i])
			rc = rename_new(x, n.from, n.to, e);
	}
	if (!rc)
		rc = remove_fresh(x, e);
	return rc ? rc : remove_intent(x, e);
}

static int settle(const struct exchange *x, bool drop, struct err *e)
{
	const char *dir = x->in->path, *name = x->name;
	uint64_t at, fresh;
	int rc = inode_at(x, name, &at, e);
	if (!rc)
		rc = inode_at(x, x->fresh, &fresh, e);
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
			log_warn("%s/%s: a restore that was interrupted has been taken back", dir, name);
		return rc;
	}
	if (at && drop)
		return drop_exchange(x, e);
	if (at)
		return err_set(e, ERR_DATABASE,
			"a restore of %s/%s was interrupted, and somebody has made a new file there since. "
			"What was there before is %s.before-%s. To keep the new one delete %s/%s; to replace "
			"it restore again with -force",
			dir, name, name, x->what.stamp, dir, x->intent);
	rc = forward(x, e);
	if (!rc)
		rc = remove_intent(x, e);
	if (!rc)
		log_warn("%s/%s: a restore that was interrupted has been completed; what was there before "
				 "is %s.before-%s",
			dir, name, name, x->what.stamp);
	return rc;
}

int inplace_recover_in(const struct folder *in, const char *name, bool drop, struct err *e)
{
	struct exchange x;
	int rc = init(&x, in, name, e);
	if (!rc)
		rc = lock_intent(&x, e);
	if (!rc)
		rc = read_intent(&x, e);
	if (!rc)
		rc = settle(&x, drop, e);
	fs_close(x.lock_fd);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

int inplace_recover(const char *path, bool drop, struct err *e)
{
	struct folder in;
	struct err why = ERR_INIT;
	char *dir = fs_dirname(path);
	if (!dir)
		return err_nomem(e, "restoring in place");
	int rc = folder_open(&in, dir, &why);
	if (!rc)
		rc = inplace_recover_in(&in, fs_basename(path), drop, e);
	else if (rc != ERR_NOT_FOUND)
		*e = why;
	folder_close(&in);
	free(dir);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}
