#include "daemon/applog.h"

#include "base/fs.h"
#include "daemon/clean.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder belongs to root and is writable by nobody else, so only the file itself is in doubt.
 */
static int check_file(int fd, const char *path, gid_t gid, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_errno(e, ERR_IO, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return err_set(e, ERR_DENIED, "%s is not a regular file with one name", path);
	/* Without root these may fail; then it stays ours alone. */
	if (st.st_gid != gid && fchown(fd, (uid_t)-1, gid) != 0 && geteuid() == 0)
		return err_errno(e, ERR_IO, errno, "cannot give %s to group %u", path, (unsigned)gid);
	if ((st.st_mode & 07777) != 0640 && fchmod(fd, 0640) != 0 && geteuid() == 0)
		return err_errno(e, ERR_IO, errno, "cannot set the mode of %s", path);
	return ERR_OK;
}

int applog_open(const char *log_dir, const char *app, gid_t gid, struct err *e)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s.log", log_dir, app);
	int fd = fs_open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0640);
	if (fd < 0) {
		err_errno(e, errno == ELOOP ? ERR_DENIED : ERR_IO, errno, "cannot open the log %s", path);
		return -1;
	}
	if (check_file(fd, path, gid, e) != ERR_OK) {
		fs_close(fd);
		return -1;
	}
	return fd;
}

void applog_write(
	const char *log_dir, const char *app, gid_t gid, enum log_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean_text(text);
	log_write(level, "%s: %s", app, text);
	struct err e = ERR_INIT;
	int fd = applog_open(log_dir, app, gid, &e);
	if (fd < 0)
		return;
	log_set_fd(fd);
	log_write(level, "litestreamd: %s", text);
	log_set_fd(STDERR_FILENO);
	fs_close(fd);
}
