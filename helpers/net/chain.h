/*
 * Where credentials come from that nobody gave us, in the order of AWS's SDK for Go; the first
 * place that says something is the one, whether it works or not:
 *
 *   environment   a pair of keys; AWS_*, else LITESTREAM_*
 *   web identity  AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN [and AWS_ROLE_SESSION_NAME]
 *   profile       AWS_PROFILE, or "default" (net/profile.h). In it: source_profile, a pair of keys,
 *                 credential_source, web_identity_token_file, credential_process; and role_arn,
 *                 which is assumed with them
 *   container     AWS_CONTAINER_CREDENTIALS_…_URI (net/metadata.h)
 *   EC2           the instance metadata service, unless AWS_EC2_METADATA_DISABLED
 *
 * The environment's keys are the caller's to look at first: nobody is asked then, and of files only
 * the profile that AWS_PROFILE names, which may want them for a role. Files and environment are
 * those of whoever runs us, so this is for programs that a user starts himself, not for children of
 * the daemon.
 *
 * Sources: "Standardized credential providers" in the AWS SDKs and Tools reference guide,
 * config/resolve_credentials.go and shared_config.go of aws-sdk-go-v2.
 */
#ifndef NET_CHAIN_H
#define NET_CHAIN_H

#include "net/http.h"
#include "net/keys.h"

/* A pair of the environment, borrowed from it; all NULL = there is none. */
struct chain_words {
	const char *access_key_id, *secret_access_key, *session_token;
};

/* Halves of two pairs don't make one: ERR_DENIED where there are only halves. */
int chain_environment(struct chain_words *out, struct err *e);

/* Does the profile that the environment names want the environment's keys for assuming a role? Then
 * they are not to be used as they are. Errors as chain_check's. */
int chain_wants_environment(bool *wants, struct err *e);

/* What can be said without asking anybody: ERR_DENIED where there is no place to ask, or the one
 * that counts can't work, with what was looked at, in order; ERR_NOMEM. */
int chain_check(struct err *e);

/*
 * Asks. *out is the caller's (iam_keys_free) and empty unless it is ERR_OK. ERR_NOT_FOUND: nobody
 * said where credentials are, and EC2's service, which was asked last, doesn't answer. Else the
 * errors of what was asked (net/metadata.h, net/sts.h, net/process.h), and chain_check's.
 */
int chain_ask(struct http_pool *p, struct iam_keys *out, struct err *e);

#endif
