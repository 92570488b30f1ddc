/*
 * When to try again: capped exponential backoff with full jitter (each pause is uniform between 0
 * and min(cap, base · 2^n)), a bounded number of attempts and a bounded time for all of them.
 */
#ifndef STORE_RETRY_H
#define STORE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_BASE_MS 100
#define RETRY_CAP_MS 10000
#define RETRY_AFTER_MAX_MS 30000 /* a server's Retry-After counts up to this */

struct retry {
	int attempts;                 /* failed so far */
	int max_attempts;             /* of failures in a row */
	int64_t deadline_us;          /* clock_mono_us */
	int64_t deadline_boot_ms;     /* clock_boot_ms, which goes on while the machine is suspended */
	bool (*cancelled)(void *ctx); /* asked every 100 ms of a pause; may be NULL */
	void *ctx;
};

void retry_init(
	struct retry *r, int max_attempts, int64_t total_ms, bool (*cancelled)(void *), void *ctx);

/*
 * Notes a failure and pauses, at least `at_least_ms` (a server's Retry-After, 0 = none). False, at
 * once or after a part of the pause: no more attempts, no time left (also when the pause itself
 * took longer than that), or cancelled.
 */
bool retry_pause(struct retry *r, int64_t at_least_ms);

/* Something was achieved: the count of failures in a row begins anew. The deadline stays. */
void retry_progress(struct retry *r);

/* Time left until the deadline, at least 1 ms. */
int64_t retry_left_ms(const struct retry *r);

#endif
