#include "store/totals.h"

#include "base/clock.h"
#include "store/driver.h"

#include <stdatomic.h>
#include <string.h>

#define KINDS 4

struct total {
	_Atomic uint64_t requests, bytes, us;
	_Atomic uint64_t took[STORE_TIMES + 1], errors[STORE_ERROR_CODES];
};

static const char *const kinds[KINDS] = {"file", "s3", "mem", "fault"};
static struct total totals[KINDS][STORE_OPERATIONS];

/* Litestream's bounds, so that its histograms can be laid beside ours. */
const double store_times[STORE_TIMES] = {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60};

static const char *const codes[STORE_ERROR_CODES] = {"other", "AccessDenied", "AllAccessDisabled",
	"AuthorizationHeaderMalformed", "BadDigest", "EntityTooLarge", "ExpiredToken", "InternalError",
	"InvalidAccessKeyId", "InvalidRequest", "InvalidToken", "NoSuchBucket", "NoSuchUpload",
	"NotImplemented", "PermanentRedirect", "QuotaExceeded", "RequestTimeTooSkewed",
	"RequestTimeout", "ServiceUnavailable", "SignatureDoesNotMatch", "SlowDown", "damaged",
	"denied", "full", "io", "unreachable", "unsupported"};

static struct total *total_of(const struct store *s, enum store_counter which)
{
	size_t kind = 0;
	while (kind < KINDS - 1 && strcmp(kinds[kind], s->driver->caps.scheme) != 0)
		kind++;
	return &totals[kind][which];
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *of)
{
	return atomic_load_explicit(of, memory_order_relaxed);
}

static size_t find_code(const char *code)
{
	for (size_t i = 1; code && i < STORE_ERROR_CODES; i++)
		if (strcmp(codes[i], code) == 0)
			return i;
	return 0;
}

/* ---- for drivers ---- */

int64_t store_begin(struct store *s, enum store_counter which)
{
	store_count(s, which, 1);
	add(&total_of(s, which)->requests, 1);
	return clock_mono_us();
}

void store_count_bytes(struct store *s, enum store_counter which, uint64_t n)
{
	bool sent = which == STORE_N_PUT || which == STORE_N_DELETE;
	store_count(s, sent ? STORE_N_BYTES_OUT : STORE_N_BYTES_IN, n);
	add(&total_of(s, which)->bytes, n);
}

void store_count_error(struct store *s, enum store_counter which, const char *code, int rc)
{
	size_t i = find_code(code);
	add(&total_of(s, which)->errors[i ? i : find_code(err_name(rc))], 1);
}

/* What is asked to find out, and what we ended ourselves, is no error. */
static bool is_answer(int rc)
{
	return rc == ERR_OK || rc == ERR_NOT_FOUND || rc == ERR_CONDITION || rc == ERR_CANCELLED;
}

int store_end(struct store *s, enum store_counter which, int64_t began_us, const char *code, int rc)
{
	struct total *t = total_of(s, which);
	int64_t us = clock_mono_us() - began_us;
	size_t i = 0;
	us = us > 0 ? us : 0;
	while (i < STORE_TIMES && (double)us > store_times[i] * 1e6)
		i++;
	add(&t->took[i], 1);
	add(&t->us, (uint64_t)us);
	if (!is_answer(rc))
		store_count_error(s, which, code, rc);
	return rc;
}

/* ---- asked ---- */

const char *store_operation_name(enum store_operation op)
{
	static const char *const names[STORE_OPERATIONS] = {"PUT", "GET", "HEAD", "LIST", "DELETE"};
	return names[op];
}

const char *store_error_code(size_t i)
{
	return i < STORE_ERROR_CODES ? codes[i] : NULL;
}

const char *store_kind(size_t kind)
{
	return kind < KINDS ? kinds[kind] : NULL;
}

bool store_get_total(size_t kind, enum store_operation op, struct store_total *out)
{
	struct total *t = &totals[kind][op];
	*out = (struct store_total){
		.requests = get(&t->requests), .bytes = get(&t->bytes), .us = get(&t->us)};
	for (size_t i = 0; i <= STORE_TIMES; i++)
		out->took[i] = get(&t->took[i]);
	for (size_t i = 0; i < STORE_ERROR_CODES; i++)
		out->errors[i] = get(&t->errors[i]);
	return out->requests > 0;
}
