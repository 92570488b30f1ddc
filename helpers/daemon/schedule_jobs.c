#include "daemon/schedule_internal.h"

#include "base/clock.h"

#include <malloc.h>
#include <time.h>
#include <unistd.h>

#define SHORT_US 80000
#define BLINK_US 2000 /* nothing is too late by so little */
#define STAY_US 800000
#define TRIM_QUIET_US (INT64_C(5) * 1000000)
#define TRIM_EVERY_US (INT64_C(60) * 1000000)
#define TRIM_JOBS 8 /* of each database; a look around now and then leaves nothing behind */

void schedule_wake(struct schedule *s)
{
	uint64_t one = 1;
	/* A full counter wakes as well as one more would. */
	ssize_t ignored = write(s->wake_fd, &one, sizeof(one));
	(void)ignored;
}

int64_t schedule_after(int64_t wait_us)
{
	int64_t now = clock_mono_us(), due;
	return __builtin_add_overflow(now, wait_us, &due) ? INT64_MAX : due;
}

/*
 * A job ended; lock held. The waiting thread must be woken when it would come too late for what is
 * due now, or for who waits for news. Among many databases it comes soon anyway: each wake-up costs
 * more than most turns.
 */
static bool note_end(struct entry *en, int64_t now)
{
	struct schedule *s = en->owner;
	int64_t due = INT64_MAX;
	en->ran = true;
	s->jobs++;
	s->job_us = now;
	if (!en->turn_running)
		schedule_earlier(&due, en->turn_due);
	if (!en->work_running)
		schedule_earlier(&due, en->work_due);
	if (!en->upkeep_running)
		schedule_earlier(&due, en->upkeep_due);
	return s->asked || en->closed || due < s->sleeps_until ||
		   now + SCHEDULE_NEWS_US < s->sleeps_until;
}

int64_t schedule_longest_turn(const struct schedule *s, int64_t now_us, size_t *which)
{
	int64_t longest = 0;
	for (size_t i = 0; i < s->count; i++) {
		int64_t since = __atomic_load_n(&s->entries[i]->turn_since_us, __ATOMIC_RELAXED);
		if (since == 0 || now_us - since <= longest)
			continue;
		longest = now_us - since;
		*which = i;
	}
	return longest;
}

int64_t schedule_trim(struct schedule *s, int64_t now)
{
	pthread_mutex_lock(&s->lock);
	uint64_t jobs = s->jobs;
	int64_t due = s->job_us + TRIM_QUIET_US;
	pthread_mutex_unlock(&s->lock);
	if (jobs - s->trimmed_jobs < TRIM_JOBS * (s->count + 1))
		return INT64_MAX;
	if (s->trimmed_us != 0 && due < s->trimmed_us + TRIM_EVERY_US)
		due = s->trimmed_us + TRIM_EVERY_US;
	if (now < due)
		return due;
	malloc_trim(0);
	s->trimmed_us = now;
	s->trimmed_jobs = jobs;
	return INT64_MAX;
}

static void turn_job(void *arg);
static void work_job(void *arg);
static void upkeep_job(void *arg);

/* Queues what is due. The queues have room for every entry, so this never waits. Lock held. */
void schedule_start_due(struct entry *en, int64_t now)
{
	if (en->closed)
		return;
	if (!en->turn_running && en->turn_due <= now) {
		en->turn_running = true;
		en->turn_again = false;
		en->turn_due = INT64_MAX;
		pool_run(en->owner->turns, turn_job, en);
	}
	if (!en->work_running && en->work_due <= now) {
		en->work_running = true;
		en->work_due = INT64_MAX;
		pool_run(en->owner->works, work_job, en);
	}
	if (!en->upkeep_running && en->upkeep_due <= now) {
		en->upkeep_running = true;
		en->upkeep_due = INT64_MAX;
		pool_run(en->owner->upkeeps, upkeep_job, en);
	}
}

void schedule_earlier(int64_t *due, int64_t other)
{
	if (other < *due)
		*due = other;
}

/* A turn as soon as possible, after the one that runs or in its thread's nap. Lock held. */
static void ask_turn(struct entry *en)
{
	en->turn_again = en->turn_running;
	en->turn_due = 0;
	if (en->turn_running)
		pthread_cond_broadcast(&en->owner->happened);
}

