#include "daemon/heartbeat.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "net/http.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECK_US (INT64_C(15) * 1000000)
#define TIMEOUT_MS 30000

struct heartbeat_notes {
	size_t n, size;
	_Atomic int64_t well_us[]; /* monotonic, when all was well in this process; 0 = never */
};

struct heartbeat {
	const char *url;
	int64_t interval_us;
	struct heartbeat_notes *notes;
	size_t index;
	struct schedule *schedule;
	int64_t check_us, sent_us; /* next, and last; 0 = never */
	struct http_pool *http;    /* of the first process */
	unsigned long thread;
	bool started; /* there is a thread to be joined */
	atomic_bool under_way;
};

int heartbeat_notes_new(struct heartbeat_notes **out, size_t processes, struct err *e)
{
	size_t size = sizeof(struct heartbeat_notes) + processes * sizeof(int64_t);
	struct heartbeat_notes *n =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n == MAP_FAILED)
		return err_nomem(e, "preparing heartbeats");
	n->n = processes;
	n->size = size;
	*out = n;
	return ERR_OK;
}

void heartbeat_notes_free(struct heartbeat_notes *n)
{
	if (n)
		munmap(n, n->size);
}

int heartbeat_new(struct heartbeat **out, const char *url, int64_t interval_ms,
	struct heartbeat_notes *notes, size_t index, struct schedule *s, struct err *e)
{
	static const struct http_config config = {.connect_timeout_ms = TIMEOUT_MS / 2,
		.stall_timeout_ms = TIMEOUT_MS,
		.user_agent = "litestream"};
	struct heartbeat *h = calloc(1, sizeof(*h));
	if (!h)
		return err_nomem(e, "preparing heartbeats");
	h->url = url;
	h->interval_us = interval_ms * 1000;
	h->notes = notes;
	h->index = index;
	h->schedule = s;
	int rc = index == 0 ? http_pool_new(&h->http, &config, e) : ERR_OK;
	if (rc) {
		free(h);
		return rc;
	}
	*out = h;
	return ERR_OK;
}

void heartbeat_free(struct heartbeat *h)
{
	if (!h)
		return;
	if (h->http)
		http_pool_cancel(h->http);
	if (h->started)
		pthread_join(h->thread, NULL);
	http_pool_free(h->http);
	free(h);
}

static bool all_well(const struct heartbeat *h)
{
	int64_t now_ms = clock_wall_ms();
	for (size_t i = 0; i < schedule_count(h->schedule); i++) {
		struct replicator_status st;
		schedule_status(h->schedule, i, &st);
		if (st.state != REPLICATOR_REPLICATING ||
			(st.lag_since_ms && now_ms - st.lag_since_ms > h->interval_us / 1000))
			return false;
	}
	return true;
}

static bool all_noted(const struct heartbeat *h, int64_t now_us)
{
	for (size_t i = 0; i < h->notes->n; i++) {
		int64_t well = atomic_load(&h->notes->well_us[i]);
		if (!well || now_us - well > 2 * CHECK_US)
			return false;
	}
	return true;
}

/* The URL is somebody's secret: the log says host and port at most, which http_perform's errors do.
 */
static void *send_main(void *arg)
{
	struct heartbeat *h = arg;
	static const char *const headers[] = {"User-Agent: litestream"};
	struct http_request request = {.method = "GET",
		.url = h->url,
		.headers = headers,
		.n_headers = 1,
		.fd = -1,
		.timeout_ms = TIMEOUT_MS,
		.max_body = 1 << 20};
	struct http_response r;
	struct err e = ERR_INIT;
	bool retryable;
	http_response_init(&r);
	int rc = http_perform(h->http, &request, &r, &retryable, &e);
	if (rc && rc != ERR_CANCELLED)
		log_warn("the heartbeat was not taken: %s", e.text);
	else if (!rc && (r.status < 200 || r.status > 299))
		log_warn("the heartbeat was not taken: the answer was %d", r.status);
	else if (!rc)
		log_debug("heartbeat: %d", r.status);
	http_response_free(&r);
	http_pool_tidy(h->http);
	atomic_store(&h->under_way, false);
	return NULL;
}

static void send_one(struct heartbeat *h, int64_t now_us)
{
	if (atomic_load(&h->under_way))
		return;
	if (h->started)
		pthread_join(h->thread, NULL);
	h->sent_us = now_us;
	atomic_store(&h->under_way, true);
	h->started = thread_start(&h->thread, send_main, h) == 0;
	if (!h->started) {
		atomic_store(&h->under_way, false);
		log_warn("no thread for a heartbeat could be started");
	}
}

int64_t heartbeat_look(struct heartbeat *h, int64_t now_us)
{
	if (now_us < h->check_us)
		return h->check_us;
	if (all_well(h))
		atomic_store(&h->notes->well_us[h->index], now_us);
	bool due = !h->sent_us || now_us - h->sent_us >= h->interval_us;
	if (h->index == 0 && due && all_noted(h, now_us))
		send_one(h, now_us);
	/* The first one comes as soon as there is something to tell. */
	h->check_us = now_us + (h->sent_us ? CHECK_US : 1000000);
	return h->check_us;
}
