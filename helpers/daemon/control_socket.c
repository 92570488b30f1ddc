#include "daemon/control_socket.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 32
#define GROUPS_MAX 65536

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

/* Removes a socket that nobody listens on; anything else in its place stays. */
static int clear_stale(int fd, const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	if (lstat(a->sun_path, &st) != 0)
		return errno == ENOENT ? ERR_OK
							   : err_errno(e, ERR_IO, errno, "cannot look at %s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_EXISTS, "%s is there and is no socket", a->sun_path);
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0)
		return err_set(e, ERR_AGAIN, "another litestream listens on %s already", a->sun_path);
	if (unlink(a->sun_path) != 0)
		return err_errno(e, ERR_IO, errno, "cannot remove the old socket %s", a->sun_path);
	return ERR_OK;
}

static int bind_and_listen(int fd, const struct sockaddr_un *a, gid_t gid, struct err *e)
{
	/* Nobody may connect before owner and mode are right. */
	mode_t old = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)a, sizeof(*a));
	int saved = errno;
	umask(old);
	if (rc != 0)
		return err_errno(e, ERR_IO, saved, "cannot bind %s", a->sun_path);
	if (lchown(a->sun_path, (uid_t)-1, gid) != 0 && geteuid() == 0)
		return err_errno(e, ERR_IO, errno, "cannot give %s to group %u", a->sun_path, gid);
	if (chmod(a->sun_path, 0660) != 0)
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

int control_socket_listen(const char *path, gid_t gid, int *out, struct err *e)
{
	struct sockaddr_un a;
	int rc = fill_address(&a, path, e);
	if (rc != ERR_OK)
		return rc;
	int probe = new_socket(e);
	if (probe < 0)
		return ERR_IO;
	rc = clear_stale(probe, &a, e);
	fs_close(probe);
	if (rc != ERR_OK)
		return rc;
	int fd = new_socket(e);
	if (fd < 0)
		return ERR_IO;
	rc = bind_and_listen(fd, &a, gid, e);
	if (rc != ERR_OK)
		fs_close(fd);
	else
		*out = fd;
	return rc;
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

int control_socket_check_peer(int fd, gid_t gid, struct err *e)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return err_errno(e, ERR_DENIED, errno, "cannot ask who is speaking");
	if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == gid || in_groups(fd, gid))
		return ERR_OK;
	return err_set(e, ERR_DENIED,
		"uid %u may not speak to litestream: it is neither root nor in the group with gid %u",
		(unsigned)peer.uid, (unsigned)gid);
}

bool control_socket_starved(int fd)
{
	int probe = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	bool none = probe < 0 && (errno == EMFILE || errno == ENFILE);
	if (probe >= 0)
		close(probe);
	return none;
}
