#include "source/watch.h"

#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { WATCH_FOLDER, WATCH_DB, WATCH_WAL, WATCH_KINDS };

#define FOLDER_MASK                                                                        \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
		IN_ONLYDIR)
#define FILE_MASK (IN_MODIFY | IN_CLOSE | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)

struct watch_entry {
	struct source_watch *w;
	const char *path, *name; /* name: its last part */
	void *user;
	int wd[WATCH_KINDS]; /* -1 = not watched */
	bool event;          /* since watch_taken */
	uint64_t told;       /* the reading in which its user was told of one last */
	bool muted;          /* the -wal is not watched */
	int deaf;            /* listens to nothing until this descriptor was ignored; -1 = listens */
	struct watch_entry *next;
};

struct source_watch {
	pthread_mutex_t mutex;
	int fd;
	struct watch_entry *entries;
	uint64_t reading; /* counts calls of source_watch_read */
};

int source_watch_new(struct source_watch **out, struct err *e)
{
	struct source_watch *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(e, "making a watch");
	pthread_mutex_init(&w->mutex, NULL);
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0)
		log_warn("no inotify instance to be had (%s): looking at each database every second; "
				 "raise fs.inotify.max_user_instances",
			strerror(errno));
	*out = w;
	return ERR_OK;
}

