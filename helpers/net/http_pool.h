/* The pool's inside, for http.c. */
#ifndef NET_HTTP_POOL_H
#define NET_HTTP_POOL_H

#include "net/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

/*
 * What pools share lies on one shelf of the process: handles that nobody uses, each with its
 * connection. A worker with a thousand databases asks one server, through a few connections,
 * instead of a thousand.
 */
struct http_pool {
	struct http_config config; /* its strings are ours */
	atomic_bool cancelled;
	struct http_pool *parent; /* NULL, or whose cancelling counts too */
	const char *ca_dir;       /* a hashed folder of certificates, or NULL */
};

/* A handle with all settings that don't depend on the request but on the URL's host, with a
 * connection to there if one is free; NULL when out of memory. */
CURL *http_pool_take(struct http_pool *p, const char *url);

/* Puts it on the shelf for the next request to the same server with the same settings; what lay
 * there longest is closed when there are too many. */
void http_pool_give_back(struct http_pool *p, CURL *curl, const char *url);

#endif
