#include "daemon/schedule_internal.h"

#include "base/clock.h"
#include "restore/restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define TURN_THREADS 2
#define WORK_THREADS 4
#define CROWD 64 /* databases */
#define CROWD_PAUSE_US 1000
#define UPKEEP_THREADS 1 /* it is never urgent, and takes memory and a share of the line */

/* ---- making and freeing ---- */

static int make_parts(struct schedule *s, size_t turns, size_t works, struct err *e)
{
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return err_errno(e, ERR_IO, errno, "cannot make an event descriptor");
	s->polls = calloc(2, sizeof(*s->polls));
	if (!s->polls)
		return err_nomem(e, "starting a worker");
	s->n_turns = turns ? turns : TURN_THREADS;
	int rc = source_watch_new(&s->watch, e);
	if (!rc)
		rc = pool_new(&s->turns, s->n_turns, SCHEDULE_MAX, e);
	if (!rc)
		rc = pool_new(&s->works, works ? works : WORK_THREADS, SCHEDULE_MAX, e);
	if (!rc)
		rc = pool_new(&s->upkeeps, UPKEEP_THREADS, SCHEDULE_MAX, e);
	return rc;
}

/* A followed database takes eight descriptors: the soft limit of 1024 is for select(2), not for us.
 */
static void raise_limit(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

int schedule_new(struct schedule **out, size_t turn_threads, size_t work_threads, struct err *e)
{
	struct schedule *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e, "starting a worker");
	raise_limit();
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&s->happened, &monotonic);
	pthread_condattr_destroy(&monotonic);
	s->wake_fd = -1;
	s->hook_due = INT64_MAX;
	int rc = make_parts(s, turn_threads, work_threads, e);
	if (rc) {
		schedule_free(s);
		return rc;
	}
	*out = s;
	return ERR_OK;
}

static void entry_free(void *arg)
{
	struct entry *en = arg;
	replicator_close(en->r);
	free(en->id);
	free(en);
}

static void cancel_all(struct schedule *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->count; i++)
		s->entries[i]->closed = true;
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < s->count; i++)
		replicator_cancel(s->entries[i]->r);
	if (s->turns)
		pool_wait(s->turns);
	if (s->works)
		pool_wait(s->works);
	if (s->upkeeps)
		pool_wait(s->upkeeps);
}

void schedule_free(struct schedule *s)
{
	if (!s)
		return;
	cancel_all(s);
	/* Each saves its state durably: some at a time, while a daemon waits for our end. */
	for (size_t i = 0; i < s->count; i++)
		pool_run(s->works, entry_free, s->entries[i]);
	pool_free(s->turns);
	pool_free(s->works);
	pool_free(s->upkeeps);
	source_watch_free(s->watch);
	schedule_forget_syncing(s);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	pthread_cond_destroy(&s->happened);
	pthread_mutex_destroy(&s->lock);
	free(s->entries);
	free(s->fds);
	free(s->polls);
	free(s);
}

/* ---- databases ---- */

struct entry *schedule_find(const struct schedule *s, const char *id)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->entries[i]->id, id) == 0)
			return s->entries[i];
	return NULL;
}

static int make_room(struct schedule *s, struct err *e)
{
	if (s->count == SCHEDULE_MAX)
		return err_set(e, ERR_FULL, "a worker takes %d databases at most", SCHEDULE_MAX);
	if (s->count < s->cap)
		return ERR_OK;
	size_t cap = s->cap ? s->cap * 2 : 4;
	struct entry **list = realloc(s->entries, cap * sizeof(*list));
	if (!list)
		return err_nomem(e, "adding a database");
	s->entries = list;
	s->cap = cap;
	return ERR_OK;
}

/* What replicate/ may not ask of restore/ itself. */
static int read_latest(struct store *store, const char *scratch, struct pagesums *sums,
	int64_t *timestamp_ms, struct err *e)
{
	struct restore_result result;
	int rc = restore_sums(store, scratch, sums, &result, e);
	*timestamp_ms = result.timestamp_ms;
	return rc;
}

int schedule_add(
	struct schedule *s, const char *id, const struct replicator_config *cfg, struct err *e)
{
	if (schedule_find(s, id))
		return err_set(e, ERR_EXISTS, "%s is replicated already", id);
	int rc = make_room(s, e);
	if (rc)
		return rc;
	struct entry *en = calloc(1, sizeof(*en));
	if (!en || !(en->id = strdup(id))) {
		free(en);
		return err_nomem(e, "adding a database");
	}
	en->owner = s;
	en->ran = true; /* its first status is news, too */
	en->work_due = en->upkeep_due = INT64_MAX;
	struct replicator_config c = *cfg;
	c.watch = s->watch;
	c.user = en;
	c.latest = read_latest;
	rc = replicator_open(&en->r, &c, e);
	if (rc) {
		free(en->id);
		free(en);
		return rc;
	}
	pthread_mutex_lock(&s->lock);
	s->entries[s->count++] = en;
	pthread_mutex_unlock(&s->lock);
	return ERR_OK;
}

