#include "lib/simulated.h"

#include "base/clock.h"
#include "lib/moved_clock.h"

#include <poll.h>
#include <stdbool.h>
#include <time.h>

/* ---- the clock ---- */

static void sleep_us(int64_t us)
{
	skipped_us += us;
}

static const struct clock_ops injected = {wall_ms, mono_us, boot_ms, sleep_us};

void simulated_clock(void)
{
	clock_set_ops(&injected);
}

void simulated_skip(int64_t us)
{
	skipped_us += us;
}

/* ---- what happens ---- */

static void wanted(void *ctx, void *user)
{
	(void)user;
	((struct simulated *)ctx)->turn_due = 0;
}

/* The app and SQLite are done when they have answered, so every event of theirs is there. */
static void read_events(struct simulated *s)
{
	struct pollfd p = {.fd = source_watch_fd(s->watch), .events = POLLIN};
	if (poll(&p, 1, 0) > 0)
		source_watch_read(s->watch, wanted, s);
}

static int64_t after(int64_t wait)
{
	int64_t due;
	return __builtin_add_overflow(clock_mono_us(), wait, &due) ? INT64_MAX : due;
}

/* Upkeep is asked for after each turn and work. */
static void ask_upkeep(struct simulated *s)
{
	if (replicator_upkeep_wanted(s->r))
		s->upkeep_due = 0;
}

static void one_turn(struct simulated *s)
{
	int64_t wait;
	bool work;
	replicator_turn(s->r, &wait, &work);
	s->turn_due = after(wait);
	if (work)
		s->work_due = 0;
	s->turns++;
	ask_upkeep(s);
}

static void one_work(struct simulated *s)
{
	int64_t wait;
	replicator_work(s->r, &wait);
	s->work_due = after(wait);
	s->turn_due = 0;
	s->works++;
	ask_upkeep(s);
}

static void one_upkeep(struct simulated *s)
{
	int64_t wait;
	replicator_upkeep(s->r, &wait);
	s->upkeep_due = after(wait);
	s->turn_due = 0;
	s->upkeeps++;
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void simulated_run(struct simulated *s, int64_t until_us)
{
	while (clock_mono_us() < until_us) {
		int64_t now = clock_mono_us();
		if (s->app_due <= now)
			s->app(s->app_ctx);
		else if (s->turn_due <= now)
			one_turn(s);
		else if (s->work_due <= now)
			one_work(s);
		else if (s->upkeep_due <= now)
			one_upkeep(s);
		else {
			int64_t next = earliest(earliest(s->turn_due, s->work_due), s->upkeep_due);
			next = earliest(next, s->app_due);
			skipped_us += earliest(next, until_us) - now;
		}
		read_events(s);
	}
}

int simulated_open(struct simulated *s, const struct replicator_config *cfg, struct err *e)
{
	struct replicator_config own = *cfg;
	int rc = source_watch_new(&s->watch, e);
	if (rc)
		return rc;
	own.watch = s->watch;
	own.user = s;
	s->turn_due = 0;
	s->work_due = s->upkeep_due = INT64_MAX;
	return replicator_open(&s->r, &own, e);
}

void simulated_close(struct simulated *s)
{
	replicator_close(s->r);
	source_watch_free(s->watch);
	s->r = NULL;
	s->watch = NULL;
}
