#include "daemon/control_socket.h"

#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 32
#define GROUPS_MAX 65536
#define FOLDER_PATIENCE_US 5000000

static int fill_address(struct sockaddr_un *a, const char *path, struct err *e)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(a->sun_path))
		return err_set(e, ERR_USAGE, "the path of the socket is longer than %zu bytes: %s",
			sizeof(a->sun_path) - 1, path);
	memcpy(a->sun_path, path, strlen(path) + 1);
	return ERR_OK;
}

/* Removes a socket that nobody listens on; anything else in its place stays. A program whose queue
 * is full (EAGAIN) lives, and so does one with another kind of socket (EPROTOTYPE). */
static int clear_stale(int fd, const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	if (lstat(a->sun_path, &st) != 0)
		return errno == ENOENT ? ERR_OK
							   : err_errno(e, ERR_IO, errno, "cannot look at %s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_EXISTS, "%s is there and is no socket", a->sun_path);
	int rc = connect(fd, (const struct sockaddr *)a, sizeof(*a)), saved = errno;
	if (rc == 0 || saved == EAGAIN)
		return err_set(e, ERR_AGAIN, "another litestream listens on %s already", a->sun_path);
	if (saved == EPROTOTYPE)
		return err_set(e, ERR_EXISTS, "%s is there and is another program's", a->sun_path);
	if (saved != ECONNREFUSED && saved != ENOENT)
		return err_errno(
			e, ERR_IO, saved, "cannot ask whether somebody listens on %s", a->sun_path);
	if (unlink(a->sun_path) != 0 && errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "cannot remove the old socket %s", a->sun_path);
	return ERR_OK;
}

/*
 * Between looking and binding nobody else may do the same, or one would remove what the other has
 * just bound: the folder is locked meanwhile. -1 where it can't be, or where somebody keeps it
 * locked: it is anybody's to lock. Closing the descriptor unlocks.
 */
static int lock_folder(const char *path)
{
	char *dir = fs_dirname(path);
	int fd = dir ? fs_open(dir, O_RDONLY | O_DIRECTORY, 0) : -1;
	int64_t until = clock_mono_us() + FOLDER_PATIENCE_US;
	free(dir);
	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK || clock_mono_us() >= until) {
			fs_close(fd);
			return -1;
		}
		clock_sleep_us(5000);
	}
	return fd;
}

static int bind_and_listen(
	int fd, const struct sockaddr_un *a, const struct control_socket_rule *rule, struct err *e)
{
	/* Nobody may connect before owner and mode are right. */
	mode_t old = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)a, sizeof(*a));
	int saved = errno;
	umask(old);
	if (rc != 0)
		return err_errno(e, ERR_IO, saved, "cannot bind %s", a->sun_path);
	if (lchown(a->sun_path, (uid_t)-1, rule->gid) != 0 && geteuid() == 0)
		return err_errno(e, ERR_IO, errno, "cannot give %s to group %u", a->sun_path, rule->gid);
	if (chmod(a->sun_path, rule->mode) != 0)
		return err_errno(e, ERR_IO, errno, "cannot set the mode of %s", a->sun_path);
	if (listen(fd, BACKLOG) != 0)
		return err_errno(e, ERR_IO, errno, "cannot listen on %s", a->sun_path);
	return ERR_OK;
}

static int new_socket(struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		err_errno(e, ERR_IO, errno, "cannot make a socket");
	return fd;
}

static int replace(
	const struct sockaddr_un *a, const struct control_socket_rule *rule, int *out, struct err *e)
{
	int probe = new_socket(e);
	if (probe < 0)
		return ERR_IO;
	int rc = clear_stale(probe, a, e);
	fs_close(probe);
	if (rc != ERR_OK)
		return rc;
	int fd = new_socket(e);
	if (fd < 0)
		return ERR_IO;
	rc = bind_and_listen(fd, a, rule, e);
	if (rc != ERR_OK)
		fs_close(fd);
	else
		*out = fd;
	return rc;
}

int control_socket_listen(const char *path, const struct control_socket_rule *rule, int *out,
	struct control_socket_file *file, struct err *e)
{
	struct sockaddr_un a;
	struct stat st;
	int rc = fill_address(&a, path, e);
	if (rc != ERR_OK)
		return rc;
	int lock = lock_folder(path);
	rc = replace(&a, rule, out, e);
	if (rc == ERR_OK && lstat(path, &st) == 0)
		*file = (struct control_socket_file){st.st_dev, st.st_ino};
	if (lock >= 0)
		fs_close(lock);
	return rc;
}

void control_socket_remove(const char *path, const struct control_socket_file *file)
{
	struct stat st;
	if (lstat(path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
		unlink(path);
}

static bool in_groups(int fd, gid_t gid)
{
	socklen_t size = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
		return false;
	if (size == 0 || size > GROUPS_MAX * sizeof(gid_t))
		return false;
	gid_t *groups = malloc(size);
	if (!groups)
		return false;
	bool found = false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0) {
		for (size_t i = 0; i < size / sizeof(gid_t); i++)
			found = found || groups[i] == gid;
	}
	free(groups);
	return found;
}

int control_socket_check_peer(int fd, const struct control_socket_rule *rule, struct err *e)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return err_errno(e, ERR_DENIED, errno, "cannot ask who is speaking");
	if (peer.uid == 0 || peer.uid == geteuid() || (rule->mode & S_IWOTH))
		return ERR_OK;
	if (!(rule->mode & S_IWGRP))
		return err_set(e, ERR_DENIED,
			"uid %u may not speak to litestream: it is neither root nor its user",
			(unsigned)peer.uid);
	if (peer.gid == rule->gid || in_groups(fd, rule->gid))
		return ERR_OK;
	return err_set(e, ERR_DENIED,
		"uid %u may not speak to litestream: it is neither root nor in the group with gid %u",
		(unsigned)peer.uid, (unsigned)rule->gid);
}

bool control_socket_starved(int fd)
{
	int probe = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	bool none = probe < 0 && (errno == EMFILE || errno == ENFILE);
	if (probe >= 0)
		close(probe);
	return none;
}