int schedule_remove(struct schedule *s, const char *id, int64_t timeout_ms, schedule_gone_fn fn,
	void *ctx, struct err *e)
{
	struct entry *en = schedule_find(s, id);
	if (!en)
		return err_set(e, ERR_NOT_FOUND, "%s is not replicated here", id);
	if (!en->leaving) {
		s->n_leaving++;
		en->ticket = replicator_sync(en->r);
		en->leave_by = INT64_MAX;
	}
	en->leaving = true;
	schedule_earlier(&en->leave_by, schedule_after(timeout_ms * 1000));
	if (fn) {
		en->gone = fn;
		en->gone_ctx = ctx;
	}
	schedule_ask_turn(en);
	return ERR_OK;
}

bool schedule_ran(struct schedule *s, size_t i)
{
	struct entry *en = s->entries[i];
	pthread_mutex_lock(&s->lock);
	/* What runs may have changed something already. */
	bool ran = en->ran || en->turn_running || en->work_running || en->upkeep_running;
	en->ran = false;
	pthread_mutex_unlock(&s->lock);
	return ran;
}

size_t schedule_count(const struct schedule *s)
{
	return s->count;
}

const char *schedule_id(const struct schedule *s, size_t i)
{
	return s->entries[i]->id;
}

void schedule_status(struct schedule *s, size_t i, struct replicator_status *out)
{
	replicator_get_status(s->entries[i]->r, out);
}

void schedule_measure(struct schedule *s, size_t i, struct replicator_measures *out)
{
	replicator_measure(s->entries[i]->r, out);
}

const char *schedule_database(struct schedule *s, size_t i)
{
	return replicator_database(s->entries[i]->r);
}

/* ---- leaving ---- */

static bool is_running(struct entry *en)
{
	pthread_mutex_lock(&en->owner->lock);
	bool running = en->turn_running || en->work_running || en->upkeep_running;
	pthread_mutex_unlock(&en->owner->lock);
	return running;
}

static bool may_leave(struct entry *en, int64_t now)
{
	struct err e = ERR_INIT;
	return now >= en->leave_by || replicator_sync_done(en->r, en->ticket, &e) != ERR_AGAIN;
}

static bool is_shipped(const struct entry *en)
{
	struct err e = ERR_INIT;
	int rc = replicator_sync_done(en->r, en->ticket, &e);
	return rc == ERR_OK || rc == ERR_NOT_FOUND;
}

static void close_entry(struct schedule *s, size_t i)
{
	struct entry *en = s->entries[i];
	struct replicator_status last;
	schedule_end_syncing_of(s, en);
	replicator_get_status(en->r, &last);
	bool shipped = is_shipped(en);
	memmove(&s->entries[i], &s->entries[i + 1], (s->count - i - 1) * sizeof(*s->entries));
	pthread_mutex_lock(&s->lock);
	s->count--;
	pthread_mutex_unlock(&s->lock);
	s->n_leaving--;
	replicator_close(en->r);
	en->r = NULL;
	if (en->gone)
		en->gone(en->gone_ctx, en->id, &last, shipped);
	entry_free(en);
}

static void check_leaving(struct schedule *s, int64_t now)
{
	for (size_t i = 0; s->n_leaving > 0 && i < s->count;) {
		struct entry *en = s->entries[i];
		if (!en->leaving || (!en->closed && !may_leave(en, now))) {
			i++;
			continue;
		}
		pthread_mutex_lock(&s->lock);
		bool first = !en->closed;
		en->closed = true;
		pthread_mutex_unlock(&s->lock);
		if (first)
			replicator_cancel(en->r);
		if (is_running(en))
			i++;
		else if (s->stopping) /* its status is still wanted */
			i++;
		else
			close_entry(s, i);
	}
}

/* ---- the loop ---- */

int schedule_add_fd(struct schedule *s, int fd, void (*fn)(void *ctx), void *ctx, struct err *e)
{
	struct watched_fd *fds = realloc(s->fds, (s->n_fds + 1) * sizeof(*fds));
	if (fds)
		s->fds = fds;
	struct pollfd *polls = fds ? realloc(s->polls, (s->n_fds + 3) * sizeof(*polls)) : NULL;
	if (!polls)
		return err_nomem(e, "watching a descriptor");
	s->polls = polls;
	s->fds[s->n_fds++] = (struct watched_fd){fd, fn, ctx};
	return ERR_OK;
}

void schedule_remove_fd(struct schedule *s, int fd)
{
	for (size_t i = 0; i < s->n_fds; i++) {
		if (s->fds[i].fd == fd) {
			s->fds[i] = s->fds[--s->n_fds];
			return;
		}
	}
}

