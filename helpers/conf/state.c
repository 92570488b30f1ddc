#include "conf/state.h"

#include "base/fs.h"
#include "conf/state_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STATE_FILE_MAX ((size_t)64 * 1024)

/* ---- folder and lock ---- */

static int refuse_locked(int fd, const char *dir, struct err *e)
{
	char pid[32] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
	pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	return err_set(e, ERR_AGAIN, "the state folder %s is in use by %s%s: stop it first", dir,
		*pid ? "process " : "another process", pid);
}

/* Another one may make it at the same moment. */
static int open_lock(const struct folder *f)
{
	int fd = folder_open_file(f, "lock", O_RDWR);
	if (fd < 0 && errno == ENOENT)
		fd = folder_create(f, "lock");
	return fd < 0 && errno == EEXIST ? folder_open_file(f, "lock", O_RDWR) : fd;
}

/* Only for the message above: a failure to write it harms nobody. 1 is said in a namespace of its
 * own, and would name another process outside. A file that has another name may be somebody's. */
static void write_pid(const struct state_dir *d)
{
	char pid[32] = "";
	struct stat st;
	if (fstat(d->lock_fd, &st) || st.st_nlink != 1)
		return;
	int n = getpid() == 1 ? 0 : snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (!fs_ftruncate(d->lock_fd, 0))
		(void)!fs_pwrite_full(d->lock_fd, pid, (size_t)n, 0);
}

static int take_lock(struct state_dir *d, struct err *e)
{
	d->lock_fd = open_lock(&d->folder);
	if (d->lock_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot open %s/lock", d->folder.path);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK)
			return refuse_locked(d->lock_fd, d->folder.path, e);
		return err_errno(e, ERR_IO, errno, "cannot lock %s/lock", d->folder.path);
	}
	write_pid(d);
	return ERR_OK;
}

