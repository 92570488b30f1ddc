#include "daemon/inspect.h"

#include "base/clock.h"
#include "base/fs.h"
#include "format/dbheader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where SQLite locks (os.h): a reader holds a shared lock on SHARED_SIZE bytes from SHARED_FIRST,
 * EXCLUSIVE is a write lock on all of them. */
#define PENDING_BYTE 0x40000000
#define SHARED_FIRST (PENDING_BYTE + 2)
#define SHARED_SIZE 510
#define EXCLUSIVE_PATIENCE_US 3000000 /* longer than a commit, shorter than a person's patience */

static int check_folder(const char *path, struct err *e)
{
	char *dir = fs_dirname(path);
	if (!dir)
		return err_nomem(e, "looking at a database");
	int rc = ERR_OK;
	if (access(dir, F_OK) != 0 && errno == ENOENT)
		rc = err_set(e, ERR_DATABASE, "there is no folder %s: make it first", dir);
	else if (access(dir, R_OK | W_OK | X_OK) != 0)
		rc = err_errno(e, ERR_DATABASE, errno,
			"uid %u can't write to the folder %s, and SQLite must, for the -wal and -shm files",
			(unsigned)geteuid(), dir);
	free(dir);
	return rc;
}

static bool held_exclusively(int fd)
{
	struct flock lock = {
		.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = SHARED_FIRST,
		.l_len = SHARED_SIZE,
	};
	return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
}

/* A rollback-journal commit holds EXCLUSIVE for a moment; PRAGMA locking_mode=EXCLUSIVE for good.
 */
static int check_exclusive(int fd, const char *path, struct err *e)
{
	int64_t until = clock_mono_us() + EXCLUSIVE_PATIENCE_US;
	while (held_exclusively(fd)) {
		if (clock_mono_us() >= until)
			return err_set(e, ERR_DATABASE,
				"a process holds %s in exclusive locking mode, so nobody else can read it; "
				"remove PRAGMA locking_mode=EXCLUSIVE from the app",
				path);
		clock_sleep_us(20000);
	}
	return ERR_OK;
}

static int check_header(int fd, const char *path, struct inspect_answer *out, struct err *e)
{
	uint8_t bytes[DB_HEADER_SIZE];
	struct db_header header;
	if (fs_pread_full(fd, bytes, sizeof(bytes), 0) != 0)
		return err_set(e, ERR_DATABASE, "%s is not a SQLite database: it is too short", path);
	int rc = db_header_decode(bytes, &header, e);
	if (rc != ERR_OK)
		return err_wrap(e, "%s", path);
	out->journal_mode = header.read_version == 2 ? "wal" : "rollback";
	return ERR_OK;
}

/* This process has not opened that file with SQLite, so closing fd drops nobody's locks. */
static int look_inside(int fd, const char *path, struct inspect_answer *out, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return err_errno(e, ERR_DATABASE, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_DATABASE, "%s is not a regular file", path);
	if (access(path, W_OK) != 0)
		return err_errno(
			e, ERR_DATABASE, errno, "uid %u can't write to %s", (unsigned)geteuid(), path);
	out->exists = true;
	out->empty = st.st_size == 0;
	return out->empty ? ERR_OK : check_header(fd, path, out, e);
}

static int inspect(const char *path, bool patient, struct inspect_answer *out, struct err *e)
{
	memset(out, 0, sizeof(*out));
	out->journal_mode = "";
	int rc = check_folder(path, e);
	if (rc != ERR_OK)
		return rc;
	int fd = fs_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd < 0 && errno == ENOENT)
		return ERR_OK;
	if (fd < 0 && errno == ELOOP)
		return err_set(e, ERR_DATABASE, "%s is a symbolic link: name the file itself", path);
	if (fd < 0)
		return err_errno(e, ERR_DATABASE, errno, "uid %u can't open %s", (unsigned)geteuid(), path);
	rc = look_inside(fd, path, out, e);
	if (rc == ERR_OK && patient)
		rc = check_exclusive(fd, path, e);
	fs_close(fd);
	return rc;
}

int inspect_database(const char *path, struct inspect_answer *out, struct err *e)
{
	return inspect(path, true, out, e);
}

int inspect_at_once(const char *path, struct inspect_answer *out, struct err *e)
{
	return inspect(path, false, out, e);
}
