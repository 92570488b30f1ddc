#include "source/wake.h"

void wake_moved(struct wake *w, int64_t now_us)
{
	w->moved_us = now_us;
	w->pause_us = WAKE_FIRST_US;
}

bool wake_is_late(const struct wake *w, int64_t now_us)
{
	return !w->steady && (w->pause_us >= WAKE_LATE_US || now_us - w->moved_us >= WAKE_LATE_US);
}

/* Frames a second, the highest of the last seconds. */
static void note_rate(struct wake *w, uint32_t frames, int64_t now_us)
{
	int64_t took = now_us - w->turn_us;
	w->turn_us = now_us;
	if (took <= 0 || took > WAKE_PEAK_US) {
		w->peak = 0;
		return;
	}
	int64_t rate = frames * INT64_C(1000000) / took;
	w->peak -= w->peak * took / WAKE_PEAK_US;
	if (w->peak < rate)
		w->peak = rate;
}

/* A writer at full speed that waited for its disk goes on at full speed. */
static int64_t longest(const struct wake *w)
{
	int64_t most = w->most_us ? w->most_us : WAKE_STEADY_MOST_US;
	if (w->peak > 0 && most > WAKE_BURST_FRAMES * INT64_C(1000000) / w->peak)
		most = WAKE_BURST_FRAMES * INT64_C(1000000) / w->peak;
	return most > WAKE_STEADY_LEAST_US ? most : WAKE_STEADY_LEAST_US;
}

/* So many frames a turn that its own cost does not count, and that neither does the time they wait.
 */
static void pace_steady(struct wake *w, uint32_t frames)
{
	int64_t pause = w->steady_us ? w->steady_us : WAKE_STEADY_US;
	if (frames > WAKE_STEADY_FRAMES)
		pause /= 2;
	else if (frames < WAKE_STEADY_FRAMES / 3)
		pause += pause / 4;
	if (pause < WAKE_STEADY_LEAST_US)
		pause = WAKE_STEADY_LEAST_US;
	w->steady_us = pause < longest(w) ? pause : longest(w);
}

bool wake_commits(struct wake *w, uint32_t frames, int64_t now_us)
{
	bool was = w->steady;
	int64_t gap = now_us - w->commit_us;
	note_rate(w, frames, now_us);
	if (frames > 0) {
		w->commits = gap <= WAKE_STEADY_GAP_US ? w->commits + 1 : 0;
		w->commit_us = now_us;
		w->steady = w->steady || w->commits >= WAKE_STEADY_MOVES;
	} else if (gap > WAKE_STEADY_END_US) {
		w->steady = false;
		w->commits = 0;
		w->steady_us = 0;
	}
	if (w->steady)
		pace_steady(w, frames);
	return w->steady != was;
}

bool wake_heard(struct wake *w, bool event, bool captured, int64_t now_us)
{
	if (event) {
		w->unheard = 0;
		return false;
	}
	/* An event that is on its way may be overtaken by a turn that somebody else asked for. */
	bool found = captured && w->slow_us != 0 && now_us - w->slow_us >= w->slow_pause_us;
	return found && ++w->unheard == WAKE_UNHEARD;
}

bool wake_is_deaf(const struct wake *w)
{
	return w->unheard >= WAKE_UNHEARD;
}

void wake_within(struct wake *w, int64_t us)
{
	if (w->next_us == 0 || us < w->next_us)
		w->next_us = us > 0 ? us : 1;
}

/* The slow timer's: as long as it has been quiet; not once it found what no event told of. */
static int64_t slow_pause(const struct wake *w, int64_t now_us)
{
	int64_t quiet = now_us - w->moved_us;
	if (quiet < WAKE_SLOW_US || w->unheard > 0)
		return WAKE_SLOW_US;
	return quiet < WAKE_SLOW_MOST_US ? quiet : WAKE_SLOW_MOST_US;
}

int64_t wake_pause(struct wake *w, int64_t now_us, bool blind)
{
	int64_t slow = blind || wake_is_deaf(w) ? WAKE_BLIND_US : slow_pause(w, now_us);
	int64_t pause = slow;
	if (w->pause_us > 0 && now_us - w->moved_us < WAKE_QUIET_US) {
		pause = w->pause_us;
		/* Events may bring many turns within the time: without a bound it would overflow. */
		if (w->pause_us < WAKE_QUIET_US)
			w->pause_us *= 2;
	}
	if (w->steady)
		pause = w->steady_us ? w->steady_us : WAKE_STEADY_US;
	if (w->next_us > 0 && w->next_us < pause)
		pause = w->next_us;
	w->next_us = 0;
	w->slow_us = pause == slow && slow != WAKE_BLIND_US ? now_us : 0;
	w->slow_pause_us = pause;
	return pause;
}

int64_t wake_backoff(int64_t *pause, int64_t first, int64_t last)
{
	*pause = *pause == 0 ? first : *pause * 2;
	if (*pause > last)
		*pause = last;
	return *pause;
}
