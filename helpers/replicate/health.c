#include "replicate/health.h"

#include "base/clock.h"
#include "base/log.h"

#include <ctype.h>
#include <string.h>

#define REPEAT_US (INT64_C(30) * 1000000)
#define REPEAT_MAX_US (INT64_C(3600) * 1000000)
#define FLAPPING_US (INT64_C(300) * 1000000)

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

/* Of the words without their numbers, hexadecimal ones too: libcurl says after how many
 * milliseconds nobody answered, and files are named by TXID. (FNV-1a) */
static uint64_t digest_words(const struct trouble *t)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325) ^ (uint64_t)t->state;
	for (const char *p = t->reason; *p; p++)
		if (!isxdigit((unsigned char)*p))
			sum = (sum ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	return sum;
}

static bool is_news(struct repeat *r, uint64_t sum)
{
	for (unsigned i = 0; i < r->n_known; i++)
		if (r->known[i] == sum)
			return false;
	if (r->n_known == REPEAT_KNOWN)
		return false;
	r->known[r->n_known++] = sum;
	return true;
}

static int64_t next_pause(const struct repeat *r, enum log_level level, bool news)
{
	if (level == LOG_INFO)
		return INT64_MAX;
	int64_t pause = !r->pause_us ? REPEAT_US : news ? r->pause_us : r->pause_us * 2;
	return pause < REPEAT_MAX_US ? pause : REPEAT_MAX_US;
}

static void end_of_well(struct repeat *r, int64_t now)
{
	if (r->well_us && now - r->well_us >= FLAPPING_US)
		r->pause_us = r->n_known = 0;
	r->well_us = 0;
}

static bool log_trouble(struct repeat *r, const char *name, const struct trouble *t)
{
	int64_t now = clock_mono_us();
	end_of_well(r, now);
	bool news = is_news(r, digest_words(t));
	r->count++;
	if (!news && now - r->logged_us < r->pause_us)
		return false;
	enum log_level level = level_of(t->state);
	const char *state = replicator_state_name(t->state);
	if (!news)
		log_write(level, "%s: %s: %s (%u times)", name, state, t->reason, r->count);
	else
		log_write(level, "%s: %s: %s", name, state, t->reason);
	r->logged_us = now;
	r->pause_us = next_pause(r, level, news);
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

static void note_well(struct repeat *r)
{
	if (r->well_us)
		return;
	r->well_us = clock_mono_us();
	if (r->pause_us > FLAPPING_US)
		r->pause_us = FLAPPING_US;
}

void health_set(struct health *h, const char *name, enum health_side side,
	enum replicator_state state, const struct err *why)
{
	struct trouble *t = &h->side[side];
	t->state = state;
	t->code = rank(state) && why ? (int)why->code : ERR_OK;
	copy_text(t->reason, sizeof(t->reason), rank(state) && why ? why->text : "");
	if (!rank(state)) {
		note_well(&h->repeat[side]);
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
