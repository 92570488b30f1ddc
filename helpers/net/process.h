/*
 * credential_process of a profile: a program that prints credentials as JSON with "Version": 1.
 *
 * Source: "Process credential provider" in the AWS SDKs and Tools reference guide.
 */
#ifndef NET_PROCESS_H
#define NET_PROCESS_H

#include "net/http.h"
#include "net/keys.h"

/*
 * Runs the command by /bin/sh, as whoever runs us and with our environment, in a session of its
 * own; standard input is /dev/null, standard error is ours. It has PROCESS_MS, and may print
 * PROCESS_OUTPUT_MAX; then it and its children are killed, also when `p` is cancelled.
 *
 * ERR_DENIED it failed or printed no credentials, ERR_UNREACHABLE it didn't end in time,
 * ERR_CANCELLED, ERR_NOMEM, ERR_IO. What it printed is in no message.
 */
int process_ask(struct http_pool *p, const char *command, struct iam_keys *out, struct err *e);

#define PROCESS_MS 60000
#define PROCESS_OUTPUT_MAX ((size_t)64 * 1024)

#endif