/*
 * What a turn asked for. True: the thread waits itself and takes the next turn, because a busy
 * database asks for one each millisecond, every hand-over costs two switches of context, and no
 * other database wants this thread. Not for long: who waits for news looks after each job.
 */
static bool settle_turn(struct entry *en, int64_t wait, bool work, int64_t until, bool *wake)
{
	struct schedule *s = en->owner;
	int64_t now = clock_mono_us();
	pthread_mutex_lock(&s->lock);
	if (work)
		en->work_due = 0;
	if (replicator_upkeep_wanted(en->r))
		en->upkeep_due = 0;
	bool asked = en->turn_again || en->turn_due <= now;
	bool stay = !en->closed && !asked && wait <= SHORT_US && now < until && s->count <= s->n_turns;
	if (!stay) {
		__atomic_store_n(&en->turn_since_us, 0, __ATOMIC_RELAXED);
		en->turn_running = false;
		schedule_earlier(&en->turn_due, en->turn_again ? 0 : schedule_after(wait));
	}
	schedule_start_due(en, now);
	*wake = note_end(en, now);
	pthread_mutex_unlock(&s->lock);
	return stay;
}

/* Waits until the next turn, or until something happens. */
static void nap(struct entry *en, int64_t us)
{
	struct schedule *s = en->owner;
	if (us <= BLINK_US) {
		clock_sleep_us(us);
		return;
	}
	struct timespec end;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += us * 1000; /* less than a second */
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	while (!rc && !en->turn_again && !en->closed)
		rc = pthread_cond_timedwait(&s->happened, &s->lock, &end);
	if (en->turn_again) /* the turn that comes now is the one */
		en->turn_due = INT64_MAX;
	en->turn_again = false;
	pthread_mutex_unlock(&s->lock);
}

/* When it began is noted for who asks whether it hangs. The nap behind it is short, and counts. */
static void take_turn(struct entry *en, int64_t *wait, bool *work)
{
	__atomic_store_n(&en->turn_since_us, clock_mono_us(), __ATOMIC_RELAXED);
	replicator_turn(en->r, wait, work);
}

static void turn_job(void *arg)
{
	struct entry *en = arg;
	int64_t wait = INT64_MAX, until = clock_mono_us() + STAY_US;
	bool work = false, wake = false;
	struct schedule *s = en->owner;
	take_turn(en, &wait, &work);
	while (settle_turn(en, wait, work, until, &wake)) {
		nap(en, wait);
		take_turn(en, &wait, &work);
	}
	if (wake)
		schedule_wake(s);
}

/* The rest of what work and upkeep do at their end: what they changed lets the turn go on. Lock
 * held, which this releases. */
static void settle_job(struct entry *en)
{
	struct schedule *s = en->owner;
	int64_t now = clock_mono_us();
	ask_turn(en);
	schedule_start_due(en, now);
	bool wake = note_end(en, now);
	pthread_mutex_unlock(&s->lock);
	if (wake)
		schedule_wake(s);
}

static void work_job(void *arg)
{
	struct entry *en = arg;
	int64_t wait = INT64_MAX;
	replicator_work(en->r, &wait);
	pthread_mutex_lock(&en->owner->lock);
	en->work_running = false;
	schedule_earlier(&en->work_due, schedule_after(wait));
	if (replicator_upkeep_wanted(en->r))
		en->upkeep_due = 0;
	settle_job(en);
}

static void upkeep_job(void *arg)
{
	struct entry *en = arg;
	int64_t wait = INT64_MAX;
	thread_give_way(); /* merging and encoding take a processor for seconds, apps come first */
	replicator_upkeep(en->r, &wait);
	pthread_mutex_lock(&en->owner->lock);
	en->upkeep_running = false;
	schedule_earlier(&en->upkeep_due, schedule_after(wait));
	settle_job(en);
}

void schedule_ask_turn(struct entry *en)
{
	pthread_mutex_lock(&en->owner->lock);
	ask_turn(en);
	schedule_start_due(en, clock_mono_us());
	pthread_mutex_unlock(&en->owner->lock);
}
