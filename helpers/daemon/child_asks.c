#include "daemon/child_asks.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

#define MS 1000ll
#define ASK_MARGIN_MS 5000 /* over a question's own timeout, for a worker that hangs */
#define DECIDE_MS 15000    /* until a worker has let go of a database */

struct child_ask {
	struct child_ask *next;
	json_t *held; /* for the process that comes; NULL = said */
	uint64_t id;
	int64_t deadline_us;
	child_done_fn done;
	void *ctx;
};

static void finish(struct child_ask **link, const struct err *result)
{
	struct child_ask *s = *link;
	*link = s->next;
	s->done(s->ctx, result);
	json_decref(s->held);
	free(s);
}

void child_asks_fail(struct child *c, bool held, const char *why)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_FAIL, "%s", why);
	for (struct child_ask **link = &c->asks; *link;) {
		if (held || !(*link)->held)
			finish(link, &e);
		else
			link = &(*link)->next;
	}
}

void child_asks_expire(struct child *c, int64_t now_us)
{
	struct err e = ERR_INIT;
	err_set(&e, ERR_UNREACHABLE, "the worker of %s did not answer in time", c->app);
	for (struct child_ask **link = &c->asks; *link;) {
		if ((*link)->deadline_us <= now_us)
			finish(link, &e);
		else
			link = &(*link)->next;
	}
}

void child_asks_say(struct child *c)
{
	for (struct child_ask *s = c->asks; s; s = s->next) {
		struct err e = ERR_INIT;
		if (s->held && channel_send(&c->channel, s->held, &e) != ERR_OK)
			log_warn("%s: cannot ask the worker: %s", c->app, e.text);
		json_decref(s->held);
		s->held = NULL;
	}
}

void child_asks_answer(struct child *c, uint64_t id, const struct err *result)
{
	for (struct child_ask **link = &c->asks; *link; link = &(*link)->next) {
		if ((*link)->id == id) {
			finish(link, result);
			return;
		}
	}
}

void child_asks_prepare(const struct child *c, struct pollset *p)
{
	for (const struct child_ask *s = c->asks; s; s = s->next)
		pollset_wake_at(p, s->deadline_us);
}

/* It will run without anybody's doing: it starts, for the first time or anew with other settings.
 */
static bool comes_soon(const struct child *c)
{
	return c->state == CHILD_STARTING || (c->state == CHILD_STOPPING && c->wanted);
}

/* `message` is a new object, NULL when out of memory. */
static uint64_t ask(
	struct child *c, json_t *message, int64_t timeout_ms, child_done_fn done, void *ctx)
{
	struct err e = ERR_INIT;
	struct child_ask *s = calloc(1, sizeof(*s));
	int rc = ERR_OK;
	if (!s || !message)
		rc = err_nomem(&e, "asking a worker");
	else if (c->state == CHILD_RUNNING)
		rc = channel_send(&c->channel, message, &e);
	else if (!comes_soon(c))
		rc = err_set(&e, ERR_FAIL, "the worker of %s is not running (%s)%s%s", c->app,
			child_state_name(c), c->trouble[0] ? ": " : "", c->trouble);
	if (rc != ERR_OK) {
		json_decref(message);
		free(s);
		done(ctx, &e);
		return 0;
	}
	json_t *held = comes_soon(c) ? message : NULL;
	if (!held)
		json_decref(message);
	*s = (struct child_ask){
		c->asks, held, c->next_ask, clock_mono_us() + (timeout_ms + ASK_MARGIN_MS) * MS, done, ctx};
	c->asks = s;
	return s->id;
}

uint64_t child_sync(struct child *c, const char *database, bool if_there, int64_t timeout_ms,
	child_done_fn done, void *ctx)
{
	const struct message_sync m = {++c->next_ask, timeout_ms, (char *)database, if_there};
	return ask(c, message_sync_encode(&m), timeout_ms, done, ctx);
}

uint64_t child_decide(struct child *c, const char *database, bool takeover, const char *seen,
	child_done_fn done, void *ctx)
{
	const struct message_decide m = {++c->next_ask, (char *)database, takeover, (char *)seen};
	return ask(c, message_decide_encode(&m), DECIDE_MS, done, ctx);
}

void child_ask_cancel(struct child *c, uint64_t ticket)
{
	for (struct child_ask **link = &c->asks; *link; link = &(*link)->next) {
		if ((*link)->id == ticket) {
			struct child_ask *s = *link;
			*link = s->next;
			json_decref(s->held);
			free(s);
			return;
		}
	}
}
