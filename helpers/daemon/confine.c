#include "daemon/confine.h"

#include "base/fs.h"
#include "base/log.h"
#include "daemon/confine_internal.h"
#include "daemon/storage.h"
#include "store/url.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPLICA_MODE 0700 /* as the file store's own folders */

/* ---- folders ---- */

static struct confine_folder *add(struct confine_folders *f, const char *path, struct err *e)
{
	struct confine_folder *more = realloc(f->list, (f->n + 1) * sizeof(*more));
	if (more)
		f->list = more;
	char *copy = more ? strdup(path) : NULL;
	if (!copy) {
		err_nomem(e, "confining a child");
		return NULL;
	}
	more[f->n] = (struct confine_folder){.path = copy};
	return &more[f->n++];
}

int confine_add(
	struct confine_folders *f, enum confine_access access, const char *path, struct err *e)
{
	struct confine_folder *folder = add(f, path, e);
	if (!folder)
		return ERR_NOMEM;
	folder->access = access;
	return ERR_OK;
}

int confine_add_storage(
	struct confine_folders *f, const char *path, bool mount, dev_t dev, ino_t ino, struct err *e)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->list[i].access == CONFINE_STORAGE && strcmp(f->list[i].path, path) == 0)
			return ERR_OK; /* another database in it */
	struct confine_folder *folder = add(f, path, e);
	if (!folder)
		return ERR_NOMEM;
	folder->access = CONFINE_STORAGE;
	folder->mount = mount;
	folder->dev = dev;
	folder->ino = ino;
	return ERR_OK;
}

char *confine_replica_path(const char *url)
{
	struct store_url parsed;
	char *path = NULL;
	if (store_url_parse(&parsed, url, NULL) == ERR_OK && strcmp(parsed.scheme, "file") == 0 &&
		parsed.path[0] == '/' && parsed.path[1])
		path = strdup(parsed.path);
	store_url_free(&parsed);
	return path;
}

int confine_add_replica(
	struct confine_folders *f, enum confine_access access, const char *url, struct err *e)
{
	char *path = confine_replica_path(url);
	int rc = path ? confine_add(f, access, path, e) : ERR_OK;
	free(path);
	return rc;
}

void confine_free(struct confine_folders *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->list[i].path);
	free(f->list);
	f->list = NULL;
	f->n = 0;
}

/* ---- opening them ---- */

/* With the rights of the child's user, which may not even be able to come by there. */
static int open_replica(const struct confine *c, const struct confine_folder *folder)
{
	int flags = O_PATH | O_DIRECTORY;
	if (!c->as_self) {
		setfsgid(c->gid);
		setfsuid(c->uid);
	}
	int fd = fs_open(folder->path, flags, 0);
	if (fd < 0 && errno == ENOENT && folder->access == CONFINE_REPLICA &&
		fs_mkdirs(folder->path, REPLICA_MODE) == 0)
		fd = fs_open(folder->path, flags, 0);
	if (fd < 0 && folder->access == CONFINE_REPLICA)
		log_warn("uid %u can't open or make the replica's folder %s: %s", (unsigned)c->uid,
			folder->path, strerror(errno));
	if (!c->as_self) {
		setfsuid(geteuid());
		setfsgid(getegid());
	}
	return fd;
}

static int open_storage(
	const struct confine *c, const struct confine_folder *folder, int *fd, struct err *e)
{
	struct stat st;
	int rc = storage_open(c->folders->roots, folder->path, folder->mount, fd, e);
	if (rc == ERR_OK && fstat(*fd, &st) != 0)
		rc = err_errno(e, ERR_IO, errno, "cannot look at %s", folder->path);
	if (rc == ERR_OK && (st.st_dev != folder->dev || st.st_ino != folder->ino))
		rc = err_set(e, ERR_DATABASE, "%s has been replaced by another folder", folder->path);
	return rc;
}