/* What a crash left of files that were being written aside: nobody else writes here now. */
static void remove_half_files(const struct state_dir *d)
{
	int fd = fs_openat(d->folder.fd, ".", O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
		fs_close(fd);
	for (const struct dirent *ent; dir && (ent = readdir(dir));)
		if (strstr(ent->d_name, ".tmp-"))
			folder_unlink(&d->folder, ent->d_name); /* another time, if not now */
	if (dir)
		closedir(dir);
}

static int begin(struct state_dir *d, struct err *e)
{
	int rc = take_lock(d, e);
	if (!rc) {
		remove_half_files(d);
		rc = state_settle_restored(d, e);
	}
	return rc;
}

static int open_path(struct folder *f, const char *dir, struct err *e)
{
	if (!fs_mkdirs(dir, 0700))
		return folder_open(f, dir, e);
	return err_errno(e, ERR_IO, errno, "cannot create the state folder %s", dir);
}

/* `in` NULL: `name` is a path. */
static int open_dir(
	struct state_dir **out, const struct folder *in, const char *name, struct err *e)
{
	struct state_dir *d = calloc(1, sizeof(*d));
	if (!d)
		return err_nomem(e, "opening a state folder");
	d->lock_fd = -1;
	d->folder = FOLDER_NONE;
	int rc = in ? folder_open_in(&d->folder, in, name, true, e) : open_path(&d->folder, name, e);
	if (!rc)
		rc = begin(d, e);
	if (rc) {
		state_dir_close(d);
		return rc;
	}
	*out = d;
	return ERR_OK;
}

int state_dir_open(struct state_dir **out, const char *dir, struct err *e)
{
	return open_dir(out, NULL, dir, e);
}

int state_dir_open_in(
	struct state_dir **out, const struct folder *in, const char *name, struct err *e)
{
	return open_dir(out, in, name, e);
}

void state_dir_close(struct state_dir *d)
{
	if (!d)
		return;
	fs_close(d->lock_fd); /* which unlocks; the file stays: deleting it would race */
	folder_close(&d->folder);
	free(d);
}

void state_dir_rest(struct state_dir *d)
{
	fs_close(d->folder.fd);
	d->folder.fd = -1;
}

/* The open folder; of one at rest it is opened into *room, which the caller closes in any case. */
static int folder_of(
	const struct state_dir *d, struct folder *room, const struct folder **f, struct err *e)
{
	*room = FOLDER_NONE;
	*f = &d->folder;
	if (d->folder.fd >= 0)
		return ERR_OK;
	*f = room;
	int rc = folder_open(room, d->folder.path, e);
	/* Not a folder without a state. */
	return rc == ERR_NOT_FOUND ? err_set(e, ERR_IO, "the state folder %s is gone", d->folder.path)
							   : rc;
}

const char *state_dir_path(const struct state_dir *d)
{
	return d->folder.path;
}

const struct folder *state_dir_folder(const struct state_dir *d)
{
	return &d->folder;
}

bool state_is_ours(const char *name)
{
	static const char *const names[] = {"state.json", "pages", "inventory", "ltx", "uploads"};
	static const char *const beginnings[] = {"staging-", "latest.", "restored."};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return strstr(name, ".tmp-") != NULL;
}

char *state_default_dir(const char *db_path)
{
	char *dir = fs_dirname(db_path), *name = NULL, *out = NULL;
	if (dir && asprintf(&name, ".%s-litestream", fs_basename(db_path)) >= 0)
		out = fs_join(dir, name);
	free(dir);
	free(name);
	return out;
}

uint64_t state_new_node_id(void)
{
	uint64_t id = 0;
	while (id == 0)
		fs_random(&id, sizeof(id));
	return id;
}

/* ---- who and where we are (F10) ---- */

/* The first word of a small file; "" where we can't read one. A failure that may pass is told: a
 * machine that is unknown for a moment must not look like another one. */
static int read_word(const char *path, char out[64], struct err *e)
{
	out[0] = '\0';
	if (access(path, R_OK))
		return ERR_OK;
	struct buf b;
	buf_init(&b, 256);
	int rc = fs_read_file(path, &b, e);
	if (!rc)
		snprintf(out, 64, "%.*s", (int)strcspn(buf_str(&b), " \n"), buf_str(&b));
	buf_free(&b);
	return rc;
}

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int fill_identity(const struct folder *f, struct state *s, struct err *e)
{
	struct stat st;
	if (fstat(f->fd, &st))
		return err_errno(e, ERR_IO, errno, "cannot look at the state folder %s", f->path);
	int rc = read_word("/etc/machine-id", s->machine_id, e);
	if (!rc)
		rc = read_word(BOOT_ID, s->boot_id, e);
	s->dir_dev = st.st_dev;
	s->dir_ino = st.st_ino;
	return rc;
}

bool state_same_boot(const struct state *s)
{
	char now[64];
	return !read_word(BOOT_ID, now, NULL) && strcmp(now, s->boot_id) == 0;
}

bool state_boot_id(char out[STATE_WORD_MAX])
{
	return !read_word(BOOT_ID, out, NULL) && *out;
}

/* Both known, and not the same. */
static bool differ(const char *a, const char *b)
{
	return *a && *b && strcmp(a, b) != 0;
}

static int is_copied(const struct folder *f, const struct state *s, bool *copied, struct err *e)
{
	struct state now = {0};
	int rc = fill_identity(f, &now, e);
	if (rc)
		return rc;
	bool same_boot = strcmp(now.boot_id, s->boot_id) == 0;
	*copied = differ(now.machine_id, s->machine_id) || now.dir_ino != s->dir_ino ||
			  (now.dir_dev != s->dir_dev && same_boot);
	return ERR_OK;
}

/* ---- state.json ---- */

int state_load_file(const struct folder *f, const char *name, struct state *s, struct err *e)
{
	memset(s, 0, sizeof(*s));
	struct buf b;
	buf_init(&b, STATE_FILE_MAX);
	char *path = fs_join(f->path, name);
	int rc = path ? folder_read_file(f, name, &b, e) : err_nomem(e, "reading a state");
	if (rc == ERR_FULL)
		rc = err_set(e, ERR_DAMAGED, "%s is larger than a state can be", path);
	else if (!rc)
		rc = state_json_decode(path, &b, s, e);
	free(path);
	buf_free(&b);
	return rc;
}

int state_peek(const char *dir, struct state *s, struct err *e)
{
	struct folder f;
	int rc = folder_open(&f, dir, e);
	if (!rc)
		rc = state_load_file(&f, STATE_FILE, s, e);
	folder_close(&f);
	return rc;
}

bool state_exists(const struct state_dir *d)
{
	struct stat st;
	struct folder room;
	const struct folder *f;
	bool there = !folder_of(d, &room, &f, NULL) && folder_stat(f, STATE_FILE, &st) == 0;
	folder_close(&room);
	return there;
}

int state_load(struct state_dir *d, struct state *s, bool *copied, struct err *e)
{
	*copied = false;
	struct folder room;
	const struct folder *f;
	int rc = folder_of(d, &room, &f, e);
	if (!rc)
		rc = state_load_file(f, STATE_FILE, s, e);
	if (!rc)
		rc = is_copied(f, s, copied, e);
	if (rc)
		memset(s, 0, sizeof(*s));
	folder_close(&room);
	return rc;
}

static int save_in(const struct folder *f, const char *name, struct state *s, struct err *e)
{
	int rc = fill_identity(f, s, e);
	if (rc)
		return rc;
	struct buf text;
	buf_init(&text, STATE_FILE_MAX);
	rc = state_json_encode(s, &text) ? err_nomem(e, "writing the state")
									 : folder_replace_file(f, name, text.data, text.len, 0600, e);
	buf_free(&text);
	return rc;
}

int state_save_file(struct state_dir *d, const char *name, struct state *s, struct err *e)
{
	struct folder room;
	const struct folder *f;
	int rc = folder_of(d, &room, &f, e);
	if (!rc)
		rc = save_in(f, name, s, e);
	folder_close(&room);
	return rc;
}

int state_save(struct state_dir *d, struct state *s, struct err *e)
{
	return state_save_file(d, STATE_FILE, s, e);
}
