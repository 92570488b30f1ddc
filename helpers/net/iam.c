#include "net/iam.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "net/chain.h"
#include "net/metadata.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define RENEW_MS INT64_C(300000)
#define CALM_MS INT64_C(60000)   /* between two attempts while the old ones hold */
#define PAUSE_MS INT64_C(1000)   /* and while there are none */
#define NOBODY_MS INT64_C(10000) /* and where nobody said that there are any */
#define WAIT_MS 200              /* how often who waits looks whether he was cancelled */

/* A set of this process. All of it under its lock but the asking itself. */
struct set {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	bool asking;
	struct iam_keys keys; /* access_key_id NULL = none */
	int64_t renew_ms;     /* wall time from when on there should be newer ones */
	int64_t fresh_us;     /* monotonic time until when a server's doubt changes nothing */
	int64_t next_us;      /* monotonic time of the next attempt */
	bool doubted;         /* a server said that it has expired */
	struct err failure;   /* of the last attempt; code 0 = it went well */
};

#define EMPTY                                                                \
	{                                                                        \
		.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER \
	}
static struct set sets[IAM_SOURCES] = {EMPTY, EMPTY};

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Under the lock, as all below: are there keys that hold, and for how long (ms)? */
static int64_t left_ms(const struct set *s)
{
	if (!s->keys.access_key_id)
		return 0;
	int64_t now = clock_wall_ms();
	return s->keys.expires_ms > now ? s->keys.expires_ms - now : 0;
}

/* Is there nothing to ask for now? *rc is then the answer. */
static bool is_settled(struct set *s, int *rc, struct err *e)
{
	bool calm = s->asking || clock_mono_us() < s->next_us;
	bool hold = left_ms(s) > 0 && !s->doubted;
	*rc = ERR_OK;
	if (hold && (calm || clock_wall_ms() < s->renew_ms))
		return true;
	if (!s->asking && s->failure.code != ERR_OK && calm) {
		if (e)
			*e = s->failure;
		*rc = (int)s->failure.code;
		return true;
	}
	return false;
}

/* Waits until whoever asks has an answer, for WAIT_MS. */
static void wait_for_answer(struct set *s)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += WAIT_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&s->asked, &s->lock, &until);
}

static void replace(struct set *s, struct iam_keys *keys)
{
	log_forget_secret(s->keys.secret_access_key);
	log_forget_secret(s->keys.session_token);
	iam_keys_free(&s->keys);
	s->keys = *keys;
	memset(keys, 0, sizeof(*keys));
	log_add_secret(s->keys.secret_access_key);
	log_add_secret(s->keys.session_token);
	uint16_t chance;
	fs_random(&chance, sizeof(chance));
	bool dated = s->keys.expires_ms != KEYS_FOREVER;
	int64_t life = left_ms(s), ahead = least(RENEW_MS, life / 3);
	ahead += ahead / 5 * chance / UINT16_MAX;
	s->renew_ms = dated ? s->keys.expires_ms - ahead : KEYS_FOREVER;
	s->fresh_us = clock_mono_us() + least(CALM_MS, life / 3) * 1000;
	s->next_us = 0;
	s->doubted = false;
	s->failure = (struct err)ERR_INIT;
}

/* Nothing came. What could not be had is no failure while the old ones hold. */
static int keep_old(struct set *s, int rc, struct err *why)
{
	int64_t left = s->doubted ? 0 : left_ms(s), pause = PAUSE_MS;
	/* Who was cancelled says nothing about the next one. */
	if (rc == ERR_CANCELLED)
		return rc;
	if (left / 4 > PAUSE_MS)
		pause = least(CALM_MS, left / 4);
	else if (left == 0 && rc == ERR_NOT_FOUND)
		pause = NOBODY_MS;
	/* Nobody said where credentials are; but there were some. */
	if (rc == ERR_NOT_FOUND)
		why->code = s->keys.access_key_id ? ERR_UNREACHABLE : ERR_DENIED;
	s->next_us = clock_mono_us() + pause * 1000;
	s->failure = *why;
	if (left == 0)
		return (int)why->code;
	log_warn("%s; the old ones hold for %lld s more", why->text, (long long)(left / 1000));
	return ERR_OK;
}

static int ask(enum iam_source source, struct http_pool *p, struct iam_keys *keys, struct err *e)
{
	bool role = source == IAM_ROLE;
	struct http_pool *strict = NULL;
	int rc = http_pool_strict(&strict, p, e);
	if (rc == ERR_OK)
		rc = !role                      ? chain_ask(strict, keys, e)
			 : metadata_has_container() ? metadata_ask_container(strict, keys, e)
										: metadata_ask_ec2(strict, keys, e);
	http_pool_free(strict);
	if (rc == ERR_OK && keys->expires_ms <= clock_wall_ms())
		rc = err_set(e, ERR_UNREACHABLE,
			"what was answered has expired already: is this host's clock right?");
	return rc ? err_wrap(e, role ? "cannot get the credentials of this machine's IAM role"
								 : "cannot get credentials")
			  : rc;
}

/* Lets go of the lock while it asks. */
static int renew(struct set *s, struct http_pool *p, struct err *e)
{
	struct iam_keys keys = {0};
	struct err why = ERR_INIT;
	s->asking = true;
	pthread_mutex_unlock(&s->lock);
	int rc = ask((enum iam_source)(s - sets), p, &keys, &why);
	pthread_mutex_lock(&s->lock);
	s->asking = false;
	if (rc == ERR_OK)
		replace(s, &keys);
	else
		rc = keep_old(s, rc, &why);
	pthread_cond_broadcast(&s->asked);
	iam_keys_free(&keys);
	if (rc != ERR_OK && e)
		*e = why;
	return rc;
}

int iam_get(struct http_pool *p, enum iam_source source, struct iam_keys *out, struct err *e)
{
	struct set *s = &sets[source];
	int rc;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&s->lock);
	while (!is_settled(s, &rc, e)) {
		if (!s->asking) {
			rc = renew(s, p, e);
			break;
		}
		wait_for_answer(s);
		if (http_pool_is_cancelled(p)) {
			rc = err_set(e, ERR_CANCELLED, "the request was stopped on request");
			break;
		}
	}
	if (rc == ERR_OK)
		rc = iam_keys_copy(out, &s->keys, e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

bool iam_expired(enum iam_source source, const char *access_key_id)
{
	struct set *s = &sets[source];
	pthread_mutex_lock(&s->lock);
	bool same = s->keys.access_key_id && !strcmp(s->keys.access_key_id, access_key_id);
	bool fresh = clock_mono_us() < s->fresh_us;
	/* Another one than we have now: there is something newer to try with. */
	bool again = !same || !fresh;
	if (same && !fresh) {
		s->doubted = true;
		s->next_us = 0;
		s->fresh_us = clock_mono_us() + CALM_MS * 1000;
	}
	pthread_mutex_unlock(&s->lock);
	return again;
}

void iam_reset(void)
{
	for (size_t i = 0; i < IAM_SOURCES; i++) {
		struct set *s = &sets[i];
		pthread_mutex_lock(&s->lock);
		iam_keys_free(&s->keys);
		s->renew_ms = s->fresh_us = s->next_us = 0;
		s->doubted = false;
		s->failure = (struct err)ERR_INIT;
		pthread_mutex_unlock(&s->lock);
	}
}
