/*
 * Landlock: what a process may open, by folders. Names of system calls and rights are those of
 * linux/landlock.h; numbers that older headers don't have stand here. The kernel's ABI says which
 * rights it knows: only those are handled, the others stay as they are without Landlock.
 *
 *   1  the 13 rights of files and folders     3  truncation
 *   2  link and rename between folders        5  ioctl on devices
 *                                             6  scopes: signals, abstract sockets
 * Without ABI 2 no file could be renamed or linked into another folder; nothing here does that.
 */
#include "daemon/confine_internal.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_REFER (1ull << 13)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)
#define SCOPE_ABSTRACT_SOCKETS (1ull << 0)
#define SCOPE_SIGNALS (1ull << 1)
#define SCOPE_ABI 6

#define FS_ABI_1 ((1ull << 13) - 1)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_RUN (FS_READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define FS_DEVICE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_IOCTL_DEV)
/* What can be said of a file; a rule for one must have nothing else. */
#define FS_OF_FILES                                                                              \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | \
		FS_TRUNCATE | FS_IOCTL_DEV)
#define FS_NEVER \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)

/* struct landlock_ruleset_attr of ABI 6: older kernels take a longer one if the rest is 0. */
struct ruleset_attributes {
	uint64_t fs, net, scoped;
};

int confine_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	return abi > 0 ? (int)abi : 0;
}

static uint64_t handled(int abi)
{
	uint64_t fs = FS_ABI_1;
	if (abi >= 2)
		fs |= FS_REFER;
	if (abi >= 3)
		fs |= FS_TRUNCATE;
	if (abi >= 5)
		fs |= FS_IOCTL_DEV;
	return fs;
}

static uint64_t scoped(int abi)
{
	return abi >= SCOPE_ABI ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0;
}

static int new_ruleset(uint64_t fs, uint64_t scopes)
{
	const struct ruleset_attributes a = {fs, 0, scopes};
	return (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
}

static int allow(int ruleset, int fd, const char *path, uint64_t access, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_errno(e, ERR_IO, errno, "cannot look at %s for a child", path);
	if (!S_ISDIR(st.st_mode))
		access &= FS_OF_FILES;
	const struct landlock_path_beneath_attr rule = {
		.allowed_access = access & handled(confine_landlock_abi()),
		.parent_fd = fd,
	};
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		return err_errno(e, ERR_IO, errno, "cannot allow %s to a child", path);
	return ERR_OK;
}

static int allow_path(int ruleset, const char *path, uint64_t access, struct err *e)
{
	int fd = fs_open(path, O_PATH, 0);
	if (fd < 0)
		return ERR_OK; /* not there, or not even ours */
	int rc = allow(ruleset, fd, path, access, e);
	fs_close(fd);
	return rc;
}

static int allow_system(const struct confine *c, int ruleset, struct err *e)
{
	struct system_part part;
	int rc = allow_path(ruleset, "/proc", FS_READ, e);
	for (size_t i = 0; rc == ERR_OK && confine_system_next(c->program, &i, &part);)
		rc = allow_path(ruleset, part.path, part.kind == SYSTEM_DEVICE ? FS_DEVICE : FS_RUN, e);
	return rc;
}

static int allow_folders(const struct confine *c, int ruleset, struct err *e)
{
	int rc = ERR_OK;
	for (size_t i = 0; rc == ERR_OK && i < c->folders->n; i++) {
		const struct confine_folder *folder = &c->folders->list[i];
		bool reads = folder->access == CONFINE_SOURCE;
		int fd;
		rc = confine_open(c, folder, &fd, e);
		if (rc == ERR_OK && fd >= 0)
			rc = allow(ruleset, fd, folder->path,
				reads ? FS_READ : handled(confine_landlock_abi()) & ~FS_NEVER, e);
		fs_close(fd);
	}
	return rc;
}

int confine_landlock_make(const struct confine *c, int *ruleset, struct err *e)
{
	int abi = confine_landlock_abi();
	int fd = abi > 0 ? new_ruleset(handled(abi), scoped(abi)) : -1;
	if (fd < 0)
		return err_errno(e, ERR_UNSUPPORTED, errno, "this kernel can't make a Landlock ruleset");
	int rc = allow_system(c, fd, e);
	if (rc == ERR_OK)
		rc = allow_folders(c, fd, e);
	if (rc == ERR_OK)
		*ruleset = fd;
	else
		fs_close(fd);
	return rc;
}

void confine_landlock_scope(int *ruleset)
{
	int abi = confine_landlock_abi();
	*ruleset = abi >= SCOPE_ABI ? new_ruleset(0, scoped(abi)) : -1;
}

int confine_restrict(int ruleset, struct err *e)
{
	if (ruleset < 0)
		return ERR_OK;
	int rc = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0
				 ? ERR_OK
				 : err_errno(e, ERR_IO, errno, "Landlock can't restrict a child");
	fs_close(ruleset);
	return rc;
}
