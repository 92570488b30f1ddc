/* Speaking to a control socket: HTTP over a Unix socket, by libcurl. */
#ifndef DAEMON_CLIENT_H
#define DAEMON_CLIENT_H

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

#define CLIENT_SOCKET_DEFAULT "/run/dokku-litestream/control.sock"

/*
 * One request. body may be NULL (GET). *out is the answer, an object of the caller's; after a
 * failure that of a refusal, or NULL. What the daemon refuses comes back with its own code and
 * sentence. Nobody listening, no permission for the socket: ERR_FAIL with what to do. Another
 * protocol: ERR_FAIL. timeout_ms 0: as long as it takes.
 */
int client_request(const char *socket, const char *method, const char *path, const json_t *body,
	int64_t timeout_ms, json_t **out, struct err *e);

/* The same of a stand-alone `litestream replicate`. */
int client_ask_replicate(const char *socket, const char *method, const char *path,
	const json_t *body, int64_t timeout_ms, json_t **out, struct err *e);

/*
 * The same where the answer is a stream: `line` is called with each object, and ends it when it
 * doesn't return ERR_OK. A stream that breaks off without {"exit": …} is ERR_FAIL; one that ends
 * with another exit than 0 is that code with its sentence.
 */
int client_stream(const char *socket, const char *path, const json_t *body,
	int (*line)(void *ctx, json_t *object, struct err *e), void *ctx, struct err *e);

#endif
