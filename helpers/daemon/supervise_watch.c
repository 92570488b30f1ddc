#include "daemon/supervise_watch.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "daemon/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define READS_MAX 64
#define SETTLE_US 50000 /* files come in groups: one reading for all of them */
/* Where storage folders and the resolver's files are: when one is made, replaced or removed. */
#define PLACES_MASK \
	(IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

/* ---- what happened ---- */

/* Is it a folder that a database is in? */
static bool is_storage(const struct supervisor *s, const char *name)
{
	for (const struct app *a = s->apps; a; a = a->next)
		for (size_t i = 0; i < a->desired.n_databases; i++)
			if (strcmp(fs_basename(a->desired.databases[i].storage_dir), name) == 0)
				return true;
	return false;
}

static void note_event(struct supervisor *s, const struct inotify_event *ev, int64_t now)
{
	const char *name = ev->len ? ev->name : "";
	if (ev->wd < 0 || ev->wd == s->desired_wd || ev->wd == s->secrets_wd) {
		s->reread = true;
		s->reread_us = now + SETTLE_US;
	}
	if (ev->wd < 0 || confine_system_file(name) || is_storage(s, name))
		s->look_us = now + SETTLE_US;
}

static void on_watch(void *ctx, short events)
{
	struct supervisor *s = ctx;
	char text[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	int64_t now = clock_mono_us();
	ssize_t n;
	(void)events;
	/* Folders of apps are watched, too: who makes files without end is heard in turns. */
	for (int i = 0; i < READS_MAX && (n = read(s->watch_fd, text, sizeof(text))) > 0; i++) {
		for (char *p = text; p < text + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)(void *)p;
			note_event(s, ev, now);
			p += sizeof(*ev) + ev->len;
		}
	}
}

static void on_mounts(void *ctx, short events)
{
	struct supervisor *s = ctx;
	(void)events;
	s->look_us = clock_mono_us() + SETTLE_US;
}

void watch_prepare(struct supervisor *s, struct pollset *p)
{
	pollset_add(p, s->watch_fd, POLLIN, on_watch, s);
	pollset_add(p, s->mounts_fd, POLLPRI, on_mounts, s);
}

bool watch_folders_changed(struct supervisor *s)
{
	bool desired = datadir_changed(s->desired_dir, &s->desired_mtime_ns);
	bool secrets = datadir_changed(s->secrets_dir, &s->secrets_mtime_ns);
	return desired || secrets;
}

/* ---- beginning and end ---- */

static void watch_folder(void *ctx, const char *dir)
{
	struct supervisor *s = ctx;
	inotify_add_watch(s->watch_fd, dir, PLACES_MASK); /* or it is noticed later */
}

void watch_system(struct supervisor *s)
{
	if (s->watch_fd >= 0 && s->cfg.child.confinement != CONFINE_NONE)
		confine_system_watch(watch_folder, s);
}

void watch_open(struct supervisor *s)
{
	const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
	s->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	s->desired_wd = s->watch_fd < 0 ? -1 : inotify_add_watch(s->watch_fd, s->desired_dir, mask);
	s->secrets_wd = s->watch_fd < 0 ? -1 : inotify_add_watch(s->watch_fd, s->secrets_dir, mask);
	if (s->cfg.child.confinement != CONFINE_NONE)
		s->mounts_fd = fs_open("/proc/self/mountinfo", O_RDONLY, 0);
	if (s->desired_wd >= 0 && s->secrets_wd >= 0) {
		watch_system(s);
		return;
	}
	log_warn(
		"no inotify for %s (%s): looking each second instead", s->desired_dir, strerror(errno));
	fs_close(s->watch_fd);
	s->watch_fd = -1;
}

void watch_parent(struct supervisor *s, const char *storage_dir)
{
	char parent[PATH_MAX];
	const char *end = strrchr(storage_dir, '/');
	if (s->watch_fd < 0 || s->cfg.child.confinement == CONFINE_NONE || !end)
		return;
	snprintf(parent, sizeof(parent), "%.*s", (int)(end > storage_dir ? end - storage_dir : 1),
		storage_dir);
	watch_folder(s, parent);
}

void watch_close(struct supervisor *s)
{
	fs_close(s->watch_fd);
	fs_close(s->mounts_fd);
}
