/* What retention promises unless told otherwise, and what it can be told. */
#include "replicate/retain.h"

#include <inttypes.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define MAX_MS (INT64_C(1000) * 365 * DAY)

void retain_policy_init(struct retain_policy *p)
{
	*p = (struct retain_policy){
		.steps = {{3 * HOUR, 0}, {DAY, 30 * SECOND}, {3 * DAY, 5 * MINUTE}, {7 * DAY, HOUR}},
		.n_steps = 4,
		.l0_keep_ms = 3 * HOUR,
		.grace_ms = HOUR,
	};
}

static int check_step(const struct retain_policy *p, int i, struct err *e)
{
	int64_t window = p->steps[i].window_ms, step = p->steps[i].step_ms;
	if (window <= 0 || window > MAX_MS || step < 0 || step > window)
		return err_set(e, ERR_USAGE,
			"retention: a window of %" PRId64 " ms with a state every %" PRId64
			" ms can't be kept: a window is longer than 0 and than its step",
			window, step);
	if (i == 0)
		return ERR_OK;
	int64_t window_before = p->steps[i - 1].window_ms, step_before = p->steps[i - 1].step_ms;
	if (window <= window_before)
		return err_set(e, ERR_USAGE,
			"retention: windows must get longer, and %" PRId64 " ms comes after %" PRId64 " ms",
			window, window_before);
	if (step <= step_before || (step_before > 0 && step % step_before != 0))
		return err_set(e, ERR_USAGE,
			"retention: each step must be a multiple of the one before, and %" PRId64
			" ms comes after %" PRId64 " ms",
			step, step_before);
	return ERR_OK;
}

int retain_policy_check(const struct retain_policy *p, struct err *e)
{
	if (p->n_steps < 0 || p->n_steps > RETAIN_STEPS_MAX)
		return err_set(
			e, ERR_USAGE, "retention: 0 to %d windows, not %d", RETAIN_STEPS_MAX, p->n_steps);
	for (int i = 0; i < p->n_steps; i++) {
		int rc = check_step(p, i, e);
		if (rc)
			return rc;
	}
	if (p->l0_keep_ms < 3 * HOUR || p->l0_keep_ms > MAX_MS)
		return err_set(e, ERR_USAGE,
			"retention: L0 files must stay for 3 h at least (%" PRId64
			" ms were asked for): a replicator that comes back sees by their names that another "
			"one "
			"went on",
			p->l0_keep_ms);
	if (p->grace_ms < MINUTE || p->grace_ms > MAX_MS)
		return err_set(e, ERR_USAGE,
			"retention: a running restore must be given a minute at least, not %" PRId64 " ms",
			p->grace_ms);
	return ERR_OK;
}
