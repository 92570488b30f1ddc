#include "cli/folders.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SETTLE_US INT64_C(250000)           /* after an event: more of them come */
#define SLOW_US (INT64_C(60) * 1000000)     /* without any: what inotify missed */
#define UNDECIDED_US (INT64_C(1) * 1000000) /* an app is just making a database */
#define UNDECIDED_MAX_US (INT64_C(30) * 1000000)

struct watched {
	bool on;
	int64_t due_us; /* of the next scan */
	int64_t pause_us;
};

struct folders {
	const struct config *config;
	folders_fn *fn;
	void *ctx;
	struct watched *list; /* one for each of the configuration's databases */
	int fd;               /* inotify; -1 = none was to be had, or nothing is watched */
};

int folders_new(
	struct folders **out, const struct config *c, folders_fn *fn, void *ctx, struct err *e)
{
	struct folders *f = calloc(1, sizeof(*f));
	struct watched *list = calloc(c->n_databases + 1, sizeof(*list));
	if (!f || !list) {
		free(f);
		free(list);
		return err_nomem(e, "watching folders");
	}
	*f = (struct folders){.config = c, .fn = fn, .ctx = ctx, .list = list, .fd = -1};
	*out = f;
	return ERR_OK;
}

void folders_free(struct folders *f, struct schedule *s)
{
	if (!f)
		return;
	if (f->fd >= 0 && s)
		schedule_remove_fd(s, f->fd);
	if (f->fd >= 0)
		close(f->fd);
	free(f->list);
	free(f);
}

int folders_scan(struct folders *f, size_t folder, struct matching *m, struct err *e)
{
	m->watch_fd = f->list[folder].on ? f->fd : -1;
	return matching_scan(m, e);
}

/* When to look again, having found so many that may become databases. */
static void plan(struct watched *w, size_t undecided, int64_t now_us)
{
	w->pause_us = !undecided                            ? SLOW_US
				  : !w->pause_us                        ? UNDECIDED_US
				  : w->pause_us >= UNDECIDED_MAX_US / 2 ? UNDECIDED_MAX_US
														: 2 * w->pause_us;
	w->due_us = now_us + w->pause_us;
	if (!undecided)
		w->pause_us = 0;
}

static int scan(struct folders *f, size_t folder, struct err *e)
{
	size_t undecided = 0;
	int rc = f->fn(f->ctx, folder, &undecided, e);
	plan(&f->list[folder], undecided, clock_mono_us());
	return rc;
}

/* Which folder it was doesn't matter: a scan costs little. What apps do with -wal and -shm all day
 * is no news. */
static void on_events(void *ctx)
{
	struct folders *f = ctx;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool news = false;
	for (;;) {
		ssize_t n = read(f->fd, buffer, sizeof(buffer));
		if (n <= 0)
			break;
		for (char *p = buffer; p < buffer + n;) {
			const struct inotify_event *ev = (const struct inotify_event *)p;
			news =
				news || (ev->mask & IN_Q_OVERFLOW) || (ev->len && !matching_is_companion(ev->name));
			p += sizeof(*ev) + ev->len;
		}
	}
	int64_t soon = clock_mono_us() + SETTLE_US;
	for (size_t i = 0; news && i < f->config->n_databases; i++) {
		struct watched *w = &f->list[i];
		if (w->on && soon < w->due_us)
			w->due_us = soon;
		w->pause_us = 0;
	}
}

static int open_watch(struct folders *f, struct schedule *s, struct err *e)
{
	if (f->fd >= 0)
		return ERR_OK;
	f->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (f->fd < 0) {
		log_warn("no inotify instance is left: new databases are looked for every minute");
		return ERR_OK;
	}
	return schedule_add_fd(s, f->fd, on_events, f, e);
}

int folders_start(struct folders *f, size_t folder, struct schedule *s, struct err *e)
{
	const struct config_database *db = &f->config->databases[folder];
	f->list[folder].on = db->watch;
	int rc = db->watch ? open_watch(f, s, e) : ERR_OK;
	if (!rc)
		rc = scan(f, folder, e);
	if (rc != ERR_NOT_FOUND || !db->watch)
		return rc;
	log_warn("%s: waiting for it", e->text);
	return ERR_OK;
}

int64_t folders_look(struct folders *f, int64_t now_us)
{
	int64_t next = INT64_MAX;
	for (size_t i = 0; i < f->config->n_databases; i++) {
		struct watched *w = &f->list[i];
		struct err e;
		if (!w->on)
			continue;
		if (w->due_us <= now_us && scan(f, i, &e) && e.code != ERR_NOT_FOUND)
			log_warn("%s", e.text);
		if (w->due_us < next)
			next = w->due_us;
	}
	return next;
}
