#include "daemon/schedule_internal.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static int ask(
	struct schedule *s, const char *id, struct syncing what, int64_t timeout_ms, struct err *e)
{
	if (id && !schedule_find(s, id))
		return err_set(e, ERR_NOT_FOUND, "%s is not replicated here", id);
	struct syncing *y = calloc(1, sizeof(*y));
	struct request *list = calloc(id ? 1 : s->count + 1, sizeof(*list));
	if (!y || !list) {
		free(y);
		free(list);
		return err_nomem(e, "taking a sync request");
	}
	*y = what;
	y->list = list;
	y->next = s->syncing;
	y->deadline = schedule_after(timeout_ms * 1000);
	for (size_t i = 0; i < s->count; i++) {
		struct entry *en = s->entries[i];
		if (id && strcmp(en->id, id) != 0)
			continue;
		list[y->count++] = (struct request){en, replicator_sync(en->r)};
		schedule_ask_turn(en);
	}
	s->syncing = y;
	schedule_wake(s);
	return ERR_OK;
}

int schedule_sync(struct schedule *s, const char *id, bool if_there, int64_t timeout_ms,
	schedule_synced_fn fn, void *ctx, struct err *e)
{
	const struct syncing what = {.if_there = !id || if_there, .fn = fn, .ctx = ctx};
	return ask(s, id, what, timeout_ms, e);
}

int schedule_capture(struct schedule *s, const char *id, int64_t timeout_ms, schedule_synced_fn fn,
	void *ctx, struct err *e)
{
	const struct syncing what = {.capture = true, .fn = fn, .ctx = ctx};
	return ask(s, id, what, timeout_ms, e);
}

void schedule_ask(struct schedule *s, size_t i, unsigned what)
{
	replicator_ask(s->entries[i]->r, what);
	schedule_ask_turn(s->entries[i]);
}

int schedule_asked(struct schedule *s, size_t i, struct err *e)
{
	return replicator_asked(s->entries[i]->r, e);
}

/* Which ones the app has not made yet: the first by name. */
static void say_unborn(const struct syncing *y, size_t first, size_t n, struct err *e)
{
	const char *path = replicator_database(y->list[first].entry->r);
	if (n == 1)
		err_set(e, ERR_OK, "there is no database at %s yet", path);
	else
		err_set(e, ERR_OK, "there is no database at %s yet, nor at %zu other %s", path, n - 1,
			n == 2 ? "place" : "places");
}

/*
 * ERR_AGAIN while any database is not done; a failure of one ends it. One that the app has not made
 * yet holds up nobody who said so: with ERR_OK, *e says which.
 */
static int sync_state(struct syncing *y, struct err *e)
{
	int rc = ERR_OK;
	size_t unborn = 0, first = 0;
	struct err one = ERR_INIT;
	for (size_t i = 0; i < y->count; i++) {
		struct replicator *r = y->list[i].entry->r;
		int code = y->capture ? replicator_sync_captured(r, y->list[i].ticket, &one)
							  : replicator_sync_done(r, y->list[i].ticket, &one);
		if (code == ERR_NOT_FOUND && y->if_there && replicator_unborn(r)) {
			first = unborn++ ? first : i;
		} else if (code && (!rc || rc == ERR_AGAIN)) {
			rc = code;
			*e = one;
			err_wrap(e, "%s", replicator_database(r));
		}
	}
	if (!rc && unborn)
		say_unborn(y, first, unborn, e);
	return rc;
}

void schedule_check_syncing(struct schedule *s, int64_t now)
{
	struct syncing **at = &s->syncing;
	while (*at) {
		struct syncing *y = *at;
		struct err e = ERR_INIT;
		int rc = sync_state(y, &e);
		if (rc == ERR_AGAIN && now < y->deadline) {
			at = &y->next;
			continue;
		}
		if (rc == ERR_AGAIN) {
			err_wrap(&e, "timed out");
			rc = ERR_UNREACHABLE;
		}
		*at = y->next;
		y->fn(y->ctx, rc, e.text);
		free(y->list);
		free(y);
	}
}

/* Answers what can't come true any more: *at is unlinked and freed. */
static void end_syncing(struct syncing **at)
{
	struct syncing *y = *at;
	struct err e = ERR_INIT;
	int rc = sync_state(y, &e);
	*at = y->next;
	y->fn(y->ctx, rc == ERR_AGAIN ? ERR_CANCELLED : rc, e.text);
	free(y->list);
	free(y);
}

static struct syncing **find_syncing_of(struct schedule *s, const struct entry *en)
{
	for (struct syncing **at = &s->syncing; *at; at = &(*at)->next)
		for (size_t i = 0; i < (*at)->count; i++)
			if ((*at)->list[i].entry == en)
				return at;
	return NULL;
}

/* A database that goes away answers for its tickets now. Who is answered may ask for it once more,
 * so each search begins anew. */
void schedule_end_syncing_of(struct schedule *s, const struct entry *en)
{
	for (struct syncing **at; (at = find_syncing_of(s, en));)
		end_syncing(at);
}

void schedule_forget_syncing(struct schedule *s)
{
	while (s->syncing) {
		struct syncing *y = s->syncing;
		s->syncing = y->next;
		free(y->list);
		free(y);
	}
}
