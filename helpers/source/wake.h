/*
 * When to look again.
 *
 * The event of a WAL write comes before the commit is published, and publishing makes none. So
 * after each event, and after each change that was seen, we look again with growing pauses (1 ms,
 * doubling) until a second was quiet. While a checkpoint runs we look every other millisecond,
 * because its end makes no event either. A slow timer covers whatever else is lost.
 */
#ifndef SOURCE_WAKE_H
#define SOURCE_WAKE_H

#include <stdbool.h>
#include <stdint.h>

#define WAKE_FIRST_US 1000
#define WAKE_QUIET_US 1000000
#define WAKE_SLOW_US (30 * INT64_C(1000000))
#define WAKE_BLIND_US 1000000 /* no inotify */

struct wake {
	int64_t moved_us; /* last event or change */
	int64_t pause_us; /* the next pause */
	int64_t next_us;  /* asked for by somebody in this turn; 0 = nobody */
};

/* Something happened (an event, the header moved): begin with short pauses again. */
void wake_moved(struct wake *w, int64_t now_us);

/* Somebody wants to look again after so long at the latest. */
void wake_within(struct wake *w, int64_t us);

/* The pause until the next turn, in us. */
int64_t wake_pause(struct wake *w, int64_t now_us, bool blind);

/* A pause that doubles from `first` to `last` each time it is asked for; reset it with 0. */
int64_t wake_backoff(int64_t *pause, int64_t first, int64_t last);

#endif
