/*
 * When to look again.
 *
 * The event of a WAL write comes before the commit is published, and publishing makes none. So
 * after each event, and after each change that was seen, we look again with growing pauses (1 ms,
 * doubling) until a second was quiet. While a checkpoint runs we look every other millisecond,
 * because its end makes no event either. A slow timer covers whatever else is lost: after five
 * minutes without a change, and then each time that it was quiet for twice as long, up to an hour;
 * where it finds something twice in a row, events are lost there as a rule, and we look each
 * second.
 *
 * Under steady writers the events of the files are switched off, because an event would make each
 * writer pay for waking us, and a timer looks: every millisecond at full speed, every eighty where
 * little is written. What is captured sooner is not uploaded sooner there (there is one upload in a
 * sync interval), and each look costs as much as reading dozens of frames.
 */
#ifndef SOURCE_WAKE_H
#define SOURCE_WAKE_H

#include <stdbool.h>
#include <stdint.h>

#define WAKE_FIRST_US 1000
#define WAKE_QUIET_US 1000000
#define WAKE_LATE_US 200000   /* pauses have grown to this: is a writer still at it? */
#define WAKE_WRITER_US 100000 /* if so, look again in this time */
#define WAKE_SLOW_US (300 * INT64_C(1000000))
#define WAKE_SLOW_MOST_US (3600 * INT64_C(1000000))
#define WAKE_BLIND_US 1000000     /* no inotify, or no events from it */
#define WAKE_UNHEARD 2            /* finds of the slow timer in a row that mean the latter */
#define WAKE_STEADY_US 2000       /* at first */
#define WAKE_STEADY_LEAST_US 1000 /* at full speed */
#define WAKE_STEADY_MOST_US 80000
#define WAKE_BURST_FRAMES 1024   /* at the highest speed of the last … */
#define WAKE_PEAK_US 10000000    /* … seconds, no more than these in a pause */
#define WAKE_STEADY_FRAMES 96    /* wanted in a turn, at most */
#define WAKE_STEADY_GAP_US 40000 /* a commit in every such gap is a steady writer … */
#define WAKE_STEADY_MOVES 25     /* … after so many in a row */
#define WAKE_STEADY_END_US 100000

struct wake {
	int64_t moved_us;  /* last event or change */
	int64_t pause_us;  /* the next pause */
	int64_t next_us;   /* asked for by somebody in this turn; 0 = nobody */
	int64_t commit_us; /* the last turn with commits */
	int commits;       /* turns with commits in a row, WAKE_STEADY_GAP_US apart at most */
	bool steady;
	int64_t turn_us;   /* the last turn, for: */
	int64_t peak;      /* frames a second, the highest lately */
	int64_t steady_us; /* the pause under steady writers; 0 = not known yet */
	int64_t most_us;   /* which it never passes; 0 = WAKE_STEADY_MOST_US */
	int64_t slow_us;   /* the last pause was the slow timer's, and began then; 0 = it was not */
	int64_t slow_pause_us;
	int unheard; /* changes in a row that the slow timer found, and no event told of */
};

/* Something happened (an event, the header moved): begin with short pauses again. */
void wake_moved(struct wake *w, int64_t now_us);

/* Have the pauses after the last event grown long? */
bool wake_is_late(const struct wake *w, int64_t now_us);

/* A turn is over; so many frames did it capture. Returns true when w->steady changed. */
bool wake_commits(struct wake *w, uint32_t frames, int64_t now_us);

/* The same turn: had there been an event? Returns true when it is now known that changes make none
 * here. */
bool wake_heard(struct wake *w, bool event, bool captured, int64_t now_us);

/* Do changes make no events here? */
bool wake_is_deaf(const struct wake *w);

/* Somebody wants to look again after so long at the latest. */
void wake_within(struct wake *w, int64_t us);

/* The pause until the next turn, in us. */
int64_t wake_pause(struct wake *w, int64_t now_us, bool blind);

/* A pause that doubles from `first` to `last` each time it is asked for; reset it with 0. */
int64_t wake_backoff(int64_t *pause, int64_t first, int64_t last);

#endif