int confine_open(
	const struct confine *c, const struct confine_folder *folder, int *fd, struct err *e)
{
	*fd = -1;
	switch (folder->access) {
	case CONFINE_STORAGE:
		return open_storage(c, folder, fd, e);
	case CONFINE_STATE:
		*fd = fs_open(folder->path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
		return *fd >= 0
				   ? ERR_OK
				   : err_errno(e, ERR_IO, errno, "cannot open the state folder %s", folder->path);
	case CONFINE_REPLICA:
	case CONFINE_SOURCE:
	case CONFINE_KEPT:
		*fd = open_replica(c, folder);
		return ERR_OK;
	}
	return ERR_FAIL;
}

/* ---- the child's two steps ---- */

int confine_clone_flags(enum confine_kind kind)
{
	return kind == CONFINE_NAMESPACE ? CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC : 0;
}

int confine_enter(const struct confine *c, int *ruleset, struct err *e)
{
	*ruleset = -1;
	if (c->kind == CONFINE_LANDLOCK)
		return confine_landlock_make(c, ruleset, e);
	int rc = c->kind == CONFINE_NAMESPACE ? confine_mounts_enter(c, e) : ERR_OK;
	if (rc == ERR_OK && c->kind == CONFINE_NAMESPACE)
		confine_landlock_scope(ruleset);
	return rc;
}

/* ---- which kind ---- */

const char *confine_name(enum confine_kind kind)
{
	static const char *const names[] = {"none", "landlock", "mount namespace"};
	return names[kind];
}

/* All that a child will do, in one that then ends. Its errors come over a pipe. */
__attribute__((noreturn)) static void try_in_child(enum confine_kind kind, int out)
{
	const struct confine_folders none = {0};
	const struct confine c = {kind, &none, NULL, geteuid(), getegid(), kind == CONFINE_LANDLOCK};
	struct err e = ERR_INIT;
	int ruleset = -1;
	int rc = confine_enter(&c, &ruleset, &e);
	if (rc == ERR_OK && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		rc = err_errno(&e, ERR_IO, errno, "no_new_privs");
	if (rc == ERR_OK)
		rc = confine_restrict(ruleset, &e);
	if (rc != ERR_OK)
		(void)!write(out, e.text, strlen(e.text));
	_exit(rc == ERR_OK ? 0 : 1);
}

static int try_kind(enum confine_kind kind, struct err *e)
{
	char why[400] = "";
	int fds[2], status = -1;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, ERR_IO, errno, "cannot make a pipe");
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD | confine_clone_flags(kind), 0, 0, 0, 0);
	int saved = errno;
	if (pid == 0)
		try_in_child(kind, fds[1]);
	fs_close(fds[1]);
	ssize_t n = pid > 0 ? read(fds[0], why, sizeof(why) - 1) : 0;
	why[n > 0 ? n : 0] = '\0';
	fs_close(fds[0]);
	if (pid < 0)
		return err_errno(e, ERR_DENIED, saved, "no namespaces can be made");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return ERR_OK;
	return err_set(e, ERR_DENIED, "%s", why[0] ? why : "the child that tried it out was killed");
}

static int choose_best(bool as_self, enum confine_kind *out)
{
	struct err namespace = ERR_INIT, landlock = ERR_INIT;
	*out = CONFINE_NAMESPACE;
	if (!as_self && try_kind(*out, &namespace) == ERR_OK)
		return ERR_OK;
	*out = CONFINE_LANDLOCK;
	if (try_kind(*out, &landlock) != ERR_OK)
		*out = CONFINE_NONE;
	if (!as_self)
		log_warn("workers can't have a mount namespace (%s)", namespace.text);
	if (*out == CONFINE_NONE)
		log_warn("workers are held by their user's rights only: no Landlock (%s)", landlock.text);
	return ERR_OK;
}

int confine_choose(const char *wanted, bool as_self, enum confine_kind *out, struct err *e)
{
	if (strcmp(wanted, "auto") == 0)
		return choose_best(as_self, out);
	if (strcmp(wanted, "namespace") == 0)
		*out = CONFINE_NAMESPACE;
	else if (strcmp(wanted, "landlock") == 0)
		*out = CONFINE_LANDLOCK;
	else if (strcmp(wanted, "none") == 0)
		*out = CONFINE_NONE;
	else
		return err_set(
			e, ERR_USAGE, "\"%.40s\" is no confinement: auto, namespace, landlock or none", wanted);
	if (*out == CONFINE_NAMESPACE && as_self)
		return err_set(e, ERR_DENIED, "only root can give workers a mount namespace");
	if (*out == CONFINE_NONE)
		return ERR_OK;
	int rc = try_kind(*out, e);
	return rc == ERR_OK ? rc : err_wrap(e, "workers can't be confined by %s", confine_name(*out));
}
