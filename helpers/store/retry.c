#include "store/retry.h"

#include "base/clock.h"
#include "base/fs.h"

#define SLICE_US 100000

void retry_init(
	struct retry *r, int max_attempts, int64_t total_ms, bool (*cancelled)(void *), void *ctx)
{
	*r = (struct retry){
		.max_attempts = max_attempts,
		.deadline_us = clock_mono_us() + total_ms * 1000,
		.deadline_boot_ms = clock_boot_ms() + total_ms,
		.cancelled = cancelled,
		.ctx = ctx,
	};
}

static int64_t random_below(int64_t bound)
{
	uint64_t v;
	fs_random(&v, sizeof(v));
	return bound > 0 ? (int64_t)(v % (uint64_t)bound) : 0;
}

static int64_t pause_us(const struct retry *r, int64_t at_least_ms)
{
	int doublings = r->attempts - 1 < 20 ? r->attempts - 1 : 20;
	int64_t ceiling_ms = (int64_t)RETRY_BASE_MS << doublings;
	if (ceiling_ms > RETRY_CAP_MS)
		ceiling_ms = RETRY_CAP_MS;
	int64_t us = random_below(ceiling_ms * 1000 + 1);
	if (at_least_ms > RETRY_AFTER_MAX_MS)
		at_least_ms = RETRY_AFTER_MAX_MS;
	return us > at_least_ms * 1000 ? us : at_least_ms * 1000;
}

bool retry_pause(struct retry *r, int64_t at_least_ms)
{
	r->attempts++;
	if (r->attempts >= r->max_attempts)
		return false;
	int64_t left = pause_us(r, at_least_ms);
	if (clock_mono_us() + left >= r->deadline_us)
		return false;
	for (; left > 0; left -= SLICE_US) {
		if (r->cancelled && r->cancelled(r->ctx))
			return false;
		clock_sleep_us(left < SLICE_US ? left : SLICE_US);
	}
	/* Whoever was stopped or suspended in that pause may wake up a day later. */
	return clock_mono_us() < r->deadline_us && clock_boot_ms() < r->deadline_boot_ms &&
		   !(r->cancelled && r->cancelled(r->ctx));
}

void retry_progress(struct retry *r)
{
	r->attempts = 0;
}

int64_t retry_left_ms(const struct retry *r)
{
	int64_t left = (r->deadline_us - clock_mono_us()) / 1000;
	return left > 0 ? left : 1;
}
