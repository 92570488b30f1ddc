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

enum { WATCH_FOLDER, WATCH_DB, WATCH_WAL, WATCH_DEAF, WATCH_KINDS };

#define FOLDER_MASK                                                                        \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
		IN_ONLYDIR)
#define FILE_MASK (IN_MODIFY | IN_CLOSE | IN_DELETE_SELF | IN_MOVE_SELF | IN_DONT_FOLLOW)

/*
 * One of the descriptors that an entry has to do with. Those of all entries are in a table by their
 * number: of a thousand databases only those are looked at that an event is about.
 */
struct slot {
	int wd; /* -1 = none, and in no list */
	struct watch_entry *owner;
	struct slot *next; /* in the same place of the table */
};

struct watch_entry {
	struct source_watch *w;
	const char *path, *name; /* name: its last part */
	void *user;
	/* What is watched; WATCH_DEAF: it listens to nothing until that descriptor was ignored. */
	struct slot slots[WATCH_KINDS];
	bool event;    /* since watch_taken */
	uint64_t told; /* the reading in which its user was told of one last */
	bool muted;    /* neither the -wal nor the database file is watched */
	struct watch_entry *next;
};

#define TABLE 1024 /* places; descriptors are counted up, so they spread evenly */

struct source_watch {
	pthread_mutex_t mutex;
	int fd;
	struct watch_entry *entries;
	uint64_t reading; /* counts calls of source_watch_read */
	struct slot *table[TABLE];
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

static int wd_of(const struct watch_entry *en, int kind)
{
	return en->slots[kind].wd;
}

/* Mutex held: from now on the slot stands for wd, -1 for none. */
static void set_wd(struct watch_entry *en, int kind, int wd)
{
	struct slot *slot = &en->slots[kind], **p;
	if (slot->wd >= 0) {
		for (p = &en->w->table[slot->wd % TABLE]; *p != slot;)
			p = &(*p)->next;
		*p = slot->next;
	}
	slot->wd = wd;
	if (wd >= 0) {
		p = &en->w->table[wd % TABLE];
		slot->next = *p;
		*p = slot;
	}
}

bool watch_blind(const struct watch_entry *en)
{
	if (no_inotify(en))
		return true;
	pthread_mutex_lock(&en->w->mutex);
	bool files = wd_of(en, WATCH_DB) >= 0 && wd_of(en, WATCH_WAL) >= 0;
	bool blind = wd_of(en, WATCH_FOLDER) < 0 || (!files && !en->muted);
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
		en->slots[k] = (struct slot){-1, en, NULL};
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
	int wd = wd_of(en, kind);
	set_wd(en, kind, -1);
	if (wd < 0)
		return false;
	for (const struct slot *o = en->w->table[wd % TABLE]; o; o = o->next)
		if (o->wd == wd && o != &o->owner->slots[WATCH_DEAF])
			return false;
	return inotify_rm_watch(en->w->fd, wd) == 0;
}

void watch_deafen(struct watch_entry *en)
{
	if (no_inotify(en))
		return;
	pthread_mutex_lock(&en->w->mutex);
	drop(en, WATCH_WAL);
	set_wd(en, WATCH_DEAF, wd_of(en, WATCH_DB));
	en->event = false;
	pthread_mutex_unlock(&en->w->mutex);
}

void watch_hear(struct watch_entry *en)
{
	if (no_inotify(en))
		return;
	pthread_mutex_lock(&en->w->mutex);
	/* Where another source watches the same file nothing is ignored: better to hear ourselves. */
	if (wd_of(en, WATCH_DB) != wd_of(en, WATCH_DEAF) || !drop(en, WATCH_DB))
		set_wd(en, WATCH_DEAF, -1);
	pthread_mutex_unlock(&en->w->mutex);
	watch_refresh(en);
}

void watch_remove(struct watch_entry *en)
{
	if (!en)
		return;
	if (en->w) {
		pthread_mutex_lock(&en->w->mutex);
		set_wd(en, WATCH_DEAF, -1);
		for (int k = 0; k < WATCH_DEAF; k++)
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
	if (wd == wd_of(en, kind))
		return;
	drop(en, kind);
	set_wd(en, kind, wd);
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
	if (!en->muted) {
		watch_one(en, WATCH_DB, en->path, FILE_MASK);
		watch_one(en, WATCH_WAL, wal, FILE_MASK);
	}
	bool sees = wd_of(en, WATCH_FOLDER) >= 0;
	pthread_mutex_unlock(&en->w->mutex);
	free(dir);
	free(wal);
	return sees;
}

void watch_mute(struct watch_entry *en, bool mute)
{
	if (no_inotify(en) || en->muted == mute)
		return;
	en->muted = mute;
	if (!mute) {
		watch_refresh(en);
		return;
	}
	pthread_mutex_lock(&en->w->mutex);
	drop(en, WATCH_DB);
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
static bool concerns(const struct slot *slot, const struct inotify_event *ev)
{
	const struct watch_entry *en = slot->owner;
	if (slot == &en->slots[WATCH_FOLDER])
		return ev->len == 0 || strncmp(ev->name, en->name, strlen(en->name)) == 0;
	return !(ev->mask & IN_IGNORED);
}

/* Mutex held. */
static void note(struct source_watch *w, struct watch_entry *en,
	void (*fn)(void *ctx, void *source_user), void *ctx)
{
	/* Events of what we did ourselves; what is behind them, we hear. */
	if (wd_of(en, WATCH_DEAF) >= 0)
		return;
	en->event = true;
	/* Not "once until it was taken": a source that is not attached takes none. */
	if (en->told == w->reading)
		return;
	en->told = w->reading;
	fn(ctx, en->user);
}

/* Mutex held. The kernel took a watch away (file deleted, unmounted, ours to hear again). */
static void forget(struct source_watch *w, int wd)
{
	for (struct slot *slot = w->table[wd % TABLE], *next; slot; slot = next) {
		next = slot->next;
		if (slot->wd == wd)
			set_wd(slot->owner, (int)(slot - slot->owner->slots), -1);
	}
}

/* Mutex held. */
static void note_all(struct source_watch *w, const struct inotify_event *ev,
	void (*fn)(void *ctx, void *source_user), void *ctx)
{
	if (ev->wd < 0) { /* the queue ran over: something happened to anybody */
		for (struct watch_entry *en = w->entries; en; en = en->next) {
			set_wd(en, WATCH_DEAF, -1);
			note(w, en, fn, ctx);
		}
		return;
	}
	for (struct slot *slot = w->table[ev->wd % TABLE]; slot; slot = slot->next) {
		struct watch_entry *en = slot->owner;
		if (slot->wd == ev->wd && slot != &en->slots[WATCH_DEAF] && concerns(slot, ev))
			note(w, en, fn, ctx);
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
			note_all(w, ev, fn, ctx);
			p += sizeof(*ev) + ev->len;
		}
		pthread_mutex_unlock(&w->mutex);
	}
}