void source_watch_free(struct source_watch *w)
{
	if (!w)
		return;
	fs_close(w->fd);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

int source_watch_fd(const struct source_watch *w)
{
	return w->fd;
}

static bool no_inotify(const struct watch_entry *en)
{
	return !en->w || en->w->fd < 0;
}

bool watch_blind(const struct watch_entry *en)
{
	if (no_inotify(en))
		return true;
	pthread_mutex_lock(&en->w->mutex);
	bool blind =
		en->wd[WATCH_FOLDER] < 0 || en->wd[WATCH_DB] < 0 || (en->wd[WATCH_WAL] < 0 && !en->muted);
	pthread_mutex_unlock(&en->w->mutex);
	return blind;
}

struct watch_entry *watch_add(struct source_watch *w, const char *path, void *user)
{
	struct watch_entry *en = calloc(1, sizeof(*en));
	if (!en)
		return NULL;
	en->w = w;
	en->path = path;
	en->name = fs_basename(path);
	en->user = user;
	for (int k = 0; k < WATCH_KINDS; k++)
		en->wd[k] = -1;
	en->deaf = -1;
	if (w) {
		pthread_mutex_lock(&w->mutex);
		en->next = w->entries;
		w->entries = en;
		pthread_mutex_unlock(&w->mutex);
	}
	return en;
}

/* Mutex held: a watch descriptor goes when nobody else uses it. True: it went. */
static bool drop(struct watch_entry *en, int kind)
{
	int wd = en->wd[kind];
	en->wd[kind] = -1;
	if (wd < 0)
		return false;
	for (struct watch_entry *o = en->w->entries; o; o = o->next)
		for (int k = 0; k < WATCH_KINDS; k++)
			if (o->wd[k] == wd)
				return false;
	return inotify_rm_watch(en->w->fd, wd) == 0;
}

void watch_deafen(struct watch_entry *en)
{
	if (no_inotify(en))
		return;
	pthread_mutex_lock(&en->w->mutex);
	drop(en, WATCH_WAL);
	en->deaf = en->wd[WATCH_DB];
	en->event = false;
	pthread_mutex_unlock(&en->w->mutex);
}

void watch_hear(struct watch_entry *en)
{
	if (no_inotify(en))
		return;
	pthread_mutex_lock(&en->w->mutex);
	/* Where another source watches the same file nothing is ignored: better to hear ourselves. */
	if (en->wd[WATCH_DB] != en->deaf || !drop(en, WATCH_DB))
		en->deaf = -1;
	pthread_mutex_unlock(&en->w->mutex);
	watch_refresh(en);
}

void watch_remove(struct watch_entry *en)
{
	if (!en)
		return;
	if (en->w) {
		pthread_mutex_lock(&en->w->mutex);
		for (int k = 0; k < WATCH_KINDS; k++)
			drop(en, k);
		for (struct watch_entry **p = &en->w->entries; *p; p = &(*p)->next)
			if (*p == en) {
				*p = en->next;
				break;
			}
		pthread_mutex_unlock(&en->w->mutex);
	}
	free(en);
}

/* Mutex held. Adding a watch that is there gives the same descriptor again. */
static void watch_one(struct watch_entry *en, int kind, const char *path, uint32_t mask)
{
	int wd = inotify_add_watch(en->w->fd, path, mask);
	if (wd == en->wd[kind])
		return;
	drop(en, kind);
	en->wd[kind] = wd;
}

bool watch_refresh(struct watch_entry *en)
{
	if (no_inotify(en))
		return false;
	char *dir = fs_dirname(en->path), *wal = NULL;
	if (!dir || asprintf(&wal, "%s-wal", en->path) < 0) {
		free(dir);
		return false;
	}
	pthread_mutex_lock(&en->w->mutex);
	watch_one(en, WATCH_FOLDER, dir, FOLDER_MASK);
	watch_one(en, WATCH_DB, en->path, FILE_MASK);
	if (!en->muted)
		watch_one(en, WATCH_WAL, wal, FILE_MASK);
	bool sees = en->wd[WATCH_FOLDER] >= 0;
	pthread_mutex_unlock(&en->w->mutex);
	free(dir);
	free(wal);
	return sees;
}

void watch_mute_wal(struct watch_entry *en, bool mute)
{
	if (no_inotify(en) || en->muted == mute)
		return;
	en->muted = mute;
	if (!mute) {
		watch_refresh(en);
		return;
	}
	pthread_mutex_lock(&en->w->mutex);
	drop(en, WATCH_WAL);
	pthread_mutex_unlock(&en->w->mutex);
}

bool watch_taken(struct watch_entry *en)
{
	if (!en->w)
		return false;
	pthread_mutex_lock(&en->w->mutex);
	bool event = en->event;
	en->event = false;
	pthread_mutex_unlock(&en->w->mutex);
	return event;
}

/* A name in the folder that is the database's or begins with it ("-wal", "-shm", "-journal"). */
static bool concerns(const struct watch_entry *en, const struct inotify_event *ev)
{
	if (ev->wd < 0)
		return true; /* the queue ran over: something happened to anybody */
	if (ev->wd == en->wd[WATCH_DB] || ev->wd == en->wd[WATCH_WAL])
		return !(ev->mask & IN_IGNORED);
	if (ev->wd != en->wd[WATCH_FOLDER])
		return false;
	return ev->len == 0 || strncmp(ev->name, en->name, strlen(en->name)) == 0;
}

/* Mutex held. The kernel took a watch away (file deleted, unmounted). */
static void forget(struct source_watch *w, int wd)
{
	for (struct watch_entry *en = w->entries; en; en = en->next)
		for (int k = 0; k < WATCH_KINDS; k++)
			if (en->wd[k] == wd)
				en->wd[k] = -1;
}

/* Mutex held. Events of what we did ourselves; what is behind them, we hear. */
static bool still_deaf(struct watch_entry *en, const struct inotify_event *ev)
{
	if (en->deaf < 0)
		return false;
	if (ev->wd >= 0 && !(ev->wd == en->deaf && (ev->mask & IN_IGNORED)))
		return true;
	en->deaf = -1;
	return ev->wd >= 0;
}

/* Mutex held. */
static void note(struct source_watch *w, const struct inotify_event *ev,
	void (*fn)(void *ctx, void *source_user), void *ctx)
{
	for (struct watch_entry *en = w->entries; en; en = en->next) {
		if (still_deaf(en, ev) || !concerns(en, ev))
			continue;
		en->event = true;
		/* Not "once until it was taken": a source that is not attached takes none. */
		if (en->told == w->reading)
			continue;
		en->told = w->reading;
		fn(ctx, en->user);
	}
	if (ev->mask & IN_IGNORED)
		forget(w, ev->wd);
}

void source_watch_read(struct source_watch *w, void (*fn)(void *ctx, void *source_user), void *ctx)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;
	w->reading++;
	while (w->fd >= 0 && (n = read(w->fd, events, sizeof(events))) > 0) {
		pthread_mutex_lock(&w->mutex);
		for (char *p = events; p < events + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)(void *)p;
			note(w, ev, fn, ctx);
			p += sizeof(*ev) + ev->len;
		}
		pthread_mutex_unlock(&w->mutex);
	}
}