void schedule_set_hook(struct schedule *s, int64_t (*fn)(void *ctx, int64_t now_us), void *ctx)
{
	s->hook = fn;
	s->hook_ctx = ctx;
	s->hook_due = fn ? 0 : INT64_MAX;
}

static void note_event(void *ctx, void *user)
{
	struct entry *en = user;
	(void)ctx;
	schedule_ask_turn(en);
}

/* Lock held: notes until when this thread sleeps, and on what account jobs wake it. */
static int64_t plan_sleep(struct schedule *s, int64_t next, int64_t now)
{
	s->asked = s->syncing || s->n_leaving > 0 || s->stopping;
	/* What ended during this round may be news for its beginning. */
	if (s->jobs != s->seen_jobs)
		schedule_earlier(&next, s->asked ? now : now + SCHEDULE_NEWS_US);
	/* Among many databases something is due all the time: several at once are cheaper. */
	if (s->count > CROWD && next > now && next - now < CROWD_PAUSE_US)
		next = now + CROWD_PAUSE_US;
	s->sleeps_until = next;
	return next;
}

/* When the next thing is due; starts what is due already. */
static int64_t start_all(struct schedule *s, int64_t now)
{
	int64_t next = s->hook_due;
	for (const struct syncing *y = s->syncing; y; y = y->next)
		schedule_earlier(&next, y->deadline);
	schedule_earlier(&next, schedule_trim(s, now));
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->count; i++) {
		struct entry *en = s->entries[i];
		schedule_start_due(en, now);
		if (!en->closed && !en->turn_running)
			schedule_earlier(&next, en->turn_due);
		if (!en->closed && !en->work_running)
			schedule_earlier(&next, en->work_due);
		if (!en->closed && !en->upkeep_running)
			schedule_earlier(&next, en->upkeep_due);
		if (en->leaving && !en->closed)
			schedule_earlier(&next, en->leave_by);
	}
	next = plan_sleep(s, next, now);
	pthread_mutex_unlock(&s->lock);
	return next;
}

static void call_fds(struct schedule *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!s->polls[2 + i].revents)
			continue;
		/* A callback may have removed others: look it up by its number. */
		for (size_t k = 0; k < s->n_fds; k++) {
			if (s->fds[k].fd == s->polls[2 + i].fd) {
				s->fds[k].fn(s->fds[k].ctx);
				break;
			}
		}
	}
}

static void wait_events(struct schedule *s, int64_t next)
{
	int64_t us = next == INT64_MAX ? -1 : next - clock_mono_us();
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
	if (next != INT64_MAX && us < 0)
		t = (struct timespec){0, 0};
	size_t n = s->n_fds;
	s->polls[0] = (struct pollfd){.fd = source_watch_fd(s->watch), .events = POLLIN};
	s->polls[1] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	for (size_t i = 0; i < n; i++)
		s->polls[2 + i] = (struct pollfd){.fd = s->fds[i].fd, .events = POLLIN};
	if (ppoll(s->polls, 2 + n, next == INT64_MAX ? NULL : &t, NULL) <= 0)
		return;
	if (s->polls[0].revents)
		source_watch_read(s->watch, note_event, s);
	if (s->polls[1].revents) {
		uint64_t count;
		ssize_t ignored = read(s->wake_fd, &count, sizeof(count));
		(void)ignored;
	}
	call_fds(s, n);
}

/* From here on jobs need not wake this thread: it looks at everything before it sleeps. */
static void begin_round(struct schedule *s)
{
	pthread_mutex_lock(&s->lock);
	s->seen_jobs = s->jobs;
	s->sleeps_until = 0;
	pthread_mutex_unlock(&s->lock);
}

static bool all_closed(struct schedule *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (!s->entries[i]->closed)
			return false;
	return true;
}

void schedule_run(struct schedule *s)
{
	for (;;) {
		int64_t now = clock_mono_us();
		begin_round(s);
		schedule_check_syncing(s, now);
		check_leaving(s, now);
		if (s->hook)
			s->hook_due = s->hook(s->hook_ctx, now);
		if (s->stopping && all_closed(s))
			break;
		wait_events(s, start_all(s, clock_mono_us()));
	}
	cancel_all(s);
	schedule_check_syncing(s, INT64_MAX); /* nobody waits for ever */
}

void schedule_stop(struct schedule *s, int64_t timeout_ms)
{
	struct err e = ERR_INIT;
	s->stopping = true;
	for (size_t i = 0; i < s->count; i++)
		schedule_remove(s, s->entries[i]->id, timeout_ms, NULL, NULL, &e);
	schedule_wake(s);
}

bool schedule_stopping(const struct schedule *s)
{
	return s->stopping;
}

bool schedule_shipped(const struct schedule *s, size_t i)
{
	return is_shipped(s->entries[i]);
}
