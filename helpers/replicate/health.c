#include "replicate/health.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define REPEAT_US (INT64_C(30) * 1000000)
#define REPEAT_MAX_US (INT64_C(3600) * 1000000)

const char *replicator_state_name(enum replicator_state s)
{
	static const char *const names[] = {
		[REPLICATOR_STARTING] = "starting",
		[REPLICATOR_REPLICATING] = "replicating",
		[REPLICATOR_BEHIND] = "behind",
		[REPLICATOR_FENCED] = "fenced",
		[REPLICATOR_DENIED] = "denied",
		[REPLICATOR_REPLACED] = "replaced",
		[REPLICATOR_WAITING] = "waiting",
		[REPLICATOR_UNUSABLE] = "unusable",
	};
	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

void health_init(struct health *h)
{
	memset(h, 0, sizeof(*h));
	for (int i = 0; i < HEALTH_SIDES; i++)
		h->side[i].state = REPLICATOR_REPLICATING;
}

/* Which of two troubles a person must hear of first. */
static int rank(enum replicator_state s)
{
	static const int ranks[] = {
		[REPLICATOR_REPLICATING] = 0,
		[REPLICATOR_STARTING] = 0,
		[REPLICATOR_BEHIND] = 1,
		[REPLICATOR_WAITING] = 2,
		[REPLICATOR_UNUSABLE] = 3,
		[REPLICATOR_DENIED] = 4,
		[REPLICATOR_REPLACED] = 5,
		[REPLICATOR_FENCED] = 6,
	};
	return ranks[s];
}

enum replicator_state health_get(const struct health *h, const struct trouble **why)
{
	const struct trouble *worst = &h->side[0];
	for (int i = 1; i < HEALTH_SIDES; i++)
		if (rank(h->side[i].state) > rank(worst->state))
			worst = &h->side[i];
	bool well = rank(worst->state) == 0;
	if (why)
		*why = well ? NULL : worst;
	if (!well)
		return worst->state;
	return h->claimed ? REPLICATOR_REPLICATING : REPLICATOR_STARTING;
}

/* A state that nobody needs to worry about is no warning. */
static enum log_level level_of(enum replicator_state s)
{
	return s == REPLICATOR_WAITING || rank(s) == 0 ? LOG_INFO : LOG_WARN;
}

static int64_t next_pause(const struct repeat *r, enum log_level level, bool same)
{
	if (level == LOG_INFO)
		return INT64_MAX;
	int64_t pause = same ? r->pause_us * 2 : REPEAT_US;
	return pause < REPEAT_MAX_US ? pause : REPEAT_MAX_US;
}

static bool log_trouble(struct repeat *r, const char *name, const struct trouble *t)
{
	int64_t now = clock_mono_us();
	bool same = strncmp(r->text, t->reason, sizeof(r->text) - 1) == 0;
	r->count++;
	if (same && now - r->logged_us < r->pause_us)
		return false;
	enum log_level level = level_of(t->state);
	const char *state = replicator_state_name(t->state);
	if (same)
		log_write(level, "%s: %s: %s (%u times)", name, state, t->reason, r->count);
	else
		log_write(level, "%s: %s: %s", name, state, t->reason);
	copy_text(r->text, sizeof(r->text), t->reason);
	r->logged_us = now;
	r->pause_us = next_pause(r, level, same);
	r->count = 0;
	return true;
}

/* Says it when all is well again, if somebody was told that it was not. */
static void log_recovery(struct health *h, const char *name)
{
	enum replicator_state now = health_get(h, NULL);
	if (!h->told || rank(now) != 0)
		return;
	log_info("%s: %s", name, replicator_state_name(now));
	h->told = false;
}

void health_set(struct health *h, const char *name, enum health_side side,
	enum replicator_state state, const struct err *why)
{
	struct trouble *t = &h->side[side];
	t->state = state;
	t->code = rank(state) && why ? (int)why->code : ERR_OK;
	copy_text(t->reason, sizeof(t->reason), rank(state) && why ? why->text : "");
	if (!rank(state)) {
		h->repeat[side].pause_us = REPEAT_US;
		log_recovery(h, name);
		return;
	}
	if (log_trouble(&h->repeat[side], name, t))
		h->told = true;
	if (level_of(state) == LOG_WARN) {
		copy_text(h->last_error, sizeof(h->last_error), t->reason);
		h->last_error_ms = clock_wall_ms();
	}
}

void health_claimed(struct health *h, const char *name)
{
	if (!h->claimed)
		log_info("%s: %s", name, replicator_state_name(REPLICATOR_REPLICATING));
	h->claimed = true;
}
