/* The pool's inside, for http.c. */
#ifndef NET_HTTP_POOL_H
#define NET_HTTP_POOL_H

#include "net/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

struct http_idle {
	CURL *curl;
	int64_t since_us;
};

/*
 * Each handle keeps its connection. The one that was used last is taken first, so that under little
 * load one connection stays warm and the others age.
 */
struct http_pool {
	struct http_config config; /* its strings are ours */
	pthread_mutex_t lock;
	struct http_idle idle[HTTP_MAX_IDLE];
	size_t n_idle;
	atomic_bool cancelled;
	const char *ca_dir; /* a hashed folder of certificates, or NULL */
};

bool http_pool_is_cancelled(struct http_pool *p);

/* A handle with all settings that don't depend on the request but on the URL's host; NULL when out
 * of memory. */
CURL *http_pool_take(struct http_pool *p, const char *url);

/* Keeps it for the next request, or closes it when enough are waiting. */
void http_pool_give_back(struct http_pool *p, CURL *curl);

#endif
